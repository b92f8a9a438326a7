"""What a trial starts from and what it comes to; how it is trained between these is its engine's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from hpsearch.hyperparameters import Settings
from hpsearch.streams import GlobalGenerators, generator, stream_seed
from hpsearch.tasks.protocol import Batch, Task, as_it_is
from hpsearch.training.batches import Batches, split_lengths
from hpsearch.training.cost import CostMeter
from hpsearch.training.engine import Engine
from hpsearch.training.outcome import COLLAPSED_FACTOR, DIVERGED_FACTOR, Outcome, Progress, finite_or_none
from hpsearch.training.schedule import factor


class Trial:
    """Data on its device, a freshly drawn network and the batches' order; then costs, curve, divergence, outcome.

    splits, lengths: by "train", "val", "test". epoch: those that are done.
    """

    def __init__(self, task: Task, settings: Settings, seed: int, engine: Engine) -> None:
        self.settings, self.engine = settings, engine
        engine.prepare()
        # Not the model's generators: if data() draws on its first call only, the model must not notice.
        with GlobalGenerators(stream_seed(seed, "data")).swapped():
            data = task.data(seed)
        self.chance = {name: float(value) for name, value in task.chance(data).items()}
        self.splits: dict[str, Batch] = {
            name: tuple(tensor.to(engine.device) for tensor in split)
            for name, split in (("train", data.train), ("val", data.val), ("test", data.test))
        }
        self.lengths = {name: split_lengths(data.lengths, name) for name in self.splits}
        self.globals = GlobalGenerators(seed)
        with self.globals.swapped():
            self.model: nn.Module = engine.place(task.model())
        self.task = as_it_is(task)  # other seeds' data may change it, between epochs, too
        self.order = generator(seed, "batch order")
        batch_size = min(settings.batch_size, len(self.splits["train"][0]))
        self.batches = Batches(self.task, self.splits["train"], self.lengths["train"], batch_size, seed)
        self.meter = CostMeter(task, engine.device)  # which knows the task by what it has counted for it
        self.epoch = self.begun = 0  # begun: the epoch at which this process took the trial up
        self.diverged = False
        self.initial_loss = math.nan
        self.curve: dict[str, list[float | None]] = {"epoch": []}

    @property
    def done(self) -> bool:
        return self.diverged or self.epoch == self.settings.epochs

    @property
    def progress(self) -> Progress:
        """All of it, where the trial is done: also one that has diverged before its last epoch."""
        epochs = self.epoch if self.done else self.settings.epochs
        return Progress(self.epoch / epochs, (self.epoch - self.begun) / epochs)

    def draw_batches(self, start: int = 0) -> Iterator[Batch]:
        """This epoch's, from batch `start` on. Draws their order: once an epoch."""
        order = torch.randperm(len(self.splits["train"][0]), generator=self.order)
        return self.batches.of(self.epoch, order, start)

    def lr(self, step: int) -> float:
        """The learning rate of a step of the trial's, counted from 0."""
        chosen, total = self.settings, self.settings.epochs * self.batches.count
        return chosen.lr * factor(chosen.schedule, step, total, chosen.warmup)

    def end_epoch(self, losses: Tensor, finite: bool) -> float:
        """losses: the clean ones of the epoch's steps. finite: whether all weights are. Returns the losses' mean."""
        if self.epoch == 0:
            self.initial_loss = float(losses[0])
        mean = float(losses.mean())
        # A loss that may be negative (a density's, say) has no scale to blow up from.
        blown_up = self.initial_loss > 0 and mean > DIVERGED_FACTOR * self.initial_loss
        self.diverged = not (finite and math.isfinite(mean)) or blown_up
        self.epoch += 1
        return mean

    def note(self, train_loss: float, evaluated: Mapping[str, float] | None) -> None:
        """Adds an epoch to the curve. evaluated: the metrics of val; None of a trial that has diverged."""
        if evaluated is None:
            evaluated = {f"val_{name}": math.nan for name in self.task.metrics}
        self.curve["epoch"].append(self.epoch)
        values = {"train_loss": train_loss, **evaluated, "backward_samples": self.meter.backward_samples}
        for name, value in values.items():
            self.curve.setdefault(name, []).append(finite_or_none(value))

    def stopped(self, epoch: int) -> Outcome:
        """What the trial comes to if it ends here, at that epoch: curve and cost, and no metrics, as none is final."""
        names = [*(f"{split}_{name}" for split in ("val", "test") for name in self.task.metrics), "train_loss"]
        metrics = dict.fromkeys(names)
        curve = {name: values[:epoch] for name, values in self.curve.items()}  # from a checkpoint it may be longer
        return Outcome("stopped", epoch, self.settings.epochs, metrics, self.meter.read(), curve)

    def conclude(self, tested: Mapping[str, float] | None) -> Outcome:
        """tested: the metrics of the test split. Those of a diverged trial are the constant predictor's: that is what
        its user is left with.
        """
        if tested is None:
            status, metrics = "diverged", dict(self.chance)
        else:
            last = {name: values[-1] for name, values in self.curve.items() if name.startswith(("val_", "train_"))}
            metrics = {**last, **tested}  # type: ignore[dict-item]
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
