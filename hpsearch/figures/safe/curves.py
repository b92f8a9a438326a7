"""The upper panel of a sensitivity figure: trials, curves and their bands."""

from __future__ import annotations

import math

import pandas as pd

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.writing import briefly
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.hatching import hatched
from hpsearch.figures.result import Result
from hpsearch.figures.safe.numbers import RAW, SensitivityInfo
from hpsearch.figures.safe.words import crowded
from hpsearch.figures.style import FAINT, Look, arm_group, faded, safe, scale

DODGE, STEP = (
    0.5,
    0.12,
)  # of a choice's width: over which arms stand beside each other, and at most from one to the next
BAR_STEP = 5  # points of a curve from one interval that is drawn as a bar to the next


def add_curves(fig: sketch.Figure, info: SensitivityInfo, result: Result) -> list[int]:
    """Adds the panel's traces; gives back the indices of those that are trials."""
    _hatch_where_all_fail(fig, info)
    for arm in info.arms:
        rows = info.curves[info.curves["arm"] == arm]
        _add_band(fig, rows.dropna(subset=["low", "high"]), info, result.looks[arm], shift(info, arm))
    texts = _configuration_texts(result)
    dots = []
    for arm in info.arms:
        for trained in (True, False):
            rows = info.trials[(info.trials["arm"] == arm) & (info.trials["trained"] == trained)]
            if len(rows):
                dots.append(len(fig.data))
                fig.add_trace(_trials(rows, info, result.looks[arm], shift(info, arm), texts))
    for arm in info.arms:
        rows = info.curves[info.curves["arm"] == arm]
        if len(rows):
            fig.add_trace(_line(rows, info, result.looks[arm], shift(info, arm)))
    return dots


def shift(info: SensitivityInfo, arm: str) -> float:
    """Sideways, of one arm's marks at a choice."""
    if info.axis.kind != "choice" or len(info.arms) == 1:
        return 0.0
    others = len(info.arms) - 1
    return min(DODGE, STEP * others) * (info.arms.index(arm) / others - 0.5)


def zoom(info: SensitivityInfo) -> list[float] | None:
    """The y range of the trials that trained, in drawn units; None where that shows hardly more."""
    unit, trials = scale(info.objective.share), info.trials
    trained = trials.loc[trials["trained"], "metric"] * unit
    everything = pd.concat([trials["metric"], info.curves["low"], info.curves["high"]]).dropna() * unit
    if len(trained) < 2:
        return None
    bad = 0.05 if info.objective.maximize else 0.95  # a few that trained badly must not decide
    ends = sorted([float(trained.quantile(bad)), float(trained.quantile(1.0 if bad < 0.5 else 0.0))])
    pad = 0.06 * (ends[1] - ends[0])
    if pad == 0 or everything.max() - everything.min() < 1.5 * (ends[1] - ends[0]):
        return None
    return [fmt.rounded(ends[0] - pad), fmt.rounded(ends[1] + pad)]


def plot_ends(axis: Axis) -> tuple[float, float]:
    """What the x axis shows, as style.parameter_axis has it, in positions."""
    if axis.kind == "choice":
        return -0.6, len(axis.choices) - 0.4
    low, high = axis.low or 0.0, axis.high or 0.0
    if axis.kind == "log":
        ratio = (high / low) ** 0.04 if high > low else 10**0.1
        return low / ratio, high * ratio
    pad = 0.04 * (high - low) or 0.5
    return low - pad, high + pad


def to_the_edge(fails: tuple[float, float], axis: Axis) -> tuple[float, float]:
    """A region that reaches the end of the axis is hatched up to the end of the plot."""
    left, right = plot_ends(axis)
    low, high = (0.0 if v is None else v for v in (axis.low, axis.high))
    if axis.kind == "choice":
        return fails
    return left if fails[0] <= low else fails[0], right if fails[1] >= high else fails[1]


def _hatch_where_all_fail(fig: sketch.Figure, info: SensitivityInfo) -> None:
    """Regions of six arms over each other would be mud; what they have in common is not."""
    if not all(len(row.fails) == 1 for row in info.rows):
        return
    spans = [to_the_edge(row.fails[0], info.axis) for row in info.rows]
    left, right = max(a for a, _ in spans), min(b for _, b in spans)
    if left < right:
        fig.add_trace(hatched([(left, right, 0, 1)], faded(FAINT, 0.5), yaxis="y3", showlegend=False))
        fig.update_layout(
            yaxis3={"domain": fig.layout.yaxis.domain, "range": [0, 1], "visible": False, "fixedrange": True}
            | {"overlaying": "y", "anchor": "x"}
        )


def _add_band(fig: sketch.Figure, rows: pd.DataFrame, info: SensitivityInfo, look: Look, by: float) -> None:
    """The 95 % band along a range; bars at choices, and instead of bands that would lie over each other."""
    if rows.empty:
        return
    bars = info.axis.kind == "choice" or crowded(info)
    if bars and info.axis.kind != "choice":
        step = max(BAR_STEP, len(info.arms))
        first = info.arms.index(rows["arm"].iloc[0]) * step // len(info.arms)
        rows = rows.iloc[first::step] if len(rows) > step else rows
    x = [fmt.rounded(v + by) for v in rows["position"]]
    low, high = ([fmt.rounded(v * scale(info.objective.share)) for v in rows[name]] for name in ("low", "high"))
    if bars:
        shape = {"x": _each(x, x), "y": _each(low, high), "line": {"color": look.colour, "width": 1.5}}
    else:
        shape = {"x": x + x[::-1], "y": high + low[::-1], "fill": "toself", "fillcolor": faded(look.colour, 0.12)}
        shape |= {"line": {"color": faded(look.colour, 0.35), "width": 1}}
    group = arm_group(rows["arm"].iloc[0])
    fig.add_trace(sketch.Scatter(mode="lines", legendgroup=group, showlegend=False, hoverinfo="skip", **shape))


def _each(ones: list[float], others: list[float]) -> list[float | None]:
    """Pairs as separate pieces of one line."""
    return [v for pair in zip(ones, others, strict=True) for v in (*pair, None)]


def _trials(
    rows: pd.DataFrame, info: SensitivityInfo, look: Look, by: float, texts: dict[tuple[str, str], str]
) -> sketch.Scatter:
    trained = bool(rows["trained"].iloc[0])
    keys = zip(rows["arm"], rows["configuration_id"], strict=True)
    return sketch.Scatter(
        x=[fmt.rounded(v + by) for v in rows["position"]],
        y=[fmt.rounded(v * scale(info.objective.share)) for v in rows["metric"]],
        mode="markers",
        marker={
            "color": look.colour,
            "symbol": look.symbol if trained else "x-thin-open",
            "size": 5 if trained else 6,
            "opacity": 0.45 if trained else 0.7,
        },
        legendgroup=arm_group(rows["arm"].iloc[0]),
        showlegend=False,
        hoverinfo="text",
        hovertext=[texts.get((str(arm), str(i)), "") for arm, i in keys],
    )


def _configuration_texts(result: Result) -> dict[tuple[str, str], str]:
    rows = result.configurations.loc[result.hovers.index]
    keys = zip(rows["arm"].astype(str), rows["configuration_id"].astype(str), strict=True)
    return dict(zip(keys, result.hovers, strict=True))


def _line(rows: pd.DataFrame, info: SensitivityInfo, look: Look, by: float) -> sketch.Scatter:
    """The curve; a raw one is thin. Choices without an order are not joined."""
    raw = rows["source"].iloc[0] == RAW
    named = any(isinstance(choice, str | bool) for choice in info.axis.choices)
    few = info.axis.kind == "choice" or len(rows) <= 8
    return sketch.Scatter(
        x=[fmt.rounded(v + by) for v in rows["position"]],
        y=[fmt.rounded(v * scale(info.objective.share)) for v in rows["mean"]],
        mode="markers" if named else "lines+markers" if few else "lines",
        line={"color": look.colour, "width": 1 if raw else 2.5, "dash": look.dash},
        marker={"symbol": look.symbol, "size": 7 if raw else 9, "color": look.colour},
        legendgroup=arm_group(rows["arm"].iloc[0]),
        showlegend=False,
        hoverinfo="text",
        hovertext=[_curve_text(row, info) for row in rows.to_dict("records")],
    )


def _curve_text(row: dict[object, object], info: SensitivityInfo) -> str:
    mean, low, high = (float(str(row[name])) for name in ("mean", "low", "high"))
    value = safe(fmt.parameter(row["value"]))  # type: ignore[arg-type]
    lines = [f"<b>{safe(row['arm'])}</b>, {safe(info.parameter)} = {value}"]
    lines.append(f"{row['source']} {fmt.metric(info.objective, mean)} (n = {row['n']})")
    if math.isfinite(low):
        lines.append(f"95 % {fmt.metric(info.objective, low)} to {fmt.metric(info.objective, high)}")
    else:
        lines.append(f"no interval: {safe(briefly(str(row['why_no_interval'])), 80)}")
    return "<br>".join(lines)
