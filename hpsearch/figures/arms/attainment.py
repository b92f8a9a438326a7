"""What single seeds reach for their compute: staircases that a quarter, half and three quarters of the seeds attain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.objective import Objective
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.arms.compute_axis import spent_axis
from hpsearch.figures.arms.panels import Line, View, panels
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.quoted import answer, columns, method_text, not_asked, plain, without_interval
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.style import axis_style, safe, scale
from hpsearch.study import Study

KEY, TITLE = "attainment", "What single seeds reach for their compute"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attained:
    """One arm and cost. stairs: percent of the seeds -> the corners of the staircase that so many attain, compute and
    value in the metric's unit, (corners,) each. hypervolume: share of the box between the reference and (no compute,
    the best value of any arm); difference: to the control's, by seed. n counts seeds.
    """

    arm: str
    cost: str
    stairs: dict[int, tuple[Floats, Floats]]
    hypervolume: Answer
    difference: Answer | None
    reference: tuple[float, float]
    seeds: int
    configurations: int


@dataclass(frozen=True)
class AttainmentInfo:
    objective: Objective
    control: str
    found: tuple[Attained, ...]
    comparisons: int
    method: str

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(one.arm for one in self.found))

    def of(self, cost: str) -> list[Attained]:
        return [one for one in self.found if one.cost == cost]

    @property
    def costs(self) -> list[str]:
        return list(dict.fromkeys(one.cost for one in self.found))


def attainment_info(result: Result) -> AttainmentInfo:
    """Raises NothingToDraw where no run trained or no compute is known."""
    entries, goal = result.document["attainment"], result.objective
    if result.reason or goal is None:
        raise NothingToDraw(result.reason or "no trial has a metric")
    if not entries:
        raise NothingToDraw(not_asked(result.document) or "no run that trained has both the metric and its compute")
    return AttainmentInfo(
        objective=goal,
        control=result.arms[0],
        found=tuple(_attained(e) for e in entries),
        comparisons=max(int(e["comparisons"]) for e in entries),
        method=method_text(result.method(entries[0]["hypervolume"]["method"])),
    )


def plot_attainment(source: Source, study: Study | None = None) -> go.Figure:
    """All arms' staircases that half of the seeds attain; below, for each arm, the band from a quarter to three
    quarters of the seeds, beside the first arm's line. A switch between the costs.
    """
    result = read_result(source, study)
    return _draw(attainment_info(result), result).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    try:
        info = attainment_info(result)
    except NothingToDraw as why:
        return [Missing(KEY, TITLE, str(why))]
    return [Picture(KEY, TITLE, _draw(info, result), _alt(info), _caption(info), _numbers(info))]


def _attained(entry: dict[str, Any]) -> Attained:
    stairs = {
        int(curve["percent_of_seeds"]): (np.array(curve["compute"], float), np.array(curve["value"], float))
        for curve in entry["curves"]
    }
    difference = entry["difference_to_control"]
    return Attained(
        arm=entry["arm"],
        cost=entry["compute"],
        stairs=stairs,
        hypervolume=answer(entry["hypervolume"]),
        difference=None if difference is None else answer(difference),
        reference=(float(entry["reference"]["compute"]), float(entry["reference"]["value"])),
        seeds=int(entry["seeds"]),
        configurations=int(entry["configurations"]),
    )


def _draw(info: AttainmentInfo, result: Result) -> sketch.Figure:
    y = axis_style(safe(fmt.axis_title(info.objective))) | {"title_font_size": 13}
    return panels(info.arms, result.looks, [_view(info, cost) for cost in info.costs], y)


def _view(info: AttainmentInfo, cost: str) -> View:
    found = info.of(cost)
    spent = np.concatenate([stairs[0] for one in found for stairs in one.stairs.values()])
    low, high = float(spent.min()), float(spent.max())
    label = fmt.COST_LABELS[cost]
    return View(
        label=label,
        lines=[_line(one, info) for one in found],
        axis=spent_axis(f"{fmt.sentence(label)} per trial", low, high) | {"title_font_size": 13},
        small_axis=spent_axis("", low, high, most=3),
        notes={one.arm: f"HV {plain(one.hypervolume)}".replace(" to ", fmt.DASH) for one in found},
    )


def _line(one: Attained, info: AttainmentInfo) -> Line:
    times = scale(info.objective.share)
    x, y = one.stairs[50]
    end = max(float(stairs[0][-1]) for stairs in one.stairs.values() if len(stairs[0]))
    # A seed keeps what it has reached: the line goes on to where the arm's last seed still gains.
    x, y = (np.append(x, end), np.append(y, y[-1])) if x[-1] < end else (x, y)
    band = _band(one.stairs[25], one.stairs[75], end)
    return Line(
        one.arm,
        _few(x),
        _few(y * times),
        _hover(one, info, x, y),
        steps=True,
        band=(_few(band[0]), _few(band[1] * times)),
    )


def _band(upper: tuple[Floats, Floats], lower: tuple[Floats, Floats], end: float) -> tuple[Floats, Floats]:
    """The outline between two staircases, from where both have begun."""
    begin = max(float(upper[0][0]), float(lower[0][0]))
    x_up, y_up = _steps(*upper, begin, end)
    x_low, y_low = _steps(*lower, begin, end)
    return np.concatenate([x_up, x_low[::-1]]), np.concatenate([y_up, y_low[::-1]])


def _steps(x: Floats, y: Floats, begin: float, end: float) -> tuple[Floats, Floats]:
    """A staircase with all its corners, from begin to end."""
    started = int(np.searchsorted(x, begin, side="right")) - 1
    x, y = np.concatenate([[begin], x[started + 1 :]]), y[started:]
    return np.concatenate([np.repeat(x, 2)[1:], [end]]), np.repeat(y, 2)


def _few(values: Floats) -> list[float]:
    return [fmt.rounded(v) for v in values.tolist()]


def _hover(one: Attained, info: AttainmentInfo, x: Floats, y: Floats) -> list[str]:
    more = "" if one.difference is None else f"<br>less {safe(info.control)}'s {plain(one.difference)}"
    last = f"hypervolume {plain(one.hypervolume)}, {one.seeds} seeds{more}"
    return [
        f"<b>{safe(one.arm)}</b><br>half of the seeds reach {fmt.metric(info.objective, float(v))} with at most "
        f"{fmt.cost(one.cost, float(c))} a trial<br>{last}"
        for c, v in zip(x, y, strict=True)
    ]


def _caption(info: AttainmentInfo) -> str:
    seeds = sorted({one.seeds for one in info.found})
    corner = "; ".join(
        f"{fmt.cost(cost, info.of(cost)[0].reference[0])}, {fmt.metric(info.objective, info.of(cost)[0].reference[1])}"
        for cost in info.costs
    )
    parts = [
        "Lines: what half of an arm's seeds reach with a single run of at most this compute. Bands: from what three "
        "quarters of the seeds reach to what a quarter does, the luck of the seed; dotted: the line of "
        f"{info.control}. n: {seeds[0] if len(seeds) == 1 else f'{seeds[0]} to {seeds[-1]}'} seeds.",
        "HV, hypervolume: the share that a seed's front dominates of the box from the reference to no compute and the "
        f"best value of any arm, mean and 95 % interval over seeds, together for {info.comparisons} arms; reference: "
        f"{corner}.",
        without_interval((one.arm, one.hypervolume) for one in info.of(info.costs[0])),
        info.method,
    ]
    return " ".join(part for part in parts if part)


def _alt(info: AttainmentInfo) -> str:
    cost = info.costs[0]
    shown = "; ".join(f"{one.arm} {plain(one.hypervolume)}" for one in info.of(cost))
    return (
        f"Staircases of {fmt.metric_name(info.objective.name)} over {fmt.COST_NAMES[cost]} that half of the seeds "
        f"attain, by arm. Hypervolume: {shown}."
    )


def _numbers(info: AttainmentInfo) -> pd.DataFrame:
    """The corners of the staircases, then the hypervolumes."""
    unit = info.objective.unit
    corners = [
        {"arm": one.arm, "cost": one.cost, "quantity": f"reached by {percent} % of the seeds", "compute": c, "value": v}
        | {"low": math.nan, "high": math.nan, "n": one.seeds, "unit": unit, "method": one.hypervolume.method}
        for one in info.found
        for percent, (x, y) in one.stairs.items()
        for c, v in zip(x.tolist(), y.tolist(), strict=True)
    ]
    volumes = [
        {"arm": one.arm, "cost": one.cost, "quantity": name, "compute": math.nan, **columns(found)}
        for one in info.found
        for name, found in (("hypervolume", one.hypervolume), (f"hypervolume less {info.control}'s", one.difference))
        if found is not None
    ]
    return pd.DataFrame([*corners, *volumes])
