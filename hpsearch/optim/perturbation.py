"""One perturbation of the weights: from clean gradients to w + eps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hpsearch.optim import functional as F
from hpsearch.optim.functional import Scalar, Tensors
from hpsearch.optim.methods import Metric


@dataclass
class Bundle:
    """Parameters that are perturbed with one rho and sigma; complex ones as pairs of real numbers, parameters aside."""

    rho: Scalar  # negative where the base optimizer maximizes
    sigma: Scalar
    parameters: Tensors  # the model's own
    weights: Tensors
    saved: Tensors  # memory for the weights as they were
    gradients: Tensors
    ema: list[Tensor | None]


def displace_(bundles: list[Bundle], metric: Metric | None, deferred: bool) -> Scalar:
    """weights = saved + rho T^2 d / (||T d|| + 1e-12), d = g - sigma * m, one norm over all bundles; returns the norm.

    The weights' own memory holds d and T d until the norm is known, so nothing is allocated. saved must hold the
    weights; the caller restores them, also when this raises half way. deferred: the norm stays on the device.
    """
    if not bundles:
        return 0.0
    directions = [_direction(bundle, metric) for bundle in bundles]
    together = [tensor for direction in directions for tensor in direction]
    norm = F.norm(together) if deferred else F.norm_on_host(together)
    for bundle, direction in zip(bundles, directions, strict=True):
        if metric is not None:
            metric(direction, bundle.saved, bundle.parameters)
        rho = bundle.rho if deferred else float(bundle.rho)
        F.displace_(bundle.weights, bundle.saved, direction, rho / (norm + F.TINY))
    return norm


def _direction(bundle: Bundle, metric: Metric | None) -> Tensors:
    """T d: the gradients themselves where they need no change, else in the memory of the weights."""
    known = [index for index, ema in enumerate(bundle.ema) if ema is not None]
    if not known and metric is None:
        return bundle.gradients
    if len(known) == len(bundle.ema):
        F.direction_(bundle.weights, bundle.gradients, bundle.ema, bundle.sigma)  # type: ignore[arg-type]
    else:  # the first step, or a parameter whose first gradient came late
        torch._foreach_copy_(bundle.weights, bundle.gradients)
        if known:
            weights, gradients, ema = (
                [each[i] for i in known] for each in (bundle.weights, bundle.gradients, bundle.ema)
            )
            F.direction_(weights, gradients, ema, bundle.sigma)  # type: ignore[arg-type]
    if metric is not None:
        metric(bundle.weights, bundle.saved, bundle.parameters)
    return bundle.weights
