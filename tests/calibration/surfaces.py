"""Coverage of everything that rests on a surrogate: one simulated study -> whether each interval holds the truth."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from hpsearch.analysis.answer import TAILS, Answer
from hpsearch.analysis.arms import describe_arms
from hpsearch.analysis.calibration import Setting
from hpsearch.analysis.columns import standard
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.decomposition import planes
from hpsearch.analysis.importance import importances
from hpsearch.analysis.means import with_cliff
from hpsearch.analysis.model import Model, fit_model
from hpsearch.analysis.objective import make_objective
from hpsearch.analysis.robustness import _corners, expected_losses, robust_optimum, tunability
from hpsearch.analysis.safe import SLICE, reference_row, runs_within, safe_ranges
from tests.calibration.simulate import PARAMETERS, Arm, Study, Surface, Truth, design, trials

Floats = NDArray[np.float64]
Row = tuple[str, float, float]  # statistic, share of its intervals that hold the truth, their mean width
EPSILON = 0.01
DEFAULTS = {name: p.default for name, p in PARAMETERS.items()}


def simulated(sampler: str, n: int, seeds: int, cliff: bool, study: int) -> tuple[Surface, Model]:
    """A study of one arm with three hyperparameters and its model; `study` seeds all of it."""
    rng = np.random.default_rng([study, n, seeds, int(cliff), len(sampler)])
    surface = Surface.draw(rng, cliff)
    table = standard(trials(surface, design(sampler, n, rng), seeds, rng, sampler=sampler))
    declared = Study({"sam": Arm(PARAMETERS)})
    facts = describe_arms(table, declared)[0]  # type: ignore[arg-type]
    goal = make_objective(table, "val_accuracy", True)
    return surface, fit_model(table, summarize(table, "val_accuracy"), facts, goal, None, even=True, seed=study)


def check_study(sampler: str, n: int, seeds: int, cliff: bool, study: int) -> list[Row]:
    """Every interval of one study as it would be printed if the table allowed it."""
    with patch.object(Setting, "why_not", lambda *_: ""):
        surface, model = simulated(sampler, n, seeds, cliff, study)
        if model.surrogate is None:
            return []
        return [
            *_means(model, surface, study),
            *_shares(model, surface, study),
            *_curves(model, surface, study),
            *_safe(model, surface),
            *_robust(model, surface),
        ]


def _means(model: Model, surface: Surface, study: int) -> Iterator[Row]:
    assert model.surrogate is not None
    rows = with_cliff(model.rows, model.surrogate, study)
    low, high = rows["low"].to_numpy(float), rows["high"].to_numpy(float)
    truth = surface.mean(model.inputs.coordinates(rows))
    yield "configuration_mean", float(((low <= truth) & (truth <= high)).mean()), float((high - low).mean())


def _shares(model: Model, surface: Surface, study: int) -> Iterator[Row]:
    answers = Truth(surface, 40)
    exact, (_, cube) = answers.shares(), answers.tensor()
    found = importances(model, seed=study)
    names = model.inputs.names
    for item in found.items:
        i = names.index(item.parameter)
        yield _held("first_order", item.first, exact["first"][i], 1e-6)
        yield _held("total", item.total, exact["total"][i], 1e-6)
    for pair in found.interactions:
        flat = cube.mean(3 - names.index(pair.x) - names.index(pair.y))
        own = flat - flat.mean(0)[None] - flat.mean(1)[:, None] + flat.mean()
        yield _held("pair_share", pair.share, (own**2).mean() / cube.var(), 1e-6)
    assert found.spread is not None
    yield _held("spread", found.spread, cube.std(), 0.0)


def _curves(model: Model, surface: Surface, study: int) -> Iterator[Row]:
    assert model.surrogate is not None and model.decomposition is not None
    answers = Truth(surface, 40)
    nodes, cube = answers.tensor()
    for i, along in enumerate(model.decomposition.along):
        yield _band("marginal_curve", along.curves, np.interp(along.at, *answers.marginal(i)))
    for (i, j), plane in planes(model.surrogate, model.decomposition, study).items():
        at = np.stack(np.meshgrid(plane.x, plane.y, indexing="ij"), -1)
        flat = RegularGridInterpolator((nodes, nodes), cube.mean(3 - i - j), bounds_error=False, fill_value=None)
        yield _band("pair_map", plane.maps, flat(at))


def _safe(model: Model, surface: Surface) -> Iterator[Row]:
    _, point = reference_row(model)
    step = 1 / (SLICE - 1)
    for i, safe in enumerate(safe_ranges(model, EPSILON)):
        one = model.inputs.inputs[i]
        line = _line(point, i, np.linspace(0, 1, 2001))
        left, right = (float(e[0]) for e in runs_within(surface.mean(line)[None], line[:, i], EPSILON, 1.0))
        assert safe.low is not None and safe.high is not None and safe.ratio is not None
        room = 1e-9 * abs(float(one.value(1.0)))
        yield _held("safe_low", safe.low, float(one.value(left)), room)
        yield _held("safe_high", safe.high, float(one.value(right)), room)
        span = (float(one.value(1.0)) / float(one.value(0.0))) if one.axis.kind == "log" else 1.0
        width = right - left
        yield _held("safe_ratio", safe.ratio, span**width if one.axis.kind == "log" else width, step * 1e-6)


def _robust(model: Model, surface: Surface) -> Iterator[Row]:
    _, point = reference_row(model)
    for i, loss in enumerate(expected_losses(model)):
        one = model.inputs.inputs[i]
        line = surface.mean(_line(point, i, (np.arange(1000) + 0.5) / 1000))
        best = surface.mean(_line(point, i, one.coordinates(_series(loss.best))))
        yield _held("expected_loss", loss.expected, float((best - line).mean()), 0.0)
    robust = robust_optimum(model)
    assert robust is not None
    x = model.inputs.coordinates(model.rows)
    chosen = x[(model.rows["configuration_id"] == robust.configuration_id).to_numpy()][0]
    away = _corners(model.inputs, robust.factor, robust.shift)
    yield _held("robust_worst", robust.worst, float(surface.mean(np.clip(chosen + away, 0, 1)).min()), 0.0)
    start = np.array([one.coordinates(_series(DEFAULTS[one.name]))[0] for one in model.inputs.inputs])
    base = float(surface.mean(start[None])[0])
    for found in tunability(model, DEFAULTS):  # type: ignore[arg-type]
        tuned = point if found.parameter is None else start.copy()
        if found.parameter is not None:
            i = model.inputs.names.index(found.parameter)
            tuned[i] = model.inputs.inputs[i].coordinates(_series(found.best))[0]
        yield _held("tuning_gain", found.gain, float(surface.mean(tuned[None])[0]) - base, 0.0)


def _series(value: object):  # type: ignore[no-untyped-def]
    import pandas as pd

    return pd.Series([value], dtype=object)


def _line(point: Floats, i: int, at: Floats) -> Floats:
    x = np.repeat(point[None], len(at), 0)
    x[:, i] = at
    return x


def _held(name: str, answer: Answer, truth: float, room: float) -> Row:
    return name, float(answer.low - room <= truth <= answer.high + room), answer.high - answer.low


def _band(name: str, draws: Floats, exact: Floats) -> Row:
    low, high = np.quantile(draws, TAILS, axis=0)
    return name, float(((low <= exact) & (exact <= high)).mean()), float((high - low).mean())
