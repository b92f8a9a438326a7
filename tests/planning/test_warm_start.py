"""A warm start: earlier runs' configurations are told to the samplers that adapt, and are no trials of the study."""

import pytest

import hpsearch.planning.suggestions
from hpsearch.check import Checked, check_study
from hpsearch.errors import HpsearchError
from hpsearch.identity import Identity
from hpsearch.results import RunFolder
from hpsearch.sampling import Adaptive
from hpsearch.study import Recorded, build_study, parse_study
from hpsearch.tasks.digits import Digits
from hpsearch.warm_start import read_warm_start
from hpsearch.yamlfile import parse_yaml
from tests.planning.harness import checked_of, result_of, run

RANGES = "{sam: {parameters: {rho: {low: 0.01, high: 0.6}, lr: {low: 0.01, high: 0.5}}}}"
TPE = "[{sampler: tpe, configurations: 5, options: {n_startup_trials: 2}}]"
TASK = {"name": "digits", "semantics": 1, "options": {}}


def earlier(folder, arms=RANGES, sampling="[{sampler: random, configurations: 6}]", known=None, task=TASK, **more):
    checked = checked_of(arms, sampling, 2, **more)
    results = run(checked)[0] if known is None else known(checked)
    recorded = Recorded(versions={"hpsearch": "0"}, task={**task, "function": False})
    with RunFolder(folder) as run_folder:
        run_folder.write_study(checked.study.model_copy(update={"recorded": recorded}))
        run_folder.append(results)
    return results


def warm(checked, folder, task=TASK):
    """The study with its warm start read, as hpsearch.check reads it."""
    found, mistakes = read_warm_start(checked.study, task, folder)
    return Checked(checked.study, Digits, Identity(checked.study, TASK, False), found), mistakes


@pytest.fixture
def told(monkeypatch):
    told = []

    class Spied(Adaptive):
        def tell(self, asked, values):
            told.append((asked.params, values))
            super().tell(asked, values)

        def add(self, params, values, sampling=None):
            told.append((params, values))
            super().add(params, values, sampling)

    monkeypatch.setattr(hpsearch.planning.suggestions, "Adaptive", Spied)
    return told


def test_the_sampler_is_told_their_means_before_the_first_ask_and_they_are_no_trials(tmp_path, told):
    before = earlier(tmp_path / "a", confirm="{top: 1, seeds: 3}")
    told.clear()
    checked, mistakes = warm(checked_of(RANGES, TPE, 3, warm_start="[a]"), tmp_path)
    assert not mistakes and checked.warm.notes == ("warm start: 6 of 6 configurations of a",)
    results, planner = run(checked)
    means = {}
    for result in before:
        if not result.sampling["confirm"]:
            means.setdefault(tuple(result.params.items()), []).append(result.metrics["val_accuracy"])
    assert [(tuple(params.items()), values) for params, values in told[:6]] == [
        (params, (pytest.approx(sum(values) / 2),)) for params, values in means.items()
    ]
    assert len(told) == 6 + 5
    assert len(results) == 15 == planner.counts()["sam"].planned
    assert not {r.trial_id for r in results} & {r.trial_id for r in before}


def test_what_it_knows_changes_what_is_suggested_and_a_resumed_run_suggests_the_same(tmp_path):
    earlier(tmp_path / "a")
    checked, _ = warm(checked_of(RANGES, TPE, 3, warm_start="a"), tmp_path)
    cold = [result.trial_id for result in run(checked_of(RANGES, TPE, 3))[0]]
    whole = [result.trial_id for result in run(checked)[0]]
    assert set(whole) != set(cold)
    part, _ = run(checked, trials=7)
    assert [r.trial_id for r in (*part, *run(checked, part)[0])] == whole


def test_what_is_taken_of_another_space(tmp_path):
    """The arm must be here and the point in its ranges; what it searched besides must have the value it had."""
    earlier(tmp_path / "a")
    (tmp_path / "b").mkdir()
    points = "[{rho: 0.1, lr: 0.2}, {rho: 0.3, lr: 0.2}, {rho: 0.3, lr: 0.4}]"
    earlier(tmp_path / "b", sampling=f"[{{sampler: points, options: {{points: {points}}}}}]")
    narrow = "{sam: {fixed: {lr: 0.2}, parameters: {rho: {low: 0.2, high: 0.6}}}}"
    checked, mistakes = warm(checked_of(narrow, TPE, 3, warm_start="b"), tmp_path)
    assert not mistakes and [params for params, _ in checked.warm.points["sam"]] == [{"rho": 0.3}]
    # lr was fixed in a shared section there and is searched here: its value is known
    earlier(tmp_path / "c", arms="{sam: {fixed: {lr: 0.2}, parameters: {rho: {low: 0.2, high: 0.6}}}}")
    checked, mistakes = warm(checked_of(RANGES, TPE, 3, warm_start="[c]"), tmp_path)
    assert not mistakes and {params["lr"] for params, _ in checked.warm.points["sam"]} == {0.2}
    other = RANGES.replace("sam:", "fsam:")
    _, (mistake,) = warm(checked_of(other, TPE, 3, warm_start="[c]"), tmp_path)
    assert mistake.path == ("warm_start", 0)
    assert "got 'c': none of its 6 configurations lies in an arm of this study" in mistake.describe()
    assert "allowed: runs with an arm fsam that searched the same" in mistake.describe()


def test_what_has_no_value_of_its_own_is_not_told(tmp_path):
    """Failed, stopped early, or a seed without the metric."""

    def known(checked):
        from hpsearch.planning import Planner

        planner, results = Planner(checked, []), []
        for status, value in (("complete", 0.5), ("failed", 0.5), ("stopped", 0.9), ("complete", None)):
            pack = planner.next()
            results += [result_of(pack, seed, lambda params, seed, v=value: v, status) for seed in pack.seeds]
        return results

    earlier(tmp_path / "a", known=known)
    checked, _ = warm(checked_of(RANGES, TPE, 3, warm_start="a"), tmp_path)
    assert [values for _, values in checked.warm.points["sam"]] == [(0.5,)]


def test_another_task_is_a_transfer_and_is_said(tmp_path):
    earlier(tmp_path / "a", optimizer="{momentum: 0.5}")
    checked, mistakes = warm(checked_of(RANGES, TPE, 3, warm_start="a"), tmp_path, {**TASK, "options": {"width": 3}})
    assert not mistakes and len(checked.warm.points["sam"]) == 6
    (note,) = checked.warm.notes
    assert note.endswith("configurations of a (other options, other shared settings: taken as a transfer)")


HEAD = """
name: s
task: {name: digits}
arms: {sam: {parameters: {rho: {low: 0.01, high: 0.6}}}}
seeds: 2
objectives: {val_accuracy: maximize}
"""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("warm_start: nowhere", "warm_start.0: got 'nowhere': no such run folder"),
        ("warm_start: [a, 3]", "warm_start: got ['a', 3]; allowed: the folder of an earlier run, or a list of them"),
        ("warm_start: [a, a]", "warm_start: got ['a', 'a']; allowed: each folder once"),
        ("warm_start: [a]\nobjectives: {train_loss: minimize}", "where no trial has the objective 'train_loss'"),
        ("warm_start: [a]\nsampling: [{sampler: random, configurations: 2}]", "no phase of the study adapts"),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path, lines, said):
    earlier(tmp_path / "a")
    text = HEAD if "objectives" not in lines else HEAD.replace("objectives: {val_accuracy: maximize}\n", "")
    text += "" if "sampling" in lines else f"sampling: {TPE}\n"
    with pytest.raises(HpsearchError) as error:
        study, document = build_study(parse_yaml(text + lines, "study.yaml"), (), [])
        check_study(study, document, tmp_path)
    assert said in str(error.value) and "study.yaml:" in str(error.value)


def test_a_study_keeps_its_warm_start_when_written(tmp_path):
    study = parse_study(HEAD + f"sampling: {TPE}\nwarm_start: runs/a")
    assert study.warm_start == ("runs/a",) and parse_study(study.to_yaml()) == study
