"""Trains one trial, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.hyperparameters import Settings
from hpsearch.optim.layers import may_copy
from hpsearch.tasks.protocol import Batch, Task
from hpsearch.training.checkpoint import Checkpoint, identity
from hpsearch.training.engine import Engine
from hpsearch.training.evaluation import evaluate
from hpsearch.training.optimizer import build_optimizer
from hpsearch.training.outcome import Outcome
from hpsearch.training.stack import COPIES
from hpsearch.training.store import Store
from hpsearch.training.trial import Trial

GHOSTS = 8  # shards, from which on they are computed at once
CHECK_STEPS = 1000  # a loss is read: waiting for each would stall a GPU, and an epoch may take an hour


def train(
    task: Task,
    settings: Settings,
    seed: int,
    device: str = "cpu",
    engine: Engine | None = None,
    checkpoint: Path | Store | None = None,
) -> Outcome:
    """Trains to the end, or to the epoch in which it diverges. The result's bits depend on the arguments alone.

    engine: how the device computes, default for the device. checkpoint: a file or store that a long trial is kept in
    and goes on from; the caller removes it when the outcome is kept.
    """
    trial = start(task, settings, seed, device, engine, checkpoint)
    while not trial.done:
        trial.run_epoch()
    return trial.outcome()


def start(
    task: Task,
    settings: Settings,
    seed: int,
    device: str = "cpu",
    engine: Engine | None = None,
    checkpoint: Path | Store | None = None,
) -> TrialRun:
    """The trial that `train` trains, before its first epoch or where it was kept."""
    engine = engine or Engine.choose(device, settings.precision)
    keep = None if checkpoint is None else Checkpoint(checkpoint, identity(task, [(settings, seed)], engine))
    return TrialRun(task, settings, seed, device, engine, keep)


class TrialRun(Trial):
    """A trial that is trained one epoch at a time; between epochs other trials may run in the same process."""

    ahead = 0  # it knows how many epochs it has

    def __init__(
        self,
        task: Task,
        settings: Settings,
        seed: int,
        device: str = "cpu",
        engine: Engine | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        super().__init__(task, settings, seed, engine or Engine.choose(device, settings.precision))
        self.called = self.engine.callable(self.model)
        self.optimizer = build_optimizer(settings, self.model)
        self.index = 0  # batches of this epoch that are done
        self.losses: list[Tensor] = []  # of this epoch
        self._probed = self._endless()
        self._as_ghosts: bool | None = None  # whether all shards of a step are one program; found out by the first step
        self.checkpoint = checkpoint
        state = None if checkpoint is None else checkpoint.load()
        if state is not None:
            self._restore(state)

    def run_epoch(self) -> None:
        """One pass over the training set, or what is left of it, and one evaluation."""
        self.meter.resume()
        with self.globals.swapped():
            train_loss = self._train_epoch()
        self.note(train_loss, None if self.diverged else self.evaluate("val"))
        self.meter.pause()

    def probe(self) -> None:
        """One step, for timing; not part of a trial."""
        self.model.train()
        self._step(next(self._probed))

    def _endless(self) -> Iterator[Batch]:
        while True:
            yield from self.batches.of(0, torch.arange(len(self.batches.split[0])))

    def outcome(self) -> Outcome:
        tested = None
        if not self.diverged:
            self.meter.resume()
            tested = self.evaluate("test")
            self.meter.pause()
        return self.conclude(tested)

    def close(self) -> None:
        """Nothing is held but memory."""

    def _train_epoch(self) -> float:
        """The mean clean loss over the epoch's batches; sets `diverged`."""
        self.model.train()
        before = self.order.get_state()
        for batch in self.draw_batches(self.index):
            lr = self.lr(self.epoch * self.batches.count + self.index)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.losses.append(self._step(batch))
            self.index += 1
            if self.index % CHECK_STEPS == 0 and not math.isfinite(float(self.losses[-1])):
                break
            if self.checkpoint is not None and self.checkpoint.due():
                self._save(self.checkpoint, before)
        stacked = torch.stack(self.losses)  # read once an epoch
        self.index, self.losses = 0, []
        weights = torch.stack(torch._foreach_norm([p.detach() for p in self.model.parameters()]))
        return self.end_epoch(stacked, bool(torch.isfinite(weights).all()))

    def _step(self, batch: Batch) -> Tensor:
        perturbs = self.optimizer.steps % self.settings.interval == 0
        if self._as_ghosts is None and perturbs:
            self._as_ghosts = self._may_have_ghosts() and self.optimizer.ghosts_refused(self._loss, *batch) is None
        if not (self._as_ghosts and perturbs):
            return self.optimizer.step(self._closure, *batch)
        self.meter.count(batch, 2)
        return self.optimizer.step_vectorized(self._loss, *batch, program="ghost")

    def _may_have_ghosts(self) -> bool:
        """Where ghost shards were never slower than one after another (tests/benchmarks/shards.py), and memory is left.

        A rule and no timing: the choice decides the trial's last bits.
        """
        copies = self.settings.num_shards * sum(parameter.numel() for parameter in self.model.parameters())
        by_engine = self.engine.compile or self.engine.precision != "fp32"
        return self.settings.num_shards >= GHOSTS and copies <= COPIES and not by_engine and may_copy(self.model)

    def _loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        return self.task.measure(model, *batch)["loss"]

    def _closure(self, *batch: Tensor) -> Tensor:
        with self.engine.autocast():
            loss = self.task.measure(self.called, *batch)["loss"]
        loss.backward()  # type: ignore[no-untyped-call]
        self.meter.count(batch)
        return loss

    def evaluate(self, name: str) -> dict[str, float]:
        """Every metric of the task on the split val or test."""
        with self.globals.swapped():
            found = evaluate(self.task, self.called, self.splits[name], self.lengths[name], self.engine)
        return {f"{name}_{metric}": value for metric, value in found.items()}

    def _save(self, checkpoint: Checkpoint, order: Tensor) -> None:
        """order: the state of the batch order's generator at the epoch's start. A disk that refuses stops nothing."""
        self.meter.pause()
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "buffers": dict(self.model.named_buffers()),  # those that are not persistent, too
            "optimizer": self.optimizer.state_dict(),
            "globals": self.globals.state(inside=True),
            "order": order,
            "meter": self.meter.state(),
            "losses": torch.stack(self.losses),
            "as_ghosts": self._as_ghosts,
            **{name: getattr(self, name) for name in ("epoch", "index", "initial_loss", "curve")},
        }
        try:
            checkpoint.save(state)
        except OSError:
            pass  # the old one is kept, and without any the trial would start anew
        self.meter.resume()

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        buffers = dict(self.model.named_buffers())
        with torch.no_grad():
            for name, value in state.get("buffers", {}).items():
                buffers[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.globals.restore(state["globals"])
        self.order.set_state(state["order"])
        self.meter.restore(state["meter"])
        self.losses = list(state["losses"].to(self.engine.device))
        self._as_ghosts = state.get("as_ghosts")
        self.epoch, self.index = state["epoch"], state["index"]
        self.begun = self.epoch
        self.initial_loss, self.curve = state["initial_loss"], state["curve"]
