"""The sampler points: a study's own list of configurations is trained as it stands, and every mistake in it is told."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hpsearch.catalogue import describe
from hpsearch.check import Checked, check_study
from hpsearch.errors import MistakesError
from hpsearch.planning import Planner, phase_sizes, planned_trials
from hpsearch.sampling import ADAPTIVE, Sequence
from hpsearch.study import build_study, parse_study
from hpsearch.yamlfile import parse_yaml

TEXT = """\
name: s
task: {name: digits, epochs: 2}
arms:
  sam:
    parameters:
      lr: {low: 0.01, high: 1.0, log: true}
      rho: {low: 0.0, high: 2.0, step: 0.5}
      num_shards: {choices: [1, 2, 4]}
      schedule: {choices: [cosine, constant]}
      sigma: {low: -1.0, high: 1.0, when: {num_shards: 4}}
      interval: {low: 1, high: 9, int: true}
    fixed: {adaptive: true}
    sampling:
      - {sampler: random, configurations: 2}
      - sampler: points
        options:
          points:
            - {lr: 0.1, rho: 1.0, num_shards: 4, schedule: cosine, sigma: 0.5, interval: 2}
            - {lr: 1, rho: 1, num_shards: 1, schedule: constant, interval: 3}
  sgd: {parameters: {lr: {low: 0.01, high: 1.0, log: true}}}
sampling: [{sampler: random, configurations: 1}]
seeds: 2
objectives: {val_accuracy: maximize}
"""
FIRST = "{lr: 0.1, rho: 1.0, num_shards: 4, schedule: cosine, sigma: 0.5, interval: 2}"
SECOND = "{lr: 1, rho: 1, num_shards: 1, schedule: constant, interval: 3}"
POINTS = f"""
          points:
            - {FIRST}
            - {SECOND}
"""


def check(text: str) -> Checked:
    study, document = build_study(parse_yaml(text, "study.yaml"), (), [])
    return check_study(study, document)


def packs(checked: Checked, arm: str):
    planner, found = Planner(checked, []), []
    while (pack := planner.next()) is not None:
        found.append(pack)
    return [pack for pack in found if pack.configuration.arm == arm], planner


def test_exactly_the_listed_configurations_are_planned_after_the_earlier_phases():
    checked = check(TEXT)
    found, planner = packs(checked, "sam")
    listed = [pack.configuration for pack in found if pack.configuration.sampling["sampler"] == "points"]
    assert [dict(c.params) for c in listed] == [
        {"lr": 0.1, "rho": 1.0, "num_shards": 4, "schedule": "cosine", "sigma": 0.5, "interval": 2},
        {"lr": 1.0, "rho": 1.0, "num_shards": 1, "schedule": "constant", "interval": 3},
    ]
    assert [(c.sampling["phase"], c.sampling["index"]) for c in listed] == [(1, 0), (1, 1)]
    assert len(found) == 4 and all(set(pack.seeds) == {0, 1} for pack in found)
    assert phase_sizes(checked.study, "sam") == [2, 2] and planned_trials(checked.study, "sam") == 8
    assert not planner.notes


def test_values_have_the_types_that_other_samplers_give():
    second = list(Sequence(check(TEXT).study, "sam", 1))[1]
    assert {name: type(v) for name, v in second.items()} == {
        "lr": float, "rho": float, "num_shards": int, "schedule": str, "interval": int,
    }  # fmt: skip


def test_the_earlier_phases_are_as_without_it():
    without = TEXT.replace("      - sampler: points\n        options:" + POINTS, "")
    before, after = packs(check(without), "sam")[0], packs(check(TEXT), "sam")[0]
    assert [p.configuration for p in before] == [p.configuration for p in after[:2]]


def test_a_known_configuration_is_not_trained_twice_and_this_is_said():
    first = dict(next(iter(Sequence(check(TEXT).study, "sam", 0))))
    known = "{" + ", ".join(f"{name}: {value!r}" for name, value in first.items()) + "}"
    checked = check(TEXT.replace(SECOND, known))
    found, planner = packs(checked, "sam")
    assert len(found) == 3
    assert planner.notes == ["sam: phase 1 (points) found 1 different configurations, not 2"]


def test_more_known_ones_in_a_row_than_other_samplers_may_have_do_not_end_the_list():
    drawn = TEXT.replace("random, configurations: 2", "random, configurations: 30")
    known = [dict(point) for point, _ in zip(Sequence(check(drawn).study, "sam", 0), range(30), strict=False)]
    lines = "".join(
        "            - {" + ", ".join(f"{name}: {value!r}" for name, value in point.items()) + "}\n" for point in known
    )
    found, _ = packs(check(drawn.replace(f"            - {FIRST}\n", lines)), "sam")
    assert [p.configuration.params["lr"] for p in found[30:]] == [1.0]


def test_a_number_of_configurations_and_the_study_cut_the_list():
    assert phase_sizes(check(TEXT.replace("- sampler: points", "- sampler: points\n        configurations: 1")).study,
                       "sam") == [2, 1]  # fmt: skip
    assert phase_sizes(check(TEXT + "configurations: 3\n").study, "sam") == [2, 1]


def test_it_does_not_look_at_results_while_running_but_is_no_even_design():
    from hpsearch.analysis import calibration

    assert "points" not in ADAPTIVE and "points" not in calibration.EVEN


def test_an_imported_study_knows_how_many_there_were_and_not_which():
    study = parse_study(TEXT.replace("        options:" + POINTS, "        configurations: 7\n"))
    assert phase_sizes(study, "sam") == [2, 7]


def test_show_says_what_it_takes():
    text = describe("points")
    assert "[{rho: 0.1, lr: 0.2}]" in text and "\n    points: a list" in text


@dataclass(frozen=True)
class Case:
    name: str
    old: str
    new: str
    says: tuple[str, ...]
    line: int
    mistakes: int = 1


def first(name: str, old: str, new: str, *says: str, **rest: int) -> Case:
    assert FIRST.count(old) == 1
    return Case(name, FIRST, FIRST.replace(old, new), ("options.points.0", *says), 18, **rest)


CASES = [
    first("unknown", "rho: 1.0", "roh: 1.0", "points.0.roh: arm sam has no parameter 'roh'", "lr, rho, num_shards, "
          "schedule, sigma, interval", "did you mean 'rho'?"),
    first("foreign", "rho: 1.0", "rho: 1.0, depth: 3", "points.0.depth: arm sam has no parameter 'depth'"),
    first("fixed", "rho: 1.0", "rho: 1.0, adaptive: true", "points.0.adaptive: arm sam: adaptive is fixed", "lr, rho"),
    first("lacks", "rho: 1.0, ", "", "points.0: arm sam: rho is missing", "a number from 0 to 2"),
    first("outside", "rho: 1.0", "rho: 2.5", "points.0.rho: arm sam: got 2.5", "a number from 0 to 2"),
    first("half", "interval: 2", "interval: 2.5", "points.0.interval: arm sam: got 2.5", "a whole number from 1 to 9"),
    first("choice", "num_shards: 4, ", "num_shards: 3, ", "num_shards: arm sam: got 3", "one of 1, 2, 4", mistakes=2),
    first("text", "cosine", "cosin", "schedule: arm sam: got 'cosin'", "'cosine', 'constant'", "mean 'cosine'?"),
    first("null", "rho: 1.0", "rho: null", "points.0.rho: arm sam: got null", "a number from 0 to 2"),
    first("list", "rho: 1.0", "rho: [1.0]", "points.0.rho: arm sam: got [1.0]", "a number from 0 to 2"),
    first("condition", "num_shards: 4", "num_shards: 2", "sigma: arm sam: sigma stands here only with num_shards: 4",
          "no sigma"),
    first("condition-lacks", "sigma: 0.5, ", "", "points.0: arm sam: sigma is missing", "a number from -1 to 1"),
    Case("nan", FIRST, FIRST.replace("rho: 1.0", "rho: .nan"), ("options.points: got [{", "finite numbers"), 17),
    Case("twice", SECOND, FIRST, ("options.points.1: is the same as points.0", "each configuration once"), 19),
    Case("no-mapping", SECOND, "0.5", ("options.points.1: got 0.5", "a mapping (hyperparameter: value)"), 19),
    Case("no-list", POINTS, f"\n          points: {FIRST}\n", ("points: got {", "a list of at least one"), 17),
    Case("empty", POINTS, "\n          points: []\n", ("options.points: got []", "a list of at least one"), 17),
    Case("absent", "        options:" + POINTS, "", ("sampling.1.options.points: is missing", "[{rho: 0.1, "), 15),
    Case("other-option", "          points:\n", "          seed: 1\n          points:\n",
         ("options.seed: unknown option 'seed'", "allowed: points"), 17),
    Case("misspelt-option", "          points:\n", "          poins:\n",
         ("options.poins: unknown option 'poins'", "did you mean 'points'?"), 17, 2),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_mistake_is_told_with_its_line(case: Case):
    assert TEXT.count(case.old) == 1
    with pytest.raises(MistakesError) as caught:
        check(TEXT.replace(case.old, case.new))
    text = str(caught.value)
    for part in case.says:
        assert part in text
    assert text.startswith(f"study.yaml:{case.line}: arms.sam.sampling.1.options"), text
    assert len(text.split("\n")) == case.mistakes


def test_points_for_the_whole_study_must_fit_each_arm_that_takes_them():
    text = TEXT.replace("{sampler: random, configurations: 1}", "{sampler: points, options: {points: [{lr: 0.1}]}}")
    assert phase_sizes(check(text).study, "sgd") == [1]  # sam has its own phases
    with pytest.raises(MistakesError, match="arm third: rho is missing"):
        check(
            text.replace("  sgd:", "  third: {parameters: {lr: {low: 0.01, high: 1}, rho: {low: 0, high: 1}}}\n  sgd:")
        )


def test_a_study_with_points_is_written_and_read_back_equal():
    study = check(TEXT).study
    assert parse_study(study.to_yaml()) == study
