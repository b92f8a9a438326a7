"""One hyperparameter, all arms that searched it on one axis; beneath, the range in which each arm trained."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.objective import Objective
from hpsearch.analysis.sensitivity import Sensitivity
from hpsearch.figures import format as fmt
from hpsearch.figures.hover import configuration_texts
from hpsearch.figures.pareto import focus
from hpsearch.figures.style import (
    Look,
    arm_group,
    axis_style,
    buttons,
    error_bars,
    figure,
    parameter_axis,
    safe,
    scale,
)

PLOT = 320  # pixels: the panel of the metric
ROW = 24  # pixels: one arm in the strip
AROUND = 150  # pixels: legend, gap, ticks, title, buttons
DODGE = 0.12  # of a choice's width: arms stand beside each other where the axis is not a number


def draw_sensitivity(info: Sensitivity, objective: Objective, looks: Mapping[str, Look]) -> go.Figure:
    """Dots: configurations' means +- sd over seeds; lines: the mean in each cell; x: did not train."""
    arms = [arm for arm in looks if arm in info.arms]
    strip = ROW * len(arms)
    fig = figure(height=PLOT + strip + AROUND)
    share = strip / (PLOT + strip + 24)
    fig.update_layout(
        xaxis={**parameter_axis(info.axis), "anchor": "y2"},
        yaxis=axis_style(fmt.axis_title(objective), domain=[share + 0.06, 1]),
        yaxis2=_strip_axis(arms, share),
    )
    for k, arm in enumerate(arms):
        shift = DODGE * (k - (len(arms) - 1) / 2) if info.axis.kind == "choice" else 0.0
        points = info.points[info.points["arm"] == arm]
        fig.add_trace(_dots(points, arm, looks[arm], objective, shift))
        fig.add_trace(_line(info, arm, looks[arm], objective, shift))
        for trace in _strip(info, arm, looks[arm], len(arms) - 1 - k):
            fig.add_trace(trace)
    fig.update_layout(updatemenus=_zoom(info.points, objective, below=-(58 / (PLOT + strip))))
    return fig


def _dots(points: pd.DataFrame, arm: str, look: Look, objective: Objective, shift: float) -> go.Scatter:
    unit = scale(objective.share)
    failed = points["n_not_trained"] > 0
    return go.Scatter(
        x=(points["position"] + shift).tolist(),
        y=(points["mean"] * unit).tolist(),
        error_y=error_bars(points["mean"], points["sd"], objective.share, look.colour),
        mode="markers",
        marker={
            "color": look.colour,
            "symbol": np.where(failed, "x", look.symbol).tolist(),
            "size": np.where(failed, 8, 7).tolist(),
            "opacity": 0.55,
        },
        legendgroup=arm_group(arm),
        showlegend=False,
        hoverinfo="text",
        hovertext=configuration_texts(points, objective),
    )


def _line(info: Sensitivity, arm: str, look: Look, objective: Objective, shift: float) -> go.Scatter:
    """The means of neighbouring cells joined; broken where a cell is empty; unjoined between names."""
    rows = info.lines[info.lines["arm"] == arm].sort_values("cell")
    x: list[float | None] = []
    y: list[float | None] = []
    last = None
    for cell, position, mean in zip(rows["cell"], rows["position"], rows["mean"], strict=True):
        if last is not None and cell != last + 1:
            x.append(None)
            y.append(None)
        x.append(float(position) + shift)
        y.append(float(mean) * scale(objective.share))
        last = cell
    named = any(isinstance(choice, str | bool) for choice in info.axis.choices)
    bar = {"symbol": "line-ew-open", "size": 22, "line": {"width": 3, "color": look.colour}}
    return go.Scatter(
        x=x,
        y=y,
        mode="markers" if named else "lines+markers",
        line={"color": look.colour, "width": 2.5, "dash": look.dash},
        marker=bar if named else {"symbol": look.symbol, "size": 8, "color": look.colour},
        name=safe(arm),
        legendgroup=arm_group(arm),
        hoverinfo="skip",
    )


def _strip(info: Sensitivity, arm: str, look: Look, row: int) -> list[go.Scatter]:
    """A bar over the range in which everything trained, and a mark per configuration; shares for choices."""
    if info.axis.kind == "choice":
        return [_shares(info, arm, look, row)]
    traces = []
    ranges = info.ranges[info.ranges["arm"] == arm] if len(info.ranges) else info.ranges
    shared = {"yaxis": "y2", "legendgroup": arm_group(arm), "showlegend": False, "hoverinfo": "skip"}
    for low, high in zip(ranges.get("low", ()), ranges.get("high", ()), strict=True):
        bar = {"color": look.colour, "width": 9}
        # A range of one value is a short bar; the marker gives it a width that is the same on any axis.
        cap = {"symbol": "square", "size": 9, "color": look.colour}
        ends = [float(low), float(high)]
        traces.append(
            go.Scatter(x=ends, y=[row, row], mode="lines+markers", line=bar, marker=cap, opacity=0.55, **shared)
        )
    points = info.points[info.points["arm"] == arm]
    failed = points["n_not_trained"] > 0
    mark = {
        "color": look.colour,
        "symbol": np.where(failed, "x", "line-ns-open").tolist(),
        "size": np.where(failed, 8, 9).tolist(),
        "line": {"width": 1, "color": look.colour},
    }
    x = points["position"].tolist()
    traces.append(go.Scatter(x=x, y=[row] * len(x), mode="markers", marker=mark, **shared))
    return traces


def _shares(info: Sensitivity, arm: str, look: Look, row: int) -> go.Scatter:
    """Trials that did not train / trials that ended, at each choice."""
    cells = info.lines[info.lines["arm"] == arm]
    counts = zip(cells["n_not_trained"], cells["n_ended"], strict=True)
    return go.Scatter(
        x=cells["position"].tolist(),
        y=[row] * len(cells),
        mode="text",
        text=[f"{failed:.0f}/{ended:.0f}" for failed, ended in counts],
        textfont={"color": look.colour, "size": 12},
        legendgroup=arm_group(arm),
        yaxis="y2",
        showlegend=False,
        hoverinfo="skip",
    )


def _strip_axis(arms: list[str], share: float) -> dict[str, object]:
    labels = [safe(arm) for arm in reversed(arms)]
    return axis_style(
        "",
        domain=[0, share],
        range=[-0.6, len(arms) - 0.4],
        tickmode="array",
        tickvals=list(range(len(arms))),
        ticktext=labels,
        fixedrange=True,
    )


def _zoom(points: pd.DataFrame, objective: Objective, below: float) -> list[dict[str, object]]:
    """Buttons for the whole range and for the range of what trained, where those differ much."""
    near = focus(points, objective)
    means = points["mean"] * scale(objective.share)
    if near is None or means.max() - means.min() < 2 * (near[1] - near[0]):
        return []
    entries: list[dict[str, object]] = [
        {"label": "whole range", "method": "relayout", "args": [{"yaxis.autorange": True}]},
        {
            "label": "zoom to what trained",
            "method": "relayout",
            "args": [{"yaxis.range": near, "yaxis.autorange": False}],
        },
    ]
    return buttons(entries, y=below)
