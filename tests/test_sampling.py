"""Sequences are functions of (sampling_seed, arm, phase, index) alone, cover the space, and give plain values."""

import itertools
import math
import random
import statistics

import numpy
import pytest
from scipy import stats

from hpsearch.sampling import Adaptive, Sequence, grid_size, random_points
from hpsearch.study import parse_study

PLAIN = ("grid", "random", "qmc")
SPACE = """
      lr: {low: 0.01, high: 0.5, log: true, grid: [0.01, 0.1, 0.5]}
      rho: {low: 0.01, high: 2.0, log: true, grid: [0.02, 0.2, 2]}
      num_shards: {choices: [1, 2, 4]}
"""


def study_of(space=SPACE, samplers=PLAIN, sampling_seed=0, before="", objectives="{val_accuracy: maximize}"):
    phases = "".join(f"\n  - {{sampler: {s}, configurations: 50, options: {{}}}}" for s in samplers)
    return parse_study(f"""
name: s
task: {{name: digits}}
arms:{before}
  sam:
    parameters: {space}
sampling:{phases}
sampling_seed: {sampling_seed}
seeds: 2
objectives: {objectives}
""")


def take(study, phase, count=12, arm="sam"):
    return list(itertools.islice(Sequence(study, arm, phase), count))


# A configuration depends on its place alone --------------------------------------------------------------------------


@pytest.mark.parametrize("phase", range(3), ids=PLAIN)
def test_a_longer_sequence_begins_with_the_shorter_one(phase):
    assert take(study_of(), phase, 20)[:7] == take(study_of(), phase, 7)


@pytest.mark.parametrize("phase", range(3), ids=PLAIN)
def test_other_arms_and_global_generators_do_not_matter(phase):
    before = "\n  other: {parameters: {rho: {low: 0.5, high: 1.0, grid: [0.5]}}}\n  sgd: {fixed: {lr: 0.1}}"
    random.seed(1), numpy.random.seed(1)
    expected = take(study_of(), phase)
    random.seed(2), numpy.random.seed(2)
    crowded = study_of(before=before)
    others = Sequence(crowded, "other", phase)
    next(iter(others))
    assert take(crowded, phase) == expected


@pytest.mark.parametrize("phase", range(3), ids=PLAIN)
def test_the_sampling_seed_the_arm_and_the_phase_matter(phase):
    first = take(study_of(), phase)
    assert take(study_of(sampling_seed=1), phase) != first
    twins = study_of(before=f"\n  twin:\n    parameters: {SPACE}")
    assert take(twins, phase, arm="twin") != first
    later = study_of(samplers=("random", "random", "random", *PLAIN))
    assert take(later, phase + 3) != first


def test_the_first_points_are_what_they_were():
    """Runs of long ago are continued with these: a change (of Optuna's, say) would train their studies anew."""
    study = study_of()
    found = [tuple(point.values()) for phase in range(3) for point in take(study, phase, 2)]
    assert found == [
        (pytest.approx(lr, rel=1e-12), pytest.approx(rho, rel=1e-12), num_shards)
        for lr, rho, num_shards in (
            (0.1, 0.2, 2),
            (0.1, 2.0, 1),
            (0.10548018204455818, 0.1267723680988852, 1),
            (0.39792413962151835, 0.17058779680789135, 4),
            (0.33620075232671914, 0.019613972593721444, 1),
            (0.05104213317527727, 0.40446757139501954, 4),
        )
    ]


# Values -------------------------------------------------------------------------------------------------------------

TYPES = """
      whole: {low: 2, high: 9, int: true}
      wide: {low: 1, high: 1000, int: true, log: true, grid: [1.0, 10, 100]}
      step: {low: 0.1, high: 0.7, step: 0.1}
      even: {low: 2, high: 8, int: true, step: 3}
      real: {low: 0, high: 1, grid: [0, 1]}
      choice: {choices: [a, true, 3, 0.5]}
"""
ALLOWED = {
    "whole": list(range(2, 10)),
    "step": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    "even": [2, 5, 8],
    "choice": ["a", True, 3, 0.5],
}


def points_of_type_study(sampler, count=60):
    if sampler == "tpe":
        adaptive = Adaptive(study_of(TYPES, ["tpe"]), "sam")
        points = []
        for index in range(count):
            asked = adaptive.ask(0, index, 0)
            params = asked.params
            adaptive.tell(asked, (params["real"],))
            points.append(params)
        return points
    return take(study_of(TYPES, [sampler]), 0, count)


@pytest.mark.parametrize("sampler", [*PLAIN, "tpe"])
def test_values_have_pythons_own_types_and_lie_on_their_steps(sampler):
    points = points_of_type_study(sampler)
    kinds = {"whole": int, "wide": int, "step": float, "even": int, "real": float}
    assert len(points) == 60
    for point in points:
        assert {name: type(value) for name, value in point.items() if name != "choice"} == kinds
        assert 1 <= point["wide"] <= 1000 and 0 <= point["real"] <= 1 and point["step"] <= 0.7
        assert round(point["step"], 9) in ALLOWED["step"]
        assert point["whole"] in ALLOWED["whole"] and point["even"] in ALLOWED["even"]
        assert any(type(point["choice"]) is type(value) and point["choice"] == value for value in ALLOWED["choice"])
    if sampler in ("random", "qmc"):  # every value is reached
        for name, allowed in ALLOWED.items():
            assert len({repr(point[name]) for point in points}) == len(allowed)


@pytest.mark.parametrize("phase", [1, 2], ids=["random", "qmc"])
def test_log_axes_are_uniform_in_the_logarithm(phase):
    logs = [math.log(point["rho"] / 0.01) / math.log(200) for point in take(study_of(), phase, 256)]
    assert 0 <= min(logs) and max(logs) <= 1
    assert stats.kstest(logs, "uniform").pvalue > 0.01


def test_linear_axes_are_uniform():
    study = study_of("{rho: {low: 1, high: 3}}", ["random"])
    assert stats.kstest([(point["rho"] - 1) / 2 for point in take(study, 0, 256)], "uniform").pvalue > 0.01


def test_choices_are_drawn_evenly():
    for phase in (1, 2):
        drawn = [point["num_shards"] for point in take(study_of(), phase, 300)]
        assert all(70 <= drawn.count(choice) <= 130 for choice in (1, 2, 4))


# qmc ----------------------------------------------------------------------------------------------------------------


def bins(points):
    """How many of the points fall in each of 8 log bins of rho."""
    where = [min(7, int(8 * math.log(point["rho"] / 0.01) / math.log(200))) for point in points]
    return [where.count(place) for place in range(8)]


def test_qmc_covers_each_eighth_of_rho_and_random_draws_do_not():
    counts = {
        sampler: [bins(take(study_of(samplers=[sampler], sampling_seed=seed), 0, 16)) for seed in range(8)]
        for sampler in ("qmc", "random")
    }
    assert all(1 <= count <= 3 for each in counts["qmc"] for count in each)
    assert not all(1 <= count <= 3 for each in counts["random"] for count in each)


def test_qmc_has_a_lower_discrepancy_than_random_draws():
    def discrepancy(sampler):
        found = []
        for seed in range(8):
            points = take(study_of(samplers=[sampler], sampling_seed=seed), 0, 16)
            unit = [
                [math.log(p["lr"] / 0.01) / math.log(50), math.log(p["rho"] / 0.01) / math.log(200)] for p in points
            ]
            found.append(stats.qmc.discrepancy(numpy.clip(unit, 0, 1)))
        return statistics.fmean(found)

    assert discrepancy("qmc") < 0.5 * discrepancy("random")


def test_qmc_gives_no_point_twice_and_is_scrambled_by_the_seed():
    seen = [point["rho"] for seed in range(4) for point in take(study_of(sampling_seed=seed), 2, 64)]
    assert len(set(seen)) == len(seen)


# grid ---------------------------------------------------------------------------------------------------------------


def as_set(points):
    return {tuple(sorted(point.items())) for point in points}


def test_the_grid_is_the_whole_product_once():
    points = take(study_of(), 0, 1000)
    product = itertools.product([0.01, 0.1, 0.5], [0.02, 0.2, 2.0], [1, 2, 4])
    assert len(points) == 27 == grid_size(study_of().arms["sam"].parameters, {})
    assert as_set(points) == as_set(dict(zip(("lr", "rho", "num_shards"), cell, strict=True)) for cell in product)


def test_a_cut_grid_is_spread_over_the_axes():
    """The first cells of a plain product would all have the first lr."""
    cut = take(study_of(), 0, 9)
    assert all(len({point[name] for point in cut}) == 3 for name in ("lr", "rho", "num_shards"))


CONDITIONAL = """
      adaptive: {choices: [true, false]}
      rho: {low: 0.1, high: 1, grid: [0.1, 0.5, 1], when: {adaptive: true}}
      sigma: {low: -1, high: 1, grid: [-1, 1], when: {rho: 0.5}}
      lr: {low: 0.1, high: 1, grid: [0.1, 1]}
"""


def test_conditions_are_counted_once_in_the_grid():
    """adaptive false: 2 lr. true: rho 0.1 and 1 with 2 lr each; rho 0.5 with 2 sigma and 2 lr. In all 2 + 4 + 4."""
    study = study_of(CONDITIONAL)
    points = as_set(take(study, 0, 1000))
    assert grid_size(study.arms["sam"].parameters, {}) == len(points) == 10


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe"])
def test_parameters_whose_condition_does_not_hold_are_left_out(sampler):
    space = CONDITIONAL.replace("rho: 0.5", "adaptive: false")
    if sampler == "tpe":
        adaptive = Adaptive(study_of(space, ["tpe"]), "sam")
        points = []
        for index in range(20):
            asked = adaptive.ask(0, index, 0)
            params = asked.params
            adaptive.tell(asked, (params["lr"],))
            points.append(params)
    else:
        points = take(study_of(space, [sampler]), 0, 20)
    for point in points:
        assert set(point) == {"adaptive", "lr", "rho" if point["adaptive"] else "sigma"}
    assert {point["adaptive"] for point in points} == {True, False}


def test_conditions_on_fixed_values_hold_or_not():
    study = parse_study("""
name: s
task: {name: digits}
arms:
  a:
    fixed: {adaptive: true}
    parameters:
      rho: {low: 0.1, high: 1, when: {adaptive: true}}
      sigma: {low: 0.1, high: 1, when: {adaptive: false}}
sampling: [{sampler: random, configurations: 3}]
seeds: 1
objectives: {val_accuracy: maximize}
""")
    assert [set(point) for point in take(study, 0, 3, "a")] == [{"rho"}] * 3
    assert [set(point) for point in random_points(study, "a", 3)] == [{"rho"}] * 3


def test_a_grid_needs_values_for_every_range():
    with pytest.raises(ValueError, match="needs a grid, choices or a step for rho"):
        take(study_of("{rho: {low: 0.1, high: 1}}", ["grid"]), 0)


# tpe ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_tpe_goes_where_the_objective_is_good(direction):
    """Random draws have a median distance of about 1.3 from the best rho, 0.2."""
    late = []
    for seed in range(4):
        study = study_of("{rho: {low: 0.01, high: 2, log: true}}", ["tpe"], seed, objectives=f"{{loss: {direction}}}")
        adaptive = Adaptive(study, "sam")
        for index in range(30):
            asked = adaptive.ask(0, index, 0)
            params = asked.params
            distance = abs(math.log(params["rho"] / 0.2))
            adaptive.tell(asked, (distance if direction == "minimize" else -distance,))
            late += [distance] * (index >= 20)
    assert statistics.median(late) < 0.6


def test_tpe_takes_what_other_phases_found_also_between_its_own_steps():
    """A grid may hold values that are on no step; an earlier run may have had other steps."""
    study = study_of("{rho: {low: 0, high: 1, step: 0.25, grid: [0.1, 0.5]}, num_shards: {choices: [1, 2]}}", ["tpe"])
    adaptive = Adaptive(study, "sam")
    for rho in (0.1, 0.5, 0.1):
        adaptive.add({"rho": rho, "num_shards": 2}, (rho,))
    for index in range(15):
        asked = adaptive.ask(0, index, 0)
        params = asked.params
        assert params["rho"] in (0.0, 0.25, 0.5, 0.75, 1.0)
        adaptive.tell(asked, (params["rho"],))


def test_the_same_state_suggests_the_same_and_repeats_suggest_anew():
    def suggest(repeat, told=0.5):
        adaptive = Adaptive(study_of(samplers=["tpe"]), "sam")
        adaptive.add({"lr": 0.1, "rho": 0.1, "num_shards": 1}, (told,))
        return adaptive.ask(0, 3, repeat).params

    assert suggest(0) == suggest(0)
    assert suggest(0) != suggest(1)
