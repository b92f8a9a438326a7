"""What forest plots of differences share: their axis, which side is better, marks with intervals."""

from __future__ import annotations

import numpy as np

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.objective import Objective
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.row_layout import side_texts
from hpsearch.figures.style import INK, Look, faded, safe, scale


def excludes_zero(found: Answer) -> bool:
    return found.has_interval and (found.low > 0 or found.high < 0)


def sides(judged: Objective, control: str, arms: str) -> list[dict[str, object]]:
    """The words under the axis of a difference."""
    names = [f"← {_cut(control)} better", f"{_cut(arms)} better →"]
    if not judged.maximize:
        names = [f"← {_cut(arms)} better", f"{_cut(control)} better →"]
    return side_texts(*names)


def difference_axis(judged: Objective, found: list[Answer]) -> dict[str, object]:
    """Zero is always on it, and every interval whole."""
    times = scale(judged.share)
    values = [v * times for one in found for v in (one.value, one.low, one.high)]
    finite = [0.0, *(v for v in values if np.isfinite(v))]
    pad = 0.06 * (max(finite) - min(finite)) or 1.0
    unit = "points of" if judged.share else "difference of"
    return {
        "title": {"text": f"{unit} {safe(fmt.metric_name(judged.name))}", "standoff": 22},
        "range": [min(finite) - pad, max(finite) + pad],
        "zeroline": True,
        "zerolinecolor": INK,
        "zerolinewidth": 1.2,
    }


def mark(found: Answer, y: float, look: Look, judged: Objective, text: str, filled: bool) -> list[sketch.Scatter]:
    """A dot with its interval as a bar."""
    times = scale(judged.share)
    traces = []
    if found.has_interval:
        ends = [found.low * times, found.high * times]
        line = {"color": faded(look.colour, 0.75), "width": 3}
        traces.append(sketch.Scatter(x=ends, y=[y, y], mode="lines", line=line, hoverinfo="skip", showlegend=False))
    symbol = look.symbol if filled else f"{look.symbol}-open"
    dot = {"color": look.colour, "symbol": symbol, "size": 11, "line": {"color": look.colour, "width": 2}}
    at = sketch.Scatter(x=[found.value * times], y=[y], mode="markers", marker=dot, showlegend=False)
    return [*traces, at.update(hoverinfo="text", hovertext=[text])]


def _cut(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= 14 else line[:13] + "…"
