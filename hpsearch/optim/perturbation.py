"""One perturbation of the weights: from clean gradients to w + eps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import attrgetter, is_, is_not
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hpsearch.optim import functional as F
from hpsearch.optim.functional import Scalar, Tensors
from hpsearch.optim.methods import Metric
from hpsearch.optim.passes import Gradients, reals


@dataclass
class Bundle:
    """The parameters of one group that are perturbed and have a gradient; complex ones as pairs of real numbers."""

    group: dict[str, Any]
    rho_key: str
    has_ema: bool
    indices: list[int]  # of the parameters, in the order of the groups
    parameters: Tensors  # the model's own
    weights: Tensors
    saved: Tensors  # memory for the weights as they were
    gradients: Tensors = field(default_factory=list)  # become directions
    ema: list[Tensor | None] = field(default_factory=list)  # empty where the group has none
    whole_ema: Tensors = field(default_factory=list)  # the same, once all of them are there

    def rho(self) -> Scalar:
        """Negative where the base optimizer maximizes."""
        rho: Scalar = self.group[self.rho_key]
        return -rho if self.group.get("maximize") else rho

    def look_up_ema(self, state: Mapping[Tensor, dict[str, Any]]) -> None:
        if self.whole_ema and state[self.parameters[0]].get("ema") is self.ema[0]:
            return
        self.ema = [state[parameter].get("ema") if parameter in state else None for parameter in self.parameters]
        there = [ema for ema in self.ema if ema is not None]
        self.whole_ema = reals(there) if len(there) == len(self.ema) else []

    def known(self) -> tuple[Tensors, Tensors]:
        """(EMA, gradients) of the parameters that have an EMA: not all do before their first gradient."""
        if self.whole_ema or not self.has_ema:
            return self.whole_ema, self.gradients
        pairs = [(m, g) for m, g in zip(self.ema, self.gradients, strict=True) if m is not None]
        return reals([m for m, _ in pairs]), [g for _, g in pairs]


class Moved(NamedTuple):
    """One bundle for each group with rho != 0 that has something to perturb, and their weights and memory together."""

    bundles: list[Bundle]
    weights: Tensors
    saved: Tensors


class Layout:
    """The parameters, and memory for the weights of those that are perturbed. Made once, as long as it fits."""

    def __init__(self, groups: Sequence[dict[str, Any]], selected: set[Tensor] | None, fused: bool, rho: str) -> None:
        self.groups, self.selected, self.rho_key = groups, selected, rho
        self.parameters: Tensors = [p for group in groups for p in group["params"]]
        if not self.parameters:
            raise ValueError("the optimizer has no parameters")
        if any(parameter.device.type == "meta" for parameter in self.parameters):
            raise RuntimeError("the model is on the meta device, which holds no values: model.to_empty(device=…) first")
        self._values = _values(groups, rho)
        self._switches = self._on, self._sigma_on = _switches(groups, rho)
        self._kinds = _kinds(self.parameters)
        self.perturbs = any(self._on)
        self.without_ema = [
            p
            for group, rho_on, sigma_on in zip(groups, self._on, self._sigma_on, strict=True)
            for p in group["params"]
            if not (rho_on and sigma_on)
        ]
        self.has_ema = any(rho and sigma for rho, sigma in zip(self._on, self._sigma_on, strict=True))
        dtypes, devices = {p.dtype for p in self.parameters}, {p.device for p in self.parameters}
        self.alike = len(devices) == 1 and dtypes in ({torch.float32}, {torch.float64})
        self.complex = any(p.is_complex() for p in self.parameters)
        # On several devices, or on a CPU without a base that needs it, the host may as well read the norm.
        self.device, self.fused = self.parameters[0].device, fused
        self.deferrable = len(devices) == 1 and (fused or next(iter(devices)).type != "cpu")
        self._full: Moved | None = None
        self._saved: dict[int, Tensor] = {}

    def fits(self) -> bool:
        """Not so when a group was added, a rho or sigma was switched on or off, or after model.double(), say."""
        now = [p for group in self.groups for p in group["params"]]
        return (
            len(now) == len(self.parameters)
            and all(map(is_, now, self.parameters))
            and _kinds(now) == self._kinds
            and (
                all(map(is_, self._values, _values(self.groups, self.rho_key)))
                or _switches(self.groups, self.rho_key) == self._switches
            )
        )

    def release(self) -> None:
        """Holds no gradient any more."""
        if self._full is not None:
            for bundle in self._full.bundles:
                bundle.gradients = []

    def moved(self, found: Gradients) -> Moved:
        """What these gradients perturb."""
        if self.complex or not all(map(is_not, found, repeat(None))):
            return self._moved(found)
        if self._full is None:
            self._full = self._moved(found)
        return self._full

    def _moved(self, found: Gradients) -> Moved:
        bundles: list[Bundle] = []
        start = 0
        for group, on, sigma_on in zip(self.groups, self._on, self._sigma_on, strict=True):
            end = start + len(group["params"])
            indices = [i for i in range(start, end) if on and found[i] is not None]
            if self.selected is not None:
                indices = [i for i in indices if self.parameters[i] in self.selected]
            if indices:
                parameters = [self.parameters[i] for i in indices]
                weights = reals(parameters)
                for i, weight in zip(indices, weights, strict=True):
                    if i not in self._saved:
                        self._saved[i] = torch.empty_like(weight)
                saved = [self._saved[i] for i in indices]
                bundles.append(Bundle(group, self.rho_key, sigma_on, indices, parameters, weights, saved))
            start = end
        return Moved(
            bundles,
            [weight for bundle in bundles for weight in bundle.weights],
            [memory for bundle in bundles for memory in bundle.saved],
        )


_dtype = attrgetter("dtype")


def _kinds(parameters: Tensors) -> tuple[list[torch.dtype], list[int], list[int]]:
    """What decides whether memory for the weights still fits, in the form that is the quickest to compare."""
    return list(map(_dtype, parameters)), list(map(Tensor.get_device, parameters)), list(map(Tensor.numel, parameters))


def _values(groups: Sequence[dict[str, Any]], rho: str) -> list[Scalar]:
    return [group[name] for group in groups for name in (rho, "sigma")]


def _switches(groups: Sequence[dict[str, Any]], rho: str) -> tuple[list[bool], list[bool]]:
    return [_is_on(group[rho]) for group in groups], [_is_on(group["sigma"]) for group in groups]


def _is_on(value: Scalar) -> bool:
    """Whether a setting may differ from zero: a tensor may, as it can be filled in place, and is not read."""
    return isinstance(value, Tensor) or value != 0


def displace_(bundles: list[Bundle], metric: Metric | None, deferred: bool, alike: bool) -> Scalar:
    """weights = saved + rho T^2 d / (||T d|| + 1e-12), d = g - sigma * m, one norm over all bundles; returns the norm.

    The gradients become d. With a metric the weights' own memory holds T d until the norm is known, so nothing is
    allocated. saved must hold the weights; the caller restores them, also when this raises half way.
    deferred: the norm stays on the device. alike: all are of one device, and all of float32 or all of float64.
    """
    if not bundles:
        return 0.0
    scaled: list[Tensors] = []
    for bundle in bundles:
        ema, gradients = bundle.known() if bundle.has_ema else ([], [])
        if ema:
            F.direction_(gradients, ema, _value(bundle.group["sigma"], deferred))
        if metric is not None:
            torch._foreach_copy_(bundle.weights, bundle.gradients)
            metric(bundle.weights, bundle.saved, bundle.parameters)
        scaled.append(bundle.gradients if metric is None else bundle.weights)
    together = scaled[0] if len(scaled) == 1 else [tensor for tensors in scaled for tensor in tensors]
    norm = F.norm(together, alike) if deferred else F.norm_on_host(together, alike)
    for bundle, directions in zip(bundles, scaled, strict=True):
        if metric is not None:
            metric(directions, bundle.saved, bundle.parameters)
        scale = _value(bundle.rho(), deferred) / (norm + F.TINY)
        F.displace_(bundle.weights, bundle.saved, directions, scale, alike)
    return norm


def _value(setting: Scalar, deferred: bool) -> Scalar:
    return setting if deferred else float(setting)
