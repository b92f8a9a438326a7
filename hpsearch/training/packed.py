"""Trains many trials of one shape in one program: their weights are the rows of one matrix."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from hpsearch.hyperparameters import NUMBERS, Settings
from hpsearch.optim.stacked import Rule, State
from hpsearch.streams import GlobalGenerators, stream_seed
from hpsearch.tasks.protocol import Batch, Task
from hpsearch.training.checkpoint import Checkpoint
from hpsearch.training.cost import peak_memory, reset_peak_memory
from hpsearch.training.engine import Engine
from hpsearch.training.evaluation import evaluate_stack
from hpsearch.training.loop import CHECK_STEPS
from hpsearch.training.outcome import Outcome, Progress
from hpsearch.training.packed_state import restore, state_of
from hpsearch.training.programs import NotStackable
from hpsearch.training.sameness import Held
from hpsearch.training.stack import Stack
from hpsearch.training.steps import Steps
from hpsearch.training.trial import Trial


def train_pack(
    task: Task, trials: Sequence[tuple[Settings, int]], device: str = "cpu", engine: Engine | None = None
) -> list[Outcome]:
    """Trains each (settings, seed) to its end, or to the epoch in which it diverges; outcomes in the same order.

    A trial's result is that of hpsearch.training.loop.train up to rounding, and hangs on nothing of the others but
    their number. Where the network draws random numbers as it trains (dropout), it draws others than alone, and other
    ones in another pack. Its seconds are its share of the pack's; its peak memory is the pack's.

    Raises ValueError where the settings are not of one shape (Settings.shape), NotStackable where the task or its
    network cannot be computed by one program.
    """
    pack = PackRun(task, trials, device, engine)
    while not pack.done:
        pack.run_epoch()
    return pack.outcomes()


class PackRun:
    """Trials that are trained together, an epoch at a time."""

    def __init__(
        self,
        task: Task,
        trials: Sequence[tuple[Settings, int]],
        device: str = "cpu",
        engine: Engine | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        if not trials:
            raise ValueError("a pack needs a trial at least")
        first, seed = trials[0]
        for settings, _ in trials:
            _check_alike(first, settings)
        self.task, self.engine = task, engine or Engine.choose(device, first.precision)
        self.trials = _start(task, trials, self.engine)
        self.rows = list(range(len(trials)))  # of the stack: the places of its trials
        self.epoch = 0
        self.index = 0  # batches of this epoch that are done
        self.losses: list[Tensor] = []  # of this epoch, (K,) each
        self.ended: dict[int, int] = {}  # row -> its steps in this epoch, where it needs no more
        self.finished: dict[int, Outcome] = {}
        self.globals = GlobalGenerators(stream_seed(seed, "pack"))
        if any(length is not None for trial in self.trials for length in trial.lengths.values()):
            raise NotStackable(
                "the task crops its batches to their longest sequence, so trials' batches differ in length"
            )
        batches = {(trial.batches.count, trial.batches.batch_size) for trial in self.trials}
        if len(batches) > 1:
            raise NotStackable("the size of the training set depends on the seed")
        self.steps = self.trials[0].batches.count  # an epoch
        evaluated = tuple(tensor[: first.batch_size] for tensor in self.trials[0].splits["train"])
        with self.globals.swapped():
            sample = _first_batch(self.trials[0])
            perturb = first.perturb if first.rho > 0 else "all"
            self.stack = Stack(task, [trial.model for trial in self.trials], sample, evaluated, self.engine, perturb)
        for trial in self.trials:
            del trial.model  # its weights are the stack's
        self.rule = Rule(
            base=first.base,
            nesterov=first.nesterov,
            perturbs=first.rho > 0,
            averages=first.sigma != 0,
            num_shards=first.num_shards,
            interval=first.interval,
            adaptive=first.adaptive,
            combine=first.combine,
            only=self.stack.only,
        )
        self.state = State.start(self.stack.weights, self.rule)
        self._step = Steps(self.rule, self.stack, task, first, len(trials))
        self._probed: Batch | None = None
        self.checkpoint = checkpoint
        state = None if checkpoint is None else checkpoint.load()
        if state is not None:
            restore(self, state)
        self._count()

    @property
    def done(self) -> bool:
        return all(trial.done for trial in self.trials)

    @property
    def progress(self) -> Progress:
        """Of all trials: what has ended is told with the others."""
        return Progress.of(trial.progress for trial in self.trials)

    def outcomes(self) -> list[Outcome]:
        """Of the trials that have ended, in the order in which they were given."""
        return [self.finished[place] for place in sorted(self.finished)]

    def stopped(self, epoch: int) -> list[Outcome]:
        """What each trial comes to if all end here, at that epoch; of those that have ended, their outcome."""
        return [
            self.finished[place] if place in self.finished else trial.stopped(epoch)
            for place, trial in enumerate(self.trials)
        ]

    def probe(self) -> None:
        """One step of all, for timing; not part of a trial."""
        with self.globals.swapped():
            if self._probed is None:
                parts = [
                    next(trial.batches.of(0, torch.arange(len(trial.splits["train"][0])))) for trial in self.trials
                ]
                self._probed = tuple(torch.stack(tensors) for tensors in zip(*parts, strict=True))
            self._step(self.state, self.numbers, self._probed, self.rule.perturbs)

    def evaluate(self) -> None:
        """One evaluation of all on the split val, for timing."""
        with self.globals.swapped():
            self._evaluate("val", [True] * len(self.rows))

    def run_epoch(self) -> None:
        """An epoch, or what is left of it, and an evaluation of each trial that goes on; those that have ended get
        their outcome.
        """
        self._resume()
        with self.globals.swapped():
            means = self._train_epoch()
            alive = [not self.trials[place].diverged for place in self.rows]
            evaluated = self._evaluate("val", alive)
            ending = [self.trials[place].done and not self.trials[place].diverged for place in self._going()]
            tested = self._evaluate("test", alive) if any(ending) else evaluated
        self._pause()
        for row, place in enumerate(self.rows):
            trial = self.trials[place]
            if place in self.finished:
                continue
            trial.note(means[row], None if trial.diverged else evaluated[row])
            if trial.done:
                self.finished[place] = trial.conclude(None if trial.diverged else tested[row])
        self.epoch += 1
        self._drop()

    def _going(self) -> list[int]:
        """The places of trials that have not ended before this epoch."""
        return [place for place in self.rows if place not in self.finished]

    def _resume(self) -> None:
        self._was_reset = reset_peak_memory(self.engine.device)
        self._since = time.perf_counter() - self.stack.lists.compiling  # which a process does once, for many packs

    def _pause(self) -> None:
        """What the trials took since _resume() is shared out."""
        if self.engine.device.type == "cuda":
            torch.cuda.synchronize(self.engine.device)
        going = self._going()
        share = (time.perf_counter() - self.stack.lists.compiling - self._since) / len(going)
        peak = peak_memory(self.engine.device, self._was_reset)
        for place in going:
            self.trials[place].meter.add(share, peak)

    def _train_epoch(self) -> list[float]:
        """The mean clean loss of each row over the epoch; sets `diverged`."""
        over = {row for row, place in enumerate(self.rows) if place in self.finished}
        ended = self.ended = self.ended or dict.fromkeys(over, 0)
        orders = [self.trials[place].order.get_state() for place in self.rows]
        drawn = [self.trials[place].draw_batches(self.index) for place in self.rows]
        for parts in zip(*drawn, strict=True):
            batch = tuple(torch.stack(tensors) for tensors in zip(*parts, strict=True))
            number = self.epoch * self.steps + self.index
            perturbs = self.rule.perturbs and number % self.rule.interval == 0
            self._set_lr(number)
            self.losses.append(self._step(self.state, self.numbers, batch, perturbs))
            self.index += 1
            for row, place in enumerate(self.rows):
                if row not in ended:
                    self.trials[place].meter.count(parts[row], 2 if perturbs else 1)
            if self.index % CHECK_STEPS == 0:
                stopped = ~torch.isfinite(self.losses[-1])
                ended |= {row: self.index for row in stopped.nonzero().flatten().tolist() if row not in ended}
                if len(ended) == len(self.rows):
                    break
            if self.checkpoint is not None and self.checkpoint.due():
                self._save(self.checkpoint, orders)
        stacked = torch.stack(self.losses)  # (steps, K)
        self.index, self.losses, self.ended = 0, [], {}
        finite = torch.isfinite(torch.linalg.vector_norm(self.state.weights, dim=1)).tolist()
        return [
            math.nan if row in over else self.trials[place].end_epoch(stacked[: ended.get(row), row], finite[row])
            for row, place in enumerate(self.rows)
        ]

    def _save(self, checkpoint: Checkpoint, orders: Sequence[Tensor]) -> None:
        """A disk that refuses stops nothing."""
        self._pause()
        with suppress(OSError):  # the old one is kept, and without any the trials would start anew
            checkpoint.save(state_of(self, orders))
        self._resume()

    def _evaluate(self, name: str, wanted: Sequence[bool]) -> list[dict[str, float]]:
        left = min(self.trials[place].settings.epochs for place in self.rows) - self.epoch
        self.stack.evaluations = left if name == "val" else 0
        splits = [self.trials[place].splits[name] for place in self.rows]
        found = evaluate_stack(self.task, self.stack, self.state.weights, splits, wanted)
        return [{f"{name}_{metric}": value for metric, value in row.items()} for row in found]

    def _count(self) -> None:
        """What hangs on the trials that are left: their settings as numbers, (K, 1) each, and how long they stay."""
        settings = [self.trials[place].settings for place in self.rows]
        self.stack.lists.ahead = (min(each.epochs for each in settings) - self.epoch) * self.steps
        like = self.state.weights
        self.numbers = {
            name: like.new_tensor([getattr(each, name) for each in settings]).unsqueeze(1) for name in NUMBERS
        }

    def _set_lr(self, number: int) -> None:
        trials = [self.trials[place] for place in self.rows]
        # One that has diverged may be here beyond its last step.
        rates = [trial.lr(min(number, trial.settings.epochs * self.steps - 1)) for trial in trials]
        self.numbers["lr"] = self.state.weights.new_tensor(rates).unsqueeze(1)

    def _drop(self) -> None:
        """Trials that have ended leave the stack; diverged ones alone only once they are half of it."""
        over = [row for row, place in enumerate(self.rows) if place in self.finished]
        regular = any(not self.trials[self.rows[row]].diverged for row in over)
        if not regular and 2 * len(over) < len(self.rows):
            return
        kept = [row for row in range(len(self.rows)) if row not in set(over)]
        if not kept or not over:
            return
        index = torch.tensor(kept, device=self.state.weights.device)
        self.state = self.state.rows(index)
        self.stack.keep(index)
        self.rows = [self.rows[row] for row in kept]
        self._count()


def _start(task: Task, trials: Sequence[tuple[Settings, int]], engine: Engine) -> list[Trial]:
    """Raises NotStackable where a seed's data change the task: one task measures all."""
    started = [Trial(task, *trials[0], engine)]
    held, seen = Held(task), [trials[0][1]]
    for settings, seed in trials[1:]:
        started.append(Trial(task, settings, seed, engine))
        if seen.count(seed) < 2 and (changed := held.changed()) is not None:  # once for a network, too, that it keeps
            raise NotStackable(f"the task's data(seed), or model(), keeps something of each trial's own: {changed}")
        seen.append(seed)
    return started


def _first_batch(trial: Trial) -> Batch:
    """As a step is given it. Raises NotStackable where augment() leaves something in the task."""
    order, held = torch.arange(trial.batches.batch_size), Held(trial.task)
    batch = next(trial.batches.of(0, order))
    grown = Held(trial.task)
    next(trial.batches.of(1, order))  # with other draws
    changed = held.changed() or grown.changed()
    if changed is not None:
        raise NotStackable(f"augment() changes the task, which is one for all trials in measure(): {changed}")
    return batch


def _check_alike(first: Settings, other: Settings) -> None:
    if first.shape() != other.shape():
        differ = [name for (name, a), (_, b) in zip(first.shape(), other.shape(), strict=True) if a != b]
        raise ValueError(f"the trials of a pack must be of one shape, but they differ in {', '.join(differ)}")
