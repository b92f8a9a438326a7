"""GSAM: the perturbed gradient less what the clean one has across it (arXiv 2203.08065)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from hpsearch.optim.functional import Scalar, Tensors, norm


@dataclass(frozen=True)
class GSAM:
    """g_p - alpha * g_across, g_across = g - (<g, g_p> / ||g_p||^2) g_p.

    Descends the perturbed loss and, across it, the surrogate gap (algorithm 1 of the paper, which also decreases rho
    with the learning rate). Over shards, g_p and g are the means over shards.

    alpha: a finite number >= 0; 0 is SAM. Raises ValueError for another one.
    """

    alpha: float = 0.4

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be a finite number >= 0, but got {self.alpha!r}")

    def __call__(self, perturbed: Tensors, clean: Tensors) -> None:
        """Combines in place and allocates nothing: the inner product comes from norms, (|a + b|^2 - |a - b|^2) / 4."""
        square = norm(perturbed) ** 2
        torch._foreach_add_(perturbed, clean)
        plus = norm(perturbed) ** 2
        torch._foreach_add_(perturbed, clean, alpha=-2)
        minus = norm(perturbed) ** 2
        along = torch.where(square > 0, (plus - minus) / (4 * square), torch.zeros_like(square))
        # perturbed holds g_p - g now, and the result is s (g_p - g) + (s - alpha) g with s = 1 + alpha along
        stretch: Scalar = 1 + self.alpha * along
        if len({gradient.device for gradient in perturbed}) > 1:
            stretch = float(stretch)  # a tensor multiplies those of its own device only
        torch._foreach_mul_(perturbed, stretch)
        torch._foreach_mul_(clean, stretch - self.alpha)
        torch._foreach_add_(perturbed, clean)
