"""Where a hyperparameter is safe: all arms that searched it on one axis; beneath, their safe ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from hpsearch.figures import sketch
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.safe import words
from hpsearch.figures.safe.curves import add_curves, zoom
from hpsearch.figures.safe.numbers import SensitivityInfo, sensitivity_info
from hpsearch.figures.safe.strip import ROW, add_strip
from hpsearch.figures.style import axis_style, buttons, figure, legend_entry, parameter_axis, safe

if TYPE_CHECKING:
    from hpsearch.study import Study

__all__ = ["pictures", "plot_sensitivity", "sensitivity_info"]

PLOT, KEY, AROUND = 330, 62, 92  # pixels: the panel of the metric, the key under it, margins and title
LEGEND_ROW, PHONE = 30, 34  # pixels; characters of names and symbols that a row of the legend has on a phone
MOST_LEGEND = 240  # pixels that the figure grows by for it: on a wide page it takes one row


def plot_sensitivity(source: Source, parameter: str, study: Study | None = None) -> go.Figure:
    """One hyperparameter over all arms that searched it.

    Upper panel: trials as dots, crosses where they did not train; lines with 95 % bands: the expected metric by the
    arm's surrogate, the others averaged over their ranges. Lower panel, a row an arm: the range in which the metric
    stays within epsilon of the best, the others held at the arm's reference; hatched: where training failed.
    source: a run folder, a table of trials, an Analysis or a Result; study: of a table.
    Raises NothingToDraw where no arm searched the hyperparameter.
    """
    result = read_result(source, study)
    return _draw(result, sensitivity_info(result, parameter)).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    """One per hyperparameter that any arm searched, in display order."""
    if not result.parameters:
        return [Missing("sensitivity", "Sensitivity", result.reason or "no hyperparameter was searched")]
    return [_picture(result, parameter, key) for parameter, key in words.keys(result.parameters).items()]


def _picture(result: Result, parameter: str, key: str) -> Picture | Missing:
    title = words.title(result, parameter)
    try:
        info = sensitivity_info(result, parameter)
    except NothingToDraw as error:
        return Missing(key, title, str(error))
    return Picture(key, title, _draw(result, info), words.alt(info), words.caption(result, info), words.numbers(info))


def _draw(result: Result, info: SensitivityInfo) -> sketch.Figure:
    strip = 0 if all(row.empty for row in info.rows) else ROW * len(info.arms)
    inner = PLOT + (KEY + strip if strip else 0)
    longest = 7 + max(len(safe(arm)) for arm in info.arms)
    legend = LEGEND_ROW * -(-len(info.arms) // max(1, PHONE // longest))
    fig = figure(height=inner + AROUND + min(legend, MOST_LEGEND))
    fig.update_layout(
        xaxis={**parameter_axis(info.axis), "anchor": "y2" if strip else "y"},
        yaxis=axis_style(words.metric_title(info), domain=[1 - PLOT / inner, 1]),
    )
    for arm in info.arms:
        fig.add_trace(legend_entry(arm, result.looks[arm]))
    dots = add_curves(fig, info, result)
    if strip:
        add_strip(fig, info, result.looks, strip / inner)
    fig.update_layout(updatemenus=_switches(info, dots, below=-62 / inner))
    return fig


def _switches(info: SensitivityInfo, dots: list[int], below: float) -> list[dict[str, object]]:
    near = zoom(info)
    menus: list[dict[str, object]] = []
    if near is not None:
        whole = {"yaxis.autorange": True}
        part = {"yaxis.range": near, "yaxis.autorange": False}
        ranges = [("whole range", whole), ("zoom to what trained", part)]
        menus += buttons([{"label": label, "method": "relayout", "args": [to]} for label, to in ranges], y=below)
    states = [("trials shown", True), ("hidden", False)]
    shown: list[dict[str, object]] = [
        {"label": label, "method": "restyle", "args": [{"visible": on}, dots]} for label, on in states
    ]
    return menus + buttons(shown, y=below * (1.6 if menus else 1.0))
