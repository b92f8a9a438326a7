"""The maths of sharpness-aware steps, as pure functions on lists of tensors: one multi-tensor call each, in place.

Notation: w weights, g a gradient, m the EMA of past gradients, d a direction, T the metric. A list holds one tensor per
parameter. Scalars are Python numbers or 0-dimensional tensors; with tensors nothing here reads a value back to the
host, so a step can run asynchronously on a GPU. A Python number is faster on a CPU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TINY = 1e-12  # added to the norm, as in google-research/sam and the F-SAM authors' code

Tensors = list[Tensor]
Scalar = float | Tensor


def direction_(out: Tensors, gradients: Tensors, ema: Tensors, sigma: Scalar) -> None:
    """out = g - sigma * m: F-SAM's direction as in the authors' code, which subtracts the EMA of earlier steps.

    sigma = 0, or no EMA yet (the first step), is SAM's direction: the gradient itself.
    The paper's eq. 9 subtracts the EMA that already holds g; at sigma = 1 both point the same way.
    """
    if isinstance(sigma, Tensor):
        torch._foreach_copy_(out, ema)
        torch._foreach_mul_(out, -sigma)
        torch._foreach_add_(out, gradients)
    else:
        torch._foreach_copy_(out, gradients)
        torch._foreach_add_(out, ema, alpha=-sigma)


def norm(tensors: Tensors) -> Tensor:
    """The Euclidean norm over all the tensors together, 0-dimensional, in float32 or better (float16 ends at 65504)."""
    together: Tensor = torch.linalg.vector_norm(torch.stack(_norms(tensors)))
    return together


def norm_on_host(tensors: Tensors) -> float:
    """The same as a Python number; waits for the device."""
    return math.hypot(*(each.item() for each in _norms(tensors)))


def _norms(tensors: Tensors) -> Tensors:
    if all(tensor.dtype == torch.float32 for tensor in tensors):
        return list(torch._foreach_norm(tensors))
    norms = [
        each
        for part in by_kind(tensors)
        for each in torch._foreach_norm(part, dtype=torch.promote_types(part[0].dtype, torch.float32))
    ]
    wide = max((each.dtype for each in norms), key=lambda kind: kind.itemsize)
    return [each.to(norms[0].device, wide) for each in norms]


def by_kind(tensors: Tensors) -> list[Tensors]:
    """The tensors in lists of one dtype and device each, in an order that depends on the tensors' order alone."""
    parts: dict[tuple[torch.dtype, torch.device], Tensors] = {}
    for tensor in tensors:
        parts.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return list(parts.values())


def displace_(weights: Tensors, saved: Tensors, directions: Tensors, scale: Scalar) -> None:
    """w = saved + scale * d. On entry w equals saved, unless `directions` is `weights` itself, which then holds d."""
    if directions is not weights:
        if not isinstance(scale, Tensor):
            torch._foreach_add_(weights, directions, alpha=scale)
            return
        torch._foreach_copy_(weights, directions)
    scale_(weights, scale)
    torch._foreach_add_(weights, saved)


def scale_(tensors: Tensors, factor: Scalar) -> None:
    """tensors *= factor."""
    if not isinstance(factor, Tensor) and tensors[0].device.type == "cpu":
        factor = torch.tensor(factor, dtype=torch.float64)  # 2.5 times as fast as with a number, on a CPU
    torch._foreach_mul_(tensors, factor)


def update_ema_(ema: Tensors, gradients: Tensors, decay: float) -> None:
    """m = decay * m + (1 - decay) * g with the raw gradient g. No bias correction (F-SAM authors' code)."""
    torch._foreach_lerp_(ema, gradients, 1.0 - decay)


def update_ema_unless_(ema: Tensors, gradients: Tensors, decay: Scalar, found_inf: Tensor | None) -> None:
    """update_ema_, skipped on the device where found_inf is 1; decay may be a tensor.

    The fused SGD kernel is the one multi-tensor kernel that can be told to skip: p - lr * (g + weight_decay * p) with
    lr = -(1 - decay) and weight_decay = -1 is the EMA's update.
    """
    # The fused kernels walk memory, whatever the strides.
    aligned = [
        g if g.stride() == m.stride() else torch.empty_like(m).copy_(g) for g, m in zip(gradients, ema, strict=True)
    ]
    torch._fused_sgd_(
        ema,
        aligned,
        [],
        lr=decay - 1.0,
        weight_decay=-1.0,
        momentum=0.0,
        dampening=0.0,
        nesterov=False,
        maximize=False,
        is_first_step=False,
        found_inf=found_inf,
    )


def nonfinite(tensors: Tensors) -> Tensor:
    """1 if any element of the tensors is infinite or NaN, else 0, as GradScaler finds it. They stay as they are."""
    found = [torch.zeros((), device=part[0].device) for part in by_kind(tensors)]
    for part, flag in zip(by_kind(tensors), found, strict=True):
        torch._amp_foreach_non_finite_check_and_unscale_(part, flag, torch.ones_like(flag))
    return found[0] if len(found) == 1 else torch.stack([flag.to(found[0].device) for flag in found]).amax()
