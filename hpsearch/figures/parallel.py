"""Parallel coordinates of all trials: what they were and what came out, a line each; brushing an axis selects."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.columns import COSTS, numeric
from hpsearch.errors import one_line
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.style import EMPTY, FAINT, INK, LONGEST_NAME, SEQUENTIAL, figure, log_ticks, safe, scale

if TYPE_CHECKING:
    from hpsearch.study import Study

TITLE = "Trials side by side"
MOST = 10  # hyperparameters that get an axis
ABSENT = 0.12  # of an axis, below its end: where trials stand that do not have the hyperparameter
FLAT = 0.5  # half the length of an axis on which all values are the same


@dataclass(frozen=True)
class ParallelAxis:
    """at: (trials,) where each line crosses, NaN where the trial has no value; ticks with their labels."""

    label: str
    at: NDArray[np.float64]
    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ParallelInfo:
    """A line per trial, in the order of the table of trials. colour: (trials,) the metric, NaN where unknown.
    left_out: hyperparameters without an axis, of more than 10; ranked: because their total shares of variance are less.
    """

    axes: tuple[ParallelAxis, ...]
    colour: NDArray[np.float64]
    metric: str
    left_out: tuple[str, ...]
    ranked: bool


def parallel_info(result: Result) -> ParallelInfo:
    """Raises NothingToDraw where no trial has a metric or nothing was searched."""
    if result.reason:
        raise NothingToDraw(result.reason)
    assert result.objective is not None
    goal, trials = result.objective, result.trials
    names = sorted(result.parameters, key=lambda name: -_matters(result, name))[:MOST]
    names = [name for name in result.parameters if name in names and f"params.{name}" in trials.columns]
    if not names:
        raise NothingToDraw("no hyperparameter was searched")
    axes = [_choices("arm", trials["arm"], result.arms)] if len(result.arms) > 1 else []
    axes += [_parameter(name, trials[f"params.{name}"], result.axis(name)) for name in names]
    for cost in COSTS[:1]:
        if numeric(trials, f"cost.{cost}").notna().any():
            axes.append(_numbers(fmt.COST_LABELS[cost], numeric(trials, f"cost.{cost}"), fmt.short))
    values = numeric(trials, goal.column) * scale(goal.share)
    axes.append(_numbers(fmt.axis_title(goal), values, fmt.number))
    left = tuple(name for name in result.parameters if name not in names)
    ranked = any(_matters(result, name) > 0 for name in names)
    return ParallelInfo(tuple(axes), values.to_numpy(float), fmt.axis_title(goal), left, ranked)


def plot_parallel(source: Source, study: Study | None = None) -> go.Figure:
    """A line per trial through its arm, hyperparameters, compute and metric, coloured by the metric.

    source: a run folder, a table of trials, an Analysis or a Result; study: of a table.
    Raises NothingToDraw where no trial has a metric or nothing was searched.
    """
    result = read_result(source, study)
    return draw_parallel(parallel_info(result), result).to_plotly()


def draw_parallel(info: ParallelInfo, result: Result) -> sketch.Figure:
    assert result.objective is not None
    fig = figure(height=380)
    known = info.colour[np.isfinite(info.colour)]
    low, high = (float(np.quantile(known, q)) for q in (0.05, 0.95))
    steps = SEQUENTIAL[1:-1] if result.objective.maximize else SEQUENTIAL[-2:0:-1]
    worst = low if result.objective.maximize else high
    fig.add_trace(
        sketch.Parcoords(
            dimensions=[_dimension(axis) for axis in info.axes],
            line={
                "color": np.where(np.isfinite(info.colour), info.colour, worst).round(5).tolist(),
                "colorscale": [[i / (len(steps) - 1), step] for i, step in enumerate(steps)],
                "cmin": low,
                "cmax": high if high > low else low + 1.0,
            },
            unselected={"line": {"color": EMPTY, "opacity": 0.5}},
            labelfont={"color": INK, "size": 12},
            tickfont={"color": FAINT, "size": 11},
            rangefont={"color": "rgba(0,0,0,0)", "size": 1},
            labelangle=0 if len(info.axes) <= 8 else -15,
        )
    )
    fig.update_layout(margin={"l": 70, "r": 80, "t": 56, "b": 24})
    return fig


def pictures(result: Result) -> list[Picture | Missing]:
    try:
        info = parallel_info(result)
    except NothingToDraw as why:
        return [Missing("parallel", TITLE, str(why))]
    names = ", ".join(one_line(axis.label, LONGEST_NAME) for axis in info.axes)
    left = f" {MOST} of {len(info.left_out) + MOST} hyperparameters are shown" if info.left_out else ""
    left += ("." if not info.ranked else ", those that matter most.") if left else ""
    caption = (
        f"A line per trial, coloured by {info.metric}, bright is better. Drag along an axis to select: the table shows "
        f"what is selected; click the axis to let go. A line at the foot of an axis, at the dash, has no value "
        f"there; without the metric it has the worst colour.{left}"
    )
    alt = f"Parallel coordinates of {len(info.colour)} trials over {names}. The table below has the same numbers."
    numbers = pd.concat([pd.Series(axis.at, name=axis.label) for axis in info.axes], axis=1)
    return [Picture("parallel", TITLE, draw_parallel(info, result), alt, caption, numbers)]


def _matters(result: Result, name: str) -> float:
    """The largest total share of variance that any arm gives it; 0 where no arm has one."""
    shares = [0.0]
    for arm in result.arms_that_searched(name):
        answers = result.answers(arm) or {}
        items = (answers.get("importances") or {}).get("hyperparameters", ())
        shares += [one["total"]["value"] or 0.0 for one in items if one["parameter"] == name and one["total"]]
    return max(shares)


def _parameter(name: str, column: pd.Series, axis: Axis) -> ParallelAxis:
    if axis.kind == "choice":
        at = axis.positions(column)
        labels = tuple(one_line(fmt.parameter(choice), LONGEST_NAME) for choice in axis.choices)
        return _axis(name, at, tuple(map(float, range(len(labels)))), labels)
    values = pd.to_numeric(column, errors="coerce").astype(float)
    if axis.kind == "log":
        return _logarithmic(name, values.where(values > 0))
    return _numbers(name, values, fmt.number)


def _logarithmic(name: str, values: pd.Series) -> ParallelAxis:
    known = values.dropna()
    if known.empty:
        return _numbers(name, values, fmt.number)
    ticks = log_ticks(float(known.min()), float(known.max()))
    at = np.log10(values.to_numpy(float))
    return _axis(name, at, tuple(math.log10(v) for v in ticks["tickvals"]), tuple(ticks["ticktext"]))


def _numbers(name: str, values: pd.Series, label: Callable[[float], str]) -> ParallelAxis:
    at = values.to_numpy(float)
    known = at[np.isfinite(at)]
    if not len(known):
        return _axis(name, at, (), ())
    ticks = tuple(dict.fromkeys(float(f"{v:.2g}") for v in np.linspace(known.min(), known.max(), 5)))
    return _axis(name, at, ticks, tuple(label(v) for v in ticks))


def _choices(name: str, column: pd.Series, choices: list[str]) -> ParallelAxis:
    index = {choice: float(i) for i, choice in enumerate(choices)}
    at = np.array([index.get(str(value), math.nan) for value in column])
    return _axis(name, at, tuple(index.values()), tuple(one_line(choice, LONGEST_NAME) for choice in choices))


def _axis(name: str, at: NDArray[np.float64], ticks: tuple[float, ...], labels: tuple[str, ...]) -> ParallelAxis:
    ends = [*at[np.isfinite(at)], *ticks] or [0.0]
    low, high = float(min(ends)), float(max(ends))
    if high <= low:
        low, high = low - FLAT, high + FLAT
    return ParallelAxis(name, at, low, high, ticks, labels)


def _dimension(axis: ParallelAxis) -> dict[str, object]:
    absent = ~np.isfinite(axis.at)
    foot = axis.low - ABSENT * (axis.high - axis.low)
    ticks, labels = [*axis.ticks], [*axis.labels]
    if absent.any():
        ticks, labels = [foot, *ticks], [fmt.DASH, *labels]
    return {
        "label": safe(axis.label),  # plotly reads markup here, but not in the texts of ticks
        "values": np.where(absent, foot, axis.at).round(6).tolist(),
        "range": [foot if absent.any() else axis.low, axis.high],
        "tickvals": ticks,
        "ticktext": labels,
    }
