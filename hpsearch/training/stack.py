"""The networks of many trials as one: their weights end to end, the losses, gradients and metrics of all of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hpsearch.optim.ghost import Direction
from hpsearch.optim.ghost_model import KINDS
from hpsearch.optim.layers import Weights, may_copy
from hpsearch.optim.modules import odd_weight
from hpsearch.optim.sam_on import normalization
from hpsearch.optim.traced import Compute
from hpsearch.tasks.protocol import Batch, Task
from hpsearch.training.engine import Engine
from hpsearch.training.first_step import first_step
from hpsearch.training.folding import Folding
from hpsearch.training.ghosts import Ghosts
from hpsearch.training.lists import Lists
from hpsearch.training.programs import ByFunc, Measured, NotStackable
from hpsearch.training.sameness import difference

COPIES = 2**26  # numbers in the weights of all trials' shards, at most: 256 MiB


class Stack:
    """K networks of one shape, whose weights are kept outside: weights (K, P), those that are trained end to end.

    Frozen parameters, buffers (BatchNorm's statistics) and their updates are kept here. folded: the network's own form
    for many trials, where it has one that gives what torch.func gives; None otherwise. only: which of the P numbers are
    perturbed, (P,); None for all.
    """

    def __init__(
        self,
        task: Task,
        models: Sequence[nn.Module],
        sample: Batch,
        evaluated: Batch,
        engine: Engine,
        perturb: str = "all",
    ) -> None:
        """sample: a batch of one trial's first step; evaluated: as many samples as an evaluation is given them. Both
        (B, ...). Raises NotStackable; ValueError where `perturb` asks for normalisation layers and there are none.
        """
        self._module = Measured(task, models[0])
        self.engine = engine
        differs = difference(models)
        if differs is not None:
            raise NotStackable(f"the trials' networks differ in more than their weights and buffers: in {differs}")
        odd = next((odd for model in models if (odd := odd_weight(model)) is not None), None)
        if odd is not None:
            raise NotStackable(f"one program cannot follow what the network does with its weights: {odd}")
        first = first_step(self._module, sample, evaluated, engine)
        named = [dict(model.named_parameters()) for model in models]
        self.names = [name for name in named[0] if name in first.used]
        self._shapes = [named[0][name].shape for name in self.names]
        self._sizes = [shape.numel() for shape in self._shapes]
        kinds = {named[0][name].dtype for name in self.names}
        if len(kinds) != 1 or not kinds <= KINDS:
            raise NotStackable(
                f"the network's weights are of {', '.join(sorted(map(str, kinds)))}, not all of torch.float32"
            )
        rows = [torch.cat([trial[name].detach().reshape(-1) for name in self.names]) for trial in named]
        self.weights = torch.stack(rows)
        if any(buffer.layout != torch.strided for buffer in models[0].buffers()):
            raise NotStackable("a buffer is sparse")
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
        folding = Folding(self._module, self.names, self.weights, self.others, self.views, engine, self.lists, first)
        self.folded = folding.program(sample)
        self._may_copy = may_copy(self._module.model)
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
        if batch[0].shape[1] % num_shards or not self._may_copy:
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
