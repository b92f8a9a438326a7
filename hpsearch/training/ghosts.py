"""Ghost shards of a stack: all shards of a step of many trials by two passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from hpsearch.optim.ghost import Direction, GhostShards

if TYPE_CHECKING:
    from hpsearch.training.stack import Stack


class Ghosts:
    """All shards of a step at once, as a function of all tensors that it reads."""

    def __init__(self, stack: Stack, num_shards: int, direction: Direction, keeps: bool) -> None:
        self._stack, self._num_shards, self._keeps = stack, num_shards, keeps
        self._averages, self._adaptive = direction.ema is not None, direction.adaptive

    def passes(self, weights: Tensor, rho: Tensor, sigma: Tensor, *rest: Tensor) -> GhostShards:
        left, stack = iter(rest), self._stack
        assert stack.folded is not None
        ema = dict(zip(stack.names, stack.views(next(left)), strict=True)) if self._averages else {}
        others = {name: next(left) for name in stack.others}
        parts = [part.reshape(len(weights) * self._num_shards, -1, *part.shape[2:]) for part in left]
        directions = {name: Direction(rho, sigma, ema.get(name), self._adaptive) for name in stack.moved}
        own = dict(zip(stack.names, stack.views(weights), strict=True))
        return stack.folded.shards(parts, own, others, directions)

    def __call__(self, *given: Tensor, repairs: bool = False) -> list[Tensor]:
        """Whether norms have lost digits, then what Stack.shards returns."""
        passes = self.passes(*given)
        losses = passes.clean(self._keeps).mean(1)
        clean = [self._stack.flat(passes.means())] if self._keeps else []
        lost = passes.displace(repairs)
        return [lost, losses, self._stack.flat(passes.perturbed()), *clean]
