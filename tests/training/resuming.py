"""A trial is stopped in the middle and goes on from its checkpoint: shared by the tests of every task."""

from dataclasses import asdict

import pytest
import torch

from hpsearch.training.checkpoint import Checkpoint
from hpsearch.training.loop import TrialRun


class Stop(Exception):
    pass


class Counted(Checkpoint):
    """Saves after so many batches, and is killed after another."""

    def __init__(self, path, at):
        super().__init__(path, {"who": "me"})
        self.at, self.seen = at, 0

    def due(self):
        self.seen += 1
        if self.seen == self.at + 1:
            raise Stop
        return self.seen == self.at


def finish(trial):
    while not trial.done:
        trial.run_epoch()
    return trial


def same(one, two):
    first, second = asdict(one.outcome()), asdict(two.outcome())
    for outcome in (first, second):
        outcome["cost"].pop("seconds")
        outcome["cost"].pop("peak_memory_bytes")
    assert first == second
    for a, b in zip(one.model.state_dict().values(), two.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def assert_goes_on(task, settings, path, at, seed=5):
    """task: made anew for each run. at: after how many batches it is stopped."""
    whole = finish(TrialRun(task(), settings, seed))
    with pytest.raises(Stop):
        finish(TrialRun(task(), settings, seed, checkpoint=Counted(path, at)))
    torch.manual_seed(99)
    torch.rand(3)  # the process that goes on has drawn something else
    going_on = TrialRun(task(), settings, seed, checkpoint=Checkpoint(path, {"who": "me"}))
    assert going_on.epoch * going_on.batches.count + going_on.index == at
    same(whole, finish(going_on))
