"""The front of accuracy over compute, with a switch between the ways to count compute."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.objective import Objective
from hpsearch.analysis.pareto import Front
from hpsearch.figures import format as fmt
from hpsearch.figures.hover import configuration_texts
from hpsearch.figures.style import (
    INK,
    Look,
    arm_group,
    axis_style,
    buttons,
    error_bars,
    figure,
    legend_entry,
    log_ticks,
    scale,
)

LOG_RATIO = 20.0
SAME = 0.001  # of the axis: compute that counts as equal
STEP = 0.014  # of the axis: between arms that stand beside each other


def draw_pareto(fronts: Sequence[Front], objective: Objective, looks: Mapping[str, Look]) -> go.Figure:
    """Configurations' means with their 95 % intervals; the front as a staircase; x: did not train."""
    fig = figure(height=500)
    arms = [arm for arm in looks if any((front.points["arm"] == arm).any() for front in fronts)]
    for arm in arms:
        fig.add_trace(legend_entry(arm, looks[arm]))
    owner = [-1] * len(arms)  # which front each trace belongs to; the legend belongs to all
    for i, front in enumerate(fronts):
        traces = [*_arm_traces(front, objective, looks), *_front_traces(front, objective, looks)]
        for trace in traces:
            trace.visible = i == 0
            fig.add_trace(trace)
        owner += [i] * len(traces)
    switches: list[dict[str, object]] = [
        {
            "label": fmt.COST_LABELS[front.compute],
            "method": "update",
            "args": [{"visible": [o in (-1, i) for o in owner]}, {"xaxis": _compute_axis(front)}],
        }
        for i, front in enumerate(fronts)
    ]
    fig.update_layout(xaxis=_compute_axis(fronts[0]), yaxis=axis_style(fmt.axis_title(objective)))
    fig.update_yaxes(range=focus(fronts[0].points, objective))
    if len(fronts) > 1:
        fig.update_layout(updatemenus=buttons(switches, y=-0.17))
    return fig


def focus(points: pd.DataFrame, objective: Objective) -> list[float] | None:
    """The y range of the configurations that trained, in drawn units; None draws everything."""
    trained = points[points["n_not_trained"] == 0]
    if trained.empty or len(trained) == len(points):
        return None
    ends = pd.concat([trained["mean"], trained["low"], trained["high"]]).dropna() * scale(objective.share)
    pad = 0.06 * (ends.max() - ends.min()) or 1.0
    return [float(ends.min() - pad), float(ends.max() + pad)]


def _arm_traces(front: Front, objective: Objective, looks: Mapping[str, Look]) -> list[go.Scatter]:
    place = _places(front, looks)
    traces = []
    for arm, look in looks.items():
        rows = front.points[front.points["arm"] == arm]
        if rows.empty:
            continue
        failed = rows["n_not_trained"] > 0
        half = ((rows["high"] - rows["low"]) / 2).where(~failed)
        traces.append(
            go.Scatter(
                x=place[rows.index].tolist(),
                y=(rows["mean"] * scale(objective.share)).tolist(),
                error_y=error_bars(rows["mean"], half, objective.share, look.colour),
                mode="markers",
                marker={
                    "color": look.colour,
                    "symbol": np.where(failed, "x", look.symbol).tolist(),
                    "size": 8,
                    "opacity": 0.7,
                },
                legendgroup=arm_group(arm),
                showlegend=False,
                hoverinfo="text",
                hovertext=configuration_texts(rows, objective),
            )
        )
    return traces


def _front_traces(front: Front, objective: Objective, looks: Mapping[str, Look]) -> list[go.Scatter]:
    rows = front.points[front.points["on_front"]].sort_values("compute")
    if rows.empty:
        return []
    place = _places(front, looks)
    x, y = place[rows.index].tolist(), (rows["mean"] * scale(objective.share)).tolist()
    end = float(place[front.points.index[front.points["n_not_trained"] == 0]].max())
    ring = {"symbol": "circle-open", "size": 15, "color": INK, "line": {"width": 1.5}}
    # Two traces: the staircase goes on to the right of its last configuration, where there is no ring.
    stairs = {"shape": "hv", "color": INK, "width": 1.5}
    line = go.Scatter(x=[*x, end], y=[*y, y[-1]], mode="lines", line=stairs, name="front")
    rings = go.Scatter(x=x, y=y, mode="markers", marker=ring, showlegend=False)
    for trace in (line, rings):
        trace.update(legendgroup="front", hoverinfo="skip")
    return [line, rings]


def _places(front: Front, looks: Mapping[str, Look]) -> pd.Series:
    """Where the configurations stand on the compute axis: arms beside each other where compute hardly varies.

    With a fixed number of epochs all configurations of an arm, and often several arms, cost the same.
    """
    x = front.points["compute"].astype(float)
    low, high = _ends(front)
    stack = (x / ((high - low) or high or 1.0) / SAME).round()
    if stack.nunique() > len(x) / 3 or low <= 0:
        return x
    order = {arm: i for i, arm in enumerate(looks)}
    rank = front.points["arm"].map(order).groupby(stack).rank(method="dense")
    middle = rank.groupby(stack).transform("max") / 2 + 0.5
    if _is_log(low, high):
        return x * (high / low) ** (STEP * (rank - middle))
    return x + STEP * (rank - middle) * ((high - low) or high)


def _ends(front: Front) -> tuple[float, float]:
    """Lowest and highest compute of what trained, or of all if nothing did."""
    x = front.points.loc[front.points["n_not_trained"] == 0, "compute"]
    x = x if len(x) else front.points["compute"]
    return float(x.min()), float(x.max())


def _is_log(low: float, high: float) -> bool:
    return low > 0 and high / low >= LOG_RATIO


def _compute_axis(front: Front) -> dict[str, object]:
    """The x axis of a front, whole: an update replaces the old one."""
    low, high = _ends(front)
    title = f"Compute per trial ({fmt.COST_NAMES[front.compute]})"
    if _is_log(low, high):
        ticks = log_ticks(low, high, fmt.short)
        pad = 0.08 * math.log10(high / low)
        ends = [math.log10(low) - pad, math.log10(high) + pad]
        return axis_style(f"{title}, log scale", type="log", range=ends, **ticks)
    shown = ",.4~r" if front.compute == "seconds" else "~s"
    pad = 0.1 * (high - low) or 0.1 * high or 1.0
    return axis_style(title, type="linear", range=[low - pad, high + pad], tickformat=shown)
