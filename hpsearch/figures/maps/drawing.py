"""Drawing of one map: colours, contour lines of the uncertainty, configurations, where training failed."""

from __future__ import annotations

import math

import numpy as np

from hpsearch.analysis.axis import Axis
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.hatching import hatched
from hpsearch.figures.maps.colours import ColourRange
from hpsearch.figures.maps.marks import HIGH, LABEL, WIDE, drawn, pixels, point_traces, width_traces
from hpsearch.figures.maps.numbers import Floats, Grid, MapInfo
from hpsearch.figures.style import (
    EMPTY,
    ON_MAP,
    SEQUENTIAL,
    axis_style,
    buttons,
    faded,
    figure,
    log_ticks,
    safe,
    scale,
)

TALL, LOW = 310, 240  # pixels: the height of a card; of one with few choices along y
MOST_LABELS = 9  # ticks that fit under a small map
VIEWS = ("surrogate", "raw means")


def draw_map(info: MapInfo, colours: ColourRange) -> sketch.Figure:
    """The surrogate's map first, where there is one; the raw means behind a switch."""
    traces: list[sketch.Trace] = []
    views: list[list[int]] = [[], []]
    for view, grid in enumerate((info.surrogate, info.raw)):
        if grid is None:
            continue
        made: list[sketch.Trace] = [_cells(info, grid, colours, surrogate=view == 0)]
        made += [*width_traces(info, grid), *point_traces(info, failed=False)] if view == 0 else []
        for trace in made:
            trace.visible = view == 0 or info.surrogate is None
        views[view] = list(range(len(traces), len(traces) + len(made)))
        traces += made
    grids = [g for g in (info.surrogate, info.raw) if g is not None]
    x_ends, y_ends = _ends(info.x, [g.x_edges for g in grids]), _ends(info.y, [g.y_edges for g in grids])
    if info.fails is not None:
        left, right, bottom, top = info.fails
        box = (max(left, x_ends[0]), min(right, x_ends[1]), max(bottom, y_ends[0]), min(top, y_ends[1]))
        traces.append(hatched([box], faded(ON_MAP, 0.6), showlegend=False))
    traces += point_traces(info, failed=True)
    few = info.y.kind == "choice" and len(info.y.choices) <= 3
    height = LOW if few else TALL
    own = {"xaxis": _axis(info.x, x_ends), "yaxis": _axis(info.y, y_ends), "updatemenus": _switch(views, height)}
    fig = figure(height, **own)
    fig.update_layout(plot_bgcolor=EMPTY, margin={"l": 44, "r": 12, "t": 8, "b": 40}, font={"size": 11})
    return fig.add_traces(traces)


def _cells(info: MapInfo, grid: Grid, colours: ColourRange, surrogate: bool) -> sketch.Heatmap:
    unit = scale(info.objective.share)
    texts = None if surrogate else _raw_labels(info, grid)
    about = _surrogate_hover(info, grid) if surrogate else {"hoverinfo": "text", "hovertext": _raw_hover(info, grid)}
    return sketch.Heatmap(
        x=[fmt.rounded(v) for v in grid.x_edges],
        y=[fmt.rounded(v) for v in grid.y_edges],
        z=drawn(grid.mean * unit),
        text=texts,
        texttemplate="%{text}" if texts is not None else None,
        textfont={"size": 10},
        hoverongaps=False,
        xgap=0 if surrogate else 1,
        ygap=0 if surrogate else 1,
        zmin=fmt.rounded(colours.low * unit),
        zmax=fmt.rounded(colours.high * unit),
        colorscale=[[round(i / (len(SEQUENTIAL) - 1), 4), c] for i, c in enumerate(SEQUENTIAL)],
        reversescale=not info.objective.maximize,
        showscale=False,
        **about,
    )


def _surrogate_hover(info: MapInfo, grid: Grid) -> dict[str, object]:
    """A template, because texts of all cells of all maps would be most of the report."""
    unit = fmt.SPACE + "%" if info.objective.share else ""
    text = f"<b>%{{z:.4~g}}{unit}</b>, expected"
    if np.isfinite(grid.width).any():
        text += f"<br>95 % interval %{{customdata:.3~g}}{' points' if info.objective.share else ''} wide"
        widths = drawn(grid.width * scale(info.objective.share))
        return {"customdata": widths, "hovertemplate": f"{text}<br>n = {grid.n} configurations<extra></extra>"}
    return {"hovertemplate": f"{text}, no interval<br>n = {grid.n} configurations<extra></extra>"}


def _raw_hover(info: MapInfo, grid: Grid) -> list[list[str]]:
    texts = [[""] * grid.mean.shape[1] for _ in grid.mean]
    for cell in info.cells.to_dict("records"):
        texts[cell["row"]][cell["column"]] = _cell_text(info, cell)
    return texts


def _cell_text(info: MapInfo, cell: dict[object, object]) -> str:
    goal, mean, sd = info.objective, float(str(cell["mean"])), float(str(cell["sd"]))
    n, trials, failed = (int(str(cell[name])) for name in ("n_configurations", "n_trials", "n_not_trained"))
    lines = [f"<b>{fmt.metric(goal, mean)}</b>, mean of {n} configuration{'' if n == 1 else 's'}, {trials} trials"]
    for axis, value in ((info.x, cell["x"]), (info.y, cell["y"])):
        ends = [safe(fmt.parameter(v)) for v in (value if isinstance(value, tuple) else (value,))]
        lines.append(f"{safe(axis.name)} {' to '.join(ends)}")
    lines += [f"sd over seeds {fmt.spread(goal, sd)}"] if math.isfinite(sd) else []
    return "<br>".join([*lines, *([f"<b>{failed} of {cell['n_ended']} did not train</b>"] if failed else [])])


def _raw_labels(info: MapInfo, grid: Grid) -> list[list[str]]:
    """The mean where it fits and nothing failed: where some seeds did not train there are crosses."""
    failing = np.zeros(grid.mean.shape, dtype=bool)
    failing[info.cells["row"], info.cells["column"]] = info.cells["n_not_trained"] > 0
    fits = pixels(info.y, grid.y_edges, HIGH)[:, None] >= LABEL[1]
    fits = fits & (pixels(info.x, grid.x_edges, WIDE)[None, :] >= LABEL[0])
    return [
        [_number(info, mean) if ok else "" for mean, ok in zip(means, oks, strict=True)]
        for means, oks in zip(grid.mean, fits & ~failing & np.isfinite(grid.mean), strict=True)
    ]


def _number(info: MapInfo, value: float) -> str:
    return f"{100 * value:.1f}" if info.objective.share else fmt.number(value, 3)


def _ends(axis: Axis, edges: list[Floats]) -> tuple[float, float]:
    if axis.kind == "choice":
        return -0.5, len(axis.choices) - 0.5
    known = [float(v) for e in edges for v in (e[0], e[-1])] + [v for v in (axis.low, axis.high) if v is not None]
    return min(known), max(known)


def _axis(axis: Axis, ends: tuple[float, float]) -> dict[str, object]:
    more: dict[str, object] = {"range": list(ends), "showgrid": False, "fixedrange": True, "ticklen": 3}
    if axis.kind == "choice":
        step = -(-len(axis.choices) // MOST_LABELS)
        more |= {"tickmode": "array", "tickvals": list(range(len(axis.choices)))[::step]}
        more["ticktext"] = [safe(fmt.parameter(c), 14) for c in axis.choices][::step]
    elif axis.kind == "log":
        more |= {"type": "log", "range": [math.log10(v) for v in ends], **log_ticks(*ends)}
    else:
        more |= {"nticks": 6}
    return axis_style(safe(axis.name), **more)


def _switch(views: list[list[int]], height: int) -> list[dict[str, object]]:
    """What is of neither view stays as it is."""
    if not all(views):
        return []
    both = views[0] + views[1]
    entries: list[dict[str, object]] = [
        {"label": label, "method": "restyle", "args": [{"visible": [i in own for i in both]}, both]}
        for label, own in zip(VIEWS, views, strict=True)
    ]
    return buttons(entries, y=-48 / (height - 100))  # under the axis' title
