"""The drawing of learning curves: a line per configuration, its colour by the value of a hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.curves.colours import Colouring, colouring, padded
from hpsearch.figures.curves.info import CurvesInfo
from hpsearch.figures.curves.lines import (
    Line,
    band_x,
    band_y,
    cross_x,
    cross_y,
    is_share,
    means,
    read_lines,
    rounded,
    spread,
)
from hpsearch.figures.result import Result
from hpsearch.figures.style import FAINT, axis_style, buttons, figure, log_ticks, safe

HEIGHT = 340  # pixels, without switches
MENU = 40  # pixels: a row of switches
LOG_RATIO = 50.0  # a loss that spans this factor is drawn on a log axis
X_NAMES = {"epoch": "Epoch", "backward_samples": "Samples through backward"}
X_LABELS = {"epoch": "epochs", "backward_samples": "samples"}
HOVER = (
    "%{meta}<br>%{xaxis.title.text} %{x:,}<br>%{yaxis.title.text} <b>%{y:.4~g}</b>"
    "<br>%{customdata[0]:.4~g} to %{customdata[1]:.4~g} over seeds (%{customdata[2]})<extra></extra>"
)


def draw_curves(info: CurvesInfo, result: Result, colour_by: str | None = None) -> sketch.Figure:
    fig = figure(height=HEIGHT)
    shares = {metric: is_share(info, result, metric) for metric in info.metrics}
    lines = read_lines(info, result, shares)
    colours = _colourings(info, result, colour_by)
    plain = [(result.looks[info.arm].colour, "solid")] * len(lines)
    looks = colours[0].lines if colours else plain
    metric = info.metrics[0]
    strong = [i for i, line in enumerate(lines) if line.strong]
    for name in info.metrics:
        fig.add_traces([_band(lines[i], name, looks[i][0], shown=name == metric) for i in strong])
    bands = list(range(len(fig.data)))
    fig.add_traces([_line(line, metric, look) for line, look in zip(lines, looks, strict=True)])
    axes = {name: _y_axis(lines, name, shares[name]) for name in info.metrics}
    fig.add_traces(_crosses(lines, metric, axes[metric]))
    drawn = list(range(len(bands), len(fig.data)))
    longest = max((len(one.legend) for one in colours), default=0)
    for i, entry in enumerate(padded(colours[0].legend, longest) if colours else []):
        fig.add_trace(_legend_line(entry, shown=i < len(colours[0].legend)))
    menus = [
        _colour_switch(colours, strong * len(info.metrics), len(lines)),
        _metric_switch(info, lines, axes, bands, drawn),
        _place_switch(info, lines, [(i, name) for name in info.metrics for i in strong], bands + drawn),
    ]
    menus = [menu for menu in menus if len(menu) > 1]
    fig.update_layout(
        margin={"l": 44, "r": 12, "t": 10, "b": 42},
        height=HEIGHT + MENU * len(menus),
        xaxis=axis_style(X_NAMES["epoch"], rangemode="tozero", showgrid=False),
        yaxis=axes[metric],
        yaxis2={"overlaying": "y", "range": [0, 1], "fixedrange": True, "visible": False},
        updatemenus=[m for i, menu in enumerate(menus) for m in buttons(menu, y=-(62 + MENU * i) / (HEIGHT - 100))],
    )
    title = {"text": safe(colours[0].title, 18) if colours else ""}
    fig.update_layout(legend={"itemclick": False, "itemdoubleclick": False, "font": {"size": 11}, "title": title})
    return fig


def _colourings(info: CurvesInfo, result: Result, first: str | None) -> list[Colouring]:
    names = [name for name in result.searched(info.arm) if f"params.{name}" in info.configurations]
    names.sort(key=lambda name: name != first)
    return [colouring(result.axis(name, info.arm), info.configurations[f"params.{name}"]) for name in names]


def _line(line: Line, metric: str, look: tuple[str, str]) -> sketch.Scatter:
    return sketch.Scatter(
        x=rounded(line.at["epoch"]),
        y=means(line, metric),
        customdata=spread(line, metric),
        mode="lines",
        line={"color": look[0], "dash": look[1], "width": 2.6 if line.strong else 1.2},
        connectgaps=True,
        showlegend=False,
        meta=line.text,
        hovertemplate=HOVER,
    )


def _band(line: Line, metric: str, colour: str, shown: bool) -> sketch.Scatter:
    return sketch.Scatter(
        x=band_x(line, metric, "epoch"),
        y=band_y(line, metric),
        mode="lines",
        line={"width": 0, "color": colour},
        fill="toself",  # in half the colour of the line, so that a switch has to change that alone
        opacity=0.4,
        visible=shown,
        showlegend=False,
        hoverinfo="skip",
    )


def _crosses(lines: Sequence[Line], metric: str, axis: dict[str, object]) -> list[sketch.Scatter]:
    """Where seeds ended that did not train: on the line of their configuration, or at the edge beyond which it is."""
    mark = {"symbol": "x-thin", "size": 7, "color": FAINT, "line": {"width": 1.6, "color": FAINT}}
    shared = {"mode": "markers", "marker": mark, "showlegend": False, "hoverinfo": "skip"}
    inside, beyond = cross_y(lines, metric, axis)
    x = cross_x(lines, "epoch")
    return [sketch.Scatter(x=x, y=inside, **shared), sketch.Scatter(x=x, y=beyond, yaxis="y2", **shared)]


def _legend_line(entry: tuple[str, str, str], shown: bool) -> sketch.Scatter:
    label, colour, dash = entry
    look = {"color": colour, "dash": dash, "width": 3}
    return sketch.Scatter(x=[None], y=[None], mode="lines", line=look, name=label, showlegend=shown, hoverinfo="skip")


def _colour_switch(colours: Sequence[Colouring], bands: Sequence[int], lines: int) -> list[dict[str, object]]:
    """A button per hyperparameter. bands: the line of each band. Behind the lines stand two traces of crosses, then the
    legend's lines, as many as the longest legend has.
    """
    first, longest = len(bands) + lines, max((len(one.legend) for one in colours), default=0)
    traces = [*range(first), *range(first + 2, first + 2 + longest)]
    dashed = any(dash != "solid" for one in colours for _, dash in one.lines)
    entries: list[dict[str, object]] = []
    for one in colours:
        legend = padded(one.legend, longest)
        looks = [*(one.lines[k] for k in bands), *one.lines, *((colour, dash) for _, colour, dash in legend)]
        update: dict[str, object] = {
            "line.color": [colour for colour, _ in looks],
            "name": [""] * first + [label for label, _, _ in legend],
            "showlegend": [False] * first + [k < len(one.legend) for k in range(longest)],
        }
        if dashed:
            update["line.dash"] = [dash for _, dash in looks]
        layout = {"legend.title.text": safe(one.title, 18)}
        entries.append({"label": safe(one.parameter, 18), "method": "update", "args": [update, layout, traces]})
    return entries


def _metric_switch(
    info: CurvesInfo,
    lines: Sequence[Line],
    axes: dict[str, dict[str, object]],
    bands: Sequence[int],
    drawn: Sequence[int],
) -> list[dict[str, object]]:
    each = len(bands) // len(info.metrics)
    entries: list[dict[str, object]] = []
    for k, metric in enumerate(info.metrics):
        # Bands are traces of their own for each metric, because a metric may lack some epochs.
        ys = [band_y(line, name) for name in info.metrics for line in lines if line.strong]
        update = {
            "y": [*ys, *(means(line, metric) for line in lines), *cross_y(lines, metric, axes[metric])],
            "customdata": [*[None] * len(bands), *(spread(line, metric) for line in lines), None, None],
            "visible": [i // each == k for i in range(len(bands))] + [True] * len(drawn),
        }
        layout = {"yaxis": axes[metric]}
        label = safe(fmt.metric_name(metric), 24)
        entries.append({"label": label, "method": "update", "args": [update, layout, [*bands, *drawn]]})
    return entries


def _place_switch(
    info: CurvesInfo, lines: Sequence[Line], bands: Sequence[tuple[int, str]], traces: Sequence[int]
) -> list[dict[str, object]]:
    if info.curves["backward_samples"].isna().any():
        return []
    entries: list[dict[str, object]] = []
    for place, name in X_NAMES.items():
        x = [band_x(lines[i], metric, place) for i, metric in bands]
        x += [*(rounded(line.at[place]) for line in lines), *[cross_x(lines, place)] * 2]
        args = [{"x": x}, {"xaxis.title.text": name}, list(traces)]
        entries.append({"label": f"over {X_LABELS[place]}", "method": "update", "args": args})
    return entries


def _y_axis(lines: Sequence[Line], metric: str, share: bool) -> dict[str, object]:
    """Over what trained; a double click shows all. Whole, because an update replaces the old one."""
    trained = [line for line in lines if not line.ends] or lines
    values = np.concatenate([line.rows[metric][:, 0] for line in trained if metric in line.rows] or [np.array([0.0])])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    name = fmt.sentence(safe(fmt.metric_name(metric), 30))
    title = f"{name} (%)" if share else name
    if not share and low > 0 and high / low >= LOG_RATIO:
        pad = 0.05 * math.log10(high / low)
        ends = [round(math.log10(low) - pad, 4), round(math.log10(high) + pad, 4)]
        return axis_style(title, type="log", range=ends, **log_ticks(low, high))
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return axis_style(title, type="linear", range=[float(f"{low - pad:.4g}"), float(f"{high + pad:.4g}")])
