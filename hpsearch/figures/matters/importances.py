"""What matters: each hyperparameter's first-order and total share of variance, all arms beneath each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.writing import briefly, by_reason, listed, metric_name, percent
from hpsearch.errors import one_line
from hpsearch.figures.matters.importances_figure import INTERVALS, draw_importances
from hpsearch.figures.matters.shares import (
    METHOD,
    VIEW_NAMES,
    answer_columns,
    arm_shares,
    explained,
    has_view,
    within_text,
)
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, Source, read_result

if TYPE_CHECKING:
    from hpsearch.study import Study

KEY, TITLE = "importances", "Importance of the hyperparameters"
COLUMNS = ("view", "arm", "parameter", "measure", "value", "low", "high", "n", "seeds", "method", "why_no_interval")


@dataclass(frozen=True)
class ImportancesInfo:
    """Shares of the variance of the expected metric over the searched ranges.

    shares: a row per view (whole: over the searched ranges; trains: within the part of them where every seed trained),
    arm, parameter and measure: total, first_order and shapley with 95 % intervals (NaN where there is none, and
    why_no_interval); fanova, a first-order share by a random forest; ped_anova, no share of a variance but a divergence
    over the sum of all. In [0, 1]. n: configurations. seeds: the usual number of them (0: not known).
    within: arm -> the part of the ranges where every seed trained, in words; absent: arm -> why that is not known.
    explained: arm -> R2 of the surrogate in cross-validation, in words. unexplained: arms whose surrogate predicts no
    better than the mean. without: arm -> why it has no shares.
    """

    shares: pd.DataFrame
    within: dict[str, str]
    absent: dict[str, str]
    explained: dict[str, str]
    without: dict[str, str]
    unexplained: tuple[str, ...]

    @property
    def views(self) -> list[str]:
        return list(dict.fromkeys(self.shares["view"]))


def importances_info(result: Result) -> ImportancesInfo:
    """Raises NothingToDraw where no arm has shares."""
    rows: list[dict[str, Any]] = []
    within: dict[str, str] = {}
    without: dict[str, str] = {}
    absent: dict[str, str] = {}
    for arm in result.arms:
        try:
            found = arm_shares(result, arm)
        except NothingToDraw as why:
            without[arm] = str(why)
            continue
        rows += _rows(arm, "whole", found)
        rows += _cross_check(result, arm, {one["parameter"] for one in found["hyperparameters"]})
        if has_view(result, arm, "trains"):
            found = arm_shares(result, arm, "trains")
            rows += _rows(arm, "trains", found)
            within[arm] = within_text(found)
        else:
            failures = result.arm(arm)["failures"]
            trained = failures is not None and failures["trials_not_trained"] == 0
            absent[arm] = "all trained: see the whole ranges" if trained else "no such part is known"
    if not rows:
        raise NothingToDraw(result.reason or _reasons(without, len(result.arms)))
    drawn = [arm for arm in result.arms if arm not in without]
    unexplained = (arm for arm in drawn if result.arm(arm)["answers"]["surrogate"]["explains"] is False)
    shares = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("view", ascending=False, kind="stable")
    return ImportancesInfo(
        shares.reset_index(drop=True),
        within,
        absent,
        {arm: text for arm in drawn if (text := explained(result, arm))},
        without,
        tuple(unexplained),
    )


def plot_importances(source: Source, study: Study | None = None) -> go.Figure:
    """A block per hyperparameter, a row per arm: total share (filled mark, pale bar) and first-order share (hollow
    mark, darker bar) of the variance, with 95 % intervals as lines.
    """
    result = read_result(source, study)
    return draw_importances(importances_info(result), result).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    try:
        info = importances_info(result)
    except NothingToDraw as why:
        return [Missing(KEY, TITLE, str(why))]
    figure = draw_importances(info, result)
    return [Picture(KEY, TITLE, figure, _alt(info, result), _caption(info, result), info.shares)]


def _rows(arm: str, view: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"view": view, "arm": arm, "parameter": one["parameter"], "measure": measure, "seeds": found["seeds"]}
        | answer_columns(one[measure])
        for one in found["hyperparameters"]
        for measure in INTERVALS
        if one[measure] is not None
    ]


def _cross_check(result: Result, arm: str, known: set[str]) -> list[dict[str, Any]]:
    check = result.arm(arm)["answers"]["cross_check"] or {}
    rows = []
    for measure, key in (("fanova", "value"), ("ped_anova", "relative")):
        found = check.get(measure, {"hyperparameters": []})
        for one in found["hyperparameters"]:
            if one[key] is not None and one["parameter"] in known:
                row = {"view": "whole", "arm": arm, "parameter": one["parameter"], "measure": measure, "seeds": 0}
                rows.append(row | {"value": one[key], "n": found["n"], "method": found["method"]})
    return [{"low": float("nan"), "high": float("nan"), "why_no_interval": "has none by its kind"} | r for r in rows]


def _reasons(without: dict[str, str], arms: int) -> str:
    whys = set(without.values())
    return whys.pop() if len(whys) == 1 else by_reason(without.items()) if arms else "the table has no arms"


def _alt(info: ImportancesInfo, result: Result) -> str:
    whole = info.shares[(info.shares["view"] == "whole") & (info.shares["measure"] == "total")]
    tops = [rows.nlargest(1, "value").iloc[0] for _, rows in whole.groupby("arm", sort=False)]
    found = "; ".join(f"{one_line(r['arm'], 40)}: {one_line(r['parameter'], 40)} {percent(r['value'])}" for r in tops)
    return f"Shares of the variance of {_metric(result)} by hyperparameter and arm. Largest total share: {found}."


def _caption(info: ImportancesInfo, result: Result) -> str:
    shares = info.shares
    parts = [
        f"Share of the variance of expected {_metric(result)} that each hyperparameter explains over its range. "
        "Filled mark and pale bar: total share, with all interactions. Hollow mark and darker bar: first-order share, "
        "alone. Lines: 95 % intervals."
    ]
    if (shares["measure"] == "fanova").any():
        parts.append(
            "Upright tick: fANOVA, the first-order share by a random forest, a second opinion without interval."
        )
    parts.append(f"Method: {result.method(METHOD)['text']}.")
    parts.append(f"n: {_counts(shares)}.")
    if info.explained:
        parts.append(f"R² of the surrogate in cross-validation: {_of_arms(info.explained)}.")
    if info.unexplained:
        names = listed([one_line(arm, 40) for arm in info.unexplained])
        parts.append(f"{names}: no surrogate predicts better than the mean, so the shares say little.")
    if info.within:
        parts.append(f"Where it trains, every seed did: {_of_arms(info.within)}.")
    parts += _withheld(shares)
    if info.without:
        parts.append(f"No shares: {by_reason((one_line(arm, 40), why) for arm, why in info.without.items())}.")
    return " ".join(parts)


def _withheld(shares: pd.DataFrame) -> list[str]:
    """Which of the drawn shares have no interval, and why: one sentence per view, measure and reason."""
    found = shares[(shares["why_no_interval"] != "") & shares["measure"].isin(("total", "first_order"))]
    groups: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in found.to_dict("records"):
        group = row["view"], row["measure"].replace("_", "-"), briefly(row["why_no_interval"])
        groups.setdefault(group, {})[one_line(row["arm"], 40)] = None
    return [
        f"No interval {VIEW_NAMES[view]} for {measure} shares of {listed(list(arms))}: {why}."
        for (view, measure, why), arms in groups.items()
    ]


def _of_arms(texts: dict[str, str]) -> str:
    return "; ".join(f"{one_line(arm, 40)} {text}" for arm, text in texts.items())


def _counts(shares: pd.DataFrame) -> str:
    whole = shares[(shares["view"] == "whole") & (shares["measure"] == "total")]
    counts = whole.groupby("arm", sort=False)[["n", "seeds"]].first()
    if len(counts.drop_duplicates()) == 1:
        n, seeds = counts.iloc[0]
        return f"{n} configurations of {seeds} seeds" + (" in each arm" if len(counts) > 1 else "")
    return "; ".join(f"{one_line(arm, 40)} {r.n} configurations of {r.seeds} seeds" for arm, r in counts.iterrows())


def _metric(result: Result) -> str:
    return metric_name(result.objective.name) if result.objective else "the metric"
