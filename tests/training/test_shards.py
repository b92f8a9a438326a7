"""Trials of many shards: their steps are two passes, and the trial is the one of shards one after another."""

from dataclasses import asdict

import pytest
import torch
from torch import nn

from hpsearch.hyperparameters import Settings
from hpsearch.optim import SharpnessAware
from hpsearch.tasks import Classification, Data
from hpsearch.tasks.digits import Digits
from hpsearch.training.engine import Engine
from hpsearch.training.loop import TrialRun
from tests.training.resuming import assert_goes_on


class Small(Classification):
    def __init__(self, make=lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3))):
        self.make = make

    def data(self, seed):
        draw = torch.Generator().manual_seed(seed)
        inputs = torch.randn(80, 5, generator=draw, dtype=torch.float64)
        targets = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()
        return Data(*((inputs[part], targets[part]) for part in (slice(48), slice(48, 64), slice(64, None))))

    def model(self):
        return self.make().double()


def settings(**more):
    return Settings.merge({"epochs": 5, "batch_size": 16, "lr": 0.1, "rho": 0.1, "num_shards": 8, **more})


@pytest.fixture
def ghosts(monkeypatch):
    """The steps that were taken by ghosts."""
    taken, real = [], SharpnessAware.step_vectorized

    def step(self, *args, program, **more):
        assert program == "ghost"
        taken.append(self)
        return real(self, *args, program=program, **more)

    monkeypatch.setattr(SharpnessAware, "step_vectorized", step)
    return taken


def trained(task, chosen, engine=None):
    trial = TrialRun(task, chosen, 3, engine=engine)
    while not trial.done:
        trial.run_epoch()
    return asdict(trial.outcome()), [p.detach() for p in trial.model.parameters()]


@pytest.mark.parametrize(
    "more, steps",
    [({}, 15), ({"num_shards": 16}, 15), ({"sigma": 1.0}, 15), ({"sigma": 0.5, "interval": 4, "combine": "gsam"}, 4)],
    ids=str,
)
def test_the_trial_of_shards_one_after_another(monkeypatch, ghosts, more, steps):
    found, weights = trained(Small(), settings(**more))
    assert len(ghosts) == steps
    monkeypatch.setattr("hpsearch.training.loop.GHOSTS", 999)
    expected, theirs = trained(Small(), settings(**more))
    assert len(ghosts) == steps
    for one, other in zip(weights, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    for outcome in (found, expected):
        outcome["cost"].pop("seconds")
        outcome["cost"].pop("peak_memory_bytes")
    assert found["cost"] == expected["cost"] and found["metrics"] == pytest.approx(expected["metrics"])


class Looking(Small):
    def measure(self, model, *batch):
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        return {"loss": loss if loss > 0 else -loss, "accuracy": loss.detach()}


def dropout():
    return nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3))


@pytest.mark.parametrize(
    "task, more",
    [
        (Small(), {"num_shards": 4}),
        (Small(), {"num_shards": 16, "batch_size": 24}),
        (Small(), {"adaptive": True}),
        (Small(), {"rho": 0.0}),
        (Small(dropout), {}),
        (Looking(), {}),
    ],
    ids=["few shards", "uneven", "metric", "sgd", "dropout", "decides by values"],
)
def test_other_trials_take_one_shard_after_another(ghosts, task, more):
    trained(task, settings(epochs=1, **more))
    assert not ghosts


def test_other_precisions_and_large_copies_take_one_shard_after_another(monkeypatch, ghosts):
    trained(Digits(), settings(epochs=1, batch_size=128), Engine.choose("cpu", "bf16"))
    monkeypatch.setattr("hpsearch.training.loop.COPIES", 100)
    trained(Small(), settings(epochs=1))
    assert not ghosts


def test_a_trial_that_goes_on_does_not_decide_anew(tmp_path, monkeypatch, ghosts):
    """Of another batch and other weights: near what still counts as agreement it might decide otherwise."""
    asked, real = [], SharpnessAware.ghosts_refused
    answer = lambda self, *args: asked.append(self) or (real(self, *args) if len(asked) < 3 else "otherwise")  # noqa: E731
    monkeypatch.setattr(SharpnessAware, "ghosts_refused", answer)
    assert_goes_on(Small, settings(), tmp_path / "trial", 7)
    assert len(asked) == 2 and ghosts


@pytest.mark.parametrize("at", [1, 4, 10])
def test_a_trial_that_goes_on_is_the_trial_that_never_stopped(tmp_path, ghosts, at):
    assert_goes_on(Small, settings(sigma=1.0), tmp_path / "trial", at)
    assert ghosts
