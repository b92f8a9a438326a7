"""The maths of sharpness-aware steps, as pure functions on lists of tensors: a few multi-tensor calls each, in place.

Notation: w weights, g a gradient, m the EMA of past gradients, d a direction, T the metric. A list holds one tensor per
parameter. Scalars are Python numbers or 0-dimensional tensors; with tensors nothing here reads a value back to the
host, so a step can run asynchronously on a GPU. A Python number is faster on a CPU. direction_, displace_, scale_ and
update_ema_ (of gradients, sigma = 0) also take stacks, (K, P) with a trial a row, and then settings of shape (K, 1).
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

TINY = 1e-12  # added to the norm, as in google-research/sam and the F-SAM authors' code

Tensors = list[Tensor]
Scalar = float | Tensor


def direction_(gradients: Tensors, ema: Tensors, sigma: Scalar) -> None:
    """g becomes d = g - sigma * m: F-SAM's direction as in the authors' code, with the EMA of earlier steps.

    The paper's eq. 9 subtracts the EMA that already holds g; at sigma = 1 both point the same way.
    """
    if isinstance(sigma, Tensor):
        torch._foreach_sub_(gradients, torch._foreach_mul(ema, _each(sigma, ema)))
    else:
        torch._foreach_add_(gradients, ema, alpha=-sigma)


def gradient_(directions: Tensors, ema: Tensors, sigma: Scalar) -> None:
    """d becomes g again."""
    direction_(directions, ema, -sigma)


def norm(tensors: Tensors, alike: bool = False) -> Tensor:
    """The Euclidean norm over all the tensors together, 0-dimensional, in float32 or better (float16 ends at 65504).

    alike: they are known to be of one device, and all of float32 or all of float64.
    """
    norms = list(torch._foreach_norm(tensors)) if alike else _norms(tensors)
    together: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return together


def norm_on_host(tensors: Tensors, alike: bool = False) -> float:
    """The same as a Python number; waits for the device."""
    if tensors[0].device.type != "cpu":
        return float(norm(tensors, alike))  # waits once
    norms = torch._foreach_norm(tensors) if alike else _norms(tensors)
    return math.hypot(*[each.item() for each in norms])


def _norms(tensors: Tensors) -> Tensors:
    norms = [
        each
        for part in by_kind(tensors)
        for each in torch._foreach_norm(part, dtype=torch.promote_types(part[0].dtype, torch.float32))
    ]
    wide = max((each.dtype for each in norms), key=lambda kind: kind.itemsize)
    return [each.to(norms[0].device, wide) for each in norms]


_kind = attrgetter("dtype", "device")


def _alike(tensors: Tensors) -> bool:
    return len(tensors) == 1 or len(set(map(_kind, tensors))) == 1  # torch.compile knows no attrgetter: stacks are one


def by_kind(tensors: Tensors) -> list[Tensors]:
    """The tensors in lists of one dtype and device each, in an order that depends on the tensors' order alone."""
    if _alike(tensors):
        return [tensors]
    parts: dict[tuple[torch.dtype, torch.device], Tensors] = {}
    for tensor in tensors:
        parts.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return list(parts.values())


def displace_(weights: Tensors, saved: Tensors, directions: Tensors, scale: Scalar, alike: bool = False) -> None:
    """w = saved + scale * d. On entry w equals saved, unless `directions` is `weights` itself, which then holds d.

    alike: as for norm().
    """
    half = not alike and any(weight.dtype == torch.float16 for weight in weights)
    if directions is not weights:
        if not isinstance(scale, Tensor) and not half:
            torch._foreach_add_(weights, directions, alpha=scale)
            return
        torch._foreach_copy_(weights, directions)
    if half:  # in three parts: each is in float16's range, where the scale, up to rho / TINY, need not be
        part = scale.abs() ** (1 / 3) if isinstance(scale, Tensor) else abs(scale) ** (1 / 3)
        scale_(weights, part)
        scale_(weights, part)
        scale = part * (scale.sign() if isinstance(scale, Tensor) else math.copysign(1.0, scale))
    scale_(weights, scale)
    torch._foreach_add_(weights, saved)


def scale_(tensors: Tensors, factor: Scalar) -> None:
    """tensors *= factor."""
    first = tensors[0]
    if not isinstance(factor, Tensor) and first.device.type == "cpu" and _alike(tensors):
        factor = torch.tensor(factor, dtype=first.dtype)  # on a CPU 2.5 times as fast as with a number
    torch._foreach_mul_(tensors, _each(factor, tensors))


def _each(setting: Scalar, tensors: Tensors) -> Any:
    """What the multi-tensor calls take: one number for all tensors, or rows' numbers once for each."""
    return [setting] * len(tensors) if isinstance(setting, Tensor) and setting.dim() else setting


def update_ema_(ema: Tensors, directions: Tensors, decay: Scalar, sigma: float) -> None:
    """m = decay * m + (1 - decay) * g, given d = g - sigma * m. No bias correction (F-SAM authors' code).

    With g = d + sigma * m this is m + (1 - decay) * (d - (1 - sigma) * m).
    """
    if sigma == 0:
        if any(d.dtype != m.dtype for d, m in zip(directions, ema, strict=True)):  # after model.double() there are two
            directions = [d.to(m.dtype) for d, m in zip(directions, ema, strict=True)]
        torch._foreach_lerp_(ema, directions, _each(1.0 - decay, ema))
        return
    if sigma != 1:
        scale_(ema, 1.0 - (1.0 - decay) * (1.0 - sigma))
    torch._foreach_add_(ema, directions, alpha=float(1.0 - decay))


def update_ema_unless_(
    ema: Tensors, directions: Tensors, decay: Scalar, sigma: Scalar, found_inf: Tensor | None
) -> None:
    """update_ema_, skipped on the device where found_inf is 1; decay and sigma may be tensors on it.

    The fused SGD kernel is the one multi-tensor kernel that can be told to skip: p - lr * (g + weight_decay * p) with
    lr = -(1 - decay) and weight_decay = -(1 - sigma) is the EMA's update.
    """
    if isinstance(sigma, Tensor):  # the kernel takes its weight decay from the host
        directions, sigma = list(torch._foreach_add(directions, torch._foreach_mul(ema, sigma))), 0.0
    # The fused kernels walk memory, whatever the strides, and take one dtype: after model.double() there are two.
    aligned = [
        d if d.stride() == m.stride() and d.dtype == m.dtype else torch.empty_like(m).copy_(d)
        for d, m in zip(directions, ema, strict=True)
    ]
    torch._fused_sgd_(
        ema,
        aligned,
        [],
        lr=decay - 1.0,
        weight_decay=sigma - 1.0,
        momentum=0.0,
        dampening=0.0,
        nesterov=False,
        maximize=False,
        is_first_step=False,
        found_inf=found_inf,
    )


class FiniteCheck:
    """Whether tensors are finite, as GradScaler finds it; the memory of the answer is kept between calls."""

    def __init__(self) -> None:
        self._flags: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __call__(self, tensors: Tensors) -> Tensor:
        """1 if any element is infinite or NaN, else 0, on the first tensor's device. Valid until the next call."""
        answers: dict[torch.device, Tensor] = {}
        for part in by_kind(tensors):
            device = part[0].device
            if device not in self._flags:
                self._flags[device] = torch.zeros((), device=device), torch.ones((), device=device)
            flag, one = self._flags[device]
            if device not in answers:
                answers[device] = flag.zero_()
            torch._amp_foreach_non_finite_check_and_unscale_(part, flag, one)
        first, *others = answers.values()
        for other in others:
            first += other.to(first.device)
        return first.clamp_(max=1) if others else first
