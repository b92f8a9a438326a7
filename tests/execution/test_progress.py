"""How long a run will still take, from what ended and from how far the others are."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from hpsearch.execution import progress
from hpsearch.planning.pack import ArmCount
from hpsearch.results import Result
from hpsearch.running import RunningPack
from hpsearch.study import parse_study
from hpsearch.training.outcome import Progress

STUDY = parse_study(
    "name: p\ntask: {name: digits}\narms: {a: {fixed: {rho: 0}}, b: {fixed: {rho: 0.1}}}\n"
    "sampling: [{sampler: grid}]\nseeds: 10\nobjectives: {val_accuracy: maximize}\n"
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that has taken so many seconds."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    counts = {"a": ArmCount(10, 0), "b": ArmCount(10, 0)}
    made = progress.Progress(STUDY, SimpleNamespace(counts=lambda: counts), [], tmp_path)

    def add(*results):
        made.add(list(results))
        counts.update({result.arm: ArmCount(10, counts[result.arm].ended + 1) for result in results})

    def left(seconds, *packs):
        now[0] = 100.0 + seconds
        return made._picture(packs).now.left_seconds

    return SimpleNamespace(add=add, left=left)


def pack(arm, done, here):
    return RunningPack(arm, {}, (0,), 0.0, 1, 4, Progress(done, here))


def ended(arm, seconds, **more):
    metrics, cost, sampling = {"val_accuracy": 0.5}, {"seconds": seconds}, {"confirm": False}
    return Result(arm, arm, arm, {}, {}, 0, sampling, "complete", metrics=metrics, cost=cost, **more)


def test_nothing_is_known_before_an_epoch_has_ended(run):
    assert run.left(0) is None and run.left(9) is None
    assert run.left(9, pack("a", 0.0, 0.0)) is None


def test_before_a_trial_has_ended_epochs_tell(run):
    # Two of twenty trials' worth of epochs in 10 s: the others take nine times that.
    assert run.left(10, pack("a", 1.5, 1.5), pack("b", 0.5, 0.5)) == pytest.approx(90)


def test_what_another_process_trained_need_not_be_trained_but_says_nothing_of_the_pace(run):
    # Two trials' worth in 10 s here, and two were there: sixteen are left.
    assert run.left(10, pack("a", 4.0, 2.0)) == pytest.approx(80)


def test_trials_that_ended_say_what_their_arm_takes(run):
    run.add(ended("a", 5.0), ended("b", 10.0))
    left = 9 * 5 + 9 * 10  # seconds of training
    # 15 s of training ended and half a trial of b, 5 s, is behind: 20 s of training in 10 s.
    assert run.left(10, pack("b", 0.5, 0.5)) == pytest.approx((left - 5) * 10 / 20)
    assert run.left(10) == pytest.approx(left * 10 / 15)


def test_an_arm_of_which_all_have_failed_takes_what_the_others_take(run):
    run.add(ended("a", None), ended("b", 10.0))
    assert run.left(10) == pytest.approx((9 * 10 + 9 * 10) * 10 / 10)


@pytest.mark.parametrize("together, counted", [(False, 40), (True, 10)])
def test_what_earlier_runs_trained_of_a_trial_says_nothing_of_the_pace(run, monkeypatch, together, counted):
    monkeypatch.setattr(progress.time, "time", lambda: 1_000_040.0)
    started = datetime.fromtimestamp(1_000_000, UTC).isoformat()
    bundle = {"key": "k", "trials": 4, "together": together}
    run.add(ended("a", 100.0, started=started, bundle=bundle))
    # 19 trials of 100 s are left; this run has trained some of one, or a share of a bundle, for 40 s.
    assert run.left(40) == pytest.approx(19 * 100 * 40 / counted)
