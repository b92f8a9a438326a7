"""Which hyperparameters act together: the share of variance of every pair, first-order shares on the diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.writing import briefly, metric_name
from hpsearch.errors import one_line
from hpsearch.figures import sketch
from hpsearch.figures.cards import cards
from hpsearch.figures.matters.shares import (
    METHOD,
    VIEW_NAMES,
    answer_columns,
    arm_shares,
    has_view,
    no_intervals,
    share_text,
    within_text,
)
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.style import SEQUENTIAL, axis_style, buttons, figure, safe

if TYPE_CHECKING:
    from hpsearch.study import Study

TITLE = "Interactions"
AROUND, MENU = 50, 40  # pixels: labels; the switch
TICK = 14  # characters of a label
WITH_INTERVALS = 4  # hyperparameters up to which cells have room for the interval
FONTS = ((4, 13), (8, 11), (12, 9), (99, 8))  # up to so many hyperparameters: size of the cells' text
COLUMNS = ("view", "arm", "x", "y", "value", "low", "high", "n", "seeds", "method", "why_no_interval")


@dataclass(frozen=True)
class InteractionsInfo:
    """Of one arm. parameters: k names in display order. shares: a row per view (whole, trains) and cell: x is y on the
    diagonal, where the value is the first-order share, else it is what the pair explains beyond each alone; in [0, 1],
    with 95 % intervals (NaN where there is none, and why_no_interval). within: the part of the ranges where every seed
    trained, in words.
    """

    arm: str
    parameters: tuple[str, ...]
    shares: pd.DataFrame
    within: str

    @property
    def views(self) -> list[str]:
        return list(dict.fromkeys(self.shares["view"]))


def interactions_info(result: Result, arm: str) -> InteractionsInfo:
    """Raises NothingToDraw where the arm has no shares, or searched one hyperparameter alone."""
    whole = arm_shares(result, arm)
    known = {one["parameter"] for one in whole["hyperparameters"]}
    parameters = tuple(name for name in result.searched(arm) if name in known)
    if len(parameters) < 2:
        raise NothingToDraw("one hyperparameter alone has no interactions")
    rows, within = _rows(arm, "whole", whole, parameters), ""
    if has_view(result, arm, "trains"):
        trains = arm_shares(result, arm, "trains")
        rows += _rows(arm, "trains", trains, parameters)
        within = within_text(trains)
    return InteractionsInfo(arm, parameters, pd.DataFrame(rows, columns=list(COLUMNS)), within)


def plot_interactions(source: Source, arm: str, study: Study | None = None) -> go.Figure:
    """A triangle of cells: below the diagonal the share of variance of each pair, on it the first-order shares, in
    percent; small figures are 95 % intervals. The colours go from 0 to 100 %, in every arm.
    """
    return draw_interactions(interactions_info(read_result(source, study), arm)).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    def make(arm: str, key: str) -> Picture:
        info = interactions_info(result, arm)
        title = f"{TITLE}: {one_line(arm, 40)}"
        return Picture(key, title, draw_interactions(info), _alt(info), _caption(info, result), info.shares, arm)

    return cards(result, "interactions", TITLE, make)


def draw_interactions(info: InteractionsInfo) -> sketch.Figure:
    k = len(info.parameters)
    side = max(150, min(48 * k, 400))
    fig = figure(height=side + AROUND + MENU * (len(info.views) > 1))
    font = next(size for most, size in FONTS if k <= most)
    for view in info.views:
        fig.add_trace(_heatmap(info, view, font))
    names = {"tickmode": "array", "tickvals": list(range(k)), "ticktext": [safe(p, TICK) for p in info.parameters]}
    axis = {"showgrid": False, "fixedrange": True, "ticks": "", "ticklen": 0, "showline": False, **names}
    axis["tickfont"] = {"size": 12 if k <= 8 else 10}
    fig.update_layout(
        margin={"l": 20, "r": 12, "t": 10, "b": 40},
        xaxis=axis_style("", range=[-0.5, k - 0.5], **axis),
        yaxis=axis_style("", range=[k - 0.5, -0.5], **axis),
    )
    if len(info.views) > 1:
        switches: list[dict[str, object]] = [
            {"label": VIEW_NAMES[v], "method": "restyle", "args": [{"visible": [v == other for other in info.views]}]}
            for v in info.views
        ]
        fig.update_layout(updatemenus=buttons(switches, y=-36 / side))
    return fig


def _rows(arm: str, view: str, found: dict[str, Any], parameters: tuple[str, ...]) -> list[dict[str, Any]]:
    """Pairs as (x, y) with y after x in display order: the lower triangle of the matrix."""
    cells = [(one["parameter"], one["parameter"], one["first_order"]) for one in found["hyperparameters"]]
    cells += [(one["x"], one["y"], one["share"]) for one in found["interactions"]]
    place = {name: i for i, name in enumerate(parameters)}
    rows = []
    for x, y, answer in sorted(cells, key=lambda cell: sorted((place[cell[0]], place[cell[1]]))):
        first, second = sorted((x, y), key=place.__getitem__)
        rows.append({"view": view, "arm": arm, "x": first, "y": second, "seeds": found["seeds"]})
        rows[-1] |= answer_columns(answer)
    return rows


def _heatmap(info: InteractionsInfo, view: str, font: int) -> sketch.Heatmap:
    k = len(info.parameters)
    place = {name: i for i, name in enumerate(info.parameters)}
    values: list[list[float | None]] = [[None] * k for _ in range(k)]
    texts, hovers = np.full((k, k), "", dtype=object), np.full((k, k), "", dtype=object)
    for row in info.shares[info.shares["view"] == view].to_dict("records"):
        at = place[row["y"]], place[row["x"]]
        values[at[0]][at[1]] = round(100 * row["value"], 2)
        texts[at] = _cell_text(row, k)
        hovers[at] = _hover(row, info)
    return sketch.Heatmap(
        z=values,
        text=texts.tolist(),
        texttemplate="%{text}",
        textfont={"size": font},
        hovertext=hovers.tolist(),
        hoverinfo="text",
        hoverongaps=False,
        xgap=2,
        ygap=2,
        zmin=0,
        zmax=100,
        colorscale=[[i / (len(SEQUENTIAL) - 1), colour] for i, colour in enumerate(SEQUENTIAL)],
        showscale=False,
        visible=view == "whole",
    )


def _cell_text(row: dict[Any, Any], k: int) -> str:
    """The percent, and beneath it the interval where there is room."""
    text = f"{100 * row['value']:.0f}"
    if k > WITH_INTERVALS or np.isnan(row["low"]):
        return text
    return f'{text}<br><span style="font-size:10px">{100 * row["low"]:.0f}\N{EN DASH}{100 * row["high"]:.0f}</span>'


def _hover(row: dict[Any, Any], info: InteractionsInfo) -> str:
    alone = row["x"] == row["y"]
    name = safe(row["x"]) if alone else f"{safe(row['x'])} and {safe(row['y'])}"
    lines = [f"<b>{name}</b>", f"{'first-order share' if alone else 'share of the pair'} {share_text(row)}"]
    lines += no_intervals([row])
    lines.append(f"{row['n']} configurations of {row['seeds']} seeds")
    return "<br>".join([*lines, f"within {safe(info.within, 80)}"] if row["view"] == "trains" else lines)


def _pairs(info: InteractionsInfo) -> pd.DataFrame:
    shares = info.shares
    return shares[(shares["view"] == "whole") & (shares["x"] != shares["y"])]


def _alt(info: InteractionsInfo) -> str:
    pairs = _pairs(info)
    what = f"Shares of the variance of pairs of hyperparameters of {one_line(info.arm, 40)}."
    if pairs.empty:
        return what
    top = pairs.nlargest(1, "value").iloc[0]
    names = f"{one_line(top['x'], 40)} and {one_line(top['y'], 40)}"
    return f"{what} Largest interaction: {names}, {share_text(top.to_dict())}."


def _caption(info: InteractionsInfo, result: Result) -> str:
    metric = metric_name(result.objective.name) if result.objective else "the metric"
    first = info.shares.iloc[0]
    parts = [
        f"Percent of the variance of expected {metric} that a pair explains beyond each alone; on the diagonal, what a "
        "hyperparameter explains alone. Small figures: 95 % interval." if _shown_intervals(info) else
        f"Percent of the variance of expected {metric} that a pair explains beyond each alone; on the diagonal, what a "
        "hyperparameter explains alone. Intervals are in the hover texts."
    ]  # fmt: skip
    parts.append(f"{first['n']} configurations of {first['seeds']} seeds; {result.method(METHOD)['text']}.")
    if info.within:
        parts.append(f"Where it trains, every seed did: {info.within}.")
    whys = sorted({briefly(why) for why in info.shares["why_no_interval"] if why})
    if whys:
        parts.append(f"A share without interval: {'; '.join(whys)}.")
    return " ".join(parts)


def _shown_intervals(info: InteractionsInfo) -> bool:
    return len(info.parameters) <= WITH_INTERVALS and bool(info.shares["low"].notna().any())
