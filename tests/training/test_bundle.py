"""Bundles: trained by one program where that is quicker, by what was timed; whatever cannot be is refused."""

import json
import os

import pytest
import torch

from hpsearch.hyperparameters import Settings
from hpsearch.tasks.breast_cancer import BreastCancer
from hpsearch.training import bundle
from hpsearch.training.bundle import LONGEST, Timing, timing
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
    monkeypatch.setattr(bundle, "_IN_PROCESS", {})
    return tmp_path / "bundles"


def order(settings=SETTINGS, task="breast_cancer", options=None, **more):
    trials = tuple((vars(Settings.merge(given)), seed) for given in settings for seed in (0, 1))
    plain = PackOrder(task, options or {}, "", {}, (), ("val_accuracy",), 1, "cpu", bundle=trials, **more)
    return PackOrder.from_json(json.dumps(vars(plain)))


def run(order):
    (stage,) = run_pack(order)
    return stage


def test_a_bundle_ends_in_a_report_for_each_trial_in_order():
    stage = run(order(options={"width": 4}, together=16))
    assert [(report.place, report.seed) for report in stage.ended] == [(0, 0), (1, 1), (2, 0), (3, 1)]
    for (settings, seed), report in zip(TRIALS, stage.ended, strict=True):
        expected = train(TASK, settings, seed)
        assert report.outcome.metrics == pytest.approx(expected.metrics, rel=1e-4)
        assert report.outcome.cost.backward_samples == expected.cost.backward_samples
    json.dumps(as_dict(stage.ended[0]))


def test_it_is_timed_what_is_quicker():
    found = timing(TASK, {"width": 4}, [(settings, seed) for settings, _ in TRIALS for seed in range(8)], CPU)
    assert found.refusal is None and found.together < found.alone  # steps of next to no work


@pytest.mark.parametrize(
    "found, says",
    [
        (Timing(1.0, 0.5), None),
        (Timing(1.0, 0.95), "0.95 of the time"),
        (Timing(why="their data"), "their data"),
        (Timing(3 * LONGEST, 2 * LONGEST), "would take 1200 s"),
    ],
)
def test_what_is_refused(found, says, monkeypatch):
    assert (found.refusal is None) if says is None else says in found.refusal
    monkeypatch.setattr(bundle, "time_trials", lambda *_: found)
    stage = run(order())
    assert (stage.refused, len(stage.ended)) == (found.refusal, 4 if says is None else 0)
    assert len(run(order(together=2)).ended) == 4  # where the study says how many, nothing is timed


@pytest.mark.parametrize("limit, says", [("STEP", "a step takes 0.0"), ("DATA", "their data would take 0.0 GiB")])
def test_what_is_not_worth_it_is_not_timed_together(monkeypatch, limit, says):
    monkeypatch.setattr(bundle, limit, 0)
    monkeypatch.setattr(bundle, "PackRun", None)
    for _ in range(2):
        assert says in timing(TASK, {}, TRIALS, CPU).refusal
        bundle._IN_PROCESS.clear()  # read from the file


def test_what_was_timed_first_counts_for_every_process(folder, monkeypatch):
    times = iter([Timing(3.0, 1.0), Timing(1.0, 3.0), Timing(1.0, 4.0)])
    monkeypatch.setattr(bundle, "time_trials", lambda *_: next(times))
    assert timing(TASK, {}, TRIALS, CPU) == timing(TASK, {}, TRIALS, CPU) == Timing(3.0, 1.0)
    bundle._IN_PROCESS.clear()  # another process
    assert timing(TASK, {}, TRIALS, CPU) == Timing(3.0, 1.0)
    (file,) = folder.iterdir()

    def slower(*_):  # another process was quicker
        file.write_text('{"alone": 5.0, "together": 2.0, "why": null}')
        return next(times)

    file.unlink()
    bundle._IN_PROCESS.clear()
    monkeypatch.setattr(bundle, "time_trials", slower)
    assert timing(TASK, {}, TRIALS, CPU) == Timing(5.0, 2.0) and os.listdir(folder) == [file.name]
    file.write_text("{")
    bundle._IN_PROCESS.clear()
    monkeypatch.setattr(bundle, "time_trials", lambda *_: Timing(1.0, 9.0))
    assert timing(TASK, {}, TRIALS, CPU) == Timing(1.0, 9.0)  # what cannot be read is timed again


@pytest.mark.parametrize(
    "other",
    [
        {"options": {"width": 8}},
        {"trials": TRIALS * 4},
        {"trials": [(Settings.merge(vars(settings), {"num_shards": 2}), seed) for settings, seed in TRIALS]},
        {"engine": Engine.choose("cpu", switches={"compile": True})},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_trials_are_timed_on_their_own(folder, monkeypatch, other):
    monkeypatch.setattr(bundle, "time_trials", lambda *_: Timing(1.0, 1.0))
    base = {"task": TASK, "options": {}, "trials": TRIALS, "engine": CPU}
    timing(**base)
    timing(**{**base, "trials": TRIALS[::-1]})
    assert len(list(folder.iterdir())) == 1
    timing(**{**base, **other})
    assert len(list(folder.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "file" / "below"))
    (tmp_path / "file").touch()
    times = iter([Timing(3.0, 1.0)])
    monkeypatch.setattr(bundle, "time_trials", lambda *_: next(times))
    assert timing(TASK, {}, TRIALS, CPU) == timing(TASK, {}, TRIALS, CPU) == Timing(3.0, 1.0)


@pytest.mark.parametrize("error", [RuntimeError("the reason\nand more"), torch.OutOfMemoryError("too much")])
def test_what_raises_is_refused_with_the_reason(monkeypatch, capsys, error):
    def raises(*_, **__):
        raise error

    monkeypatch.setattr("hpsearch.training.pack.train_pack", raises)
    stage = run(order(together=4))
    assert stage.ended == () and stage.refused == f"{type(error).__name__}: {str(error).splitlines()[0]}"
    assert "Traceback" in capsys.readouterr().err


def test_trials_of_two_shapes_are_refused():
    assert "differ in num_shards" in run(order([*SETTINGS, {**SETTINGS[0], "num_shards": 2}], together=4)).refused
