"""Sensitivity across tasks: what one setting for all loses, and the plane of sensitivity and tuned performance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.writing import briefly
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.across.result import Comparison, Several, compare
from hpsearch.figures.across.rows import ROW_LABEL, heading, known, rounded
from hpsearch.figures.hover import Row
from hpsearch.figures.picture import NothingToDraw
from hpsearch.figures.style import (
    FAINT,
    INK,
    RULE,
    SYMBOLS,
    Look,
    axis_style,
    faded,
    figure,
    legend_entry,
    safe,
)

ROW = 66  # pixels: one arm
LEGEND = 16  # pixels: an entry of the legend, which on a phone takes a line
BELOW = 0.32  # of a row: the tasks' marks stand so far below the mean's
ALL = "all tasks"


@dataclass(frozen=True)
class LossInfo:
    """arms: a row each, in order: arm, way, loss, low, high (normalised score; NaN where there is no interval), n
    (tasks), why, settings, dimensionality (None where not known), searched (their number), tune (names), tuned,
    tuned_low, tuned_high, single, single_low, single_high, method (text).
    tasks: a row per arm and task: arm, task, loss, low, high, n (seeds), why, metric_loss, unit.
    """

    arms: pd.DataFrame
    tasks: pd.DataFrame


def across_loss_info(comparison: Comparison) -> LossInfo:
    """Raises NothingToDraw where no arm could be compared."""
    document = comparison.document
    if not comparison.compared:
        raise NothingToDraw(document["reason"] or "no arm could be compared")
    methods = document["methods"]
    arms = pd.DataFrame([_arm_row(one, methods) for one in comparison.compared])
    tasks = pd.DataFrame([_task_row(arm["arm"], one) for arm in comparison.compared for one in arm["tasks"]])
    return LossInfo(arms, tasks)


def plot_across_loss(sources: Several) -> go.Figure:
    """What one setting for all tasks loses against tuning for each, an arm a row: the mean over tasks with its 95 %
    interval, beneath it every task's loss. sources: as `compare` takes them.
    """
    comparison = compare(sources)
    return draw_loss(across_loss_info(comparison), comparison.looks).to_plotly()


def draw_loss(info: LossInfo, looks: dict[str, Look]) -> sketch.Figure:
    n = len(info.arms)
    tasks = list(dict.fromkeys(info.tasks["task"]))
    fig = figure(height=96 + ROW * n + LEGEND * len(tasks))
    symbols = {task: SYMBOLS[i % len(SYMBOLS)] + "-open" for i, task in enumerate(tasks)}
    fig.add_trace(_key("mean over tasks, 95 % interval", "circle", INK, 10))
    for task in tasks:
        fig.add_trace(_key(safe(task), symbols[task], FAINT, 8))
    for i, arm in enumerate(info.arms.to_dict("records")):
        look, y = looks[arm["arm"]], n - 1 - i
        own = info.tasks[info.tasks["arm"] == arm["arm"]]
        fig.add_trace(
            sketch.Scatter(
                x=rounded(own["loss"]),
                y=[y - BELOW] * len(own),
                mode="markers",
                marker={
                    "symbol": [symbols[t] for t in own["task"]],
                    "size": 8,
                    "color": look.colour,
                    "line": {"width": 1.4},
                },
                showlegend=False,
                hoverinfo="text",
                hovertext=[_task_text(row) for row in own.to_dict("records")],
            )
        )
        fig.add_trace(
            sketch.Scatter(
                x=rounded([arm["loss"]]),
                y=[y],
                error_x=_bars(arm, "loss", "low", "high", look.colour),
                mode="markers",
                marker={"symbol": look.symbol, "size": 11, "color": look.colour},
                showlegend=False,
                hoverinfo="text",
                hovertext=[_arm_text(arm)],
            )
        )
        fig.add_annotation(heading(f"<b>{safe(arm['arm'])}</b>  {_dimension(arm)}", y + ROW_LABEL - 0.06))
    fig.update_layout(
        xaxis=axis_style("Normalised score lost", zeroline=True, zerolinecolor=FAINT),
        yaxis={"range": [-0.75, n - 1 + 0.75], "visible": False, "fixedrange": True},
        margin={"l": 16, "r": 16, "t": 16, "b": 48},
    )
    return fig


def plot_across_plane(sources: Several) -> go.Figure:
    """Sensitivity across tasks against the score tuned for each task, an arm a mark with both 95 % intervals; lines
    through the first arm (Adkins, Bowling and White, arXiv 2412.07165). sources: as `compare` takes them.
    """
    comparison = compare(sources)
    return draw_plane(across_loss_info(comparison), comparison.looks).to_plotly()


def draw_plane(info: LossInfo, looks: dict[str, Look]) -> sketch.Figure:
    """The lines go through the first arm: on the diagonal one setting for all tasks scores as its one setting does."""
    fig = figure(height=440 + LEGEND * len(info.arms))
    rows = info.arms.to_dict("records")
    control = rows[0]
    xs, ys = _range(info.arms, ("loss", "low", "high")), _range(info.arms, ("tuned", "tuned_low", "tuned_high"))
    for arm in rows:
        fig.add_trace(legend_entry(arm["arm"], looks[arm["arm"]]))
    fig.add_trace(
        sketch.Scatter(
            x=xs,
            y=[control["single"] + x for x in xs],
            mode="lines",
            line={"color": FAINT, "width": 1.2, "dash": "dash"},
            name=f"one setting as good as {safe(control['arm'])}'s",
            hoverinfo="skip",
        )
    )
    for arm in rows:
        look = looks[arm["arm"]]
        fig.add_trace(
            sketch.Scatter(
                x=rounded([arm["loss"]]),
                y=rounded([arm["tuned"]]),
                error_x=_bars(arm, "loss", "low", "high", look.colour),
                error_y=_bars(arm, "tuned", "tuned_low", "tuned_high", look.colour),
                mode="markers",
                marker={"symbol": look.symbol, "size": 12, "color": look.colour, "line": {"color": INK, "width": 0.8}},
                showlegend=False,
                hoverinfo="text",
                hovertext=[_arm_text(arm)],
            )
        )
    line = {"color": RULE, "width": 1.6}
    fig.add_shape(
        type="line", x0=control["loss"], x1=control["loss"], y0=0, y1=1, yref="paper", line=line, layer="below"
    )
    fig.add_shape(
        type="line", y0=control["tuned"], y1=control["tuned"], x0=0, x1=1, xref="paper", line=line, layer="below"
    )
    for text, x, y in (("higher, less sensitive", "left", "top"), ("lower, more sensitive", "right", "bottom")):
        fig.add_annotation(
            text=text, showarrow=False, xref="paper", yref="paper", x=float(x == "right"), y=float(y == "top"),
            xanchor=x, yanchor=y, font={"size": 11, "color": FAINT},
        )  # fmt: skip
    fig.update_layout(
        xaxis=axis_style("Normalised score lost", range=xs),
        yaxis=axis_style("Normalised score, tuned", range=ys),
    )
    return fig


def _arm_row(arm: dict[str, Any], methods: dict[str, Any]) -> dict[str, Any]:
    kept = arm["kept"]
    return {
        "arm": arm["arm"],
        "way": arm["way"],
        **_numbers(arm["loss"], "loss", ""),
        "n": arm["loss"]["n"],
        "why": arm["loss"]["why_no_interval"] or "",
        "settings": arm["settings"],
        "seeds": arm["seeds"],
        "params": ", ".join(f"{name} {fmt.parameter(value)}" for name, value in arm["single_setting"].items()),
        "dimensionality": arm["dimensionality"],
        "searched": len(arm["searched"]),
        "tune": kept[-1]["parameters"] if kept else [],
        "kept": kept[-1]["share"]["value"] if kept else math.nan,
        "why_no_dimensionality": arm["why_no_dimensionality"] or "",
        **_numbers(arm["tuned"], "tuned", "tuned_"),
        **_numbers(arm["single"], "single", "single_"),
        **({} if arm["loss_measured"] is None else _numbers(arm["loss_measured"], "measured", "measured_")),
        "method": methods[arm["loss"]["method"]]["text"],
    }


def _task_row(arm: str, one: dict[str, Any]) -> dict[str, Any]:
    return {
        "arm": arm,
        "task": one["task"],
        **_numbers(one["loss"], "loss", ""),
        "n": one["loss"]["n"],
        "why": one["loss"]["why_no_interval"] or "",
        "tuned": one["tuned"]["value"],
        "single": one["single"]["value"],
        **_numbers(one["metric_loss"], "metric_loss", "metric_"),
        "unit": one["metric_loss"]["unit"],
        "params": ", ".join(f"{name} {fmt.parameter(value)}" for name, value in one["params"].items()),
    }


def _numbers(answer: dict[str, Any], name: str, prefix: str) -> dict[str, float]:
    keys = {name: "value", f"{prefix}low": "low", f"{prefix}high": "high"}
    return {key: known(answer[found]) for key, found in keys.items()}


def _dimension(arm: Row) -> str:
    """How many hyperparameters must be tuned, beside the arm's name; short enough for a phone."""
    if arm["dimensionality"] is None or pd.isna(arm["dimensionality"]):
        return ""
    count = int(arm["dimensionality"])
    named = ", ".join(arm["tune"])
    text = f"tune {count or 'none'} of {arm['searched']} per task" + (f": {named}" if named else "")
    return f"<span style='color:{FAINT}'>{safe(text if len(text) <= 34 else text[:33] + '…')}</span>"


def _arm_text(arm: Row) -> str:
    lines = [
        f"<b>{safe(arm['arm'])}</b>, {arm['n']} tasks",
        f"one setting for all: {safe(arm['params'])}",
        f"loses {_with_interval(arm, 'loss', 'low', 'high')} of the normalised score",
        f"tuned for each {_with_interval(arm, 'tuned', 'tuned_low', 'tuned_high')}",
        f"one for all {_with_interval(arm, 'single', 'single_low', 'single_high')}",
    ]
    if pd.notna(arm.get("measured")):
        measured = _with_interval(arm, "measured", "measured_low", "measured_high")
        lines.append(f"measured without a model: loses {measured}")
    if arm["why"]:
        lines.append(f"no interval: {safe(briefly(arm['why']))}")
    if pd.notna(arm["kept"]):
        named = ", ".join(safe(name) for name in arm["tune"]) or "no hyperparameter"
        lines.append(f"tuning {named} for each task keeps {100 * arm['kept']:.0f}{fmt.SPACE}%")
    else:
        lines.append(f"how many to tune: not known, {safe(briefly(arm['why_no_dimensionality']))}")
    return "<br>".join(lines)


def _task_text(row: Row) -> str:
    share = row["unit"] == "share"
    raw = f"{100 * row['metric_loss']:.2f} points" if share else f"{fmt.number(row['metric_loss'])} {safe(row['unit'])}"
    lines = [
        f"<b>{safe(row['arm'])}</b> on {safe(row['task'])}",
        f"loses {_with_interval(row, 'loss', 'low', 'high')} of the normalised score, {raw.replace('-', fmt.MINUS)}",
        f"best there: {safe(row['params'])}",
        f"{row['n']} seeds",
    ]
    if row["why"]:
        lines.append(f"no interval: {safe(briefly(row['why']))}")
    return "<br>".join(lines)


def _with_interval(row: Row, value: str, low: str, high: str) -> str:
    text = fmt.number(row[value])
    return f"{text} (95 % {fmt.number(row[low])} to {fmt.number(row[high])})" if math.isfinite(row[low]) else text


def _bars(row: Row, value: str, low: str, high: str, colour: str) -> dict[str, object]:
    if not math.isfinite(row[low]):
        return {"visible": False}
    up, down = max(row[high] - row[value], 0.0), max(row[value] - row[low], 0.0)
    return {
        "array": rounded([up]),
        "arrayminus": rounded([down]),
        "symmetric": False,
        "color": faded(colour, 0.6),
        "thickness": 2,
        "width": 4,
    }


def _key(name: str, symbol: str, colour: str, size: int) -> sketch.Scatter:
    marker = {"symbol": symbol, "color": colour, "size": size}
    return sketch.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=name, hoverinfo="skip")


def _range(rows: pd.DataFrame, columns: tuple[str, ...]) -> list[float]:
    values = rows[list(columns)].to_numpy(float)
    low, high = float(pd.DataFrame(values).min().min()), float(pd.DataFrame(values).max().max())
    pad = 0.08 * (high - low) or 0.05
    return [low - pad, high + pad]
