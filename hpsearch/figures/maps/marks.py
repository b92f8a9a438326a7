"""What stands on a map's colours: configurations, and how wide the interval of the expected metric is."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd

from hpsearch.analysis.axis import Axis
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.maps.numbers import Floats, Grid, MapInfo
from hpsearch.figures.style import AROUND_MARK, ON_MAP, faded, scale

WIDE, HIGH = 270, 220  # pixels: what cells have on a phone
LABEL = 30, 15  # pixels that a number needs in a cell
MOST_MARKS = 400  # configurations marked in one map
# Of a choice's width, along x and y: configurations stand below the numbers of their row.
SPREAD, ABOVE = ((-0.34, 0.34), (-0.4, 0.05)), 0.29
TURNS = 0.618034, 0.754878
LABEL_FONT = {"size": 11, "color": ON_MAP, "shadow": f"0 0 3px {AROUND_MARK}, 0 0 2px {AROUND_MARK}"}


def shown_points(info: MapInfo) -> pd.DataFrame:
    """The configurations that are marked, evenly taken where there are very many."""
    if len(info.points) <= MOST_MARKS:
        return info.points
    order = info.points.sort_values(["n_not_trained", "x_at", "y_at"], kind="stable")
    return order.iloc[np.linspace(0, len(order) - 1, MOST_MARKS).round().astype(int)]


def point_traces(info: MapInfo, failed: bool) -> list[sketch.Scatter]:
    rows = shown_points(info)
    rows = rows[(rows["n_not_trained"] > 0) == failed]
    if rows.empty:
        return []
    return [
        sketch.Scatter(
            x=_beside(rows["x_at"], info.x, 0),
            y=_beside(rows["y_at"], info.y, 1),
            mode="markers",
            marker={"symbol": "x" if failed else "circle", "size": 7 if failed else 6}
            | {"color": ON_MAP if failed else faded(ON_MAP, 0.25)}
            | {"line": {"color": AROUND_MARK if failed else ON_MAP, "width": 0.8 if failed else 1.2}},
            showlegend=False,
            cliponaxis=False,
            hoverinfo="text",
            hovertext=rows["hover"].tolist(),
        )
    ]


def _beside(at: pd.Series, axis: Axis, k: int) -> list[float]:
    """Configurations of the same choice beside each other: the golden ratio spreads any number of them evenly."""
    if axis.kind != "choice":
        return [fmt.rounded(v) for v in at]
    low, high = SPREAD[k]
    turn = np.arange(len(at)) * TURNS[k] % 1
    return [fmt.rounded(v, 4) for v in at.to_numpy() + low + (high - low) * turn]


def width_marks(info: MapInfo, grid: Grid) -> Literal["lines", "numbers", "none"]:
    """How the width of the 95 % interval is shown: where a hyperparameter is a choice, lines would say nothing."""
    known = grid.width[np.isfinite(grid.width)]
    if known.size < 2:
        return "none"
    if "choice" not in (info.x.kind, info.y.kind):
        return "lines" if min(grid.width.shape) > 1 and _step(float(np.ptp(known))) else "none"
    room = info.y.kind == "choice" and (pixels(info.y, grid.y_edges, HIGH) >= 2 * LABEL[1]).all()
    return "numbers" if room else "none"


def width_traces(info: MapInfo, grid: Grid) -> list[sketch.Trace]:
    marks, widths = width_marks(info, grid), grid.width * scale(info.objective.share)
    if marks == "none":
        return []
    return _contours(grid, widths) if marks == "lines" else [_numbers(info, grid, widths)]


def _contours(grid: Grid, widths: Floats) -> list[sketch.Trace]:
    """Light on dark, so that they are seen on every colour."""
    low, high = float(np.nanmin(widths)), float(np.nanmax(widths))
    step = _step(high - low)
    levels = {"start": fmt.rounded(math.ceil(low / step) * step), "end": fmt.rounded(high), "size": step}
    made: list[sketch.Trace] = []
    for colour, width, labels in ((faded(AROUND_MARK, 0.5), 3.0, False), (ON_MAP, 1.2, True)):
        made.append(
            sketch.Contour(
                x=[fmt.rounded(v) for v in grid.x_at],
                y=[fmt.rounded(v) for v in grid.y_at],
                z=drawn(widths),
                autocontour=False,
                contours={"coloring": "lines", "showlabels": labels, "labelfont": LABEL_FONT, **levels},
                colorscale=[[0, colour], [1, colour]],
                line={"width": width},
                showscale=False,
                hoverinfo="skip",
            )
        )
    return made


def _numbers(info: MapInfo, grid: Grid, widths: Floats) -> sketch.Scatter:
    """In the upper part of each row, in so many cells that they do not touch; configurations stand below."""
    step = max(1, math.ceil(LABEL[0] / float(pixels(info.x, grid.x_edges, WIDE).min())))
    found = [
        (float(grid.x_at[i]), float(grid.y_at[j]) + ABOVE, float(widths[j, i]))
        for j, i in np.ndindex(widths.shape)
        if i % step == step // 2 and math.isfinite(widths[j, i])
    ]
    return sketch.Scatter(
        x=[fmt.rounded(x) for x, _, _ in found],
        y=[fmt.rounded(y) for _, y, _ in found],
        mode="text",
        text=[f"\N{LEFT RIGHT ARROW}{fmt.number(width, 2)}" for *_, width in found],
        textfont=LABEL_FONT,
        showlegend=False,
        hoverinfo="skip",
    )


def _step(span: float) -> float:
    """A round step, of which two to five fit into span; 0 where nothing varies."""
    if not span > 0:
        return 0.0
    size = 10.0 ** math.floor(math.log10(span))
    return fmt.rounded(next(s * size for s in (0.2, 0.5, 1.0, 2.0) if span / (s * size) <= 5))


def pixels(axis: Axis, edges: Floats, room: int) -> Floats:
    """The size of cells on a phone."""
    place = np.log(edges) if axis.kind == "log" else edges
    return np.asarray(np.diff(place) / (place[-1] - place[0]) * room)


def drawn(values: Floats) -> list[list[float | None]]:
    return [[fmt.rounded(v, 4) if math.isfinite(v) else None for v in row] for row in values.tolist()]
