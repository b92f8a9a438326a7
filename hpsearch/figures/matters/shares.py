"""Shares of variance as the document has them: read, and in words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from hpsearch.analysis.writing import briefly, number, percent
from hpsearch.errors import one_line
from hpsearch.figures.picture import NothingToDraw
from hpsearch.figures.result import Result
from hpsearch.figures.style import safe

METHOD = "importance"  # key of the document's methods
VIEWS = {"whole": "importances", "trains": "importances_where_it_trains"}  # of an arm's answers
VIEW_NAMES = {"whole": "over the whole ranges", "trains": "where it trains"}


def arm_shares(result: Result, arm: str, view: str = "whole") -> dict[str, Any]:
    """The importances of an arm. Raises NothingToDraw where there are none, with the document's reason."""
    answers = result.answers(arm)
    if answers is None:
        raise NothingToDraw("what needs a model of the response was not asked for")
    found = answers[VIEWS[view]]
    if found is None:
        raise NothingToDraw("no part of the ranges is known to be where every seed trains")
    why = answers["why_no_surrogate"] or found["why_none"]
    if why or not found["hyperparameters"]:
        raise NothingToDraw(why or "no hyperparameter was searched")
    return dict(found)


def has_view(result: Result, arm: str, view: str) -> bool:
    try:
        arm_shares(result, arm, view)
    except NothingToDraw:
        return False
    return True


def answer_columns(answer: dict[str, Any]) -> dict[str, Any]:
    """value, low, high (NaN where there is none), n, method, why_no_interval (empty where there is one)."""
    numbers = {key: math.nan if answer[key] is None else float(answer[key]) for key in ("value", "low", "high")}
    return {**numbers, "n": answer["n"], "method": answer["method"], "why_no_interval": answer["why_no_interval"] or ""}


def share_text(row: dict[Any, Any]) -> str:
    """78 %, 95 % interval 61 to 92 %; or 78 % alone where there is no interval: no_intervals says why."""
    value = percent(row["value"])
    if math.isnan(row["low"]):
        return value
    return f"{value}, 95 % interval {percent(row['low'])} to {percent(row['high'])}"


def no_intervals(rows: Iterable[dict[Any, Any]]) -> list[str]:
    """Why some of these shares have no interval: a line for each reason."""
    whys = dict.fromkeys(briefly(row["why_no_interval"]) for row in rows if row["why_no_interval"])
    return [f"no interval: {safe(why)}" for why in whys]


def within_text(found: dict[str, Any]) -> str:
    """The part of the ranges where every seed trained: rho 0.02 to 1.26."""
    parts = found.get("within", {}).items()
    return ", ".join(f"{one_line(name, 40)} {number(p['low'])} to {number(p['high'])}" for name, p in parts)


def explained(result: Result, arm: str) -> str:
    """How well the surrogate predicts configurations it has not seen: 0.96 ± 0.02; empty where that is not known."""
    answers = result.answers(arm)
    scores = answers["surrogate"]["candidates"] if answers else []
    found = next((one for one in scores if one["name"] == "process"), None)
    if found is None:
        return ""
    error = found["r2_standard_error"]
    return f"{found['r2']:.2f}" + ("" if error is None else f" ± {error:.2f}")
