"""The maths of sharpness-aware steps, as pure functions on lists of tensors.

Notation: w weights, g a gradient, m the EMA of past gradients, T the metric. A list holds one tensor per parameter.
Nothing here reads a value back to the host, so a step can run asynchronously on a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-12  # added to the norm, as in google-research/sam and the F-SAM authors' code

Tensors = list[Tensor]


def direction(gradients: Tensors, ema: Tensors | None, sigma: float) -> list[Tensor]:
    """d = g - sigma * m: F-SAM's direction in the form of the authors' code, which subtracts the EMA of earlier steps.

    sigma = 0, or no EMA yet (the first step), is SAM's direction: the gradient itself.
    The paper's eq. 9 subtracts the EMA that already holds g; at sigma = 1 both point the same way.
    """
    if ema is None or sigma == 0:
        return list(gradients)
    return list(torch._foreach_add(gradients, ema, alpha=-sigma))


def metric(weights: Tensors, directions: Tensors, adaptive: bool) -> tuple[list[Tensor], list[Tensor]]:
    """(T d, T^2 d): what the norm runs over, and what is added to the weights.

    Not adaptive: T = 1 (SAM). Adaptive: T = |w|, the common torch form of ASAM (arXiv 2102.11600 adds eta and leaves
    biases out; rho does not carry over between the two).
    """
    if not adaptive:
        return list(directions), list(directions)
    absolute = torch._foreach_abs(weights)
    scaled = torch._foreach_mul(directions, absolute)
    return list(scaled), list(torch._foreach_mul(scaled, absolute))


def global_norm(tensors: Tensors) -> Tensor:
    """The Euclidean norm over all the tensors together, as a 0-dimensional tensor."""
    norms = torch._foreach_norm(tensors)
    first = norms[0]
    total: Tensor = torch.linalg.vector_norm(torch.stack([norm.to(first.device, first.dtype) for norm in norms]))
    return total


def perturb_(weights: Tensors, directions: Tensors, norm: Tensor, rho: float) -> None:
    """w += rho * d / (||d|| + 1e-12), in place; a negative rho descends."""
    torch._foreach_add_(weights, torch._foreach_mul(directions, rho / (norm + TINY)))


def update_ema_(ema: Tensors, gradients: Tensors, decay: float) -> None:
    """m = decay * m + (1 - decay) * g with the raw gradient g, in place. No bias correction (F-SAM authors' code)."""
    torch._foreach_lerp_(ema, gradients, 1.0 - decay)


def accumulate_(total: Tensors, gradients: Tensors, weight: float) -> None:
    """total += weight * g, in place: the mean over shards, one shard at a time."""
    torch._foreach_add_(total, gradients, alpha=weight)
