"""What SharpnessAware may be given: every misuse has a clear error, before anything is trained."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.optim.methods import COMBINERS, METRICS, SELECTIONS, Combiner, Metric

NONFINITE = ("allow", "skip", "raise")
MEANINGS = ("shards", "parts")  # of micro-batches
PROGRAMS = ("auto", "ghost", "vmap")  # for all shards at once


def check_base(base: torch.optim.Optimizer) -> None:
    """Raises TypeError for an optimizer that cannot be a base."""
    kind = type(base).__name__
    _, *arguments = inspect.signature(type(base).step).parameters.values()
    own = any(a.default is a.empty and a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD) for a in arguments)
    if own or isinstance(base, (torch.optim.LBFGS, torch.optim.SparseAdam)):
        raise TypeError(f"base must be an optimizer of dense gradients without a closure, but got {kind}")
    if "ema_decay" in base.defaults:  # the groups are shared: the first wrapper's settings would win in silence
        raise TypeError(f"base must not be wrapped already, but got {kind}")
    if "sigma" in base.defaults:
        raise TypeError(f"base must have no setting named sigma of its own, but got {kind}")
    if any(group.get("differentiable") for group in base.param_groups):
        raise TypeError(f"base must not be differentiable, but got {kind}(differentiable=True)")


def rho_key(base: torch.optim.Optimizer) -> str:
    """The radius's key in param_groups: "rho", unless the base has one of its own, as Adadelta's decay is."""
    return "sharpness_rho" if "rho" in base.defaults else "rho"


def whole(name: str, value: Any) -> int:
    if (
        isinstance(value, (bool, str))
        or value is None
        or not (value >= 1 and math.isfinite(value) and int(value) == value)
    ):
        raise ValueError(f"{name} must be a whole number >= 1, but got {value!r}")
    return int(value)


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, but got {value!r}")


def metric_of(metric: str | Metric | None, adaptive: bool, model: nn.Module | None) -> Metric | None:
    if adaptive and metric not in (None, "absolute"):
        raise ValueError(f"adaptive=True is metric='absolute', but got metric={metric!r}")
    metric = metric or ("absolute" if adaptive else "identity")
    if not isinstance(metric, str):
        return metric
    check_choice("metric", metric, list(METRICS))
    return METRICS[metric](model)


def combiner_of(combine: str | Combiner) -> Combiner | None:
    if not isinstance(combine, str):
        return combine
    check_choice("combine", combine, list(COMBINERS))
    return COMBINERS[combine]()


def selected_of(
    perturb: str | Iterable[Tensor], model: nn.Module | None, base: torch.optim.Optimizer
) -> set[Tensor] | None:
    """The parameters that may be perturbed; None means all."""
    if not isinstance(perturb, str):
        chosen = list(perturb)
        known = {id(parameter) for group in base.param_groups for parameter in group["params"]}
        strange = [index for index, parameter in enumerate(chosen) if id(parameter) not in known]
        if strange:
            raise ValueError(f"perturb must hold parameters of the optimizer, but its number {strange[0]} is none")
        return set(chosen)
    check_choice("perturb", perturb, list(SELECTIONS))
    if perturb != "all" and model is None:
        raise ValueError(f"perturb={perturb!r} needs model=…")
    found = SELECTIONS[perturb](model) if model is not None else None
    return None if found is None else set(found)


def check_group(group: dict[str, Any], rho: str) -> None:
    """Raises ValueError for a setting outside its range; `rho` is the radius's key."""
    for name, rule, low, high in (
        (rho, "a finite number >= 0", 0.0, math.inf),
        ("sigma", "a finite number", -math.inf, math.inf),
        ("ema_decay", "in [0, 1)", 0.0, 1.0),
    ):
        value = group[name]
        on_device = isinstance(value, Tensor) and value.device.type != "cpu"  # is not read
        if isinstance(value, str) or value is None or not (on_device or (math.isfinite(value) and low <= value < high)):
            raise ValueError(f"{name} must be {rule}, but got {value!r}")
