"""Two ways to compute many trials by one program: torch.func for any network, folding for one of known layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.modules.dropout import _DropoutNd

from hpsearch.optim.folded import Called, Folded
from hpsearch.optim.ghost import Direction, GhostShards
from hpsearch.optim.layers import Weights
from hpsearch.tasks.protocol import Batch, Task
from hpsearch.training.losses import FewClasses

# Where torch.func computes trials one by one it asks for a report to torch, in the middle of a run.
warnings.filterwarnings(
    "ignore", message="There is a performance drop because we have not yet implemented the batching"
)


class NotStackable(ValueError):
    """A task or network whose trials cannot be computed by one program; says why."""


class Program(Protocol):
    """own: the trained parameters, in the order of `names`; others: what else the network has. All are (K, ...)."""

    def gradients(
        self, own: Sequence[Tensor], others: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """(losses (K,), gradients like `own`) in training mode; each tensor of the batch is (K, B, ...)."""
        ...

    def measure(self, own: Sequence[Tensor], others: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Every metric of each trial, (K,), in evaluation mode."""
        ...


class Measured(nn.Module):
    """A network that returns what the task measures: functional_call and vmap need one callable."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, *batch: Any) -> dict[str, Tensor]:
        return self.task.measure(self.model, *batch)


class ByFunc:
    """torch.func's vmap over functional calls of the network. Running statistics in `others` are updated in place."""

    def __init__(self, module: Measured, names: Sequence[str]) -> None:
        self._module, self._names = module, names
        self._gradients = vmap(grad_and_value(self._loss), randomness="different")
        self._metrics = vmap(self._measure, randomness="different")

    def gradients(
        self, own: Sequence[Tensor], others: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Sequence[Tensor]]:
        self._module.train()
        found, losses = self._gradients(tuple(own), dict(others), *batch)
        return losses, found

    def measure(self, own: Sequence[Tensor], others: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        self._module.eval()
        found: dict[str, Tensor] = self._metrics(tuple(own), dict(others), *batch)
        return found

    def _measure(self, own: Sequence[Tensor], others: Mapping[str, Tensor], *batch: Tensor) -> dict[str, Tensor]:
        weights = {**dict(zip(self._names, own, strict=True)), **others}
        named = {f"model.{name}": value for name, value in weights.items()}
        found: dict[str, Tensor] = functional_call(self._module, named, batch)
        return found

    def _loss(self, own: Sequence[Tensor], others: Mapping[str, Tensor], *batch: Tensor) -> Tensor:
        return self._measure(own, others, *batch)["loss"]


class ByFolding:
    """The folded network; what the task makes of its output is computed under vmap. Raises NotFoldable."""

    def __init__(self, module: Measured, names: Sequence[str]) -> None:
        self.folded, self._names = Folded(module.model), names
        called: Any = Called(self.folded)

        def measure(*batch: Tensor) -> dict[str, Tensor]:
            with FewClasses():
                return module.task.measure(called, *batch)

        self._metrics = vmap(measure, randomness="different")

    def gradients(
        self, own: Sequence[Tensor], others: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Sequence[Tensor]]:
        self.folded.train()
        leaves = [part.detach().requires_grad_() for part in own]
        self.folded.use({**dict(zip(self._names, leaves, strict=True)), **others})
        with torch.enable_grad():
            losses: Tensor = self._metrics(*batch)["loss"]
            found = torch.autograd.grad(losses.sum(), leaves)
        return losses.detach(), found

    def shards(
        self, batch: Sequence[Tensor], own: Weights, others: Weights, directions: Mapping[str, Direction]
    ) -> GhostShards:
        """The passes of one step over all shards; each tensor of the batch is (K * m, b, ...)."""
        self.folded.train()
        return GhostShards(self.folded, lambda *batch: self._metrics(*batch)["loss"], batch, own, others, directions)

    def measure(self, own: Sequence[Tensor], others: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        self.folded.eval()
        self.folded.use({**dict(zip(self._names, own, strict=True)), **others})
        found: dict[str, Tensor] = self._metrics(*batch)
        return found


@contextmanager
def without_dropout(module: nn.Module) -> Iterator[None]:
    kept = [(each, each.p) for each in module.modules() if isinstance(each, _DropoutNd)]
    try:
        for each, _ in kept:
            each.p = 0.0
        yield
    finally:
        for each, p in kept:
            each.p = p
