"""How much each hyperparameter matters: shares of the variance of the response over the stated ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hpsearch.analysis.answer import Answer, quantiles, share_quantiles
from hpsearch.analysis.decomposition import Decomposition, Plane, planes
from hpsearch.analysis.model import Model
from hpsearch.analysis.process import Functions
from hpsearch.analysis.shapley import shapley_effects

Floats = NDArray[np.float64]

METHOD = (
    "share of the variance over the ranges, uniform and independent (Sobol'); mean and 95 % credible interval over "
    "256 draws of a Gaussian process and its settings, rounded outward to whole percent"
)
MOST_SHAPLEY = 8  # inputs: the sum runs over all their subsets


@dataclass(frozen=True)
class Importance:
    """first: explained by the hyperparameter alone. total: with all its interactions. shapley: these shared equally."""

    parameter: str
    first: Answer
    total: Answer
    shapley: Answer | None


@dataclass(frozen=True)
class Interaction:
    """share: of the variance, that two hyperparameters explain together beyond each alone."""

    x: str
    y: str
    share: Answer


@dataclass(frozen=True)
class Importances:
    """Of one arm. items: by total share, largest first; that order is no ranking: `above` is.

    above: (parameter, those whose total share lies below: intervals do not overlap). spread: standard deviation of the
    expected metric over the ranges. error: largest Monte-Carlo standard error of a share. `shift`: how much the total
    share of each parameter moves when the adaptive configurations are taken in too, None where there are none.
    """

    arm: str
    n: int
    seeds: int
    samplers: tuple[str, ...]
    items: tuple[Importance, ...]
    interactions: tuple[Interaction, ...]
    above: tuple[tuple[str, tuple[str, ...]], ...]
    spread: Answer | None
    error: float
    reason: str
    shift: dict[str, float] | None = None


def importances(
    model: Model,
    everything: Model | None = None,
    seed: int = 0,
    drawn: Mapping[tuple[int, int], Plane] | None = None,
) -> Importances:
    """model: of the configurations that no sampler chose by results; everything: with the others, if there are any.

    drawn: the model's planes, where the caller has them already.
    """
    parts, n = model.decomposition, len(model.rows)
    start = (model.arm, n, model.setting.seeds, model.setting.samplers)
    if parts is None or model.surrogate is None:
        return Importances(*start, (), (), (), None, 0.0, model.reason)
    names = model.inputs.names
    effects = _shapley(model, parts, seed)
    items = []
    for i, name in enumerate(names):
        shapley = None if effects is None else _share(model, effects[:, i], "total")
        first, total = _share(model, parts.first[:, i], "first_order"), _share(model, parts.total[:, i], "total")
        items.append(Importance(name, first, total, shapley))
    pairs = [
        Interaction(names[i], names[j], _share(model, plane.share, "pair_share"))
        for (i, j), plane in (planes(model.surrogate, parts, seed) if drawn is None else drawn).items()
    ]
    items.sort(key=lambda item: -item.total.value)
    beaten = {
        a.parameter: tuple(b.parameter for b in items if a.total.low > b.total.high and not a.total.overlaps(b.total))
        for a in items
    }
    sd = np.sqrt(parts.variance)
    method = "standard deviation over the ranges; 95 % credible interval of the surrogate"
    return Importances(
        *start,
        items=tuple(items),
        interactions=tuple(sorted(pairs, key=lambda pair: -pair.share.value)),
        above=tuple((name, others) for name, others in beaten.items() if others),
        spread=model.setting.gate(Answer(float(sd.mean()), *quantiles(sd), n, model.unit, method), "spread"),
        error=parts.error,
        reason="",
        shift=None if everything is None else _shift(model, everything),
    )


def _share(model: Model, draws: Floats, statistic: str) -> Answer:
    answer = Answer(float(draws.mean()), *share_quantiles(draws), len(model.rows), "share of variance", METHOD)
    return model.setting.gate(answer, statistic)


def _shift(model: Model, everything: Model) -> dict[str, float] | None:
    if model.decomposition is None or everything.decomposition is None or model.inputs.names != everything.inputs.names:
        return None
    change = everything.decomposition.total.mean(0) - model.decomposition.total.mean(0)
    return dict(zip(model.inputs.names, map(float, change), strict=True))


def _shapley(model: Model, parts: Decomposition, seed: int) -> Floats | None:
    """Shapley effects of every draw, (draws, d): shares of the variance that add up to 1.

    None where not all subsets are known: more than 8 inputs, or more than 3 beside a cliff.
    """
    assert model.surrogate is not None
    d = len(model.inputs)
    functions = model.surrogate.additive_parts
    if functions is not None and d <= MOST_SHAPLEY:
        closed = {
            frozenset(s): np.concatenate([_closed(f, s) for f in functions])
            for k in range(d + 1)
            for s in combinations(range(d), k)
        }
    elif d <= 3:
        closed = {frozenset(): np.zeros(len(parts.variance)), frozenset(range(d)): np.ones(len(parts.variance))}
        closed |= {frozenset([i]): parts.first[:, i] for i in range(d)} if d > 1 else {}
        if d == 3:  # what two explain together is what the third one's total leaves
            closed |= {frozenset(range(3)) - {i}: 1 - parts.total[:, i] for i in range(3)}
    else:
        return None
    whole = closed[frozenset(range(d))]
    safe = np.where(whole > 0, whole, 1.0)
    return shapley_effects({s: v / safe for s, v in closed.items()}, d)


def _closed(f: Functions, inside: tuple[int, ...]) -> Floats:
    """Variance of the part of each function that depends on these inputs alone."""
    own = f.over(inside)
    squares = (own.weights * own.features.scale[:, None]) ** 2
    return np.asarray(squares[(own.features.chosen > 0).any(1)].sum(0))
