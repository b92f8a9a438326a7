"""A pack that is stopped anywhere and goes on from its checkpoint is the pack that never stopped."""

import json
from dataclasses import asdict, replace

import numpy
import pytest
import torch

from hpsearch.hyperparameters import Settings
from hpsearch.training import checkpoint
from hpsearch.training.bundle import Timing
from hpsearch.training.checkpoint import Checkpoint
from hpsearch.training.pack import PackOrder, run_pack
from hpsearch.training.packed import PackRun
from tests.training.resuming import Counted, Stop, finish
from tests.training.test_checkpoint import METHODS, Distant, Drawing

DIVERGES = {"lr": 1e30}


def trials(method, *given):
    """Of nine steps an epoch, three epochs unless given."""
    shared = {"epochs": 3, "batch_size": 32, **METHODS[method]}
    return [(Settings.merge({**shared, **more}), seed) for seed, more in enumerate(given)]


def same(one, two):
    torch.testing.assert_close(one.state.weights, two.state.weights, rtol=0, atol=0, equal_nan=True)
    assert one.rows == two.rows
    for first, second in zip(one.outcomes(), two.outcomes(), strict=True):
        a, b = (
            {**asdict(each), "cost": replace(each.cost, seconds=0, peak_memory_bytes=0)} for each in (first, second)
        )
        assert a == b
        assert first.cost.seconds > 0 and second.cost.seconds > 0


def goes_on(chosen, store, at, engine=None):
    whole = finish(PackRun(Drawing(), chosen, engine=engine))
    with pytest.raises(Stop):
        finish(PackRun(Drawing(), chosen, engine=engine, checkpoint=Counted(store, at)))
    torch.manual_seed(99)  # the process that goes on has drawn something else
    going_on = PackRun(Drawing(), chosen, engine=engine, checkpoint=Checkpoint(store, {"who": "me"}))
    assert going_on.epoch * going_on.steps + going_on.index == at
    same(whole, finish(going_on))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", [1, 9, 13])  # 9 is an epoch's last one
def test_it_goes_on(tmp_path, method, at):
    goes_on(trials(method, {}, {"lr": 0.02}), tmp_path / "deep" / "pack.pt", at)


@pytest.mark.parametrize("at", [5, 13, 22])  # in each epoch
@pytest.mark.parametrize(
    "given",
    [({}, DIVERGES, {"lr": 0.02}), ({}, DIVERGES, {}, DIVERGES), ({"epochs": 1}, {}, {"epochs": 2}, {})],
    ids=["one has diverged", "half have diverged and left", "some have ended"],
)
def test_it_goes_on_with_those_that_are_left(given, at):
    goes_on(trials("fmsam", *given), Distant(), at)


def test_it_goes_on_in_an_epoch_that_a_trial_had_left(monkeypatch):
    monkeypatch.setattr("hpsearch.training.packed.CHECK_STEPS", 3)
    goes_on(trials("sgd", {}, DIVERGES, {}), Distant(), 5)


# As a bundle ----------------------------------------------------------------------------------------------------------


def order(tmp_path, **more):
    bundle = tuple((vars(settings), seed) for settings, seed in trials("sgd", {}, DIVERGES, {"lr": 0.02}))
    blank = PackOrder("tests.training.test_checkpoint:Drawing", {}, "", {}, (), ("val_accuracy",), 1, "cpu", pack=3)
    return replace(blank, bundle=bundle, checkpoint=str(tmp_path / "bundle.pt"), **more)


def tells(stage):
    """Else it is an epoch."""
    return bool(stage.ended or stage.waiting)


def told(order):
    return list(map(results, filter(tells, run_pack(order))))


def results(stage):
    """Without what was measured."""
    found = [asdict(report.outcome) for report in (*stage.ended, *stage.waiting)]
    for outcome in found:
        spent = outcome.pop("cost")["backward_samples"]
        if stage.milestone is None:  # at a milestone before the checkpoint more is spent than until there
            outcome["cost"] = spent
    return stage.milestone, json.loads(json.dumps(found))


def killed(monkeypatch, order, steps):
    """Runs it with a checkpoint after every step until the process dies."""
    step, count = PackRun._set_lr, [0]

    def counted(self, number):
        count[0] += 1
        if count[0] > steps:
            raise KeyboardInterrupt
        step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FIRST", 0.0)
        patch.setattr(checkpoint, "SHARE", 1e9)
        patch.setattr(PackRun, "_set_lr", counted)
        with pytest.raises(KeyboardInterrupt):
            list(run_pack(order))


@pytest.mark.parametrize("milestones", [None, {"grace": 1, "reduction": None}], ids=["to its end", "with milestones"])
def test_a_bundle_goes_on_and_waits_at_every_milestone_again(tmp_path, monkeypatch, milestones):
    wanted = order(tmp_path, milestones=milestones)
    whole = told(wanted)
    assert not (tmp_path / "bundle.pt").exists()  # it took no minute
    killed(monkeypatch, wanted, 13)
    steps, step = [], PackRun._set_lr
    monkeypatch.setattr(PackRun, "_set_lr", lambda self, number: steps.append(number) or step(self, number))
    stages = list(run_pack(wanted))
    again = list(map(results, filter(tells, stages)))
    assert steps == list(range(13, 27))
    assert [milestone for milestone, _ in again] == ([None] if milestones is None else [1, 2, None])
    assert again == whole  # also what was told of milestones before the checkpoint
    # Three trials of three epochs: the second one diverges in the first epoch, and the checkpoint is of the next one.
    progress = [stage.progress for stage in stages if not tells(stage)]
    assert progress == [pytest.approx((2 * 2 / 3 + 1, 2 * 1 / 3)), pytest.approx((3, 2 * 2 / 3))]


def test_another_bundles_checkpoint_is_not_read(tmp_path, monkeypatch):
    wanted = order(tmp_path)
    killed(monkeypatch, wanted, 13)
    other = replace(wanted, bundle=wanted.bundle[:2])
    assert told(other) == told(replace(other, checkpoint=""))


@pytest.mark.parametrize("pack", ["auto", 3])
def test_a_bundle_that_has_begun_is_not_asked_again_whether_it_is_worth_it(tmp_path, monkeypatch, pack):
    wanted = order(tmp_path)
    killed(monkeypatch, wanted, 13)
    timed = []
    monkeypatch.setattr("hpsearch.training.pack.timing", lambda *_: timed.append(0) or Timing(why="it is not"))
    stages = list(run_pack(replace(wanted, pack=pack)))
    assert len(stages[-1].ended) == 3 and not timed
    (tmp_path / "bundle.pt").unlink()
    (stage,) = run_pack(replace(wanted, pack="auto"))
    assert stage.refused == "it is not"


def test_numbers_of_numpys_are_kept_too(tmp_path):
    class Summing(Drawing):
        def summarize(self, means):
            return {name: numpy.float64(value) for name, value in means.items()}

    def run(at):
        return PackRun(Summing(), trials("sgd", {}, DIVERGES), checkpoint=Counted(tmp_path / "pack.pt", at))

    with pytest.raises(Stop):
        finish(run(13))
    assert run(99).epoch == 1
