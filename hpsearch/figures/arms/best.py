"""Each arm's best configurations: what selected them, and what they reach on fresh seeds."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.writing import briefly, count
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.arms.best_info import BestEntry, BestInfo, best_info
from hpsearch.figures.arms.best_table import best_rows
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.quoted import columns, level, without_interval
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.row_layout import Row, centres, row_figure, wrapped
from hpsearch.figures.style import FAINT, Look, faded, safe, scale
from hpsearch.study import Study

__all__ = ["best_info", "best_rows", "pictures", "plot_best"]

KEY, TITLE = "best", "The best configurations"
APART = 11.0  # pixels between the marks of one configuration


def plot_best(source: Source, study: Study | None = None) -> go.Figure:
    """A row a configuration: a filled dot with its 95 % interval on fresh seeds; a stroke, the selecting metric
    on those seeds; a hollow dot, the mean that selected it, which is optimistic.
    """
    result = read_result(source, study)
    return _draw(best_info(result), result.looks).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    try:
        info = best_info(result)
    except NothingToDraw as why:
        return [Missing(KEY, TITLE, str(why))]
    return [Picture(KEY, TITLE, _draw(info, result.looks), _alt(info), _caption(info), _numbers(info))]


def _draw(info: BestInfo, looks: dict[str, Look]) -> sketch.Figure:
    rows = [_row(info, one) for one in info.entries]
    fig = row_figure(rows, _axis(info))
    for name, marker in _legend(info):
        shown = sketch.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=name, hoverinfo="skip")
        fig.add_trace(shown)
    for one, y in zip(info.entries, centres(rows), strict=True):
        fig.add_traces(_marks(info, one, y, looks[one.arm]))
    return fig


def _legend(info: BestInfo) -> list[tuple[str, dict[str, object]]]:
    goal, judged = (safe(fmt.metric_name(o.name)[:22]) for o in (info.objective, info.judged))
    entries = []
    if any(one.confirmed for one in info.entries):
        entries.append((f"{judged}, fresh seeds", _marker(FAINT, "circle")))
    if any(one.test is not None and one.fresh is not None for one in info.entries):
        entries.append((f"{goal}, fresh seeds", _stroke(FAINT)))
    return [*entries, (f"{goal}, selected: optimistic", _marker(FAINT, "circle-open"))]


def _marks(info: BestInfo, one: BestEntry, y: float, look: Look) -> list[sketch.Scatter]:
    """One below the other: what counts, the selecting metric on the same seeds, what selected it."""
    times, main, text = scale(info.objective.share), one.confirmed, _hover(info, one)
    hollow = _marker(look.colour, f"{look.symbol}-open")
    if main is None:
        return [_dot(one.selection.value * times, y, hollow, text)]
    both = one.test is not None and one.fresh is not None
    top = y - APART * (1.0 if both else 0.5)
    traces = [
        _bar(main, top, 3, faded(look.colour, 0.75), scale(info.judged.share)),
        _dot(main.value * scale(info.judged.share), top, _marker(look.colour, look.symbol), text),
    ]
    if one.fresh is not None and both:
        traces += [_bar(one.fresh, y, 1.2, faded(look.colour, 0.75), times)]
        traces += [_dot(one.fresh.value * times, y, _stroke(look.colour), text)]
    bottom = y + APART * (1.0 if both else 0.5)
    return [*traces, _dot(one.selection.value * times, bottom, hollow, text)]


def _dot(x: float, y: float, marker: dict[str, object], text: str) -> sketch.Scatter:
    return sketch.Scatter(
        x=[x], y=[y], mode="markers", marker=marker, showlegend=False, hoverinfo="text", hovertext=[text]
    )


def _bar(found: Answer, y: float, width: float, colour: str, times: float) -> sketch.Scatter:
    ends = [found.low * times, found.high * times] if found.has_interval else [None, None]
    line = {"color": colour, "width": width}
    return sketch.Scatter(x=ends, y=[y, y], mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _marker(colour: str, symbol: str) -> dict[str, object]:
    return {"color": colour, "symbol": symbol, "size": 10, "line": {"color": colour, "width": 1.6}}


def _stroke(colour: str) -> dict[str, object]:
    return {"color": colour, "symbol": "line-ns", "size": 11, "line": {"color": colour, "width": 2.5}}


def _axis(info: BestInfo) -> dict[str, object]:
    """Intervals of what is confirmed are whole."""
    shown = [(one.selection.value, info.objective) for one in info.entries]
    for one in info.entries:
        found = [(one.fresh, info.objective), (one.test, info.judged)]
        shown += [(v, goal) for a, goal in found if a is not None for v in (a.value, a.low, a.high)]
    values = [v * scale(goal.share) for v, goal in shown if math.isfinite(v)] or [0.0]
    pad = 0.05 * (max(values) - min(values)) or 1.0
    name = fmt.sentence(fmt.metric_name(info.objective.name.removeprefix("val_")))[:24]
    unit = " (%)" if info.judged.share else ""
    better = "higher" if info.objective.maximize else "lower"
    title = {"text": f"{safe(name)}{unit}, {better} is better", "standoff": 8}
    return {"title": title, "range": [min(values) - pad, max(values) + pad]}


def _row(info: BestInfo, one: BestEntry) -> Row:
    main = one.confirmed
    right = (
        f"optimistic: {fmt.metric(info.objective, one.selection.value)}" if main is None else level(info.judged, main)
    )
    rank = "" if one.rank == 1 else f", rank {one.rank}"
    return Row(f"{one.arm}{rank}", right, more=wrapped(fmt.parameters(one.params) or "nothing searched"), marks=38)


def _hover(info: BestInfo, one: BestEntry) -> str:
    params = ", ".join(f"{safe(n)} = {safe(fmt.parameter(v))}" for n, v in one.params.items())
    lines = [f"<b>{safe(one.arm)}</b>, rank {one.rank} of {one.tried}", params]
    goal = safe(fmt.metric_name(info.objective.name))
    if one.test is not None:
        lines.append(
            f"{safe(fmt.metric_name(info.judged.name))} {level(info.judged, one.test)}, "
            f"{count(one.test.n, 'fresh seed')}{_why(one.test)}"
        )
    if one.fresh is not None:
        shown = level(info.objective, one.fresh)
        lines.append(f"{goal} {shown}, {count(one.fresh.n, 'fresh seed')}{_why(one.fresh)}")
    shown = level(info.objective, one.selection)
    lines.append(f"selected by {goal} {shown}, {count(one.selection.n, 'seed')}{_why(one.selection)}: optimistic")
    return "<br>".join(line for line in lines if line)


def _why(found: Answer) -> str:
    return "" if found.has_interval else f" (no interval: {safe(briefly(found.why))})"


def _caption(info: BestInfo) -> str:
    goal, judged = fmt.metric_name(info.objective.name), fmt.metric_name(info.judged.name)
    fresh = sorted({one.confirmed.n for one in info.entries if one.confirmed is not None})
    seeds = sorted({one.selection.n for one in info.entries})
    parts = ["Each arm's best configuration, and every other one that was confirmed."]
    if fresh:
        n = _span(fresh)
        parts.append(f"Filled marks: mean {judged} on fresh seeds (n = {n}), bars: 95 % intervals, one at a time.")
    if any(one.test is not None for one in info.entries):
        parts.append(f"Upright strokes with thin bars: {goal} on the same seeds.")
    parts.append(
        f"Hollow marks: the mean {goal} over {_span(seeds)} seeds by which each was selected, optimistic because it is "
        "the best of many."
    )
    bare = [(one.arm, one.confirmed) for one in info.entries if one.confirmed is not None]
    open_rows = [one.arm for one in info.entries if one.confirmed is None]
    if open_rows:
        parts.append(f"Not confirmed, so without a filled mark: {', '.join(dict.fromkeys(open_rows))}.")
    return " ".join(part for part in [*parts, without_interval(bare), *info.methods] if part)


def _span(found: list[int]) -> str:
    return str(found[0]) if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def _alt(info: BestInfo) -> str:
    first = [one for one in info.entries if one.rank == 1]
    shown = [
        f"{one.arm} {level(info.judged, one.confirmed)}"
        if one.confirmed is not None
        else f"{one.arm} {level(info.objective, one.selection)}, optimistic"
        for one in first
    ]
    return f"Dots with intervals, {fmt.metric_name(info.judged.name)} of each arm's best: {'; '.join(shown)}."


def _numbers(info: BestInfo) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "arm": one.arm,
            "rank": one.rank,
            "configurations_tried": one.tried,
            "configuration_id": one.configuration_id,
            **{f"params.{name}": value for name, value in one.params.items()},
            "seeds": seeds,
            "metric": metric.name,
            **columns(found),
        }
        for one in info.entries
        for seeds, metric, found in (
            ("selection", info.objective, one.selection),
            ("fresh", info.objective, one.fresh),
            ("fresh", info.judged, one.test),
        )
        if found is not None
    )
