"""ASAM: the perturbation is scaled by the weights (arXiv 2102.11600), in the two forms in use.

rho does not carry over between them: about 2.0 in the common form is about 0.5 in the authors'.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hpsearch.optim.functional import Tensors


class Absolute:
    """T = |w|, the common torch form."""

    def __call__(self, directions: Tensors, weights: Tensors, parameters: Tensors) -> None:
        # w in place of |w|: neither the norm of T d nor T^2 d sees the sign.
        torch._foreach_mul_(directions, weights)


class AbsoluteEta:
    """T = |w| + eta for weights and T = 1 for biases, as in the ASAM authors' code: a weight has "weight" in its name.

    Args: model: gives the parameters their names. eta: a finite number >= 0.
    Raises: ValueError: no model, or another eta.
    """

    def __init__(self, model: nn.Module | None, eta: float = 0.01) -> None:
        if model is None:
            raise ValueError("metric='absolute_eta' needs model=…: it leaves biases out, by name")
        if not (math.isfinite(eta) and eta >= 0):
            raise ValueError(f"eta must be a finite number >= 0, but got {eta!r}")
        self.eta = eta
        self._model = model
        self._names: dict[Tensor, str] = {}

    def __call__(self, directions: Tensors, weights: Tensors, parameters: Tensors) -> None:
        if any(p not in self._names for p in parameters):  # the first step, or the model has grown
            self._names = dict.fromkeys(parameters, "") | {p: name for name, p in self._model.named_parameters()}
        scaled = ["weight" in self._names[p] for p in parameters]
        if any(scaled):  # a group may hold biases only
            metric = list(torch._foreach_abs([w for w, s in zip(weights, scaled, strict=True) if s]))
            torch._foreach_add_(metric, self.eta)
            torch._foreach_mul_([d for d, s in zip(directions, scaled, strict=True) if s], metric)
