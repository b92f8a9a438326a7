"""All arms' lines in one plot, and below it a small plot for each arm with its band, beside the first arm's line.

Bands of several arms in one plot hide each other. Two columns, because a phone has no room for three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpsearch.figures import sketch
from hpsearch.figures.style import FAINT, INK, Look, arm_group, buttons, faded, figure, safe

WHOLE, SMALL, TITLE, AXIS = 280, 130, 44, 34  # pixels: the plot of all, an arm's, its two lines of text, its ticks
UNDER = 48  # pixels: ticks and title of the plot of all
GUTTER = 0.06  # between the columns, of the width


@dataclass(frozen=True)
class Line:
    """One arm's line, in drawn units. steps: a staircase. band: the corners of its outline, x and y; empty for none.
    minor: drawn thin, besides the arm's own. hover: a text a point.
    """

    arm: str
    x: list[float]
    y: list[float]
    hover: list[str]
    steps: bool = False
    minor: bool = False
    band: tuple[list[float], list[float]] = ((), ())  # type: ignore[assignment]


@dataclass(frozen=True)
class View:
    """What one switch shows. axis: of x, for a number of ticks. notes: a short text under an arm's name."""

    label: str
    lines: Sequence[Line]
    axis: Mapping[str, Any]
    small_axis: Mapping[str, Any]
    notes: Mapping[str, str] = field(default_factory=dict)


def panels(
    arms: Sequence[str], looks: Mapping[str, Look], views: Sequence[View], y: Mapping[str, Any]
) -> sketch.Figure:
    """y: the y axis of all plots."""
    small = list(arms) if len(arms) > 1 else []
    n_rows = math.ceil(len(small) / 2)
    plot = WHOLE + (UNDER + n_rows * (SMALL + TITLE + AXIS) - AXIS if small else 0)
    fig = figure(plot + 130)
    for arm in arms:
        look = looks[arm]
        line = {"color": look.colour, "dash": look.dash, "width": 2}
        entry = sketch.Scatter(x=[None], y=[None], mode="lines+markers", line=line, name=safe(arm))
        fig.add_trace(entry.update(marker={"symbol": look.symbol, "size": 7}, legendgroup=arm_group(arm)))
    owners = [-1] * len(fig.data)
    for i, view in enumerate(views):
        made = [t for arm in arms for t in _whole(view, arm, looks[arm], banded=not small)]
        for at, arm in enumerate(small):
            made += _panel(view, arm, arms[0], looks, at + 2)
        for trace in made:
            fig.add_trace(trace.update(visible=i == 0, showlegend=False))
        owners += [i] * len(made)
    fig.update_layout(xaxis=_x(views[0].axis, 0, 1), yaxis=_y(y, 1 - WHOLE / plot, 1))
    for at, _ in enumerate(small):
        left, top = _corner(at, plot)
        fig.update_layout(
            {
                f"xaxis{at + 2}": _x(views[0].small_axis, left, left + (1 - GUTTER) / 2, f"y{at + 2}"),
                f"yaxis{at + 2}": _y(y, max(0.0, top - SMALL / plot), top, f"x{at + 2}", labels=at % 2 == 0)
                | {"matches": "y"},
            }
        )
    fig.update_layout(annotations=_titles(small, views[0], plot))
    entries: list[dict[str, object]] = [
        {
            "label": view.label,
            "method": "update",
            "args": [
                {"visible": [o in (-1, i) for o in owners]},
                {"annotations": _titles(small, view, plot)} | _relaid(view, len(small)),
            ],
        }
        for i, view in enumerate(views)
    ]
    if len(entries) > 1:
        fig.update_layout(updatemenus=buttons(entries, y=-56 / plot))
    return fig


def _whole(view: View, arm: str, look: Look, banded: bool) -> list[sketch.Scatter]:
    made = []
    for line in (line for line in view.lines if line.arm == arm):
        made += [_band(line, look, 1)] if banded and line.band[0] else []
        made.append(_line(line, look, 1).update(hoverinfo="text", hovertext=line.hover))
    return made


def _panel(view: View, arm: str, first: str, looks: Mapping[str, Look], number: int) -> list[sketch.Scatter]:
    made = []
    for line in view.lines:
        if line.arm == first != arm and not line.minor:
            shape = {"color": FAINT, "width": 1, "dash": "dot", "shape": "hv" if line.steps else "linear"}
            made.append(_on(sketch.Scatter(x=line.x, y=line.y, mode="lines", line=shape, hoverinfo="skip"), number))
    for line in (line for line in view.lines if line.arm == arm):
        made += [_band(line, looks[arm], number)] if line.band[0] else []
        made.append(_line(line, looks[arm], number).update(hoverinfo="text", hovertext=line.hover))
    return made


def _line(line: Line, look: Look, number: int) -> sketch.Scatter:
    few = len(line.x) <= 12
    shape = {
        "color": look.colour,
        "dash": "dot" if line.minor else look.dash if number == 1 else "solid",
        "width": 1.2 if line.minor else 2,
        "shape": "hv" if line.steps else "linear",
    }
    symbol = f"{look.symbol}-open" if line.minor else look.symbol
    made = sketch.Scatter(x=line.x, y=line.y, mode="lines+markers" if few else "lines", line=shape)
    return _on(
        made.update(marker={"color": look.colour, "symbol": symbol, "size": 5}, legendgroup=arm_group(line.arm)), number
    )


def _band(line: Line, look: Look, number: int) -> sketch.Scatter:
    x, y = line.band
    made = sketch.Scatter(x=x, y=y, mode="lines", fill="toself", fillcolor=faded(look.colour, 0.2), hoverinfo="skip")
    return _on(
        made.update(line={"width": 1, "color": faded(look.colour, 0.4)}, legendgroup=arm_group(line.arm)), number
    )


def _on(trace: sketch.Scatter, number: int) -> sketch.Scatter:
    suffix = "" if number == 1 else str(number)
    return trace.update(xaxis=f"x{suffix}", yaxis=f"y{suffix}")


def _corner(at: int, plot: int) -> tuple[float, float]:
    """Left end and top of an arm's plot, in shares of the figure's."""
    used = WHOLE + UNDER + (at // 2) * (SMALL + TITLE + AXIS) + TITLE
    return (0.0 if at % 2 == 0 else (1 + GUTTER) / 2), 1 - used / plot


def _x(axis: Mapping[str, Any], left: float, right: float, anchor: str = "y") -> dict[str, object]:
    # x axes do not match each other: with y axes that do, plotly would find no range of its own.
    more = {"title": {"text": ""}} if anchor != "y" else {}
    return {**axis, "domain": [left, right], "anchor": anchor, "tickangle": 0, **more}


def _y(axis: Mapping[str, Any], low: float, high: float, anchor: str = "x", labels: bool = True) -> dict[str, object]:
    more = {"title": {"text": ""}, "showticklabels": labels, "nticks": 4} if anchor != "x" else {}
    return {**axis, "domain": [low, high], "anchor": anchor, **more}


def _relaid(view: View, small: int) -> dict[str, object]:
    """The x axes of another view; their places stay."""
    made: dict[str, object] = {}
    for number in range(1, small + 2):
        axis = view.axis if number == 1 else view.small_axis
        name = "xaxis" if number == 1 else f"xaxis{number}"
        keys = ("type", "range", "tickmode", "tickvals", "ticktext", "nticks", "tickformat")
        made |= {f"{name}.{key}": axis.get(key) for key in keys}
    return made | {"xaxis.title.text": view.axis["title"]["text"]}


def _titles(small: Sequence[str], view: View, plot: int) -> list[dict[str, object]]:
    made: list[dict[str, object]] = []
    shared = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    for at, arm in enumerate(small):
        left, top = _corner(at, plot)
        texts = [(f"<b>{safe(arm, 20)}</b>", 18, 12, INK), (view.notes.get(arm, ""), 2, 11, FAINT)]
        made += [
            {"text": text, "x": left, "y": top, "yshift": up, "font": {"size": size, "color": colour}, **shared}
            for text, up, size, colour in texts
            if text
        ]
    return made
