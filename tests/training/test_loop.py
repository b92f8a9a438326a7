"""One trial: its bits, its status, its costs, its curve."""

import json
import math
import os
import random
import subprocess
import sys

import numpy
import pytest
import torch
from torch import nn

from hpsearch.hyperparameters import Settings
from hpsearch.optim.asam import Absolute
from hpsearch.optim.gsam import GSAM
from hpsearch.tasks import Classification, Data
from hpsearch.tasks.digits import Digits
from hpsearch.training.cost import flops_per_sample
from hpsearch.training.loop import TrialRun, train

DIGITS = Digits(label_noise=0.3)


def settings(**more):
    return Settings.merge({"epochs": 2, "batch_size": 100, "momentum": 0.9, **more})


METHODS = {
    "sgd": {},
    "adamw": {"base": "adamw", "lr": 0.01, "momentum": 0.0},
    "sam": {"rho": 0.1},
    "fmsam": {"rho": 0.1, "sigma": 1.0, "num_shards": 4, "interval": 2},
}


class Drawing(Classification):
    """Draws from the global generators wherever user code may: its data, its model, its dropout, its measure."""

    metrics = ("loss", "extra")

    def data(self, seed):
        inputs = torch.rand(60, 4) + float(numpy.random.rand()) + random.random()
        labels = torch.arange(60) % 2
        return Data((inputs, labels), (inputs[:20], labels[:20]), (inputs[20:40], labels[20:40]))

    def model(self):
        return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))

    def measure(self, model, *batch):
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        return {"loss": loss, "extra": torch.rand(()) + random.random() + float(numpy.random.rand())}

    def chance(self, data):
        return {"train_loss": 1.0, **{f"{split}_{name}": 1.0 for split in ("val", "test") for name in self.metrics}}


class Regression(Drawing):
    """A loss that may be negative, as a density's may."""

    metrics = ("loss",)

    def measure(self, model, *batch):
        return {"loss": nn.functional.cross_entropy(model(batch[0]), batch[1]) - 5.0}


def bits(outcome):
    """Everything that must be the same to the last bit; seconds and memory are not."""
    return (
        outcome.status,
        outcome.epochs,
        dict(outcome.metrics),
        dict(outcome.curve),
        outcome.cost.backward_samples,
        outcome.cost.flops,
    )


# Bits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [DIGITS, Drawing()], ids=["digits", "drawing"])
@pytest.mark.parametrize("method", METHODS)
def test_the_same_bits_alone_after_others_and_in_turn_with_another(task, method):
    mine = settings(**METHODS[method])
    alone = bits(train(task, mine, seed=3))
    train(task, settings(rho=0.5), seed=4)
    random.seed(5), numpy.random.seed(5), torch.manual_seed(5)
    assert bits(train(task, mine, seed=3)) == alone

    first, other = TrialRun(task, mine, 3), TrialRun(task, settings(rho=0.2, epochs=3), 8)
    while not (first.done and other.done):
        for trial in (first, other):
            if not trial.done:
                trial.run_epoch()
    other.outcome()
    assert bits(first.outcome()) == alone
    assert bits(train(task, mine, seed=9)) != alone


def test_the_same_bits_in_a_fresh_process_with_another_hash_seed():
    code = """
import dataclasses, json, torch
from hpsearch.hyperparameters import Settings
from hpsearch.tasks.digits import Digits
from hpsearch.training.loop import train
torch.set_num_threads(1)
settings = Settings.merge({"epochs": 2, "batch_size": 100, "momentum": 0.9, "rho": 0.1})
outcome = train(Digits(label_noise=0.3), settings, 3)
print(json.dumps([outcome.metrics, outcome.curve]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    outcome = train(DIGITS, settings(rho=0.1), seed=3)
    torch.set_num_threads(threads)
    assert json.loads(done.stdout) == [outcome.metrics, outcome.curve]


def test_the_global_generators_are_as_before():
    def draw():
        return random.random(), float(numpy.random.rand()), float(torch.rand(()))

    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    expected = draw()
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    train(Drawing(), settings(rho=0.1), seed=3)
    assert draw() == expected


def test_the_seed_draws_the_network_the_order_and_the_noise():
    first, second = TrialRun(DIGITS, settings(), 0), TrialRun(DIGITS, settings(), 1)
    assert not torch.equal(next(first.model.parameters()), next(second.model.parameters()))
    assert not torch.equal(first.batches.split[1], second.batches.split[1])
    assert first.order.initial_seed() != second.order.initial_seed()


# Status -------------------------------------------------------------------------------------------------------------


def test_a_trial_that_trains_is_complete():
    outcome = train(DIGITS, settings(epochs=5), seed=0)
    assert outcome.status == "complete" and outcome.epochs == outcome.epochs_planned == 5
    assert set(outcome.metrics) == {"train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy"}
    assert outcome.metrics["val_accuracy"] > 0.5 and outcome.metrics["test_accuracy"] > 0.5
    assert outcome.metrics["val_accuracy"] == outcome.curve["val_accuracy"][-1]
    assert outcome.metrics["train_loss"] == outcome.curve["train_loss"][-1]


@pytest.mark.parametrize("lr", [1e3, 1e30], ids=["blown up", "not finite"])
def test_a_huge_learning_rate_diverges_and_leaves_the_constant_predictor(lr):
    outcome = train(DIGITS, settings(lr=lr, epochs=9, schedule="constant"), seed=0)
    assert outcome.status == "diverged" and outcome.epochs < 9 == outcome.epochs_planned
    assert outcome.metrics == DIGITS.chance(DIGITS.data(0))
    assert outcome.cost.backward_samples == 1000 * outcome.epochs
    json.dumps([outcome.metrics, outcome.curve], allow_nan=False)


def test_sam_at_rho_1_collapses():
    outcome = train(DIGITS, settings(rho=1.0, lr=0.1, epochs=6, batch_size=128, schedule="constant"), seed=0)
    assert outcome.status == "collapsed" and outcome.epochs == 6
    assert outcome.metrics["train_loss"] == pytest.approx(math.log(10), rel=0.02)
    assert outcome.metrics["val_accuracy"] < 0.3  # as measured


@pytest.mark.parametrize("lr", [1e-3, 0.1])
def test_a_loss_below_zero_is_not_divergence(lr):
    assert train(Regression(), settings(lr=lr, epochs=3), seed=0).status == "complete"


# Costs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "steps_with_two"),
    [
        ({}, 0),
        ({"rho": 0.1}, 27),
        ({"rho": 0.1, "num_shards": 4}, 27),
        ({"rho": 0.1, "interval": 3}, 9),
        ({"rho": 0.1, "interval": 4, "num_shards": 3}, 7),  # steps 0, 4, … 24 of 27, across epochs
        ({"rho": 0.0, "num_shards": 4, "sigma": 1.0}, 0),
    ],
)
def test_backward_samples_are_exact(more, steps_with_two):
    """1000 training samples in batches of 110: 9 steps an epoch, the last 10 samples are left out."""
    outcome = train(DIGITS, settings(epochs=3, batch_size=110, **more), seed=0)
    assert outcome.cost.backward_samples == 110 * (27 + steps_with_two)
    assert outcome.curve["backward_samples"][-1] == outcome.cost.backward_samples


def test_flops_of_the_mlp_are_the_closed_form():
    """A linear layer's forward pass is a product (B, in) x (in, out): 2 in out FLOPs a sample. Backward it has two
    more of the same size, for the weights' and for the inputs' gradient; the first layer's inputs need none. Bias,
    ReLU and loss are not counted.
    """
    layers = [(64, 128), (128, 128), (128, 10)]
    forward = sum(2 * i * o for i, o in layers)
    by_hand = forward + forward + (forward - 2 * 64 * 128)
    batch = tuple(tensor[:50] for tensor in DIGITS.data(0).train)
    assert flops_per_sample(DIGITS, batch) == by_hand == 138_752
    assert flops_per_sample(DIGITS, tuple(tensor[:7] for tensor in batch)) == by_hand
    outcome = train(DIGITS, settings(epochs=1, rho=0.1), seed=0)
    assert outcome.cost.flops == by_hand * 2000


def test_seconds_and_memory_are_measured():
    trial = TrialRun(DIGITS, settings(epochs=1), 0)
    trial.run_epoch()
    before = trial.outcome().cost
    assert 0 < before.seconds < 60
    assert before.peak_memory_bytes is None or before.peak_memory_bytes > 10_000_000


# Curve and learning rate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lr", [0.1, 1e30])
def test_the_curve_has_one_value_an_epoch(lr):
    outcome = train(DIGITS, settings(lr=lr, epochs=4), seed=0)
    assert outcome.curve["epoch"] == list(range(1, outcome.epochs + 1))
    assert set(outcome.curve) == {"epoch", "train_loss", "val_loss", "val_accuracy", "backward_samples"}
    assert {len(values) for values in outcome.curve.values()} == {outcome.epochs}
    assert (outcome.curve["val_loss"][-1] is None) == (outcome.status == "diverged")


def test_evaluation_is_of_the_whole_split_in_evaluation_mode(monkeypatch):
    trial = TrialRun(DIGITS, settings(), 0)
    trial.model.append(nn.Dropout(0.9))
    whole = trial.evaluate("val")
    monkeypatch.setattr("hpsearch.training.evaluation.EVALUATION_BATCH", 33)
    in_parts = trial.evaluate("val")
    assert in_parts == pytest.approx(whole, rel=1e-5)
    logits = trial.model(trial.splits["val"][0])
    assert whole["val_accuracy"] == pytest.approx(float((logits.argmax(1) == trial.splits["val"][1]).double().mean()))


def test_the_learning_rate_follows_the_schedule_over_all_steps():
    trial, seen = TrialRun(DIGITS, settings(epochs=2, batch_size=250, lr=0.2), 0), []
    step = trial.optimizer.base.step
    trial.optimizer.base.step = lambda: (seen.append(trial.optimizer.param_groups[0]["lr"]), step())
    while not trial.done:
        trial.run_epoch()
    assert seen == pytest.approx([0.1 * (1 + math.cos(math.pi * i / 8)) for i in range(8)])


def test_every_epoch_has_another_order_and_every_sample_once():
    trial, seen = TrialRun(DIGITS, settings(epochs=2), 0), []
    measure = DIGITS.measure

    class Watched:
        def __getattr__(self, name):
            return getattr(DIGITS, name)

        def measure(self, model, *batch):
            if model.training:
                seen.append(batch[0].sum(1))
            return measure(model, *batch)

    trial.task = Watched()
    while not trial.done:
        trial.run_epoch()
    first, second = torch.cat(seen[:10]), torch.cat(seen[10:])
    assert len(first) == len(second) == 1000 and not torch.equal(first, second)
    torch.testing.assert_close(first.sort().values, second.sort().values)


def test_a_batch_larger_than_the_training_set_is_the_training_set():
    outcome = train(DIGITS, settings(batch_size=5000, epochs=2), seed=0)
    assert outcome.cost.backward_samples == 2000


@pytest.mark.parametrize(
    ("more", "kind", "group"),
    [
        (
            {"lr": 0.3, "weight_decay": 0.01, "nesterov": True},
            torch.optim.SGD,
            {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        ),
        ({"base": "adam", "beta1": 0.8}, torch.optim.Adam, {"betas": (0.8, 0.999)}),
        ({"base": "adamw", "weight_decay": 0.1}, torch.optim.AdamW, {"weight_decay": 0.1}),
        ({"rho": 0.2, "sigma": -0.5, "ema_decay": 0.7}, torch.optim.SGD, {"rho": 0.2, "sigma": -0.5, "ema_decay": 0.7}),
    ],
)
def test_the_settings_reach_the_optimizer(more, kind, group):
    optimizer = TrialRun(DIGITS, settings(**more, num_shards=3, interval=2, adaptive=True), 0).optimizer
    assert type(optimizer.base) is kind
    assert {key: optimizer.param_groups[0][key] for key in group} == group
    assert (optimizer.num_shards, optimizer.interval, type(optimizer.metric)) == (3, 2, Absolute)
    assert optimizer.combine is None and optimizer.selected is None


def test_gsam_and_sam_on_reach_the_optimizer():
    convnet = Digits(model="convnet")
    chosen = settings(rho=0.1, combine="gsam", alpha=0.2, perturb="normalization")
    optimizer = TrialRun(convnet, chosen, 0).optimizer
    assert optimizer.combine == GSAM(0.2)
    norms = [module for module in optimizer.model.modules() if isinstance(module, nn.GroupNorm)]
    assert len(norms) == 2 and optimizer.selected == {p for norm in norms for p in norm.parameters()}


class Caching(nn.Module):
    """Longer sequences need a longer table, which it keeps; its normalisation is never trained."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last, self.table = nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 3), None

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, inputs):
        length = inputs.shape[1]
        if self.table is None or len(self.table) < length:
            self.table = torch.arange(1.0, length + 1).to(inputs).unsqueeze(1)
        return self.last(self.norm((self.first(inputs.unsqueeze(2)) * self.table[:length]).mean(1)))


class Caches(Classification):
    """Both the network and the task keep what they made when it was first needed, wherever that was."""

    def __init__(self):
        self.weights = None

    def data(self, seed):
        inputs, labels = torch.randn(60, 8), torch.arange(60) % 3
        lengths = torch.where(torch.arange(60) < 40, 5, 8)
        parts = slice(40), slice(40, 50), slice(50, None)
        splits = dict(zip(("train", "val", "test"), (lengths[part] for part in parts), strict=True))
        return Data(*((inputs[part], labels[part]) for part in parts), splits)

    def crop(self, batch, length):
        return batch[0][:, :length], batch[1]

    def model(self):
        return Caching()

    def measure(self, model, *batch):
        if self.weights is None:
            self.weights = torch.ones(3, device=batch[0].device)
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1], self.weights)
        return {"loss": loss, "accuracy": loss.detach()}


def test_what_is_kept_from_counting_or_an_evaluation_disturbs_no_trial():
    task = Caches()
    for seed in (0, 1):  # one sample a shard: a normalisation that were trained would raise
        found = train(task, Settings.merge({"epochs": 3, "batch_size": 4, "rho": 0.1, "num_shards": 4}), seed)
        assert found.status in ("complete", "collapsed") and found.cost.flops > 0
