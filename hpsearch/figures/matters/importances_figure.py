"""The drawing of the importances: rows of dots with bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from hpsearch.figures import sketch
from hpsearch.figures.matters.shares import VIEW_NAMES, no_intervals, share_text
from hpsearch.figures.result import Result
from hpsearch.figures.style import FAINT, INK, RULE, axis_style, buttons, faded, figure, safe

if TYPE_CHECKING:
    from hpsearch.figures.matters.importances import ImportancesInfo

ROW = 30  # pixels: one arm
MOST_TALL_ROWS = 60  # of more, rows are narrower
AROUND = 96  # pixels: legend, ticks, title
MENU = 40  # pixels: the switch
TICK = 16  # characters of a row's label: a narrow page has to have room for the bars
APART = 0.17  # of a row: the total share above its middle, the first-order share below
# As the hover text names them.
MEASURES = {
    "total": "total share",
    "first_order": "first-order share",
    "shapley": "Shapley effect",
    "fanova": "fANOVA, first-order",
    "ped_anova": "PED-ANOVA, of the sum of all",
}
INTERVALS = ("total", "first_order", "shapley")  # those that may have one
# Measure: what the legend calls it, the end of its symbol's name, how dark its bar is, where in the row it stands.
DRAWN = {"total": ("total share", "", 0.15, -APART), "first_order": ("first-order share", "-open", 0.4, APART)}


@dataclass(frozen=True)
class Rows:
    """labels: text of each row from the top. at: (arm, parameter) -> row. heads: rows that name a hyperparameter."""

    labels: list[str]
    at: dict[tuple[str, str], int]
    heads: list[int]


def draw_importances(info: ImportancesInfo, result: Result) -> sketch.Figure:
    rows = _rows(info, result)
    tall = ROW if len(rows.labels) <= MOST_TALL_ROWS else 20
    fig = figure(height=AROUND + tall * len(rows.labels) + MENU * (len(info.views) > 1), barmode="overlay", bargap=0.2)
    _legend(fig, info, tall * len(rows.labels))
    owner = [""] * len(fig.data)  # the view that each trace belongs to; the legend belongs to all
    for view in info.views:
        for trace in _traces(info, result, view, rows):
            trace.visible = view == "whole"
            fig.add_trace(trace)
            owner.append(view)
    fig.update_layout(
        xaxis=axis_style("Share of variance (%)", range=[0, 101], dtick=25, side="bottom"),
        yaxis=_labels_axis(rows),
        shapes=[_rule(row) for row in rows.heads if row],
    )
    if len(info.views) > 1:
        switches: list[dict[str, object]] = [
            {"label": VIEW_NAMES[view], "method": "restyle", "args": [{"visible": [o in ("", view) for o in owner]}]}
            for view in info.views
        ]
        fig.update_layout(updatemenus=buttons(switches, y=-56 / (tall * len(rows.labels))))
    return fig


def _rows(info: ImportancesInfo, result: Result) -> Rows:
    """A head per hyperparameter and beneath it the arms; of one arm alone the hyperparameters are the rows."""
    arms = [arm for arm in result.arms if arm not in info.without]
    searched = set(zip(info.shares["arm"], info.shares["parameter"], strict=True))
    labels: list[str] = []
    at, heads = {}, []
    for parameter in result.parameters:
        found = [arm for arm in arms if (arm, parameter) in searched]
        if found and len(arms) > 1:
            heads.append(len(labels))
            labels.append(f"<b>{safe(parameter, TICK)}</b>")
        for arm in found:
            at[arm, parameter] = len(labels)
            labels.append(safe(arm if len(arms) > 1 else parameter, TICK))
    return Rows(labels, at, heads)


def _traces(info: ImportancesInfo, result: Result, view: str, rows: Rows) -> list[sketch.Bar | sketch.Scatter]:
    shares = info.shares[info.shares["view"] == view]
    texts = _texts(shares, info)
    traces: list[sketch.Bar | sketch.Scatter] = []
    for arm in [arm for arm in result.arms if arm not in info.without]:
        own = shares[shares["arm"] == arm]
        colour, symbol = result.looks[arm].colour, result.looks[arm].symbol
        for measure, (_, ending, dark, apart) in DRAWN.items():
            found = own[own["measure"] == measure]
            if found.empty:
                continue
            x = (100 * found["value"]).round(2).tolist()
            y = [rows.at[arm, parameter] for parameter in found["parameter"]]
            hover = {"hoverinfo": "text", "hovertext": [texts[arm, parameter] for parameter in found["parameter"]]}
            bar = {"color": faded(colour, dark), "line": {"width": 0}}
            width = 0.76 if measure == "total" else 0.42
            traces.append(sketch.Bar(x=x, y=y, orientation="h", width=width, marker=bar, showlegend=False, **hover))
            mark = {"symbol": symbol + ending, "color": colour, "size": 9, "line": {"width": 1.6, "color": colour}}
            traces.append(
                sketch.Scatter(
                    x=x,
                    y=[row + apart for row in y],
                    error_x=_intervals(found, colour),
                    mode="markers",
                    marker=mark,
                    cliponaxis=False,
                    showlegend=False,
                    **hover,
                )
            )
    traces += _ticks(shares, rows, texts)
    return traces + (_absent(info, rows) if view == "trains" else [])


def _intervals(found: pd.DataFrame, colour: str) -> dict[str, object]:
    """A bar of no length where there is no interval."""
    up = (100 * (found["high"] - found["value"])).fillna(0.0).clip(lower=0).round(2)
    down = (100 * (found["value"] - found["low"])).fillna(0.0).clip(lower=0).round(2)
    ends = {"array": up.tolist(), "arrayminus": down.tolist(), "symmetric": False}
    return {**ends, "color": colour, "thickness": 2, "width": 0}


def _ticks(shares: pd.DataFrame, rows: Rows, texts: dict[tuple[str, str], str]) -> list[sketch.Scatter]:
    found = shares[shares["measure"] == "fanova"]
    names = [one for one in zip(found["arm"], found["parameter"], strict=True)]
    if not names:
        return []
    return [
        sketch.Scatter(
            x=(100 * found["value"]).round(2).tolist(),
            y=[rows.at[name] + APART for name in names],
            mode="markers",
            marker=_tick_mark(),
            cliponaxis=False,
            showlegend=False,
            hoverinfo="text",
            hovertext=[texts[name] for name in names],
        )
    ]


def _tick_mark() -> dict[str, object]:
    return {"symbol": "line-ns-open", "size": 11, "color": INK, "line": {"width": 1.6, "color": INK}}


def _absent(info: ImportancesInfo, rows: Rows) -> list[sketch.Scatter]:
    """Rows without numbers in this view say so."""
    found = [(row, info.absent[arm]) for (arm, _), row in rows.at.items() if arm in info.absent]
    if not found:
        return []
    return [
        sketch.Scatter(
            x=[1] * len(found),
            y=[row for row, _ in found],
            mode="text",
            text=[text for _, text in found],
            textposition="middle right",
            textfont={"size": 11, "color": FAINT},
            showlegend=False,
            hoverinfo="skip",
        )
    ]


def _texts(shares: pd.DataFrame, info: ImportancesInfo) -> dict[tuple[str, str], str]:
    """The hover text of an arm's hyperparameter: every measure of it."""
    found = {}
    for names, rows in shares.groupby(["arm", "parameter"], sort=False):
        arm, parameter = map(str, names)
        by = {row["measure"]: row for row in rows.to_dict("records")}
        lines = [f"<b>{safe(arm)}: {safe(parameter)}</b>"]
        lines += [f"{name} {share_text(by[measure])}" for measure, name in MEASURES.items() if measure in by]
        lines += no_intervals(by[measure] for measure in INTERVALS if measure in by)
        lines.append(f"{by['total']['n']} configurations of {by['total']['seeds']} seeds")
        if arm in info.explained:
            lines.append(f"R² of the surrogate {info.explained[arm]}")
        if by["total"]["view"] == "trains":
            lines.append(f"within {safe(info.within[arm], 80)}")
        found[arm, parameter] = "<br>".join(lines)
    return found


def _legend(fig: sketch.Figure, info: ImportancesInfo, plot: int) -> None:
    """plot: height in pixels."""
    marks = {
        name: {"symbol": f"circle{ending}", "color": INK, "size": 9, "line": {"width": 1.6, "color": INK}}
        for name, ending, _, _ in DRAWN.values()
    }
    if (info.shares["measure"] == "fanova").any():
        marks["fANOVA, first-order"] = _tick_mark()
    for name, mark in marks.items():
        fig.add_trace(sketch.Scatter(x=[None], y=[None], mode="markers", marker=mark, name=name, hoverinfo="skip"))
    fig.update_layout(legend={"itemclick": False, "itemdoubleclick": False, "y": 1 + 6 / plot})


def _labels_axis(rows: Rows) -> dict[str, object]:
    n = len(rows.labels)
    ticks = {"tickmode": "array", "tickvals": list(range(n)), "ticktext": rows.labels, "ticks": "", "ticklen": 0}
    return axis_style("", range=[n - 0.5, -0.5], showgrid=False, fixedrange=True, **ticks)


def _rule(row: int) -> dict[str, object]:
    """A line above a head."""
    line = {"color": RULE, "width": 1}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": row - 0.5, "y1": row - 0.5, "line": line}
