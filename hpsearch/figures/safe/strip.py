"""The lower panel of a sensitivity figure: a row an arm, with its safe range and where training failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hpsearch.analysis.answer import TRAINS, Answer
from hpsearch.analysis.writing import briefly, interval
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.hatching import hatched
from hpsearch.figures.safe.curves import to_the_edge
from hpsearch.figures.safe.numbers import SensitivityInfo
from hpsearch.figures.safe.rows import SafeRow
from hpsearch.figures.safe.words import seeds_train, within
from hpsearch.figures.style import FAINT, GROUND, INK, RULE, Look, arm_group, axis_style, faded, safe

ROW = 46  # pixels
# Heights inside of a row, as shares of it: what it says is on top, the range in the middle, an interval on either side.
TEXT, LOW_END, BAR, HIGH_END, FLOOR, CEILING = 0.8, 0.5, 0.33, 0.16, 0.06, 0.62
NAME = 14  # characters of an arm's name that leave room for its numbers on a phone


def add_strip(fig: sketch.Figure, info: SensitivityInfo, looks: Mapping[str, Look], height: float) -> None:
    """height: of the strip, as a share of what both panels and the gap between them take."""
    rule = {"tickvals": list(range(len(info.rows) + 1)), "showticklabels": False, "ticks": "", "fixedrange": True}
    fig.update_layout(
        yaxis2=axis_style("", domain=[0, height], range=[0, len(info.rows)], **rule),
        legend2={"orientation": "h", "x": 0, "xanchor": "left", "y": height, "yanchor": "bottom"}
        | {"itemclick": False, "itemdoubleclick": False, "font": {"size": 11, "color": FAINT}},
    )
    for k, row in enumerate(info.rows):
        floor = len(info.rows) - 1 - k
        for trace in _row(row, info, looks[row.arm], floor):
            trace.update(yaxis="y2", showlegend=False, legendgroup=arm_group(row.arm))
            fig.add_trace(trace)
        left: dict[str, Any] = {"xref": "paper", "x": 0, "xanchor": "left", "xshift": 3}
        font = {"size": 12, "color": INK}
        fig.add_annotation(
            text=row_text(row),
            y=floor + TEXT,
            yref="y2",
            yanchor="middle",
            showarrow=False,
            align="left",
            font=font,
            **left,
        )
    for entry in _key(info):
        fig.add_trace(entry)


def row_text(row: SafeRow) -> str:
    name = f"<b>{safe(row.arm, NAME)}</b>"
    if row.why:
        return f"{name}  no safe range"
    if row.ratio is None:
        return f"{name}  size not checked" if row.not_checked else name
    times = row.ratio.unit == "times"
    # FORMS of the analysis repeat the sign of the ratio; a row has no room for that.
    text = interval(row.ratio, "times" if times else "percent").replace("x", "\N{MULTIPLICATION SIGN}")
    return f"{name}  {text}" + ("" if times else " of the range")


def _row(row: SafeRow, info: SensitivityInfo, look: Look, floor: int) -> list[sketch.Scatter]:
    searched = [fmt.rounded(v) for v in row.searched]
    made = []
    if all(math.isfinite(v) for v in searched) and (row.levels is None or row.levels.empty):
        made.append(_segment(searched, floor + BAR, RULE, 1))
    boxes = [(*to_the_edge(ends, info.axis), floor + 0.02, floor + CEILING) for ends in row.fails]
    if boxes:
        made.append(hatched(boxes, faded(look.colour, 0.8)))
    if row.low is not None and row.high is not None:
        made += _range(row, row.low, row.high, info, look, floor)
    if row.levels is not None and len(row.levels):
        made += _levels(row, info, look, floor)
    return made + _marks(row, info, floor)


def _range(
    row: SafeRow, low: Answer, high: Answer, info: SensitivityInfo, look: Look, floor: int
) -> list[sketch.Scatter]:
    ends = [fmt.rounded(low.value), fmt.rounded(high.value)]
    bar = _segment(ends, floor + BAR, look.colour, 9)
    # A range of one value is a short bar; the marker gives it a width that is the same on any axis.
    bar.update(mode="lines+markers", marker={"symbol": "square", "size": 9, "color": look.colour})
    bar.update(hoverinfo="text", hovertext=[_range_text(row, info)] * 2)
    traces = [bar]
    for end, height in ((low, LOW_END), (high, HIGH_END)):
        if end.has_interval:
            traces.append(_whisker(end, floor + height, look.colour))
    return traces


def _whisker(end: Answer, y: float, colour: str) -> sketch.Scatter:
    """An end's interval; an arrow where it reaches the edge of what was searched."""
    trace = _segment([fmt.rounded(end.low), fmt.rounded(end.high)], y, colour, 1.5)
    symbols = ["triangle-left" if end.at_least else "line-ns-open", "triangle-right" if end.at_most else "line-ns-open"]
    return trace.update(mode="lines+markers", marker={"symbol": symbols, "size": 7, "color": colour})


def _levels(row: SafeRow, info: SensitivityInfo, look: Look, floor: int) -> list[sketch.Scatter]:
    """A column a choice, as high as the probability that it is within epsilon of the best."""
    assert row.levels is not None
    x: list[float | None] = []
    full: list[float | None] = []
    part: list[float | None] = []
    for position, probability in zip(row.levels["position"], row.levels["probability"], strict=True):
        x += [float(position)] * 2 + [None]
        full += [floor + FLOOR, floor + CEILING, None]
        part += [floor + FLOOR, round(floor + FLOOR + (CEILING - FLOOR) * float(probability), 4), None]
    track = {"width": COLUMN, "color": faded(look.colour, 0.15)}
    bar = {"width": COLUMN, "color": look.colour}
    texts = [f"{100 * p:.0f}{fmt.SPACE}%" for p in row.levels["probability"]]
    hovers = [_level_text(row, info, *pair) for pair in zip(row.levels["level"], texts, strict=True)]
    return [
        sketch.Scatter(x=x, y=full, mode="lines", line=track, hoverinfo="skip"),
        sketch.Scatter(x=x, y=part, mode="lines", line=bar, hoverinfo="skip"),
        sketch.Scatter(
            x=row.levels["position"].tolist(),
            y=[floor + BAR] * len(texts),
            mode="text" if len(texts) <= MOST_TEXTS else "markers",
            marker={"color": "rgba(0,0,0,0)", "size": 12},
            text=[f"{SHIFT}{text}" for text in texts] if len(texts) <= MOST_TEXTS else None,
            textposition="middle right",
            textfont={"size": 12, "color": INK},
            hoverinfo="text",
            hovertext=hovers,
        ),
    ]


COLUMN = 14  # pixels
MOST_TEXTS = 6  # percentages that stand beside each other on a phone
SHIFT = fmt.SPACE * 2  # past the column


def _marks(row: SafeRow, info: SensitivityInfo, floor: int) -> list[sketch.Scatter]:
    height = FLOOR if row.levels is not None and len(row.levels) else BAR
    made = []
    for end in (row.trains_from, row.trains_to):
        if end is not None:
            if end.has_interval:
                made.append(_segment([fmt.rounded(end.low), fmt.rounded(end.high)], floor + BAR, FAINT, 1))
            # At the edge of what was searched it is no end, but a bound.
            open_end = "triangle-right" if end.value >= row.searched[1] else "triangle-left"
            beyond = not row.searched[0] < end.value < row.searched[1]
            marker = TRAINS_MARK | ({"symbol": open_end, "color": INK} if beyond else {})
            made.append(_mark(end.value, floor + BAR, marker, _trains_text(row, info, end)))
    if math.isfinite(row.reference):
        made.append(_mark(row.reference, floor + height, REFERENCE_MARK, "reference"))
    if math.isfinite(row.best):
        made.append(_mark(row.best, floor + height, BEST_MARK, "best, the others at the reference"))
    return made


REFERENCE_MARK = {"symbol": "circle", "size": 9, "color": GROUND, "line": {"color": INK, "width": 1.5}}
BEST_MARK = {"symbol": "diamond", "size": 6, "color": INK}
TRAINS_MARK = {"symbol": "x-thin-open", "size": 8, "color": INK, "line": {"color": INK, "width": 1.5}}


def _key(info: SensitivityInfo) -> list[sketch.Scatter]:
    """The legend of the strip: only what is in it."""
    rows = info.rows
    line, bar = {"color": FAINT, "width": 1.5}, {"symbol": "square", "size": 9, "color": FAINT}
    made: list[tuple[bool, str, sketch.Scatter]] = [
        (any(r.low for r in rows), "safe range", sketch.Scatter(mode="markers", marker=bar)),
        (
            any(e is not None and e.has_interval for r in rows for e in (r.low, r.high)),
            "ends, 95 %",
            sketch.Scatter(mode="lines", line=line),
        ),
        (
            any(r.levels is not None and len(r.levels) for r in rows),
            f"P({within(info)})",
            sketch.Scatter(mode="markers", marker=bar),
        ),
        (any(math.isfinite(r.best) for r in rows), "best", sketch.Scatter(mode="markers", marker=BEST_MARK)),
        (
            any(math.isfinite(r.reference) for r in rows),
            "reference",
            sketch.Scatter(mode="markers", marker=REFERENCE_MARK),
        ),
        (
            any(r.trains_from or r.trains_to for r in rows),
            "half train" if TRAINS == 0.5 else f"{10 * TRAINS:g}/10 train",
            sketch.Scatter(mode="markers", marker=TRAINS_MARK),
        ),
        (any(r.fails for r in rows), "all failures", hatched([], FAINT)),
    ]
    shown = [(name, trace) for there, name, trace in made if there]
    return [t.update(x=[None], y=[None], name=name, legend="legend2", hoverinfo="skip") for name, t in shown]


def _segment(ends: list[float], y: float, colour: str, width: float) -> sketch.Scatter:
    return sketch.Scatter(
        x=ends, y=[y, y], mode="lines", line={"color": colour, "width": width}, hoverinfo="skip", cliponaxis=False
    )


def _mark(x: float, y: float, marker: dict[str, object], text: str) -> sketch.Scatter:
    at = {"x": [fmt.rounded(x)], "y": [y], "mode": "markers", "cliponaxis": False}
    return sketch.Scatter(**at, marker=marker, hoverinfo="text", hovertext=[text])


def _range_text(row: SafeRow, info: SensitivityInfo) -> str:
    assert row.low is not None and row.high is not None
    lines = [f"<b>{safe(row.arm)}</b>, {within(info, row)}"]
    for name, end in (("from", row.low), ("to", row.high)):
        shown = f"{fmt.number(end.low)} to {fmt.number(end.high)}"
        known = f"95 % {shown}" if end.has_interval else f"no interval: {safe(briefly(end.why))}"
        lines.append(f"{name} {fmt.number(end.value)} ({known})")
    return "<br>".join([*lines, f"n = {row.n} configurations"])


def _level_text(row: SafeRow, info: SensitivityInfo, level: object, share: str) -> str:
    text = f"<b>{safe(row.arm)}</b>, {safe(info.parameter)} = {safe(fmt.parameter(level))}"  # type: ignore[arg-type]
    text += f"<br>{share} probability of being {within(info, row)}<br>n = {row.n} configurations"
    return text + (f"<br>not checked: {safe(briefly(row.not_checked))}" if row.not_checked else "")


def _trains_text(row: SafeRow, info: SensitivityInfo, end: Answer) -> str:
    side = "below" if end is row.trains_to else "above"
    text = f"<b>{safe(row.arm)}</b>: {seeds_train()} {side} {fmt.number(end.value)}"
    if end.has_interval:
        return f"{text}<br>95 % {fmt.number(end.low)} to {fmt.number(end.high)}"
    return f"{text}<br>no interval: {safe(briefly(end.why))}"
