"""What to run next: the closed forms against plain algebra, the edges, and blocks that a study file takes."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from functools import cache

import numpy as np
import pandas as pd
import pytest

from hpsearch.analysis.arms import describe_arms
from hpsearch.analysis.best import Best, Confirmation, best_of_arms
from hpsearch.analysis.calibration import EVEN
from hpsearch.analysis.columns import standard
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.enough import METHOD, next_configurations
from hpsearch.analysis.estimate import Estimate, estimate
from hpsearch.analysis.gain import Greedy, Target, predicted_width, terms, variance_with_seeds
from hpsearch.analysis.kernel import kernel
from hpsearch.analysis.model import Model, fit_model
from hpsearch.analysis.objective import make_objective
from hpsearch.analysis.process import Observations, Posterior
from hpsearch.analysis.widths import widths
from hpsearch.check import check_study
from hpsearch.errors import InputError
from hpsearch.extension import merged_keys, to_yaml
from hpsearch.planning import Planner
from hpsearch.study import Study, build_study, parse_study
from hpsearch.yamlfile import Document, parse_yaml

TEXT = """\
name: s
task: {name: digits, epochs: 2}
arms:
  sam:
    parameters:
      rho: {low: 0.01, high: 2.0, log: true}
      lr: {low: 0.01, high: 1.0, log: true}
  msam:
    parameters:
      rho: {low: 0.0, high: 2.0, step: 0.125}
      num_shards: {choices: [1, 2, 4, 8]}
      interval: {low: 1, high: 50, int: true}
      sigma: {low: -1.0, high: 1.0, when: {num_shards: 8}}
sampling:
  - {sampler: random, configurations: 24}
seeds: 3
objectives: {val_accuracy: maximize}
"""


def table_of(study: Study, n: int = 24, cliff: bool = False, arms: tuple[str, ...] = ("sam", "msam")) -> pd.DataFrame:
    """Trials of a made-up response: a bowl in rho, the rest matters little; a cliff at large rho where there is one."""
    from itertools import islice

    from hpsearch.sampling import Sequence

    rows = []
    for arm in arms:
        rng = np.random.default_rng(len(arm))
        for k, params in enumerate(islice(Sequence(study, arm, 0), n)):
            rho = float(params["rho"])
            for seed in study.seeds:
                falls = cliff and rho + 0.1 * rng.normal() > 1.0
                value = 0.1 if falls else 0.9 - 0.05 * (rho - 0.5) ** 2 + 0.004 * rng.normal()
                rows.append(
                    {
                        "trial_id": f"{arm}{k}-{seed}", "configuration_id": f"{arm}{k}", "arm": arm, "seed": seed,
                        "status": "diverged" if falls else "complete", "sampling.sampler": "random",
                        "sampling.confirm": False, "metrics.val_accuracy": value,
                        **{f"params.{name}": v for name, v in params.items()},
                    }
                )  # fmt: skip
    return standard(pd.DataFrame(rows))


def models_of(table: pd.DataFrame, study: Study | None) -> list[Model]:
    rows, goal = summarize(table), make_objective(table, "val_accuracy", True)
    return [fit_model(table, rows, facts, goal, study) for facts in describe_arms(table, study)]


@cache
def model_of(arm: str, cliff: bool, text: str, n: int) -> tuple[pd.DataFrame, Model]:
    study = parse_study(text)
    table = table_of(study, n, cliff, (arm,))
    return table, next(m for m in models_of(table, study) if m.arm == arm)


def fitted(
    cliff: bool = False, text: str = TEXT, n: int = 24, arms: tuple[str, ...] = ("sam",)
) -> tuple[Study, pd.DataFrame, tuple[Model, ...]]:
    """A fit takes most of a second: each is made once."""
    made = [model_of(arm, cliff, text, n) for arm in arms]
    return parse_study(text), pd.concat([table for table, _ in made], ignore_index=True), tuple(m for _, m in made)


BOTH = ("sam", "msam")


def merge(data, keys):
    for key, value in keys.items():
        if isinstance(value, dict) and isinstance(data.get(key), dict):
            merge(data[key], value)
        else:
            data[key] = value
    return data


def planned(document: Document):
    """(arm, params, seed, confirm) of everything that a study plans, without any result; and the notes."""
    study, document = build_study(document, (), [])
    planner, found = Planner(check_study(study, document), []), []
    while (pack := planner.next()) is not None:
        point = tuple(sorted(pack.configuration.params.items()))
        found += [(pack.configuration.arm, point, seed) for seed in pack.seeds]
    return found, planner.notes


def added(text: str, block: str):
    """What the study plans with the block merged in, less what it planned before."""
    before, _ = planned(parse_yaml(text, "study.yaml"))
    document = parse_yaml(text, "study.yaml")
    merged = merge(copy.deepcopy(document.data), parse_yaml(block, "block").data)
    after, notes = planned(Document("study.yaml", merged))
    assert set(before) <= set(after) and not notes
    return sorted(set(after) - set(before), key=str), len(after)


# The closed forms ----------------------------------------------------------------------------------------------------


def posterior_variance(p: Posterior, x, combine, extra, noise) -> np.ndarray:
    """The slow twin: the textbook's conditional covariance with all points in, as inverse matrices."""
    seen = np.concatenate([p.seen.x, extra])
    variance = np.concatenate([1 / p.seen.root**2, noise])
    k = kernel(p.layout, p.theta, seen, seen) + np.diag(variance)
    across = kernel(p.layout, p.theta, x, seen)
    left = kernel(p.layout, p.theta, x, x) - across @ np.linalg.inv(k) @ across.T
    return np.diag(combine @ left @ combine.T)


@pytest.mark.parametrize("cliff", [False, True], ids=["smooth", "cliff"])
def test_the_variance_after_points_is_that_of_the_process_that_has_them(cliff):
    model = fitted(cliff)[2][0]
    rng = np.random.default_rng(0)
    target = Target(rng.random((6, 2)), rng.normal(size=(3, 6)), np.array([0.5, 0.3, 0.2]))
    x = rng.random((5, 2))
    of = terms(model.surrogate, target, x, 3, 3.0)
    assert all(len(setting) == 1 + cliff for setting in of)
    greedy = Greedy(of, target, x)

    def exact(taken):
        total = 0.0
        for term in (t for setting in of for t in setting):
            combine = target.combine * term.at_points
            total += target.weights @ posterior_variance(term.posterior, target.points, combine, x[taken],
                                                         term.noise[taken])  # fmt: skip
        return total / len(of)

    assert greedy.variance == pytest.approx(exact([]), rel=1e-5)
    for taken in ([3], [3, 1], [3, 1, 1]):
        greedy.take(taken[-1])
        assert greedy.variance == pytest.approx(exact(taken), rel=1e-4)


def test_the_best_candidate_is_the_one_that_leaves_least():
    model = fitted()[2][0]
    rng = np.random.default_rng(1)
    target, x = Target.everywhere(model.inputs, 0, 16), rng.random((12, 2))
    of = terms(model.surrogate, target, x, 3, 3.0)
    left = []
    for index in range(12):
        one = Greedy(of, target, x)
        one.take(index)
        left.append(one.variance)
    free = np.ones(12, dtype=bool)
    best = int(np.argmin(left))
    assert Greedy(of, target, x).best(free) == best
    free[best] = False
    assert Greedy(of, target, x).best(free) == int(np.argsort(left)[1])


def test_more_seeds_are_the_same_points_with_less_noise():
    model = fitted()[2][0]
    target = Target.everywhere(model.inputs, 0, 16)
    of = terms(model.surrogate, target, np.empty((0, 2)), 3, 3.0)
    doubled = []
    for setting in of:
        p, scale = setting[0].posterior, math.sqrt(2)
        more = Posterior.of(p.layout, p.theta, Observations(p.seen.x, p.seen.root * scale, p.seen.target * scale))
        doubled.append(model.surrogate.unit**2 * more.variance(target.points).mean())
    now = Greedy(of, target, np.empty((0, 2))).variance
    assert variance_with_seeds(of, target, 2.0) == pytest.approx(np.mean(doubled), rel=1e-6)
    assert variance_with_seeds(of, target, 1.0) == pytest.approx(now, rel=1e-9)
    assert variance_with_seeds(of, target, 2.0) < now


def test_the_noise_of_a_point_is_that_of_the_seeds():
    """sd over seeds 0.004; what the settings make of it lies near, and a third more seeds bring it down by a third."""
    model = fitted()[2][0]
    target, x = Target.everywhere(model.inputs, 0, 4), np.full((1, 2), 0.5)
    three, four = (np.mean([s[0].noise[0] for s in terms(model.surrogate, target, x, k, 3.0)]) for k in (3, 4))
    assert model.surrogate.unit * math.sqrt(3 * three) == pytest.approx(0.004, rel=0.3)
    assert four == pytest.approx(three * 3 / 4)


@pytest.mark.parametrize("cliff", [False, True], ids=["smooth", "cliff"])
def test_what_is_predicted_after_very_many_and_very_few_seeds_at_a_point(cliff):
    model = fitted(cliff)[2][0]
    at = np.array([[0.95, 0.5]])
    bare = dataclasses.replace(model.surrogate, shifts=np.zeros(256))

    def sd(draws):
        return float(draws[:, 0].std())

    def after(seeds):
        return predicted_width(bare, at, sd, at, seeds, 3.0, 0)

    now = sd(bare(at))
    assert after(10**9) < 0.01 * now
    assert after(1e-9) == pytest.approx(now, rel=0.01)
    assert 0.01 * now < after(3) < now


def test_what_is_predicted_for_a_linear_functional_is_the_closed_form(monkeypatch):
    """With one setting for all draws, and none of the features left out that the draws are made of."""
    monkeypatch.setattr("hpsearch.analysis.kernel.SMALLEST", 1e-9)
    model = fitted()[2][0]
    one = model.surrogate.values.others[0]
    values = dataclasses.replace(model.surrogate.values, best=one, others=(one,) * 16)
    surrogate = dataclasses.replace(
        model.surrogate, values=values, value_functions=values.functions(256, 0), shifts=np.zeros(256)
    )
    at, new = np.array([[0.5, 0.5]]), np.array([[0.5, 0.55], [0.45, 0.5], [0.6, 0.45]])
    target = Target(at, np.eye(1), np.ones(1))
    greedy = Greedy(terms(surrogate, target, new, 12, 3.0), target, new)
    before = greedy.variance
    for index in range(3):
        greedy.take(index)
    expected = math.sqrt(greedy.variance / before)
    then = predicted_width(surrogate, at, lambda draws: float(draws.std()), new, 12, 3.0, 0)
    assert expected < 0.9 and then / float(surrogate(at).std()) == pytest.approx(expected, rel=0.1)


# What is suggested ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cliff", [False, True], ids=["smooth", "cliff"])
def test_suggestions_go_to_the_widest_answer_and_narrow_it(cliff):
    study, table, models = fitted(cliff)
    found = next_configurations(models, 6, study, configurations=summarize(table))
    assert [w.width for w in found.answers] == sorted((w.width for w in found.answers), reverse=True)
    assert all(0 <= w.width <= 1 for w in found.answers) and found.widest == found.answers[0]
    (aim,) = found.aims
    assert aim.answer == found.widest and len(aim.suggestions) == 6 and found.trials == 18
    left = [s.left for s in aim.suggestions]
    # Beside the cliff six configurations may leave the end of a range as open as it is.
    assert aim.answer.width >= left[0] and left == sorted(left, reverse=True)
    assert aim.after == pytest.approx(left[-1]) and 0 < aim.after <= aim.answer.width * (1.0 if cliff else 0.999)
    assert aim.method == METHOD and "prediction" in METHOD
    points, seeds = aim.per_trial
    assert points > seeds > 0


def test_it_is_the_same_each_time_and_another_seed_draws_other_candidates():
    study, _, models = fitted()
    assert next_configurations(models, 4, study) == next_configurations(models, 4, study)
    assert (
        next_configurations(models, 4, study).suggestions != next_configurations(models, 4, study, seed=5).suggestions
    )


def test_a_longer_list_begins_with_the_shorter_one():
    study, _, models = fitted()
    long, short = (next_configurations(models, n, study).suggestions for n in (6, 2))
    assert [s.params for s in long[:2]] == [s.params for s in short]


def test_nothing_asked_for_is_nothing_suggested_but_the_answers_are_there():
    study, _, models = fitted()
    found = next_configurations(models, 0, study)
    assert found.suggestions == () and found.trials == 0 and found.widest is not None
    assert to_yaml(found, study) == "# nothing to suggest\n"
    assert next_configurations([], 3).answers == ()


@pytest.mark.parametrize("n", [-1, 2.5, True, "3"])
def test_a_wrong_number_is_refused(n):
    with pytest.raises(InputError, match="n: got .*; allowed: a whole number >= 0"):
        next_configurations([], n)


def test_one_configuration_of_one_arm():
    study, _, models = fitted()
    found = next_configurations(models[:1], 1, study)
    (one,) = found.suggestions
    assert (one.kind, one.arm, one.trials, set(one.params)) == ("configuration", "sam", 3, {"rho", "lr"})


def test_values_respect_ranges_steps_levels_whole_numbers_and_conditions():
    study, table, models = fitted(arms=("msam",))
    found = next_configurations(models, 30, study, configurations=summarize(table)).suggestions
    declared = study.arms["msam"].parameters
    assert len(found) == 30 and {s.params["num_shards"] == 8 for s in found} == {True, False}
    for s in found:
        assert all(declared[name].contains(value) for name, value in s.params.items())
        assert type(s.params["interval"]) is int and type(s.params["num_shards"]) is int
        assert ("sigma" in s.params) == (s.params["num_shards"] == 8)
    keys = [tuple(sorted(s.params.items())) for s in found]
    assert len(set(keys)) == 30


@pytest.mark.parametrize("side", ["safe_low", "safe_high"])
def test_for_an_end_of_a_safe_range_points_are_offered_on_its_slice(side):
    study, _, models = fitted()
    width = next(w for w in widths(models[0], 0.01) if (w.what, w.parameter) == (side, "rho"))
    x = width.line
    assert width.target.combine.sum(1) == pytest.approx(np.zeros(len(width.target.weights)))  # contrasts with the best
    assert width.target.weights.sum() == pytest.approx(1)
    assert len(np.unique(x[:, 1])) == 1 and x[:, 0].min() >= 0 and x[:, 0].max() <= 1


def test_shared_seeds_are_no_business_of_more_configurations():
    """A curve's level is as uncertain as the few seeds that all share; only seeds narrow that."""
    study, _, models = fitted()
    shifted = dataclasses.replace(models[0].surrogate, shifts=np.random.default_rng(0).normal(0, 0.02, 256))
    curves = [dataclasses.replace(a, curves=a.curves + shifted.shifts[:, None]) for a in models[0].decomposition.along]
    parts = dataclasses.replace(models[0].decomposition, along=tuple(curves))
    model = dataclasses.replace(models[0], surrogate=shifted, decomposition=parts)
    found = next_configurations([model], 8, study, epsilons={"sam": math.nan})
    assert found.widest.what == "marginal_curve" and [s.kind for s in found.suggestions] == ["seeds"]
    (seeds,) = found.suggestions
    assert (seeds.trials, seeds.count) == (24, 1)
    assert seeds.left == pytest.approx(found.widest.width * math.sqrt(3 / 4), rel=0.02)
    points, per_seed = found.aims[0].per_trial
    assert per_seed > points
    # Seven configurations do not pay for one more seed of all 24: said, and the points are what there is.
    few = next_configurations([model], 7, study, epsilons={"sam": math.nan})
    assert {s.kind for s in few.suggestions} == {"configuration"} and "takes 24 trials" in few.notes[0]
    document = parse_yaml(TEXT, "study.yaml")
    assert merge(document.data, parse_yaml(to_yaml(found, study), "b").data)["seeds"] == 4


def test_an_arm_without_a_surface_comes_first_and_gets_spread_out_configurations():
    study = parse_study(TEXT)
    table, few = model_of("sam", False, TEXT, 4)
    found = next_configurations([model_of("msam", False, TEXT, 24)[1], few], 12, study)
    assert (found.widest.arm, found.widest.what, found.widest.width) == ("sam", "surface", 1.0)
    (aim,) = found.aims
    assert "no surface yet" in aim.method and "4 configurations with a result" in aim.method and math.isnan(aim.after)
    rho = [math.log(s.params["rho"] / 0.01) / math.log(200) for s in found.suggestions]
    lr = [math.log(s.params["lr"] / 0.01) / math.log(100) for s in found.suggestions]
    own = table.drop_duplicates("configuration_id")
    x = np.append(np.log(own["params.rho"] / 0.01) / math.log(200), rho)
    y = np.append(np.log(own["params.lr"] / 0.01) / math.log(100), lr)
    # With the four that are there: each of nine cells has a configuration.
    cells = {(min(2, int(3 * a)), min(2, int(3 * b))) for a, b in zip(x, y, strict=True)}
    assert len(cells) == 9


def test_an_arm_without_any_result_and_one_that_searches_nothing():
    text = TEXT.replace("sampling:\n", "  still: {fixed: {lr: 0.1}}\nsampling:\n", 1)
    study = parse_study(text)
    table, other = model_of("msam", False, TEXT, 24)
    rows = summarize(table)
    goal = make_objective(table, "val_accuracy", True)
    empty = {f.name: fit_model(table, rows, f, goal, study) for f in describe_arms(table, study) if f.name != "msam"}
    found = next_configurations([empty["still"], other, empty["sam"]], 3, study)
    assert [s.arm for s in found.suggestions] == ["sam"] * 3 and set(found.suggestions[0].params) == {"rho", "lr"}
    alone = [empty["still"]]
    nothing = next_configurations(alone, 3, study)
    assert nothing.suggestions == () and nothing.notes == ("still: nothing is searched, so there is nothing to try",)


LEVELS = """\
name: s
task: {name: digits, epochs: 2}
arms:
  sam:
    parameters:
      rho: {choices: [0.0, 0.25, 0.5, 0.75, 1.0]}
      num_shards: {choices: [1, 2]}
sampling: [{sampler: grid}]
seeds: 3
objectives: {val_accuracy: maximize}
"""


def test_where_all_levels_were_tried_only_seeds_are_left():
    study, _, models = fitted(text=LEVELS, n=10)
    found = next_configurations(models, 7, study)
    assert found.notes[0] == "sam: every configuration of its space was tried; only seeds can tell more"
    assert [(s.kind, s.count, s.trials) for s in found.suggestions] == [("seeds", 2, 20)]
    small = next_configurations(models, 2, study)
    assert small.suggestions == () and "one more seed of all configurations takes 10 trials" in small.notes[1]


def test_where_some_levels_are_left_these_are_suggested():
    study, _, models = fitted(text=LEVELS, n=8)
    found = next_configurations(models, 2, study)
    tried = set(zip(models[0].rows["params.rho"], models[0].rows["params.num_shards"], strict=True))
    assert len(tried) == 8
    assert len(tried | {(s.params["rho"], s.params["num_shards"]) for s in found.suggestions}) == 10


# Confirmation --------------------------------------------------------------------------------------------------------


def bests(study: Study, table: pd.DataFrame) -> tuple[Best, ...]:
    return best_of_arms(table, summarize(table), list(study.arms), make_objective(table, "val_accuracy", True), None)


def test_a_best_that_was_never_confirmed_comes_first_and_the_rest_goes_on():
    study, table, models = fitted(arms=BOTH)
    found = next_configurations(models, 6, study, best=bests(study, table))
    first = found.suggestions[0]
    assert (first.kind, first.count, first.top, first.trials) == ("confirm", 5, 1, 10)  # of both arms
    assert found.widest.what == "confirmed_best" and found.widest.why
    assert [s.kind for s in found.suggestions[1:]] == ["configuration"] * 2  # 10 trials are 4 of 6
    assert merged_keys(found, study)["confirm"] == {"top": 1, "seeds": 5}
    little = next_configurations(models, 3, study, best=bests(study, table))
    assert {s.kind for s in little.suggestions} == {"configuration"} and "takes 10 trials" in little.notes[0]


def test_confirmation_runs_that_are_planned_are_not_suggested():
    study, table, models = fitted(arms=BOTH)
    waiting = parse_study(TEXT + "confirm: {top: 2, seeds: 5}\n")
    found = next_configurations(models, 6, waiting, best=bests(study, table))
    assert {s.kind for s in found.suggestions} == {"configuration"}


def test_a_confirmed_best_with_the_widest_interval_gets_twice_the_seeds():
    study, table, models = fitted(arms=BOTH)
    wide = Confirmation(Estimate(5, 0.9, 0.1, 0.7, 1.1), None, 0, 0)
    best = tuple(dataclasses.replace(b, confirmation=wide) for b in bests(study, table))
    found = next_configurations(models, 10, parse_study(TEXT + "confirm: {top: 2, seeds: 5}\n"), best=best)
    first = found.suggestions[0]
    assert (first.kind, first.top, first.count, first.trials) == ("confirm", 2, 10, 20)
    rng = np.random.default_rng(0)
    halves = {n: np.sqrt(np.mean([estimate(rng.normal(size=n)).half ** 2 for _ in range(4000)])) for n in (5, 10)}
    assert first.left / found.widest.width == pytest.approx(halves[10] / halves[5], rel=0.03)


# The block for the study file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["", "own", "cut", "list"])
def test_the_merged_study_plans_exactly_the_suggestions(change):
    text = TEXT
    if change == "own":  # an arm that has its own phases keeps them
        own = "    sampling: [{sampler: qmc, configurations: 9, options: {scramble: true}}]\n  msam:"
        text = text.replace("  msam:", own, 1)
    if change == "cut":
        text = text.replace("configurations: 24}", "configurations: 20}\n  - {sampler: tpe, configurations: 9}")
        text += "configurations: 18\n"
    if change == "list":
        text = text.replace("seeds: 3", "seeds: [4, 2, 10001]")
    study = parse_study(text)
    models = fitted(arms=BOTH)[2]
    found = next_configurations(models, 5, study, configurations=pd.concat([m.rows for m in models]))
    assert len(found.suggestions) == 5
    new, _ = added(text, to_yaml(found, study))
    wanted = [(s.arm, tuple(sorted(s.params.items())), seed) for s in found.suggestions for seed in study.seeds]
    assert new == sorted(wanted, key=str)


def test_more_seeds_of_a_list_are_free_ones():
    study, _, models = fitted(text=LEVELS, n=10)
    text = LEVELS.replace("seeds: 3", "seeds: [0, 1, 5]")
    found = next_configurations(models, 7, study)
    block = to_yaml(found, parse_study(text))
    assert parse_yaml(block, "block").data == {"seeds": [0, 1, 5, 2, 3]}
    new, total = added(text, block)
    assert len(new) == 20 == found.trials and {seed for *_, seed in new} == {2, 3} and total == 50


def test_an_imported_study_has_its_configurations_listed():
    study, _, models = fitted()
    found = next_configurations(models, 2, None)  # ranges as observed
    imported = parse_study(TEXT.replace("name: digits, epochs: 2", "name: imported"))
    for owner in (None, imported):
        block = to_yaml(found, owner)
        assert "cannot be run" in block.splitlines()[0]
        listed = parse_yaml(block, "block").data["arms"]
        assert sum(map(len, listed.values())) == 2 and [dict(s.params) for s in found.suggestions] == [
            p for points in listed.values() for p in points
        ]


def test_chosen_points_are_no_even_design():
    assert "points" not in EVEN


def test_four_arms_of_64_configurations_take_about_two_seconds():
    _, _, models = fitted(cliff=True, n=64)
    four = [dataclasses.replace(models[0], arm=f"sam{k}") for k in range(4)]
    started = time.process_time()
    assert len(next_configurations(four, 20).suggestions) == 20
    assert time.process_time() - started < 4  # twice that, for a machine with other work
