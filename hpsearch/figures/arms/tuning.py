"""What a search finds after so many configurations, or for so much compute: tuning curves with their bands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from hpsearch.analysis.columns import COSTS
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.writing import count
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.arms.compute_axis import spent_axis
from hpsearch.figures.arms.panels import Line, View, panels
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.quoted import known, method_text, not_asked
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.style import axis_style, safe, scale
from hpsearch.study import Study

KEY, TITLE = "tuning", "What tuning finds"
BUDGETS = ("configurations", *COSTS)
TITLES = {
    "configurations": "Configurations tried",
    "backward_samples": "Samples of the search",
    "flops": "FLOPs of the search",
    "seconds": "Seconds of the search",
}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TuningCurve:
    """One arm and order of trying. spent: budget -> what k configurations with all their seeds take, (points,), in its
    unit; NaN where not known. best, low, high: (points,), metric's unit; low and high are NaN where there is no bound.
    kind: of the band, exact, approximate or none. ordered: as tried, else in random order. n: configurations with a
    mean; left_out: those without.
    """

    arm: str
    spent: dict[str, Floats]
    best: Floats
    low: Floats
    high: Floats
    kind: str
    ordered: bool
    n: int
    left_out: int
    method: str
    text: str

    @property
    def has_band(self) -> bool:
        """Whether something bounds half of the curve at least: else a band would be the whole plot."""
        return bool((np.isfinite(self.low) | np.isfinite(self.high)).mean() >= 0.5)


@dataclass(frozen=True)
class TuningInfo:
    """curves: by arm, at most one in random order and one as tried. comparisons: bands that hold together."""

    objective: Objective
    curves: tuple[TuningCurve, ...]
    budgets: tuple[str, ...]
    comparisons: int

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(one.arm for one in self.curves))


def tuning_info(result: Result) -> TuningInfo:
    """Raises NothingToDraw where no configuration has a mean."""
    entries, goal = result.document["tuning_curves"], result.objective
    if result.reason or goal is None:
        raise NothingToDraw(result.reason or "no trial has a metric")
    curves = tuple(_curve(e, result) for e in entries if e["configurations"])
    if not curves:
        raise NothingToDraw(not_asked(result.document) or "no configuration has a result")
    known_of = [b for b in BUDGETS if any(np.isfinite(one.spent[b]).any() for one in curves)]
    return TuningInfo(goal, curves, tuple(known_of), max(int(e["comparisons"]) for e in entries))


def plot_tuning(source: Source, study: Study | None = None) -> go.Figure:
    """The best so far over the number of configurations, or their compute, of all arms; below, each arm's with its
    simultaneous band, beside the first arm's line. Thin dotted lines: as tried, by a sampler that looks at results.
    """
    result = read_result(source, study)
    return _draw(tuning_info(result), result).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    try:
        info = tuning_info(result)
    except NothingToDraw as why:
        return [Missing(KEY, TITLE, str(why))]
    return [Picture(KEY, TITLE, _draw(info, result), _alt(info), _caption(info), _numbers(info))]


def _curve(entry: dict[str, Any], result: Result) -> TuningCurve:
    k = np.array(entry["configurations"], dtype=float)
    goal, method = result.objective, result.method(entry["method"])
    low, high = (np.array([known(v) for v in entry[end] or [None] * len(k)]) for end in ("low", "high"))
    if goal is not None and goal.share:
        # 0 and 1 bound every share: they say nothing of this one.
        low, high = np.where(low <= 0, np.nan, low), np.where(high >= 1, np.nan, high)
    return TuningCurve(
        arm=entry["arm"],
        spent={"configurations": k} | {c: np.array([known(v) for v in entry["compute"][c]]) for c in COSTS},
        best=np.array([known(v) for v in entry["best"]]),
        low=low,
        high=high,
        kind=entry["band"],
        ordered=method["text"].startswith("observed order"),
        n=int(entry["n"]),
        left_out=int(entry["left_out"]),
        method=entry["method"],
        text=method_text(method),
    )


def _draw(info: TuningInfo, result: Result) -> sketch.Figure:
    title = f"Best {safe(fmt.metric_name(info.objective.name))}" + (" (%)" if info.objective.share else "")
    y = axis_style(title, range=_near(info)) | {"title_font_size": 13}
    return panels(info.arms, result.looks, [_view(info, budget) for budget in info.budgets], y)


def _near(info: TuningInfo) -> list[float]:
    """All lines, and a little above them; bands may go on beyond."""
    best = np.concatenate([one.best[np.isfinite(one.best)] for one in info.curves]) * scale(info.objective.share)
    pad = 0.1 * float(np.ptp(best)) or 1.0
    return [fmt.rounded(float(best.min()) - pad), fmt.rounded(float(best.max()) + pad)]


def _view(info: TuningInfo, budget: str) -> View:
    spent = np.concatenate([one.spent[budget] for one in info.curves])
    spent = spent[np.isfinite(spent)]
    low, high = float(spent.min()), float(spent.max())
    lines = [_line(one, budget, info) for one in info.curves]
    return View(
        label=fmt.COST_LABELS.get(budget, budget),
        lines=[line for line in lines if line.x],
        axis=spent_axis(TITLES[budget], low, high) | {"title_font_size": 13},
        small_axis=spent_axis("", low, high, most=3),
        notes={arm: _note([one for one in info.curves if one.arm == arm]) for arm in info.arms},
    )


def _line(one: TuningCurve, budget: str, info: TuningInfo) -> Line:
    times, x = scale(info.objective.share), one.spent[budget]
    seen = np.isfinite(x) & np.isfinite(one.best)
    alone = not any(o.arm == one.arm and not o.ordered for o in info.curves)
    return Line(
        one.arm,
        _few(x[seen]),
        _few(one.best[seen] * times),
        _hover(one, info, seen),
        steps=one.ordered,
        minor=one.ordered and not alone,
        band=_band(one, x, seen, info),
    )


def _band(one: TuningCurve, x: Floats, seen: NDArray[np.bool_], info: TuningInfo) -> tuple[list[float], list[float]]:
    """Its outline; where there is no bound it runs out of the range that is shown first."""
    if not one.has_band:
        return [], []
    bottom, top = _near(info)
    room = 10 * (top - bottom)
    ends = (0.0, 100.0) if info.objective.share else (bottom - room, top + room)
    times = scale(info.objective.share)
    low = np.where(np.isfinite(one.low), one.low * times, ends[0])[seen]
    high = np.where(np.isfinite(one.high), one.high * times, ends[1])[seen]
    return _few(np.concatenate([x[seen], x[seen][::-1]])), _few(np.concatenate([low, high[::-1]]))


def _few(values: Floats) -> list[float]:
    return [fmt.rounded(v) for v in values.tolist()]


def _note(curves: list[TuningCurve]) -> str:
    """Under an arm's name: what its band rests on."""
    main = next((one for one in curves if not one.ordered), curves[0])
    if main.has_band:
        return f"band: n = {main.n}"
    return f"no band: {_why(main)}"


def _why(one: TuningCurve) -> str:
    if one.kind != "none":
        return f"n = {one.n}"
    return "as tried" if one.ordered else "a grid"


def _hover(one: TuningCurve, info: TuningInfo, seen: NDArray[np.bool_]) -> list[str]:
    goal, k = info.objective, one.spent["configurations"]
    order = "as tried" if one.ordered else "in random order"
    texts = []
    for i in np.flatnonzero(seen).tolist():
        # All costs in one text: a page holds equal texts once.
        spent = [fmt.cost(c, float(one.spent[c][i])) for c in COSTS if math.isfinite(one.spent[c][i])]
        lines = [f"<b>{safe(one.arm)}</b>, {order}"]
        lines.append(f"{fmt.metric(goal, float(one.best[i]))} after {count(int(k[i]), 'configuration')}")
        lines += [", ".join(spent)] if spent else []
        low, high = float(one.low[i]), float(one.high[i])
        if math.isfinite(low) or math.isfinite(high):
            ends = [fmt.metric(goal, v) if math.isfinite(v) else "no bound" for v in (low, high)]
            lines.append(f"95 % band {ends[0]} to {ends[1]}, n = {one.n}")
        else:
            lines.append(f"no band here, n = {one.n}")
        texts.append("<br>".join(lines))
    return texts


def _caption(info: TuningInfo) -> str:
    parts = [
        f"The best {fmt.metric_name(info.objective.name)} after so many configurations with all their seeds: the "
        "median over random orders; thin dotted lines with open marks, where both are known: the one order that was "
        "tried. The best of many is optimistic. Shaded: 95 % bands over the whole curve, together for "
        f"{info.comparisons} arms; where a band leaves the plot the data set no bound. Dotted grey: the line of "
        f"{info.arms[0]}.",
        "n, the configurations behind a curve: "
        + ", ".join(f"{one.arm} {one.n}{' as tried' if one.ordered else ''}" for one in info.curves)
        + ".",
    ]
    bare = [one for one in info.curves if not one.has_band and one.kind != "none"]
    if bare:
        names = ", ".join(f"{one.arm} ({one.n})" for one in bare)
        parts.append(f"No band is drawn where so few configurations bound next to nothing: {names}.")
    left = [f"{one.arm} {one.left_out}" for one in info.curves if one.left_out]
    if left:
        parts.append(f"Configurations left out, without a result: {', '.join(left)}.")
    return " ".join([*parts, *dict.fromkeys(one.text for one in info.curves)])


def _alt(info: TuningInfo) -> str:
    ends = "; ".join(
        f"{one.arm} {fmt.metric(info.objective, float(one.best[-1]))} after {one.n}"
        for one in info.curves
        if not one.ordered or sum(o.arm == one.arm for o in info.curves) == 1
    )
    return f"Lines of the best {fmt.metric_name(info.objective.name)} after so many configurations, by arm: {ends}."


def _numbers(info: TuningInfo) -> pd.DataFrame:
    """As in the document, but for bounds that every share has, which are empty."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "arm": one.arm,
                    "order": "as tried" if one.ordered else "random",
                    **one.spent,
                    "best": one.best,
                    "low": one.low,
                    "high": one.high,
                    "band": one.kind,
                    "n": one.n,
                    "unit": info.objective.unit,
                    "method": one.method,
                }
            )
            for one in info.curves
        ],
        ignore_index=True,
    )
