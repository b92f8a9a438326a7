"""Bundles: trained by one program where that is quicker, by what was timed; whatever cannot be is refused."""

import json
import os
import traceback
from dataclasses import replace

import pytest
import torch

from hpsearch.hyperparameters import Settings
from hpsearch.optim.traced import Traced
from hpsearch.tasks.breast_cancer import BreastCancer
from hpsearch.training import bundle, kept
from hpsearch.training.bundle import DATA, Timing, Way, timing
from hpsearch.training.engine import Engine
from hpsearch.training.loop import train
from hpsearch.training.pack import PackOrder, as_dict, run_pack

CPU = Engine.choose("cpu")
TASK = BreastCancer(width=4)
SETTINGS = [{"epochs": 2, "batch_size": 50, "rho": rho} for rho in (0.05, 0.1)]
TRIALS = [(Settings.merge(given), seed) for given in SETTINGS for seed in (0, 1)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache, and a process that has timed nothing."""
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(kept, "_IN_PROCESS", {})
    return tmp_path / "bundles"


def order(settings=SETTINGS, task="breast_cancer", options=None, **more):
    trials = tuple((vars(Settings.merge(given)), seed) for given in settings for seed in (0, 1))
    plain = PackOrder(task, options or {}, "", {}, (), ("val_accuracy",), 1, "cpu", bundle=trials, **more)
    return PackOrder.from_json(json.dumps(vars(plain)))


def run(order):
    *epochs, stage = run_pack(order)
    assert not any(epoch.ended or epoch.refused for epoch in epochs)
    return stage


def test_a_bundle_ends_in_a_report_for_each_trial_in_order():
    stage = run(order(options={"width": 4}, pack=16))
    assert [(report.place, report.seed) for report in stage.ended] == [(0, 0), (1, 1), (2, 0), (3, 1)]
    for (settings, seed), report in zip(TRIALS, stage.ended, strict=True):
        expected = train(TASK, settings, seed)
        assert report.outcome.metrics == pytest.approx(expected.metrics, rel=1e-4)
        assert report.outcome.cost.backward_samples == expected.cost.backward_samples
    json.dumps(as_dict(stage.ended[0]))


def test_at_a_milestone_all_wait_also_those_that_have_diverged():
    settings = [{**SETTINGS[0], "epochs": 3}, {**SETTINGS[1], "epochs": 3, "lr": 1e30}]
    wanted = order(settings, options={"width": 4}, pack=4, milestones={"grace": 1, "reduction": None})
    stages = list(run_pack(wanted))
    # Trials' worth of epochs: two of four diverge in the first and are done, until all are told as ended.
    done = [8 / 3, 8 / 3, 10 / 3, 10 / 3, 4, 0]
    assert [stage.progress for stage in stages] == [pytest.approx((each, each)) for each in done]
    first, second, last = stages[1::2]
    assert [stage.milestone for stage in (first, second, last)] == [1, 2, None]
    for stage in (first, second):
        assert not stage.ended and [report.place for report in stage.waiting] == [0, 1, 2, 3]
        outcomes = [report.outcome for report in stage.waiting]
        assert [outcome.status for outcome in outcomes] == [*["stopped"] * 2, *["diverged"] * 2]
        assert [outcome.epochs for outcome in outcomes] == [stage.milestone] * 2 + [1] * 2
        for mine, final in zip(outcomes, last.ended, strict=True):
            assert mine.curve["val_loss"] == final.outcome.curve["val_loss"][: mine.epochs]
    straight = run(replace(wanted, milestones=None))
    assert [each.outcome.metrics for each in last.ended] == [each.outcome.metrics for each in straight.ended]


def timed(alone, together, **more):
    """Of four trials: seconds of a step alone and of one of all four; each of TRIALS has ten."""
    return Timing(4, 5, 0, Way(0.0, alone, 0.0), Way(0.0, together, 0.0), **more)


def test_it_is_timed_what_is_quicker():
    trials = [(replace(settings, epochs=50), seed) for settings, _ in TRIALS for seed in range(8)]
    found = timing(TASK, {"width": 4}, trials, CPU)
    alone, together = found.seconds(trials)
    assert found.refusal(trials) is None and together < alone  # steps of next to no work
    assert (found.trials, found.steps) == (32, 6)


def test_what_is_done_once_is_not_timed_as_a_part_of_each_evaluation(monkeypatch):
    monkeypatch.setattr("hpsearch.training.evaluation.EVALUATION_BATCH", 20)
    inside, traced, seconds, trace = [False], [], bundle._seconds, Traced.trace

    def timing(*given):
        inside[0] = True
        found = seconds(*given)
        inside[0] = False
        return found

    monkeypatch.setattr(bundle, "_seconds", timing)
    monkeypatch.setattr(Traced, "trace", lambda *given: traced.append(inside[0]) or trace(*given))
    trials = [(replace(settings, epochs=100), seed) for settings, seed in TRIALS]
    bundle.time_trials(BreastCancer(width=4), trials, CPU)
    assert traced == [False] * 2  # a step, and evaluations of 20 samples


@pytest.mark.parametrize(
    "found, says",
    [
        (timed(1.0, 2.0), None),
        (timed(1.0, 3.9), "takes 0.97 of the time"),
        (timed(200.0, 400.0), "would take 4000 s"),
        (Timing(why="the reason"), "the reason"),
        (Timing(data=DATA), "their data would take 8.0 GiB"),
    ],
)
def test_what_is_refused(found, says, monkeypatch):
    monkeypatch.setattr(bundle, "time_trials", lambda *_: found)
    stage = run(order())
    assert (len(stage.ended), stage.raised) == (4 if says is None else 0, False)
    assert stage.refused is None if says is None else says in stage.refused
    assert len(run(order(pack=2)).ended) == 4  # where the study says how many, nothing is timed


def test_what_was_timed_is_judged_for_the_trials_at_hand():
    found = Timing(4, 5, 0, Way(0.0, 1.0, 1.0), Way(10.0, 1.0, 1.0))  # one program takes long to begin
    long = [(Settings.merge(vars(settings), {"epochs": 10}), seed) for settings, seed in TRIALS]
    assert found.seconds(TRIALS) == (4 * 13, 23) and found.seconds(long * 2) == (8 * 61, 2 * 71)
    assert found.refusal(long) is None
    longest = [(Settings.merge(vars(settings), {"epochs": 1000}), seed) for settings, seed in TRIALS]
    assert "would take 6011 s" in found.refusal(longest)
    assert "GiB" in Timing(4, 5, DATA // 4, found.alone, found.together).refusal(TRIALS * 2)


class Dropping(BreastCancer):
    def model(self):
        return torch.nn.Sequential(super().model(), torch.nn.Dropout(0.1))


class Unstackable(BreastCancer):
    def model(self):
        net = super().model()
        net.register_forward_pre_hook(lambda module, inputs: inputs[0].sum().item() and None)
        return net


@pytest.mark.parametrize("task, says", [(Dropping, "dropout"), (Unstackable, "vmap")])
def test_networks_that_are_not_bundled(task, says):
    for _ in range(2):
        assert says in timing(task(), {}, TRIALS, CPU).refusal(TRIALS)
        kept._IN_PROCESS.clear()  # read from the file


@pytest.mark.parametrize("limit, says", [("STEP", "a step takes 0.0"), ("DATA", "their data would take 0.0 GiB")])
def test_what_is_not_worth_it_is_not_timed_together(monkeypatch, limit, says):
    monkeypatch.setattr(bundle, limit, 0)
    monkeypatch.setattr(bundle, "PackRun", None)
    assert says in timing(TASK, {}, TRIALS, CPU).refusal(TRIALS)


def test_what_was_timed_first_counts_for_every_process(folder, monkeypatch):
    times = iter([timed(3.0, 1.0), timed(1.0, 3.0), timed(1.0, 4.0)])
    monkeypatch.setattr(bundle, "time_trials", lambda *_: next(times))
    assert timing(TASK, {}, TRIALS, CPU) == timing(TASK, {}, TRIALS, CPU) == timed(3.0, 1.0)
    kept._IN_PROCESS.clear()  # another process
    assert timing(TASK, {}, TRIALS, CPU) == timed(3.0, 1.0)
    (file,) = folder.iterdir()
    theirs = file.read_text().replace("3.0", "5.0")

    def slower(*_):  # another process was quicker
        file.write_text(theirs)
        return next(times)

    file.unlink()
    kept._IN_PROCESS.clear()
    monkeypatch.setattr(bundle, "time_trials", slower)
    assert timing(TASK, {}, TRIALS, CPU) == timed(5.0, 1.0) and os.listdir(folder) == [file.name]


@pytest.mark.parametrize("broken", ["torn", "no links"])
def test_a_file_that_is_torn_is_replaced_and_links_are_not_needed(folder, monkeypatch, broken):
    monkeypatch.setattr(bundle, "time_trials", lambda *_: timed(1.0, 9.0))
    if broken == "torn":
        timing(TASK, {}, TRIALS, CPU)
        next(folder.iterdir()).write_text("{")
        kept._IN_PROCESS.clear()
    else:
        monkeypatch.setattr(kept.os, "link", refuse)
    assert timing(TASK, {}, TRIALS, CPU) == timed(1.0, 9.0)
    monkeypatch.setattr(bundle, "time_trials", None)
    kept._IN_PROCESS.clear()
    assert timing(TASK, {}, TRIALS, CPU) == timed(1.0, 9.0) and len(os.listdir(folder)) == 1


def refuse(*_):
    raise OSError("no links here")


@pytest.mark.parametrize(
    "other",
    [
        {"options": {"width": 8}},
        {"task": Dropping()},
        {"trials": TRIALS * 4},
        {"trials": [(Settings.merge(vars(settings), {"num_shards": 2}), seed) for settings, seed in TRIALS]},
        {"engine": Engine.choose("cpu", switches={"compile": True})},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_trials_are_timed_on_their_own(folder, monkeypatch, other):
    monkeypatch.setattr(bundle, "time_trials", lambda *_: timed(1.0, 1.0))
    base = {"task": TASK, "options": {}, "trials": TRIALS, "engine": CPU}
    timing(**base)
    timing(**{**base, "trials": TRIALS[::-1]})
    assert len(list(folder.iterdir())) == 1
    timing(**{**base, **other})
    assert len(list(folder.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "file" / "below"))
    (tmp_path / "file").touch()
    times = iter([timed(3.0, 1.0)])
    monkeypatch.setattr(bundle, "time_trials", lambda *_: next(times))
    assert timing(TASK, {}, TRIALS, CPU) == timing(TASK, {}, TRIALS, CPU) == timed(3.0, 1.0)


@pytest.mark.parametrize("error", [RuntimeError("the reason\nand more"), torch.OutOfMemoryError("too much")])
def test_what_raises_is_refused_with_the_reason(monkeypatch, capsys, error):
    def raises(*_, **__):
        raise error

    monkeypatch.setattr("hpsearch.training.pack.PackRun", raises)
    stage = run(order(pack=4))
    assert (stage.ended, stage.raised) == ((), True) and stage.refused in str(traceback.format_exception(error))
    assert "Traceback" in capsys.readouterr().err


def test_trials_of_two_shapes_are_refused():
    assert "differ in num_shards" in run(order([*SETTINGS, {**SETTINGS[0], "num_shards": 2}], pack=4)).refused
