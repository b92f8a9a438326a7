"""How wide each answer is, as a share of what it may be, and what would have to be known better to narrow it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpsearch.analysis.answer import TAILS, quantiles
from hpsearch.analysis.best import Best
from hpsearch.analysis.decomposition import quadrature
from hpsearch.analysis.gain import Target
from hpsearch.analysis.inputs import Inputs
from hpsearch.analysis.model import Model
from hpsearch.analysis.safe import SLICE, reference_row, runs_within, slice_along
from hpsearch.analysis.surrogate import LEAST

Floats = NDArray[np.float64]
Read = Callable[[Floats], float]
What = Literal["surface", "safe_low", "safe_high", "total", "marginal_curve", "confirmed_best"]

OTHERS = 16  # points of the other inputs at each point of a curve
TOTAL_OTHERS = 32  # the same for a total share
UNITS: Mapping[What, str] = {
    "surface": "nothing is known",
    "safe_low": "of the searched range",
    "safe_high": "of the searched range",
    "total": "of the variance",
    "marginal_curve": "of the spread of the configurations' means",
    "confirmed_best": "of the spread of the configurations' means",
}


@dataclass(frozen=True)
class Width:
    """One answer of one arm. width: of its 95 % interval, from 0 to 1 in `unit`; 1 also where there is none, and `why`
    says why. parameter: None where the answer is of the whole arm.

    target: what would have to be known better. fixed: the part of its variance that more configurations leave as it
    is, because the same seeds run in all. points (k, d), read: the width as a function of draws there, (draws, k).
    line (m, d): points through the reference around an uncertain end.
    """

    arm: str
    what: What
    parameter: str | None
    width: float
    why: str = ""
    target: Target | None = field(default=None, repr=False, compare=False)
    fixed: float = field(default=0.0, repr=False, compare=False)
    points: Floats | None = field(default=None, repr=False, compare=False)
    read: Read | None = field(default=None, repr=False, compare=False)
    line: Floats | None = field(default=None, repr=False, compare=False)

    @property
    def unit(self) -> str:
        return UNITS[self.what]


def widths(model: Model, epsilon: float, seed: int = 0) -> tuple[Width, ...]:
    """Every answer of the arm that rests on its surrogate. epsilon: of the safe ranges; none of these where it is NaN.

    Levels have no ends and are left to the shares and curves. Intervals count here whether or not they may be quoted.
    """
    surrogate, parts = model.surrogate, model.decomposition
    if surrogate is None or parts is None:
        few = int((model.rows["n_trained"] > 0).sum()) < LEAST if len(model.rows) else True
        return (Width(model.arm, "surface", None, 1.0 if few else 0.0, model.reason),)
    found = [*_ends(model, epsilon)] if math.isfinite(epsilon) else []
    spread = max(_spread(model), 1e-300)
    everywhere = Target.everywhere(surrogate.inputs, seed)
    for i, name in enumerate(model.inputs.names):
        low, high = quantiles(parts.total[:, i])
        at, weights = quadrature(surrogate, i)
        x, read = _crossed(model, i, TOTAL_OTHERS, seed), partial(_total_width, weights)
        found.append(Width(model.arm, "total", name, high - low, target=everywhere, points=x, read=read))
        x, curve = _crossed(model, i, OTHERS, seed), np.kron(np.eye(len(at)), np.full((1, OTHERS), 1 / OTHERS))
        target, shift = Target(x, curve, weights), float(surrogate.shifts.var())
        read = partial(_band_width, spread, np.eye(len(at)))
        width = read(parts.along[i].curves)
        read = partial(_band_width, spread, curve)
        found.append(Width(model.arm, "marginal_curve", name, width, target=target, fixed=shift, points=x, read=read))
    return tuple(found)


def best_widths(models: Sequence[Model], best: Sequence[Best], planned: bool) -> tuple[Width, ...]:
    """Of each arm's best configuration. planned: confirmation runs are in the study and only have to be run."""
    spreads = {model.arm: _spread(model) for model in models}
    found = []
    for one in best:
        if one.rank != 1 or one.arm not in spreads:
            continue
        if one.confirmation is None:
            if not planned:
                found.append(Width(one.arm, "confirmed_best", None, 1.0, "the best of many, and never confirmed"))
        elif one.confirmation.objective.has_interval and spreads[one.arm] > 0:
            width = min(1.0, 2 * one.confirmation.objective.half / spreads[one.arm])
            found.append(Width(one.arm, "confirmed_best", None, width))
    return tuple(found)


def _ends(model: Model, epsilon: float) -> list[Width]:
    surrogate = model.surrogate
    assert surrogate is not None
    _, point = reference_row(model)
    found = []
    for i, one in enumerate(model.inputs.inputs):
        if one.levels or not np.isfinite(point[i]):
            continue
        piece = slice_along(surrogate, i, point)
        best = int((model.objective.sign * piece.curves.mean(0)).argmax())
        ends = runs_within(piece.curves, piece.at, epsilon, model.objective.sign)
        sides: tuple[What, What] = ("safe_low", "safe_high")
        x = np.repeat(point[None], len(piece.at), 0)
        x[:, i] = piece.at
        x = surrogate.inputs.deactivate(x)
        for side, (what, draws) in enumerate(zip(sides, ends, strict=True)):
            low, high = quantiles(draws)
            target = _end(surrogate.inputs, point, i, piece.at, best, draws)
            at = np.linspace(max(0.0, low - 0.05), min(1.0, high + 0.05), 33)
            line = np.repeat(point[None], len(at), 0)
            line[:, i] = at
            read = partial(_end_width, side, piece.at, epsilon, model.objective.sign)
            found.append(Width(model.arm, what, one.name, high - low, target=target, points=x, read=read, line=line))
    return found


def _end(inputs: Inputs, point: Floats, i: int, at: Floats, best: int, draws: Floats) -> Target:
    """How far the response falls from the best value to each place where the range may end, as likely as it does."""
    where, counts = np.unique(np.rint(draws * (SLICE - 1)).astype(int), return_counts=True)
    x = np.repeat(point[None], len(where) + 1, 0)
    x[:, i] = at[np.append(where, best)]
    combine = np.hstack([np.eye(len(where)), -np.ones((len(where), 1))])
    return Target(inputs.deactivate(x), combine, counts / counts.sum())


def _crossed(model: Model, i: int, others: int, seed: int) -> Floats:
    """The quadrature of input i, each point with the same points of the others, (k * others, d)."""
    assert model.surrogate is not None
    inputs = model.inputs
    at, _ = quadrature(model.surrogate, i)
    x = np.repeat(inputs.from_uniform(inputs.uniform(others, seed))[None], len(at), 0)  # (k, others, d)
    x[:, :, i] = at[:, None]
    return inputs.deactivate(x.reshape(-1, len(inputs)))


def _end_width(side: int, at: Floats, epsilon: float, sign: float, draws: Floats) -> float:
    low, high = quantiles(runs_within(draws, at, epsilon, sign)[side])
    return high - low


def _band_width(spread: float, combine: Floats, draws: Floats) -> float:
    low, high = np.quantile(draws @ combine.T, TAILS, axis=0)
    return min(1.0, float((high - low).mean() / spread))


def _total_width(weights: Floats, draws: Floats) -> float:
    f = draws.reshape(len(draws), len(weights), -1)  # (draws, k, others)
    means = np.einsum("skm,k->sm", f, weights)
    inside = np.einsum("skm,k->sm", (f - means[:, None, :]) ** 2, weights).mean(1)
    low, high = quantiles(inside / np.maximum(inside + means.var(1), 1e-300))
    return high - low


def _spread(model: Model) -> float:
    mean = model.rows["mean"].to_numpy(float) if len(model.rows) else np.zeros(1)
    return float(np.nanmax(mean) - np.nanmin(mean))
