"""Runs the closure: one gradient evaluation after another, and their weighted means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hpsearch.optim.functional import Tensors, scale_

Closure = Callable[..., Tensor]
Gradients = list[Tensor | None]  # one a parameter, in the order of the groups; None where it has none


class Shard(NamedTuple):
    """What one perturbation is made of: the closure's arguments, in parts that are each run on their own.

    `share` is what the shard counts for in the step, and a part's in the shard; each kind sums to 1.
    """

    share: float
    parts: Sequence[tuple[float, tuple[Any, ...]]]


def gradients(closure: Closure, shard: Shard, parameters: Sequence[Tensor]) -> tuple[Tensor, Gradients]:
    """(loss, gradients) of a shard; the gradients are also left in .grad. Called, and returns, with grad mode off."""
    if len(shard.parts) == 1:
        return one_pass(closure, shard.parts[0][1], parameters)
    mean, losses = Mean(), []
    for share, arguments in shard.parts:
        loss, found = one_pass(closure, arguments, parameters)
        mean.add(found, share)
        losses.append(loss.detach() * share)
    for parameter, gradient in zip(parameters, mean.total, strict=True):
        parameter.grad = gradient
    return torch.stack(losses).sum(), mean.total


def one_pass(closure: Closure, arguments: tuple[Any, ...], parameters: Sequence[Tensor]) -> tuple[Tensor, Gradients]:
    """(loss, gradients) of one call of the closure, as gradients()."""
    for parameter in parameters:
        parameter.grad = None  # a backward pass then hands over its buffers and adds nothing
    try:
        # torch.enable_grad() without its objects, which cost a small step 1 %. Within try: a KeyboardInterrupt right
        # after it would leave grad mode on, where the weights cannot be restored.
        torch._C._set_grad_enabled(True)
        loss = closure(*arguments)
    finally:
        torch._C._set_grad_enabled(False)
    found = [parameter.grad for parameter in parameters]
    if not isinstance(loss, Tensor):
        raise TypeError(f"the closure must return the loss as a tensor, but returned {type(loss).__name__}")
    if found[0] is None and all(gradient is None for gradient in found):
        raise RuntimeError("no parameter has a gradient: the closure must call backward() on the loss")
    return loss, found


class Mean:
    """A weighted sum of gradients, one pass after another, in the memory of the first; no gradient counts as zero."""

    def __init__(self) -> None:
        self.total: Gradients = []

    def add(self, found: Gradients, weight: float) -> None:
        """Adds weight * gradients; those of the first call are taken over and must not be used any more."""
        if self.total:
            self._add(found, weight)
            return
        self.total = found
        if weight != 1:
            scale_([g for g in found if g is not None], weight)

    def add_copy(self, found: Gradients, weight: float) -> None:
        """Adds weight * gradients, which stay the caller's."""
        if self.total:
            self._add(found, weight)
        else:
            self.total = [None if g is None else g * weight for g in found]

    def _add(self, found: Gradients, weight: float) -> None:
        both = [(t, g) for t, g in zip(self.total, found, strict=True) if t is not None and g is not None]
        torch._foreach_add_([t for t, _ in both], [g for _, g in both], alpha=weight)
        if len(both) < len(found):
            late = zip(self.total, found, strict=True)
            self.total = [g * weight if t is None and g is not None else t for t, g in late]


def reals(tensors: Tensors) -> Tensors:
    """Complex tensors as pairs of real numbers, as torch's own optimizers treat them."""
    return [torch.view_as_real(t) if t.is_complex() else t for t in tensors]
