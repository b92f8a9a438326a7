"""Every configuration over its compute, with the front of what is best for its cost; then what single seeds reach."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.columns import parameter_columns
from hpsearch.analysis.writing import count, percent
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.arms import attainment
from hpsearch.figures.arms.compute_axis import spent_axis
from hpsearch.figures.arms.front_info import FrontInfo, front_info
from hpsearch.figures.arms.front_places import Places, places
from hpsearch.figures.hover import configuration_texts
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.style import (
    EMPTY,
    FAINT,
    INK,
    Look,
    arm_group,
    axis_style,
    buttons,
    faded,
    figure,
    legend_entry,
    safe,
    scale,
)
from hpsearch.study import Study

KEY, TITLE = "front", "Quality against compute"
HEIGHT = 560
LIKELY = 0.1  # from this probability on a configuration has a ring
ROOM = 0.04  # of the logarithmic axis: between two of those numbers
REACH = 3.0  # how far below the best the range shown first goes, in distances of the middle one
BARS = 300  # configurations, up to which each has a bar
LABELS = 8  # configurations on the front, up to which each has its probability written beside it


def plot_front(source: Source, study: Study | None = None) -> go.Figure:
    """Means with 95 % intervals over compute, crosses where some seed did not train, the observed front as a staircase;
    rings are larger the likelier a configuration is on the front. Switches: the cost, and how much of y is seen.
    """
    result = read_result(source, study)
    return _draw(front_info(result), result.looks).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    """`front` and `attainment`."""
    found: list[Picture | Missing]
    try:
        info = front_info(result)
        found = [Picture(KEY, TITLE, _draw(info, result.looks), _alt(info), _caption(info), _numbers(info))]
    except NothingToDraw as why:
        found = [Missing(KEY, TITLE, str(why))]
    return [*found, *attainment.pictures(result)]


def _draw(info: FrontInfo, looks: dict[str, Look]) -> sketch.Figure:
    fig = figure(HEIGHT + 20 * max(0, len(info.arms) - 6))  # the legend's lines on a phone
    for arm in info.arms:
        fig.add_trace(legend_entry(arm, looks[arm]))
    if info.computed:
        stairs = {"shape": "hv", "color": INK, "width": 1.6}
        fig.add_trace(
            sketch.Scatter(x=[None], y=[None], mode="lines", line=stairs, name="observed front", hoverinfo="skip")
        )
    legend = len(fig.data)
    found = {cost: _placed(info, cost) for cost in info.costs}
    first = info.costs[0]
    for trace in _marks(info, looks, found[first]):
        fig.add_trace(trace)
    # Marks are drawn once and moved: only their x differs between the costs.
    x: dict[str, list[object]] = {c: [[None]] * legend + _by_arm(info, found[c].x) for c in info.costs}
    shown = [set(info.costs)] * len(fig.data)
    for cost in info.computed:
        for trace in _front_traces(info, cost, found[cost]):
            fig.add_trace(trace.update(visible=cost == first))
            shown.append({cost})
            for other in info.costs:
                x[other].append(list(trace.x))
    axes = {cost: _axis(info, cost, found[cost]) for cost in info.costs}
    bands = {cost: _bands(found[cost]) for cost in info.costs}
    fig.update_layout(xaxis=axes[first], shapes=bands[first], yaxis=axis_style(safe(fmt.axis_title(info.objective))))
    near = _near(info)
    fig.update_yaxes(range=near, title_font_size=13)
    fig.update_xaxes(title_font_size=13)
    switches: list[dict[str, object]] = [
        {
            "label": fmt.COST_LABELS[cost],
            "method": "update",
            "args": [
                {"x": x[cost], "visible": [cost in s for s in shown]},
                {"xaxis": axes[cost], "shapes": bands[cost]},
            ],
        }
        for cost in info.costs
    ]
    zooms: list[dict[str, object]] = [
        {"label": "the better ones", "method": "relayout", "args": [{"yaxis.range": near, "yaxis.autorange": False}]},
        {"label": "everything", "method": "relayout", "args": [{"yaxis.autorange": True}]},
    ]
    menus = buttons(switches, y=-0.18) if len(switches) > 1 else []
    menus += buttons(zooms, y=-0.3 if menus else -0.18) if near else []
    return fig.update_layout(updatemenus=menus)


def _placed(info: FrontInfo, cost: str) -> Places:
    rows = info.configurations
    return places(rows[f"cost.{cost}"], rows["n_not_trained"] == 0, rows["arm"], info.objective.sign * rows["mean"])


def _by_arm(info: FrontInfo, x: np.ndarray) -> list[object]:
    values = [None if not np.isfinite(v) else fmt.rounded(v) for v in x.tolist()]
    arms = info.configurations["arm"].tolist()
    return [[v for v, owner in zip(values, arms, strict=True) if owner == arm] for arm in info.arms]


def _marks(info: FrontInfo, looks: dict[str, Look], place: Places) -> list[sketch.Scatter]:
    many, times = len(info.configurations) > BARS, scale(info.objective.share)
    texts = _hover(info)
    made = []
    for arm, x in zip(info.arms, _by_arm(info, place.x), strict=True):
        rows = info.configurations[info.configurations["arm"] == arm]
        failed, look = rows["n_not_trained"] > 0, looks[arm]
        marker = {
            "color": look.colour,
            "symbol": np.where(failed, "x-thin-open", look.symbol).tolist() if failed.any() else look.symbol,
            "size": 5 if many else 7,
            "opacity": 0.5 if many else 0.75,
        }
        trace = sketch.Scatter(x=x, y=_drawn(rows["mean"] * times), mode="markers", marker=marker, showlegend=False)
        trace.update(legendgroup=arm_group(arm), hoverinfo="text", hovertext=[texts[i] for i in rows.index])
        if not many:
            trace.update(error_y=_bars(rows, info.objective.share, look.colour))
        made.append(trace)
    return made


def _bars(rows: pd.DataFrame, share: bool, colour: str) -> dict[str, object]:
    """From low to high, which need not be symmetric; a share's end at 0 and 1."""
    ends = rows[["low", "high"]].clip(0.0, 1.0) if share else rows[["low", "high"]]
    up, down = ((ends["high"] - rows["mean"]), (rows["mean"] - ends["low"]))
    length = {name: _drawn(part.clip(lower=0).fillna(0.0) * scale(share)) for name, part in (("u", up), ("d", down))}
    return {
        "array": length["u"],
        "arrayminus": length["d"],
        "symmetric": False,
        "color": faded(colour, 0.28),
        "thickness": 1,
        "width": 0,
    }


def _front_traces(info: FrontInfo, cost: str, place: Places) -> list[sketch.Scatter]:
    """The staircase, which ends at its last configuration; rings; probabilities beside few of them."""
    at = dict(zip(zip(*_keys(info.configurations), strict=True), place.x.tolist(), strict=True))
    times = scale(info.objective.share)
    front = info.front(cost)
    ringed = info.points[
        (info.points["cost"] == cost) & (info.points["on_front"] | (info.points["probability"] >= LIKELY))
    ]
    chance = ringed["probability"].fillna(0.0).to_numpy(float)

    def x(rows: pd.DataFrame) -> list[float]:
        return [fmt.rounded(at[key]) for key in zip(*_keys(rows), strict=True)]

    # A step is where those that cost the same begin, so that none of them stands above the line.
    begins = [_begin(v, place) for v in x(front)]
    corners = [v for pair in zip([*x(front)[:1], *begins[1:]], x(front), strict=True) for v in pair]
    stairs = sketch.Scatter(x=corners, y=[v for v in _drawn(front["mean"] * times) for _ in range(2)], mode="lines")
    stairs.update(line={"shape": "hv", "color": INK, "width": 1.6})
    rings = sketch.Scatter(x=x(ringed), y=_drawn(ringed["mean"] * times), mode="markers")
    colours = np.where(ringed["on_front"].astype(bool), INK, FAINT).tolist()
    line = {"width": 1.5, "color": colours}
    rings.update(marker={"symbol": "circle-open", "size": np.round(11 + 11 * chance, 1).tolist(), "line": line})
    rings.update(marker_color=colours)
    known = front["probability"].notna().any() and len(front) <= LABELS
    apart = _apart(x(front), place)
    texts = [percent(p) if known and free else "" for p, free in zip(front["probability"], apart, strict=True)]
    # Beside an invisible mark of the ring's size, so that the ring does not run through the number.
    labels = sketch.Scatter(x=x(front), y=_drawn(front["mean"] * times), mode="markers+text", text=texts)
    sizes = np.round(13 + 11 * front["probability"].fillna(0.0).to_numpy(float), 1).tolist()
    labels.update(textposition="top center", textfont={"size": 11, "color": INK}, marker={"size": sizes, "opacity": 0})
    return [trace.update(hoverinfo="skip", showlegend=False) for trace in (stairs, rings, labels)]


def _apart(x: list[float], place: Places) -> list[bool]:
    """Which numbers have room beside the one before, on a wide page."""
    seen = place.x[np.isfinite(place.x) & (place.x > 0)]
    span = float(np.ptp(np.log(seen))) if len(seen) else 0.0
    found: list[bool] = []
    last = -math.inf
    for at in (math.log(v) if v > 0 else -math.inf for v in x):
        found.append(at - last > ROOM * span or not found)
        last = at if found[-1] else last
    return found


def _begin(x: float, place: Places) -> float:
    """Where the configurations of the same cost begin."""
    inside = place.ends[(place.ends[:, 0] <= x) & (x <= place.ends[:, 1])]
    return fmt.rounded(float(inside[0, 0])) if len(inside) else x


def _keys(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    return rows["arm"].tolist(), rows["configuration_id"].astype(str).tolist()


def _drawn(values: pd.Series) -> list[float]:
    return [fmt.rounded(v) for v in values.tolist()]


def _axis(info: FrontInfo, cost: str, place: Places) -> dict[str, object]:
    rows = info.configurations
    x = rows.loc[rows["n_not_trained"] == 0, f"cost.{cost}"].dropna()
    x = x if len(x) else rows[f"cost.{cost}"].dropna()
    low, high = float(x.min()), float(x.max())
    if len(place.ends):
        low, high = min(low, float(place.ends[0, 0])), max(high, float(place.ends[-1, 1]))
    title = f"{fmt.COST_LABELS[cost][:1].upper()}{fmt.COST_LABELS[cost][1:]} per trial"
    return spent_axis(title, low, high, values=[fmt.rounded(v, 6) for v in place.stacks.tolist()], pad=0.05)


def _bands(place: Places) -> list[dict[str, object]]:
    """A ground behind the configurations that cost the same and stand side by side."""
    if not len(place.stacks):
        return []
    shared = {"type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "line": {"width": 0}}
    return [
        {**shared, "x0": fmt.rounded(a), "x1": fmt.rounded(b), "fillcolor": EMPTY, "opacity": 0.6}
        for a, b in place.ends.tolist()
    ]


def _near(info: FrontInfo) -> list[float] | None:
    """The y range from the best mean down to three times as far as the middle of those that trained, with the front's
    bars; None where that is everything. A display's range only: everything is drawn.
    """
    rows, goal = info.configurations, info.objective
    trained = goal.sign * rows.loc[rows["n_not_trained"] == 0, "mean"]
    if trained.empty:
        return None
    best = float(trained.max())
    least = max(float(trained.min()), best - REACH * (best - float(trained.median())))
    front = info.points[info.points["on_front"].astype(bool)]
    bars = goal.sign * rows.loc[rows["configuration_id"].isin(front["configuration_id"]), ["low", "high"]]
    tops = bars.max(axis=1).dropna().to_numpy(float)
    ends = np.array([least, best, *tops[tops <= best + (best - least)]]) * goal.sign
    ends = (ends.clip(0.0, 1.0) if goal.share else ends) * scale(goal.share)
    if least <= float((goal.sign * rows["mean"]).min()):
        return None
    pad = 0.05 * float(np.ptp(ends)) or 1.0
    return [fmt.rounded(float(ends.min() - pad)), fmt.rounded(float(ends.max() + pad))]


def _hover(info: FrontInfo) -> list[str]:
    """As everywhere, and the probabilities where a configuration has some."""
    chances: dict[tuple[str, str], list[str]] = {}
    for row in info.points.to_dict("records"):
        chances.setdefault((row["arm"], str(row["configuration_id"])), []).append(
            f"{fmt.COST_LABELS[row['cost']]} {percent(row['probability'])}"
        )
    keys = zip(*_keys(info.configurations), strict=True)
    texts = configuration_texts(info.configurations, info.objective)
    return [
        text + (f"<br>probability on the front of {', '.join(chances[key])}" if key in chances else "")
        for text, key in zip(texts, keys, strict=True)
    ]


def _caption(info: FrontInfo) -> str:
    rows = info.configurations
    failed = int((rows["n_not_trained"] > 0).sum())
    seeds = sorted({int(n) for n in rows["n"]})
    parts = [
        f"Each mark is a configuration's mean {fmt.metric_name(info.objective.name)} over its seeds (n = "
        f"{seeds[0] if len(seeds) == 1 else f'{seeds[0]} to {seeds[-1]}'}), all {len(rows):,} of them, before any "
        "selection: the best are optimistic."
    ]
    if len(rows) <= BARS:
        parts.append("Thin bars are 95 % intervals of single means.")
    else:
        parts.append("95 % intervals are in the numbers: there are too many to draw.")
    parts.append(
        "In a shaded band all cost what its tick says; there they stand side by side, by arm and mean. Samples are "
        "those through backward."
    )
    if _near(info):
        parts.append("The range shown first leaves out the worse ones: a double click shows all.")
    if failed:
        parts.append(
            f"Crosses: some seed did not train ({count(failed, 'configuration')}); they are never on the front."
        )
    if info.computed:
        parts.append(
            "Staircase: the observed front. Rings: on it, or on the true front with a probability of "
            f"{percent(LIKELY)} or more; larger is likelier, numbers are for the observed front."
        )
        error = f", Monte Carlo error at most {percent(info.error)}" if math.isfinite(info.error) else ""
        parts.append(f"{info.method} {info.draws:,} draws{error}.")
    else:
        parts.append("The front and its probabilities were not computed.")
    return " ".join(parts)


def _alt(info: FrontInfo) -> str:
    metric, cost = fmt.metric_name(info.objective.name), info.costs[0]
    text = (
        f"Scatter plot of {metric} over compute per trial: {count(len(info.configurations), 'configuration')} of "
        f"{count(len(info.arms), 'arm')}."
    )
    front = info.front(cost)
    if front.empty:
        return text
    shown = [
        f"{row['arm']} {fmt.metric(info.objective, row['mean'])} at {fmt.cost(cost, row['compute'])} (probability "
        f"{percent(row['probability'])})"
        for row in front.head(LABELS).to_dict("records")
    ]
    more = f" and {len(front) - LABELS} more" if len(front) > LABELS else ""
    return f"{text} Observed front: {'; '.join(shown)}{more}."


def _numbers(info: FrontInfo) -> pd.DataFrame:
    """A row a configuration and cost."""
    rows = info.configurations
    names = [
        "arm",
        "configuration_id",
        *parameter_columns(rows),
        "mean",
        "low",
        "high",
        "interval",
        "n",
        "n_not_trained",
    ]
    parts = [rows[names].assign(cost=cost, compute=rows[f"cost.{cost}"]) for cost in info.costs]
    chances = info.points[["cost", "arm", "configuration_id", "on_front", "probability", "shrunk_mean", "low", "high"]]
    chances = chances.rename(columns={"low": "shrunk_low", "high": "shrunk_high"})
    made = pd.concat(parts, ignore_index=True).merge(chances, how="left", on=["cost", "arm", "configuration_id"])
    return made.assign(on_front=made["on_front"].eq(True), method=info.key)
