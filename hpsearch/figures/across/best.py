"""One hyperparameter task by task: its best value and safe range."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.writing import briefly
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.across.result import Comparison, Several, compare
from hpsearch.figures.across.rows import ROW_LABEL, heading, known, rounded
from hpsearch.figures.hover import Row
from hpsearch.figures.picture import NothingToDraw
from hpsearch.figures.style import (
    EMPTY,
    FAINT,
    GROUND,
    INK,
    Look,
    faded,
    figure,
    parameter_axis,
    safe,
)

ROW = 46  # pixels: one task of one arm
MOST_TEXTS = 5  # choices whose probabilities are written out, beside each other on a phone
TICK = 12  # letters of a choice under the axis


@dataclass(frozen=True)
class BestInfo:
    """Of one hyperparameter. rows: one per arm that searched it and task, grouped by arm: arm, task, best (None where
    not known), low, high (ends of the safe range), low_low, low_high, high_low, high_high (their 95 % intervals, NaN
    where there is none), searched_low, searched_high, n (configurations), why (no interval, or no answer), single (the
    arm's value in the best setting for all tasks, None where not known), method.
    levels: of choices instead of ends: arm, task, level, within_epsilon. All in the hyperparameter's own values.
    """

    parameter: str
    axis: Axis
    rows: pd.DataFrame
    levels: pd.DataFrame


def across_best_info(comparison: Comparison, parameter: str) -> BestInfo:
    """Raises NothingToDraw where no run has a safe range of it."""
    single = {one["arm"]: one["single_setting"].get(parameter) for one in comparison.compared}
    rows: list[dict[str, Any]] = []
    levels: list[dict[str, Any]] = []
    axes: list[Axis] = []
    for arm in comparison.arms:
        for task, result in comparison.results.items():
            if arm not in result.arms or parameter not in result.searched(arm):
                continue
            axes.append(result.axis(parameter, arm))
            row, found = _best_row(result.document, result.answers(arm), axes[-1])
            start = {"arm": arm, "task": task}
            rows.append(start | row | {"single": single.get(arm)})
            levels += [start | one for one in found]
    if not any(row["best"] is not None for row in rows):
        whys = list(dict.fromkeys(str(row["why"]) for row in rows)) or ["no arm searched it"]
        raise NothingToDraw("; ".join(whys))
    return BestInfo(
        parameter,
        axes[0] if len(axes) == 1 else Axis.merged(axes),
        # As objects: a missing value among numbers stays None.
        pd.DataFrame(rows).assign(**{c: pd.Series([r[c] for r in rows], dtype=object) for c in ("best", "single")}),
        pd.DataFrame(levels, columns=["arm", "task", "level", "within_epsilon"]),
    )


def plot_across_best(sources: Several, parameter: str) -> go.Figure:
    """One hyperparameter's best value and safe range on every task, arm by arm: does the safe range move? sources: as
    `compare` takes them.
    """
    comparison = compare(sources)
    return draw_best(across_best_info(comparison, parameter), comparison.looks).to_plotly()


def draw_best(info: BestInfo, looks: dict[str, Look]) -> sketch.Figure:
    arms = list(dict.fromkeys(info.rows["arm"]))
    n = len(info.rows) + len(arms)  # a heading per arm takes a row
    fig = figure(height=ROW * n + 150)
    choice = info.axis.kind == "choice"
    for name, trace in _keys(choice):
        fig.add_trace(sketch.Scatter(x=[None], y=[None], name=name, hoverinfo="skip", **trace))
    y = n
    for arm in arms:
        y -= 1
        fig.add_annotation(heading(f"<b>{safe(arm)}</b>", y - 0.3, 13))
        own = info.rows[info.rows["arm"] == arm]
        single = own["single"].iloc[0]
        if single is not None:
            at = info.axis.positions([single])[0]
            line = {"color": looks[arm].colour, "width": 1.6, "dash": "dot"}
            fig.add_trace(_plain([at, at], [y - len(own) - 0.35, y - 0.6], "lines", line=line))
        for row in own.to_dict("records"):
            y -= 1
            told = row["why"] and row["best"] is not None
            fig.add_annotation(heading(safe(row["task"]) + (", no interval" if told else ""), y + ROW_LABEL, 11, FAINT))
            if row["best"] is None:
                fig.add_annotation(heading(f"<i>{safe(briefly(row['why']))}</i>", y - 0.15, 11))
            levels = info.levels[(info.levels["arm"] == arm) & (info.levels["task"] == row["task"])]
            for trace in _levels(info, row, levels, looks[arm], y) if choice else _range(row, looks[arm], y):
                fig.add_trace(trace)
    fig.update_layout(
        xaxis=_axis(info.axis),
        yaxis={"range": [-0.6, n - 0.7], "visible": False, "fixedrange": True},
        margin={"l": 16, "r": 16, "t": 16, "b": 48},
    )
    return fig


def _best_row(
    document: dict[str, Any], answers: dict[str, Any] | None, axis: Axis
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    row: dict[str, Any] = dict.fromkeys(("low", "high", "low_low", "low_high", "high_low", "high_high"), math.nan)
    row |= {
        "best": None,
        "searched_low": known(axis.low),
        "searched_high": known(axis.high),
        "n": 0,
        "why": "",
        "method": "",
    }
    if answers is None:
        return row | {"why": "no question was asked that needs a surrogate"}, []
    found = next((one for one in answers["safe_ranges"] if one["parameter"] == axis.name), None)
    if found is None:
        return row | {"why": answers["why_no_surrogate"] or "not active at the arm's best setting"}, []
    row["best"] = found["best"]
    if found["levels"] is not None:
        levels = found["levels"]
        row |= {"n": levels["n"], "why": levels["why_not_checked"] or "", "method": levels["method"]}
        return row, [dict(one) for one in levels["probabilities"]]
    for end in ("low", "high"):
        one = found[end]
        row |= {end: known(one["value"]), f"{end}_low": known(one["low"]), f"{end}_high": known(one["high"])}
        row |= {"n": one["n"], "why": one["why_no_interval"] or row["why"]}
        row["method"] = document["methods"][one["method"]]["text"]
    return row, []


def _range(row: Row, look: Look, y: float) -> Iterator[sketch.Scatter]:
    """What was searched, the safe range in it with the intervals of its ends, the best value."""
    if math.isfinite(row["searched_low"]):
        yield _plain([row["searched_low"], row["searched_high"]], [y, y], "lines", line={"color": EMPTY, "width": 14})
    if row["best"] is None:
        return
    text = _range_text(row)
    if math.isfinite(row["low"]) and math.isfinite(row["high"]):
        bar = {"color": faded(look.colour, 0.45), "width": 9}
        yield _plain([row["low"], row["high"]], [y, y], "lines", line=bar)
        for k, end in enumerate(("low", "high")):
            below, above = row[f"{end}_low"], row[f"{end}_high"]
            if math.isfinite(below):
                # Above and below the bar: both ends' intervals may overlap.
                at = y + (0.18 if k == 0 else -0.18)
                whisker = {"symbol": "line-ns-open", "size": 7, "color": look.colour, "line": {"width": 1.4}}
                line = {"color": look.colour, "width": 1.4}
                yield _plain([below, above], [at, at], "lines+markers", line=line, marker=whisker)
    yield sketch.Scatter(
        x=rounded([row["best"]]),
        y=[y],
        mode="markers",
        marker={"symbol": look.symbol, "size": 10, "color": look.colour, "line": {"color": GROUND, "width": 1}},
        showlegend=False,
        hoverinfo="text",
        hovertext=[text],
    )


def _levels(info: BestInfo, row: Row, levels: pd.DataFrame, look: Look, y: float) -> Iterator[sketch.Scatter]:
    if not len(levels):
        return
    x = info.axis.positions(levels["level"])
    chances = levels["within_epsilon"].to_numpy(float)
    told = [f"{100 * p:.0f}" for p in chances] if len(info.axis.choices) <= MOST_TEXTS else None
    best = [str(level) == str(row["best"]) for level in levels["level"]]
    yield sketch.Scatter(
        x=rounded(x),
        y=[y] * len(x),
        mode="markers" if told is None else "markers+text",
        text=told,
        textposition="middle right",
        textfont={"size": 11, "color": INK},
        marker={
            "symbol": "square",
            "size": 15,
            "color": [faded(look.colour, round(0.06 + 0.94 * p, 3)) for p in chances],
            "line": {"color": look.colour, "width": [2.5 if b else 0.8 for b in best]},
        },
        showlegend=False,
        hoverinfo="text",
        hovertext=[
            f"<b>{safe(row['arm'])}</b> on {safe(row['task'])}<br>{safe(fmt.parameter(level))}: within the best with "
            f"probability {100 * p:.0f}{fmt.SPACE}%<br>{row['n']} configurations{_why(row)}"
            for level, p in zip(levels["level"], chances, strict=True)
        ],
    )


def _range_text(row: Row) -> str:
    lines = [f"<b>{safe(row['arm'])}</b> on {safe(row['task'])}", f"best {safe(fmt.parameter(row['best']))}"]
    if math.isfinite(row["low"]) and math.isfinite(row["high"]):
        lines.append(f"safe from {_end(row, 'low')}")
        lines.append(f"to {_end(row, 'high')}")
    lines.append(f"{row['n']} configurations{_why(row)}")
    return "<br>".join(lines)


def _end(row: Row, end: str) -> str:
    below, above = row[f"{end}_low"], row[f"{end}_high"]
    text = fmt.number(row[end])
    return f"{text} (95 % {fmt.number(below)} to {fmt.number(above)})" if math.isfinite(below) else text


def _why(row: Row) -> str:
    return f"<br>no interval: {safe(briefly(row['why']))}" if row["why"] else ""


def _keys(choice: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """The legend's entries, in grey: colours are the arms'."""
    if choice:
        square = {"symbol": "square", "size": 12, "color": faded(FAINT, 0.6), "line": {"color": FAINT, "width": 0.8}}
        yield "% of draws within ε of the best", {"mode": "markers", "marker": square}
        yield "best", {"mode": "markers", "marker": square | {"line": {"color": FAINT, "width": 2.5}}}
    else:
        yield "best", {"mode": "markers", "marker": {"symbol": "circle", "size": 9, "color": FAINT}}
        yield "safe range", {"mode": "lines", "line": {"color": faded(FAINT, 0.45), "width": 9}}
        ends = {"symbol": "line-ns-open", "size": 7, "color": FAINT, "line": {"width": 1.4}}
        yield "95 % of its ends", {"mode": "lines+markers", "line": {"color": FAINT, "width": 1.4}, "marker": ends}
        yield "searched", {"mode": "lines", "line": {"color": EMPTY, "width": 14}}
    yield "one setting for all tasks", {"mode": "lines", "line": {"color": FAINT, "width": 1.6, "dash": "dot"}}


def _axis(axis: Axis) -> dict[str, object]:
    found = parameter_axis(axis)
    if axis.kind != "choice":
        return found
    labels = [fmt.parameter(c) for c in axis.choices]
    return found | {"ticktext": [safe(t if len(t) <= TICK else t[: TICK - 1] + "…") for t in labels]}


def _plain(x: list[Any], y: list[float], mode: str, **more: object) -> sketch.Scatter:
    return sketch.Scatter(x=rounded(x), y=y, mode=mode, showlegend=False, hoverinfo="skip", **more)
