"""Where a hyperparameter is safe: the range around the best in which the mean stays within epsilon of the best.

The other hyperparameters are held at the arm's reference: the tried configuration whose expected metric is best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.answer import TRAINS, Answer, quantiles
from hpsearch.analysis.columns import Value
from hpsearch.analysis.inputs import Input
from hpsearch.analysis.model import Model, point_values
from hpsearch.analysis.surrogate import Surrogate

Floats = NDArray[np.float64]

SLICE = 101  # points of a slice along a range
METHOD = (
    "longest unbroken run around the best value, the others at the reference; 95 % credible interval over 256 draws of "
    "the surrogate"
)


@dataclass(frozen=True)
class Slice:
    """One input along its range through a reference point. at (k,): coordinates; curves (draws, k)."""

    at: Floats
    curves: Floats


@dataclass(frozen=True)
class SafeRange:
    """Of one hyperparameter, in its own values. epsilon: in the metric's unit.

    low, high: ends; an interval that reaches the edge of the searched range says "at least" (at_least, at_most).
    ratio: high / low on a log axis, else the width as a share of the searched range. levels: instead of these, for
    choices: the probability that each is within epsilon of the best. best: value at which the slice is best.
    trains_from, trains_to: ends of the run around the reference in which half of the seeds train, None on a side on
    which that does not end.
    """

    arm: str
    parameter: str
    reference: dict[str, Value]
    epsilon: float
    unit: str
    best: Value
    low: Answer | None
    high: Answer | None
    ratio: Answer | None
    levels: tuple[tuple[Value, float], ...]
    trains_from: Answer | None
    trains_to: Answer | None


def reference(surrogate: Surrogate, observed: Floats, sign: float) -> int:
    """Which observed point (n, d) has the best expected metric."""
    return int(np.argmax(sign * surrogate.mean(observed)))


def reference_row(model: Model) -> tuple[pd.Series, Floats]:
    """The arm's reference configuration and its coordinates (d,)."""
    assert model.surrogate is not None
    x = model.inputs.coordinates(model.rows)
    best = reference(model.surrogate, x, model.objective.sign)
    return model.rows.iloc[best], x[best]


def slice_along(surrogate: Surrogate, i: int, point: Floats) -> Slice:
    at = surrogate.inputs.inputs[i].steps(SLICE)
    return Slice(at, surrogate(_through(surrogate, i, point, at)))


def runs_within(curves: Floats, at: Floats, epsilon: float, sign: float) -> tuple[Floats, Floats]:
    """Ends of the unbroken run around each curve's best point in which it is within epsilon of it, (draws,) each."""
    good = sign * curves
    return _runs(good >= good.max(1, keepdims=True) - epsilon, good.argmax(1), at)


def safe_ranges(model: Model, epsilon: float) -> tuple[SafeRange, ...]:
    """One per hyperparameter that is active at the reference; none without a surrogate."""
    if model.surrogate is None:
        return ()
    row, point = reference_row(model)
    params = point_values(model.inputs, row)
    return tuple(
        _safe_range(model, i, one, point, params, epsilon)
        for i, one in enumerate(model.inputs.inputs)
        if np.isfinite(point[i])
    )


def _safe_range(model: Model, i: int, one: Input, point: Floats, params: dict[str, Value], epsilon: float) -> SafeRange:
    surrogate, sign = model.surrogate, model.objective.sign
    assert surrogate is not None
    piece = slice_along(surrogate, i, point)
    best = one.value(float(piece.at[int((sign * piece.curves.mean(0)).argmax())]))
    start = (model.arm, one.name, params, epsilon, model.unit, best)
    trains = _trains(model, i, one, point)
    if one.levels:
        within = sign * piece.curves >= (sign * piece.curves).max(1, keepdims=True) - epsilon
        chances = tuple((v, float(p)) for v, p in zip(one.levels, within.mean(0), strict=True))
        return SafeRange(*start, None, None, None, chances, *trains)
    left, right = runs_within(piece.curves, piece.at, epsilon, sign)
    mean = (sign * piece.curves.mean(0))[None]
    centre = [float(end[0]) for end in _runs(mean >= mean.max() - epsilon, mean.argmax(1), piece.at)]
    low = _end(model, one, centre[0], left, "safe_low")
    high = _end(model, one, centre[1], right, "safe_high")
    return SafeRange(*start, low, high, _ratio(model, one, centre, left, right), (), *trains)


def _end(model: Model, one: Input, centre: float, draws: Floats, statistic: str) -> Answer:
    """An end of the range as a value; the interval is rounded outward by one step of the slice."""
    low, high = quantiles(draws)
    step = 1 / (SLICE - 1)
    value, below, above = (float(one.value(min(max(c, 0.0), 1.0))) for c in (centre, low - step, high + step))
    answer = Answer(value, below, above, len(model.rows), one.name, METHOD, "", low <= 0.0, high >= 1.0)
    return model.setting.gate(answer, statistic)


def _ratio(model: Model, one: Input, centre: list[float], left: Floats, right: Floats) -> Answer:
    low, high = quantiles(right - left)
    step = 2 / (SLICE - 1)
    widths = np.clip([centre[1] - centre[0], low - step, high + step], 0.0, 1.0)
    assert one.axis.low is not None and one.axis.high is not None
    log = one.axis.kind == "log"
    value, below, above = map(float, (one.axis.high / one.axis.low) ** widths if log else widths)
    at_edge = quantiles(left)[0] <= 0.0 or quantiles(right)[1] >= 1.0
    unit = "times" if log else "share of the range"
    answer = Answer(value, below, above, len(model.rows), unit, METHOD, at_least=at_edge)
    return model.setting.gate(answer, "safe_ratio")


def _trains(model: Model, i: int, one: Input, point: Floats) -> tuple[Answer | None, Answer | None]:
    """Where half of the seeds stop to train, below and above the reference; None on a side where they never do."""
    surrogate = model.surrogate
    assert surrogate is not None
    if surrogate.counts is None or one.levels:
        return None, None
    at = one.steps(SLICE)
    p = surrogate.trains(_through(surrogate, i, point, at))
    middle = np.full(len(p), int(np.abs(at - point[i]).argmin()))
    left, right = _runs(p >= TRAINS, middle, at)
    mean = p.mean(0)[None]
    centre = _runs(mean >= TRAINS, middle[:1], at)
    found = []
    for value, draws, edge, name in ((centre[0], left, 0.0, "safe_low"), (centre[1], right, 1.0, "safe_high")):
        found.append(None if (draws == edge).mean() > 0.5 else _end(model, one, float(value[0]), draws, name))
    return found[0], found[1]


def _through(surrogate: Surrogate, i: int, point: Floats, at: Floats) -> Floats:
    x = np.repeat(point[None], len(at), 0)
    x[:, i] = at
    return surrogate.inputs.deactivate(x)


def _runs(within: NDArray[np.bool_], centre: NDArray[np.int64], at: Floats) -> tuple[Floats, Floats]:
    """Ends of the unbroken run of `within` (draws, k) around the index `centre` (draws,)."""
    k = np.arange(len(at))
    left = np.where(~within & (k <= centre[:, None]), k, -1).max(1) + 1
    right = np.where(~within & (k >= centre[:, None]), k, len(at)).min(1) - 1
    return at[np.minimum(left, centre)], at[np.maximum(right, centre)]
