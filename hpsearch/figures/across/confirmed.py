"""Each arm's confirmed best task by task."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    Look,
    axis_style,
    faded,
    figure,
    safe,
    scale,
)

ROW = 46  # pixels: one arm of one task
AROUND = 74  # pixels: the title and the ticks of a panel


@dataclass(frozen=True)
class ConfirmedInfo:
    """rows: one per task and arm: task, arm, mean, low, high (of the best configuration on fresh seeds, in the metric's
    unit; NaN where it was not confirmed, low and high where there is no interval), n (fresh seeds), params, metric,
    share (whether the unit is a share), why.
    """

    rows: pd.DataFrame


def across_confirmed_info(comparison: Comparison) -> ConfirmedInfo:
    """Raises NothingToDraw where no run confirmed its best."""
    rows = []
    for task, result in comparison.results.items():
        goal = result.judged
        best = {one["arm"]: one for one in result.document["best"] if one["rank"] == 1}
        for arm in result.arms:
            if goal is None:
                continue
            confirmed = (best.get(arm) or {}).get("confirmation")
            answer = None if confirmed is None else confirmed["test"] or confirmed["objective"]
            numbers = answer or {"value": None, "low": None, "high": None, "n": 0, "why_no_interval": "not confirmed"}
            rows.append(
                {
                    "task": task,
                    "arm": arm,
                    **{
                        name: known(numbers[key]) for name, key in (("mean", "value"), ("low", "low"), ("high", "high"))
                    },
                    "n": numbers["n"],
                    "why": numbers["why_no_interval"] or "",
                    "params": fmt.parameters((best.get(arm) or {}).get("params", {})),
                    "metric": fmt.axis_title(goal),
                    "share": goal.share,
                }
            )
    found = pd.DataFrame(rows)
    if found.empty or found["mean"].isna().all():
        raise NothingToDraw("no run confirmed its best configurations on fresh seeds")
    return ConfirmedInfo(found)


def plot_across_confirmed(sources: Several) -> go.Figure:
    """Each arm's best configuration on fresh seeds, with 95 % intervals, a panel a task with its own axis. sources: as
    `compare` takes them.
    """
    comparison = compare(sources)
    return draw_confirmed(across_confirmed_info(comparison), comparison.looks).to_plotly()


def draw_confirmed(info: ConfirmedInfo, looks: dict[str, Look]) -> sketch.Figure:
    panels = [(str(task), rows) for task, rows in info.rows.groupby("task", sort=False)]
    sizes = [ROW * len(rows) + AROUND for _, rows in panels]
    fig = figure(height=sum(sizes) + 24, showlegend=False)
    fig.update_layout(margin={"l": 16, "r": 16, "t": 8, "b": 16})
    top = 0.0
    for k, ((task, rows), size) in enumerate(zip(panels, sizes, strict=True), 1):
        end = "" if k == 1 else str(k)
        n, share = len(rows), bool(rows["share"].iloc[0])
        low, high = 1 - (top + size - 40) / sum(sizes), 1 - (top + 24) / sum(sizes)
        top += size
        fig.update_layout(
            {
                f"xaxis{end}": axis_style("", anchor=f"y{end}", nticks=6, linecolor=FAINT, showline=True),
                f"yaxis{end}": {
                    "domain": [low, high], "range": [-0.5, n - 0.2], "visible": False, "anchor": f"x{end}",
                    "fixedrange": True,
                },
            }
        )  # fmt: skip
        title = f"<b>{safe(task)}</b>  {safe(rows['metric'].iloc[0])}"
        fig.add_annotation(heading(title, high, 13, yref="paper"))
        for i, row in enumerate(rows.to_dict("records")):
            look, y = looks[row["arm"]], n - 1 - i
            measured = math.isfinite(row["mean"])
            text = safe(row["arm"]) + ("" if measured else ", not confirmed")
            fig.add_annotation(heading(text, y + ROW_LABEL, 11, FAINT, f"y{end}"))
            if measured:
                fig.add_trace(_confirmed(row, look, y, share, end))
    return fig


def _confirmed(row: Row, look: Look, y: float, share: bool, end: str) -> sketch.Scatter:
    unit = scale(share)
    measured = math.isfinite(row["low"])
    up, down = (unit * (row["high"] - row["mean"]), unit * (row["mean"] - row["low"])) if measured else (0.0, 0.0)

    def shown(value: float) -> str:
        return f"{100 * value:.2f}{fmt.SPACE}%" if share else fmt.number(value, 4)

    lines = [
        f"<b>{safe(row['arm'])}</b> on {safe(row['task'])}",
        f"{shown(row['mean'])} over {row['n']}{fmt.SPACE}fresh seeds",
    ]
    lines.append(
        f"95 % {shown(row['low'])} to {shown(row['high'])}" if measured else f"no interval: {safe(briefly(row['why']))}"
    )
    lines.append(safe(row["params"]))
    return sketch.Scatter(
        x=rounded([unit * row["mean"]]),
        y=[y],
        xaxis=f"x{end}",
        yaxis=f"y{end}",
        error_x={
            "visible": measured, "array": rounded([up]), "arrayminus": rounded([down]), "symmetric": False,
            "color": faded(look.colour, 0.6), "thickness": 2, "width": 4,
        },
        mode="markers",
        marker={"symbol": look.symbol, "size": 10, "color": look.colour},
        showlegend=False,
        hoverinfo="text",
        hovertext=["<br>".join(line for line in lines if line)],
    )  # fmt: skip
