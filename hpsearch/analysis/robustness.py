"""How forgiving an arm is: its robust optimum, its sensitivity over the ranges, and what tuning gains over defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.answer import Answer, quantiles
from hpsearch.analysis.columns import Value
from hpsearch.analysis.inputs import Inputs
from hpsearch.analysis.model import Model, point_values
from hpsearch.analysis.safe import reference_row, slice_along

Floats = NDArray[np.float64]

FACTOR = 2.0  # how far off every hyperparameter may be, where its axis is logarithmic
SHIFT = 0.1  # the same where it is not: of the searched range
MOST_CORNERS = 64
MOST_CANDIDATES = 100  # tried configurations, by expected metric, that may be the robust optimum


@dataclass(frozen=True)
class Robust:
    """The tried configuration whose worst corner is best when every hyperparameter is off by `factor` (or `shift`).

    worst: expected metric at the worst of the corners. reference_worst: the same at the arm's reference.
    """

    arm: str
    params: dict[str, Value]
    configuration_id: str
    factor: float
    shift: float
    worst: Answer
    reference_worst: Answer


@dataclass(frozen=True)
class Loss:
    """What a hyperparameter drawn from its range costs on average against `best`, others at the reference.

    best: the value at which the surrogate's mean is best. Excess is capped at what not training costs (the learning
    rate sensitivity of Wortsman et al., arXiv 2309.14322, for any hyperparameter).
    """

    arm: str
    parameter: str
    best: Value
    expected: Answer


@dataclass(frozen=True)
class Tunability:
    """What tuning gains over the default configuration (Probst et al., arXiv 1802.09596).

    gain: of one hyperparameter, the others at their defaults; parameter None: of all together. best: the value taken.
    """

    arm: str
    parameter: str | None
    best: Value | None
    gain: Answer


def robust_optimum(model: Model, factor: float = FACTOR, shift: float = SHIFT) -> Robust | None:
    """None without a surrogate. Corners beyond the searched range are moved to its edge."""
    surrogate, sign = model.surrogate, model.objective.sign
    if surrogate is None:
        return None
    x = model.inputs.coordinates(model.rows)
    leading = np.argsort(-sign * surrogate.mean(x), kind="stable")[:MOST_CANDIDATES]
    away = _corners(model.inputs, factor, shift)
    corners = np.clip(x[leading][:, None, :] + away[None], 0.0, 1.0)
    values = np.concatenate(
        [surrogate(part.reshape(-1, x.shape[1])) for part in np.array_split(corners, 8) if len(part)], 1
    )
    worst = (sign * values).reshape(len(values), len(leading), len(away)).min(2)  # (draws, candidates)
    chosen = int(worst.mean(0).argmax())
    row = model.rows.iloc[leading[chosen]]
    method = f"worst of {len(away)} corners, mean and 95 % credible interval of the surrogate"

    def answer(draws: Floats) -> Answer:
        made = Answer(float(draws.mean()), *quantiles(draws), len(model.rows), model.unit, method)
        return model.setting.gate(made, "robust_worst")

    return Robust(
        model.arm, point_values(model.inputs, row), str(row["configuration_id"]), factor, shift,
        answer(sign * worst[:, chosen]), answer(sign * worst[:, 0]),
    )  # fmt: skip


def _corners(inputs: Inputs, factor: float, shift: float) -> Floats:
    """Displacements in coordinates, (k, d): all signs of all ordered inputs that move; levels do not move."""
    steps = []
    for one in inputs.inputs:
        if one.levels or one.axis.low is None or one.axis.high is None:
            steps.append(0.0)
        elif one.axis.kind == "log":
            steps.append(math.log(factor) / math.log(one.axis.high / one.axis.low))
        else:
            steps.append(shift)
    moving = [i for i, s in enumerate(steps) if s]
    signs = np.array(list(product((-1.0, 1.0), repeat=min(len(moving), 6))))
    if len(moving) > 6:  # of more than 6, random corners
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (MOST_CORNERS, len(moving)))
    away = np.zeros((max(1, len(signs)), len(steps)))
    away[:, moving] = signs * np.array(steps)[moving] if moving else 0.0
    return away


def expected_losses(model: Model) -> tuple[Loss, ...]:
    """One per hyperparameter that is active at the reference, in display order."""
    surrogate = model.surrogate
    if surrogate is None:
        return ()
    _, point = reference_row(model)
    found = []
    for i, one in enumerate(model.inputs.inputs):
        if not np.isfinite(point[i]):
            continue
        piece = slice_along(surrogate, i, point)
        best = int((model.objective.sign * piece.curves.mean(0)).argmax())
        draws = _expected_loss(model, piece.curves, best, ends=not one.levels)
        method = "mean over the range of the excess over the best value; 95 % credible interval of the surrogate"
        answer = Answer(float(draws.mean()), *quantiles(draws), len(model.rows), model.unit, method)
        answer = model.setting.gate(answer, "expected_loss")
        found.append(Loss(model.arm, one.name, one.value(float(piece.at[best])), answer))
    return tuple(found)


def _expected_loss(model: Model, curves: Floats, best: int, ends: bool) -> Floats:
    """Curves (draws, k) -> (draws,). A draw's own best would count its luck as a loss everywhere else.

    ends: the first and the last point stand for half as much of the range as the others.
    """
    assert model.surrogate is not None
    good = model.objective.sign * curves
    excess = good[:, [best]] - good
    chance = model.objective.sign * model.surrogate.chance
    if math.isfinite(chance):
        excess = np.minimum(excess, np.maximum(good[:, [best]] - chance, 0.0))
    weights = np.ones(excess.shape[1])
    weights[[0, -1]] = 0.5 if ends else 1.0
    return np.asarray(excess @ weights / weights.sum())


def tunability(model: Model, defaults: Mapping[str, Value]) -> tuple[Tunability, ...]:
    """Of every hyperparameter and of all together; none where a default is not known or without a surrogate.

    The value that tuning would take is chosen by the mean of the surrogate and its gain judged draw by draw, so that
    the luck of a draw's own best is not counted as a gain.
    """
    surrogate, sign = model.surrogate, model.objective.sign
    names = model.inputs.names
    if surrogate is None or any(name not in defaults for name in names):
        return ()
    frame = pd.DataFrame({f"params.{name}": pd.Series([defaults[name]], dtype=object) for name in names})
    start = model.inputs.deactivate(model.inputs.coordinates(frame))[0]
    found = []
    for i, one in enumerate(model.inputs.inputs):
        if not np.isfinite(start[i]):
            continue
        piece = slice_along(surrogate, i, start)
        best = int((sign * piece.curves.mean(0)).argmax())
        gain = sign * (piece.curves[:, best] - surrogate(start[None])[:, 0])
        found.append(Tunability(model.arm, one.name, one.value(float(piece.at[best])), _gain(model, gain)))
    _, point = reference_row(model)
    both = surrogate(np.stack([point, start]))
    found.append(Tunability(model.arm, None, None, _gain(model, sign * (both[:, 0] - both[:, 1]))))
    return tuple(found)


def _gain(model: Model, draws: Floats) -> Answer:
    method = "expected metric at the tuned value less that at the default; 95 % credible interval of the surrogate"
    answer = Answer(float(draws.mean()), *quantiles(draws), len(model.rows), model.unit, method)
    return model.setting.gate(answer, "tuning_gain")
