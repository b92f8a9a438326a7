"""The networks of many trials as one: their weights end to end, the losses, gradients and metrics of all of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Hashable, Sequence

import numpy
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hpsearch.optim.agreement import agree, in_double, keeps_apart
from hpsearch.optim.folded import Weights
from hpsearch.optim.ghost import Direction
from hpsearch.optim.ghost_model import KINDS
from hpsearch.optim.sam_on import normalization
from hpsearch.optim.traced import Compute
from hpsearch.tasks.protocol import Batch, Task
from hpsearch.training.engine import Engine
from hpsearch.training.ghosts import Ghosts
from hpsearch.training.lists import Lists
from hpsearch.training.programs import ByFolding, ByFunc, Measured, Program, without_dropout
from hpsearch.training.sameness import Kept, difference

FEW = 8  # samples on which the two programs are compared
NOISE = 0.1  # of the weights' spread, so that the trials on which the programs are compared differ
COPIES = 2**26  # numbers in the weights of all trials' shards, at most: 256 MiB


class NotStackable(ValueError):
    """A task or network whose trials cannot be computed by one program; says why."""


class Stack:
    """K networks of one shape, whose weights are kept outside: weights (K, P), those that are trained end to end.

    Frozen parameters, buffers (BatchNorm's statistics) and their updates are kept here. folded: the network's own form
    for many trials, where it has one that gives what torch.func gives; None otherwise. only: which of the P numbers are
    perturbed, (P,); None for all.
    """

    def __init__(
        self, task: Task, models: Sequence[nn.Module], sample: Batch, engine: Engine, perturb: str = "all"
    ) -> None:
        """sample: training samples of one trial, (B, ...). Raises NotStackable; ValueError where `perturb` asks for
        normalisation layers and there are none.
        """
        self._module = Measured(task, models[0])
        self.engine = engine
        differs = difference(models)
        if differs is not None:
            raise NotStackable(f"the trials' networks differ in more than their weights and buffers: in {differs}")
        kept, drawn = Kept(models[0]), _drawn()
        used = _used(self._module, sample, engine)
        if _drawn() != drawn:
            raise NotStackable(
                "a training step draws from random or numpy.random, which would be the same for all trials"
            )
        changed = kept.changed()
        if changed is not None:
            raise NotStackable(f"a training step changes more of the network than its weights and buffers: {changed}")
        named = [dict(model.named_parameters()) for model in models]
        self.names = [name for name in named[0] if name in used]
        self._shapes = [named[0][name].shape for name in self.names]
        self._sizes = [shape.numel() for shape in self._shapes]
        kinds = {named[0][name].dtype for name in self.names}
        if len(kinds) != 1 or not kinds <= KINDS:
            raise NotStackable(
                f"the network's weights are of {', '.join(sorted(map(str, kinds)))}, not all of torch.float32"
            )
        rows = [torch.cat([trial[name].detach().reshape(-1) for name in self.names]) for trial in named]
        self.weights = torch.stack(rows)
        fixed = [{**trial, **dict(model.named_buffers())} for trial, model in zip(named, models, strict=True)]
        others = [name for name in fixed[0] if name not in self.names]
        self.others = {name: torch.stack([each[name].detach() for each in fixed]) for name in others}
        self._tracks = any(isinstance(m, _NormBase) and m.track_running_stats for m in models[0].modules())
        self.moved = self.names
        self.only: Tensor | None = None
        if perturb == "normalization":
            chosen = set(normalization(self._module.model))
            self.moved = [name for name in self.names if dict(models[0].named_parameters())[name] in chosen]
            moved = [size * [name in self.moved] for name, size in zip(self.names, self._sizes, strict=True)]
            self.only = torch.tensor(sum(moved, []), device=self.weights.device)
        self._func = ByFunc(self._module, self.names)
        self.lists = Lists(task, models[0], engine, len(models))
        self.whole = engine.compile and not self.lists.any  # the compiler is given steps as they are, and watches them
        self.folded = self._fold(sample)
        self.evaluations = 0  # that will follow with as many trials
        self._gradients = self.of_steps(self._compute, "gradients")
        self._metrics = self.lists.of(self._values, "metrics", self._networks, lambda: self.evaluations)
        self._metric_names: list[str] | None = None
        self._ghosts: dict[Hashable, tuple[Ghosts, Compute] | None] = {}
        self._loses = False  # whether norms of ghosts lost digits in the step before

    def gradients(self, weights: Tensor, batch: Batch, updates: bool = True) -> tuple[Tensor, Tensor]:
        """(losses (K,), gradients (K, P)) in training mode; each tensor of the batch is (K, B, ...).

        updates: whether running statistics take part of this pass.
        """
        if self.whole:  # part of one graph
            return self.compute(weights, self.others, batch, updates)
        others = self.others if updates or not self._tracks else {k: v.clone() for k, v in self.others.items()}
        losses, found = self._gradients(weights, *others.values(), *batch)
        return losses, found

    def compute(self, weights: Tensor, others: Weights, batch: Batch, updates: bool = True) -> tuple[Tensor, Tensor]:
        """The same with frozen parameters and buffers that are given."""
        if self._tracks and not updates:
            others = {name: value.clone() for name, value in others.items()}
        # Under the compiler, torch.func's gradients: they are what it can make part of one graph.
        program = self._func if self.folded is None or self.whole else self.folded
        with self.engine.autocast():
            losses, found = program.gradients(self.views(weights), others, batch)
        return losses, self.flat(found)

    @property
    def _networks(self) -> nn.Module:
        return self._module if self.folded is None else self.folded.folded

    def of_steps(self, compute: Compute, kind: Hashable) -> Compute:
        """compute(*tensors), which uses these networks, as a list of operations where there is one."""
        return self.lists.of_steps(compute, kind, self._networks)

    def shards(
        self, weights: Tensor, batch: Batch, num_shards: int, direction: Direction, keeps: bool
    ) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """As hpsearch.optim.stacked.Networks has it, of networks that are folded; None for others, where shards are not
        equal, and where their copies of small weights would be large.
        """
        if self.folded is None or self.whole or self.engine.precision != "fp32":
            return None
        if batch[0].shape[1] % num_shards:
            return None
        tensors = [each for each in (direction.rho, direction.sigma, direction.ema) if isinstance(each, Tensor)]
        given = [weights, *tensors, *self.others.values(), *batch]
        kind = num_shards, len(tensors), direction.adaptive, keeps, *self.moved, *(each.shape for each in given)
        if kind not in self._ghosts:
            ghosts = Ghosts(self, num_shards, direction, keeps)
            small = ghosts.passes(*given).copied <= COPIES
            self._ghosts[kind] = (ghosts, self.of_steps(ghosts, kind)) if small else None
        known = self._ghosts[kind]
        if known is None:
            return None
        ghosts, traced = known
        # Compiled, each step begins alike: its bits would hang on the one before, which a checkpoint does not tell.
        repairs = self._loses and not self.engine.compile
        lost, *found = traced(*given) if not repairs else ghosts(*given, repairs=True)
        if lost and not repairs:
            lost, *found = ghosts(*given, repairs=True)
        self._loses = bool(lost)  # the next step is likely to do so, too
        losses, seen, *clean = found
        return losses, seen, clean[0] if keeps else None

    def flat(self, parts: Sequence[Tensor]) -> Tensor:
        """A tensor for each parameter, (K, ...), as one, (K, P)."""
        return torch.cat([part.reshape(len(part), -1) for part in parts], 1)

    def measure(self, weights: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Every metric of each trial, (K,), in evaluation mode; each tensor of the batch is (K, B, ...)."""
        if not self.lists.any or self._metric_names is None:  # a list of operations does not say them
            found = self._measure(weights, self.others, batch)
            self._metric_names = list(found)
            return found
        return dict(zip(self._metric_names, self._metrics(weights, *self.others.values(), *batch), strict=True))

    def keep(self, rows: Tensor) -> None:
        """Goes on with some of the trials only; rows (k,)."""
        self.others = {name: value[rows] for name, value in self.others.items()}

    def _compute(self, weights: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        return self.compute(weights, *self._apart(rest))

    def _values(self, weights: Tensor, *rest: Tensor) -> list[Tensor]:
        return list(self._measure(weights, *self._apart(rest)).values())

    def _apart(self, rest: Sequence[Tensor]) -> tuple[dict[str, Tensor], Batch]:
        """`others` and the batch."""
        count = len(self.others)
        return dict(zip(self.others, rest[:count], strict=True)), tuple(rest[count:])

    def _measure(self, weights: Tensor, others: Weights, batch: Batch) -> dict[str, Tensor]:
        program = self._func if self.folded is None else self.folded
        with torch.no_grad(), self.engine.autocast():
            return program.measure(self.views(weights), others, batch)

    def views(self, weights: Tensor) -> list[Tensor]:
        parts = torch.split(weights, self._sizes, 1)
        return [part.view(len(weights), *shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _fold(self, sample: Batch) -> ByFolding | None:
        """The folded network where it gives what torch.func gives, dropout aside. Tried once for each structure.

        On two trials of which neither samples nor weights are alike, so that a network shows that mixes what it is
        given.
        Raises NotStackable, and torch.OutOfMemoryError as it comes: it says nothing of the network.
        """
        shapes = tuple((part.shape[1:], part.dtype, part.device) for part in sample)
        if self.lists.is_checked(shapes):
            return ByFolding(self._module, self.names)
        few = max(1, min(FEW, len(sample[0]) // 2))
        batch = tuple(torch.stack([part[:few], part[-few:]]) for part in sample)
        ends = torch.tensor([0, -1], device=self.weights.device)
        draws = torch.Generator().manual_seed(0)
        noise = torch.randn(2, self.weights.shape[1], generator=draws).to(self.weights)
        weights = self.weights[ends] + NOISE * self.weights[ends].std(1, keepdim=True) * noise
        given = weights, {name: value[ends] for name, value in self.others.items()}, batch
        try:
            agrees = self._agree(*given, strict=True)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a network, a task or a device that does not know float64
            agrees = self._agree(*given, strict=False)
        if agrees:
            self.lists.note_checked(shapes)
        return ByFolding(self._module, self.names) if agrees else None

    def _agree(self, weights: Tensor, others: Weights, batch: Batch, strict: bool) -> bool:
        """strict: in float64. Raises NotStackable where torch.func cannot compute it."""
        module = self._module
        if strict:
            module = Measured(module.task, copy.deepcopy(module.model).double())
            weights, batch = weights.double(), tuple(map(in_double, batch))
            others = {name: in_double(value) for name, value in others.items()}
        try:
            with without_dropout(module):
                expected = self._numbers(ByFunc(module, self.names), weights, others, batch)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            why = str(error).strip().splitlines()[0]
            raise NotStackable(f"torch.func.vmap cannot compute the task's trials together: {why}") from error
        try:
            folded = ByFolding(module, self.names)
            with without_dropout(folded.folded):
                found = self._numbers(folded, weights, others, batch)
                with self.engine.autocast():
                    self._numbers(folded, weights, others, batch)  # in its precision it must not raise
                apart = keeps_apart(lambda w, *b: self._numbers(folded, w, others, b), (weights, *batch), strict)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a layer that is not known, a task that needs more of a network than calling it
            return False
        return apart and agree(found, expected, strict)

    def _numbers(self, program: Program, weights: Tensor, others: Weights, batch: Batch) -> list[Tensor]:
        """All that a program gives: losses, gradients and metrics."""
        others = {name: value.clone() for name, value in others.items()}
        losses, gradients = program.gradients(self.views(weights), others, batch)
        with torch.no_grad():
            metrics = program.measure(self.views(weights), others, batch)
        return [losses, *gradients, *metrics.values()]


def _drawn() -> tuple[object, ...]:
    """The states of the generators that are not torch's."""
    state = numpy.random.get_state(legacy=False)
    return random.getstate(), repr(state)


def _used(module: Measured, sample: Batch, engine: Engine) -> set[str]:
    """The parameters that the loss depends on: an optimizer leaves those without a gradient as they are."""
    module.train()
    kept = {name: value.clone() for name, value in module.model.named_buffers()}
    named = {name: value for name, value in module.model.named_parameters() if value.requires_grad}
    with torch.enable_grad(), engine.autocast():
        loss = module(*sample)["loss"]
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    with torch.no_grad():
        for name, value in module.model.named_buffers():
            value.copy_(kept[name])
    return {name for name, gradient in zip(named, found, strict=True) if gradient is not None}
