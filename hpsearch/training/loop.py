"""Trains one trial, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from hpsearch.hyperparameters import Settings
from hpsearch.streams import GlobalGenerators, generator, stream_seed
from hpsearch.tasks.protocol import Batch, Task
from hpsearch.training.cost import CostMeter, flops_per_sample
from hpsearch.training.optimizer import build_optimizer
from hpsearch.training.outcome import COLLAPSED_FACTOR, DIVERGED_FACTOR, Outcome, finite_or_none
from hpsearch.training.schedule import factor

EVALUATION_BATCH = 4096
CHUNK_BYTES = 2**28  # of training samples that are shuffled and augmented at once


def train(task: Task, settings: Settings, seed: int, device: str = "cpu") -> Outcome:
    """Trains to the end, or to the epoch in which it diverges. The result's bits depend on the arguments alone."""
    trial = TrialRun(task, settings, seed, device)
    while not trial.done:
        trial.run_epoch()
    return trial.outcome()


class TrialRun:
    """A trial that is trained one epoch at a time; between epochs other trials may run in the same process."""

    def __init__(self, task: Task, settings: Settings, seed: int, device: str = "cpu") -> None:
        self.task, self.settings, self.device = task, settings, torch.device(device)
        # Not the model's generators: if data() draws on its first call only, the model must not notice.
        with GlobalGenerators(stream_seed(seed, "data")).swapped():
            data = task.data(seed)
        self.chance = {name: float(value) for name, value in task.chance(data).items()}
        self.train_split, self.val_split, self.test_split = (
            tuple(tensor.to(self.device) for tensor in split) for split in (data.train, data.val, data.test)
        )
        self.lengths, self.seed = data.lengths, seed
        self.sample_bytes = sum(tensor[0].nbytes for tensor in self.train_split)
        self.augment: Callable[[Batch, torch.Generator], Batch] | None = getattr(task, "augment", None)
        self.summarize: Callable[[dict[str, float]], dict[str, float]] = getattr(task, "summarize", dict)
        self.globals = GlobalGenerators(seed)
        with self.globals.swapped():
            self.model: nn.Module = task.model().to(self.device)
        self.optimizer = build_optimizer(settings, self.model)
        self.order = generator(seed, "batch order")
        samples = len(self.train_split[0])
        self.batch_size = min(settings.batch_size, samples)
        self.batches = samples // self.batch_size  # the last, smaller batch is dropped: every batch has one shape
        self.meter = CostMeter(
            flops_per_sample(task, tuple(tensor[: self.batch_size] for tensor in self.train_split)), self.device
        )
        self.epoch = 0
        self.diverged = False
        self.initial_loss = math.nan
        self.curve: dict[str, list[float | None]] = {"epoch": []}

    @property
    def done(self) -> bool:
        return self.diverged or self.epoch == self.settings.epochs

    def run_epoch(self) -> None:
        """One pass over the training set and one evaluation."""
        self.meter.resume()
        with self.globals.swapped():
            train_loss = self._train_epoch()
        self.epoch += 1
        if not self.diverged:
            self._note({"train_loss": train_loss, **self._evaluate("val", self.val_split)})
        else:
            self._note({"train_loss": train_loss, **{f"val_{name}": math.nan for name in self.task.metrics}})
        self.meter.pause()

    def probe(self) -> None:
        """One step on the first batch, for timing; not part of a trial."""
        self.model.train()
        self.optimizer.step(self._closure, *(tensor[: self.batch_size] for tensor in self.train_split))

    def outcome(self) -> Outcome:
        """Metrics of a diverged trial are the constant predictor's: that is what its user is left with."""
        if self.diverged:
            status, metrics = "diverged", dict(self.chance)
        else:
            self.meter.resume()
            last = {name: values[-1] for name, values in self.curve.items() if name.startswith(("val_", "train_"))}
            metrics = {**last, **self._evaluate("test", self.test_split)}  # type: ignore[dict-item]
            self.meter.pause()
            train_loss = metrics["train_loss"]
            stuck = train_loss is None or train_loss >= COLLAPSED_FACTOR * self.chance["train_loss"]
            status = "collapsed" if stuck else "complete"
        return Outcome(
            status=status,  # type: ignore[arg-type]
            epochs=self.epoch,
            epochs_planned=self.settings.epochs,
            metrics={name: None if value is None else finite_or_none(value) for name, value in metrics.items()},
            cost=self.meter.read(),
            curve=self.curve,
        )

    def _train_epoch(self) -> float:
        """The mean clean loss over the epoch's batches; sets `diverged`."""
        self.model.train()
        losses: list[Tensor] = []
        for index, batch in enumerate(self._batches()):
            self._set_lr(self.epoch * self.batches + index)
            losses.append(self.optimizer.step(self._closure, *batch))
        stacked = torch.stack(losses)  # read once an epoch: reading each loss would stall a GPU
        if self.epoch == 0:
            self.initial_loss = float(stacked[0])
        mean = float(stacked.mean())
        weights = torch.stack(torch._foreach_norm([p.detach() for p in self.model.parameters()]))
        finite = math.isfinite(mean) and bool(torch.isfinite(weights).all())
        # A loss that may be negative (a density's, say) has no scale to blow up from.
        blown_up = self.initial_loss > 0 and mean > DIVERGED_FACTOR * self.initial_loss
        self.diverged = not finite or blown_up
        return mean

    def _batches(self) -> Iterator[Batch]:
        """An epoch's batches. Many are shuffled and augmented at once: small operations would starve a GPU."""
        order = torch.randperm(len(self.train_split[0]), generator=self.order)
        lengths = self.lengths.get("train")
        per_chunk = max(1, CHUNK_BYTES // max(1, self.batch_size * self.sample_bytes))
        for first in range(0, self.batches, per_chunk):
            last = min(first + per_chunk, self.batches)
            rows = order[first * self.batch_size : last * self.batch_size]
            on_device = rows.to(self.device, non_blocking=True)
            chunk = tuple(tensor[on_device] for tensor in self.train_split)
            if self.augment is not None:
                chunk = self.augment(chunk, generator(self.seed, "augmentation", self.epoch, first))
            for at in range(0, len(rows), self.batch_size):
                batch = tuple(tensor[at : at + self.batch_size] for tensor in chunk)
                if lengths is not None:
                    batch = self._crop(batch, lengths[rows[at : at + self.batch_size]])
                yield batch

    def _crop(self, batch: Batch, lengths: Tensor) -> Batch:
        return self.task.crop(batch, int(lengths.max()))  # type: ignore[attr-defined,no-any-return]

    def _closure(self, *batch: Tensor) -> Tensor:
        loss = self.task.measure(self.model, *batch)["loss"]
        loss.backward()  # type: ignore[no-untyped-call]
        self.meter.backward_samples += len(batch[0])
        return loss

    def _set_lr(self, step: int) -> None:
        lr = self.settings.lr * factor(self.settings.schedule, step, self.settings.epochs * self.batches)
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def _evaluate(self, name: str, split: Batch) -> dict[str, float]:
        """Each metric's mean over a split, in evaluation mode."""
        self.model.eval()
        totals: dict[str, float] = {}
        samples, lengths = len(split[0]), self.lengths.get(name)
        with self.globals.swapped(), torch.inference_mode():
            for start in range(0, samples, EVALUATION_BATCH):
                part = tuple(tensor[start : start + EVALUATION_BATCH] for tensor in split)
                if lengths is not None:
                    part = self._crop(part, lengths[start : start + EVALUATION_BATCH])
                for metric, value in self.task.measure(self.model, *part).items():
                    totals[metric] = totals.get(metric, 0.0) + float(value) * len(part[0]) / samples
        return {f"{name}_{metric}": value for metric, value in self.summarize(totals).items()}

    def _note(self, values: dict[str, float]) -> None:
        self.curve["epoch"].append(self.epoch)
        for name, value in {**values, "backward_samples": self.meter.backward_samples}.items():
            self.curve.setdefault(name, []).append(finite_or_none(value))
