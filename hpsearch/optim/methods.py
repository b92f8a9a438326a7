"""The family: what each method's settings are, and the parts that can be chosen by name.

A step is a direction (sigma, ema_decay) x a metric x a granularity (num_shards, perturb) x a combiner x policies
(interval, batchnorm, nonfinite). A new member is one file with the part that is new, and one row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from hpsearch.optim.asam import Absolute, AbsoluteEta
from hpsearch.optim.functional import Tensors
from hpsearch.optim.gsam import GSAM
from hpsearch.optim.sam_on import normalization


class Metric(Protocol):
    """T, a diagonal matrix: directions become T times directions, in place, up to their signs' not mattering to T^2 d.

    Called twice a perturbation: once for the norm ||T d||, once more for T^2 d. weights holds w; parameters are the
    same weights as the model's own (perturbed) objects, to know them by. In step_vectorized() directions have one
    dimension more, in front, for the shards.
    """

    def __call__(self, directions: Tensors, weights: Tensors, parameters: Tensors) -> None: ...


class Combiner(Protocol):
    """What the base optimizer sees, made of the mean perturbed gradients, in place; the clean ones may be used up."""

    def __call__(self, perturbed: Tensors, clean: Tensors) -> None: ...


# A row makes its part for a model, which may be None.
METRICS: Mapping[str, Callable[[nn.Module | None], Metric | None]] = {
    "identity": lambda model: None,
    "absolute": lambda model: Absolute(),
    "absolute_eta": AbsoluteEta,
}
COMBINERS: Mapping[str, Callable[[], Combiner | None]] = {
    "perturbed": lambda: None,
    "gsam": GSAM,
}
SELECTIONS: Mapping[str, Callable[[nn.Module], list[Tensor] | None]] = {
    "all": lambda model: None,
    "normalization": normalization,
}


@dataclass(frozen=True)
class Method:
    """The settings of SharpnessAware that make a method, rho aside, and where it comes from."""

    settings: Mapping[str, Any]
    source: str


METHODS: Mapping[str, Method] = {
    "base": Method({"rho": 0.0}, "the base optimizer, one gradient a step"),
    "sam": Method({}, "arXiv 2010.01412"),
    "asam": Method({"adaptive": True}, "arXiv 2102.11600, the common torch form"),
    "asam_eta": Method({"metric": "absolute_eta"}, "arXiv 2102.11600, the authors' form"),
    "msam": Method({"num_shards": 4}, "arXiv 2212.04343"),
    "fsam": Method({"sigma": 1.0, "ema_decay": 0.9}, "arXiv 2403.12350, the authors' code"),
    "fmsam": Method({"sigma": 1.0, "ema_decay": 0.9, "num_shards": 4}, "F-SAM over shards; no public rule"),
    "vasso": Method({"sigma": -0.5, "ema_decay": 0.9}, "Li and Giannakis, NeurIPS 2023, perturb along the EMA"),
    "gsam": Method({"combine": "gsam"}, "arXiv 2203.08065"),
    "sam_on": Method({"perturb": "normalization"}, "arXiv 2306.04226"),
}
