"""The drawing of importances along training: lines with bands, and what did not train beneath."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from hpsearch.analysis.writing import percent
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.matters.shares import no_intervals, share_text
from hpsearch.figures.result import Result
from hpsearch.figures.style import EMPTY, FAINT, Look, arm_looks, axis_style, faded, figure, safe

if TYPE_CHECKING:
    from hpsearch.figures.matters.along import AlongInfo

HEIGHT = 320
LEGEND_ROW = 18  # pixels; two names in each on a narrow card
MOST_BANDS = 4  # more on top of each other cannot be read: then the intervals are bars


def draw_along(info: AlongInfo, result: Result) -> sketch.Figure:
    height = HEIGHT + LEGEND_ROW * max(0, -(-len(info.drawn) // 2) - 1)
    share = result.objective is not None and result.objective.share
    fig = figure(height=height)
    looks = arm_looks(result.parameters)  # a hyperparameter looks the same in every arm
    totals = info.shares[info.shares["measure"] == "total"]
    lines = {name: totals[totals["parameter"] == name] for name in info.drawn}
    if len(info.drawn) <= MOST_BANDS:
        for name, rows in lines.items():
            fig.add_traces(_bands(rows, looks[name]))
    for name, rows in lines.items():
        fig.add_trace(_line(rows, name, looks[name], info, bars=len(info.drawn) > MOST_BANDS, share=share))
    fig.add_traces(_not_trained(info))
    fractions = (100 * info.moments["fraction"]).tolist()
    ticks = {"tickmode": "array", "tickvals": fractions, "ticktext": [f"{f:g}" for f in fractions]}
    fig.update_layout(
        margin={"l": 40, "r": 12, "t": 10, "b": 40},
        xaxis=axis_style("Part of the epochs (%)", range=[0, 105], anchor="y2", showgrid=False, **ticks),
        yaxis=axis_style("Total share (%)", range=[-2, 102], dtick=25, domain=[0.3, 1]),
        yaxis2=axis_style("", range=[0, 1], domain=[0, 0.09], visible=False, fixedrange=True),
        annotations=[_strip_title()],
        barmode="overlay",
        legend={"font": {"size": 11}, "y": 1 + 6 / (height - 100)},
    )
    return fig


def _bands(rows: pd.DataFrame, look: Look) -> list[sketch.Scatter]:
    known = rows.dropna(subset=["low", "high"])
    if known.empty:
        return []
    x = (100 * known["fraction"]).tolist()
    low, high = ((100 * known[end]).round(2).tolist() for end in ("low", "high"))
    return [
        sketch.Scatter(
            x=x + x[::-1],
            y=high + low[::-1],
            mode="lines",
            line={"width": 0.8, "color": faded(look.colour, 0.5), "dash": look.dash},
            fill="toself",
            fillcolor=faded(look.colour, 0.13),
            showlegend=False,
            hoverinfo="skip",
            legendgroup=str(rows["parameter"].iloc[0]),
        )
    ]


def _line(rows: pd.DataFrame, name: str, look: Look, info: AlongInfo, bars: bool, share: bool) -> sketch.Scatter:
    """bars: the intervals as bars, for there are no bands."""
    up, down = ((100 * (rows[end] - rows["value"]).abs()).fillna(0.0).round(2).tolist() for end in ("high", "low"))
    ends = {"array": up, "arrayminus": down, "symmetric": False, "width": 0, "thickness": 1.2}
    moments = info.moments.set_index("fraction")
    return sketch.Scatter(
        x=(100 * rows["fraction"]).tolist(),
        y=(100 * rows["value"]).round(2).tolist(),
        error_y={**ends, "color": faded(look.colour, 0.45)} if bars else None,
        mode="lines+markers",
        line={"color": look.colour, "width": 2, "dash": look.dash},
        marker={"symbol": look.symbol, "size": 8, "color": look.colour},
        name=safe(name, 15),
        legendgroup=name,
        hoverinfo="text",
        hovertext=[_hover(row, moments.loc[row["fraction"]], share) for row in rows.to_dict("records")],
    )


def _hover(row: dict[Any, Any], moment: pd.Series, share: bool) -> str:
    epochs = (
        f"{moment['fewest']:g}" if moment["fewest"] == moment["most"] else f"{moment['fewest']} to {moment['most']}"
    )
    lines = [f"<b>{safe(row['parameter'])}</b>", f"after {100 * row['fraction']:g} % (epoch {epochs})"]
    lines += [f"total share {share_text(row)}", *no_intervals([row]), f"{row['n']} configurations"]
    if not math.isnan(moment["spread"]):
        unit = f"{fmt.number(100 * moment['spread'])} points" if share else fmt.number(moment["spread"])
        lines.append(f"spread of the metric over the ranges {unit}")
    return "<br>".join(lines)


def _not_trained(info: AlongInfo) -> list[sketch.Bar]:
    """A row of boxes, filled as far as trials did not train, with the share as text."""
    known = info.moments.dropna(subset=["not_trained"])
    x, n = (100 * known["fraction"]).tolist(), len(known)
    shared = {"x": x, "width": 6, "yaxis": "y2", "showlegend": False, "hoverinfo": "skip"}
    text = {"textposition": "outside", "constraintext": "none", "cliponaxis": False, "textangle": 0}
    return [
        sketch.Bar(
            y=[1] * n,
            marker={"color": EMPTY, "line": {"width": 0}},
            text=[percent(share) for share in known["not_trained"]],
            textfont={"size": 11, "color": FAINT},
            **text,
            **shared,
        ),
        sketch.Bar(y=known["not_trained"].round(4).tolist(), marker={"color": FAINT, "line": {"width": 0}}, **shared),
    ]


def _strip_title() -> dict[str, object]:
    text = {"text": "trials that did not train", "font": {"size": 11, "color": FAINT}, "showarrow": False}
    return {**text, "x": 0, "xref": "paper", "xanchor": "left", "y": 0.235, "yref": "paper", "yanchor": "top"}
