"""When in training a hyperparameter matters: its total share of variance after fractions of the epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.writing import briefly, metric_name, percent
from hpsearch.errors import one_line
from hpsearch.figures.cards import cards
from hpsearch.figures.matters.along_figure import MOST_BANDS, draw_along
from hpsearch.figures.matters.shares import METHOD, answer_columns
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, Source, read_result

if TYPE_CHECKING:
    from hpsearch.study import Study

TITLE = "Importance along training"
MOST_LINES = 6  # hyperparameters that are drawn, the largest ones; more could not be told apart
COLUMNS = ("arm", "fraction", "parameter", "measure", "value", "low", "high", "n", "method", "why_no_interval")


@dataclass(frozen=True)
class AlongInfo:
    """Of one arm. shares: a row per moment, hyperparameter and measure (total, first_order), in [0, 1], with 95 %
    intervals (NaN where there is none, and why_no_interval); fraction: of the planned epochs; n: configurations.
    moments: a row per fraction: fewest and most (epochs, over the trials), n, not_trained (share of the trials, NaN
    without any), spread (standard deviation of the expected metric over the ranges, in the metric's unit; NaN where
    not known), why_none (why it has no shares, else empty).
    drawn: the hyperparameters whose lines are drawn, in display order.
    """

    arm: str
    metric: str
    sentence: str
    shares: pd.DataFrame
    moments: pd.DataFrame
    drawn: tuple[str, ...]
    trials_without_curve: int


def along_info(result: Result, arm: str) -> AlongInfo:
    """Raises NothingToDraw where no moment of the arm has shares."""
    found = next((one for one in result.document["along_training"] if one["arm"] == arm), None)
    if found is None:
        raise NothingToDraw("shares along training were not asked for, or nothing was recorded along it")
    fitted = [moment for moment in found["moments"] if moment["hyperparameters"]]
    if not fitted:
        whys = [moment["why_none"] for moment in found["moments"] if moment["why_none"]]
        raise NothingToDraw(found["why_none"] or (whys[-1] if whys else "no hyperparameter was searched"))
    shares = pd.DataFrame([row for moment in fitted for row in _rows(arm, moment)], columns=list(COLUMNS))
    totals = shares[shares["measure"] == "total"].groupby("parameter", sort=False)["value"].max()
    largest = set(totals.nlargest(MOST_LINES).index)
    return AlongInfo(
        arm,
        str(found["metric"]),
        str(found["sentence"]),
        shares,
        pd.DataFrame([_moment(one) for one in found["moments"]]),
        tuple(name for name in result.searched(arm) if name in largest),
        int(found["trials_without_curve"]),
    )


def plot_along(source: Source, arm: str, study: Study | None = None) -> go.Figure:
    """Lines: the total share of each hyperparameter after fractions of the epochs, with 95 % bands. Beneath: the share
    of the trials that had not trained by then.
    """
    result = read_result(source, study)
    return draw_along(along_info(result, arm), result).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    def make(arm: str, key: str) -> Picture:
        info = along_info(result, arm)
        title = f"{TITLE}: {one_line(arm, 40)}"
        return Picture(key, title, draw_along(info, result), _alt(info), _caption(info, result), info.shares, arm)

    return cards(result, "along", TITLE, make)


def _rows(arm: str, moment: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"arm": arm, "fraction": moment["fraction"], "parameter": one["parameter"], "measure": measure}
        | answer_columns(one[measure])
        for one in moment["hyperparameters"]
        for measure in ("total", "first_order")
    ]


def _moment(found: dict[str, Any]) -> dict[str, Any]:
    spread = found["spread"]["value"] if found["spread"] else None
    missing = {"not_trained": found["share_not_trained"], "spread": spread}
    numbers = {key: math.nan if value is None else float(value) for key, value in missing.items()}
    return {"fraction": found["fraction"], **found["epochs"], "n": found["n"], **numbers, "why_none": found["why_none"]}


def _alt(info: AlongInfo) -> str:
    totals = info.shares[info.shares["measure"] == "total"]
    last = totals[(totals["fraction"] == totals["fraction"].max()) & totals["parameter"].isin(info.drawn)]
    found = ", ".join(f"{one_line(r['parameter'], 40)} {percent(r['value'])}" for _, r in last.iterrows())
    return (
        f"Total share of the variance of each hyperparameter of {one_line(info.arm, 40)} along training. "
        f"At the last moment: {found}. What can be said: {info.sentence}."
    )


def _caption(info: AlongInfo, result: Result) -> str:
    moments, n = info.moments, info.shares["n"]
    count = f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
    parts = [
        f"Lines: total share of the variance of {metric_name(info.metric)} after parts of "
        f"the planned epochs; {'bands' if len(info.drawn) <= MOST_BANDS else 'bars'}: 95 % intervals; {count} "
        f"configurations; {result.method(METHOD)['text']}. Beneath: share of the trials that had diverged by then or "
        f"collapse in the end. What can be said: {info.sentence}."
    ]
    searched = info.shares["parameter"].nunique()
    if searched > len(info.drawn):
        parts.append(f"Drawn are the {len(info.drawn)} largest of {searched} hyperparameters.")
    drawn = info.shares[(info.shares["measure"] == "total") & info.shares["parameter"].isin(info.drawn)]
    whys = sorted({briefly(why) for why in drawn["why_no_interval"] if why})
    if whys:
        parts.append(f"Without interval: {'; '.join(whys)}.")
    none = moments[moments["why_none"].notna()]
    parts += [f"No shares at {100 * row['fraction']:g} %: {row['why_none']}." for _, row in none.iterrows()]
    if info.trials_without_curve:
        parts.append(f"{info.trials_without_curve} trials without a recorded curve are left out.")
    return " ".join(parts)
