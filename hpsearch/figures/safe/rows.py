"""The rows beneath a sensitivity figure: each arm's safe range of one hyperparameter, and where training failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.axis import Axis
from hpsearch.analysis.columns import Value
from hpsearch.figures.quoted import answer
from hpsearch.figures.result import Result


@dataclass(frozen=True)
class SafeRow:
    """One arm in the strip. Positions are NaN and answers None where not known; `why` says why there is no safe range.

    searched: the arm's own range. best, reference: positions. low, high: ends of the safe range; ratio: its width;
    trains_from, trains_to: where seeds stop to train at the reference. levels: instead of low and high, for choices:
    level, position, probability (of being within epsilon of the best); not_checked: why these may not hold.
    fails: (from, to) that holds every configuration that failed; n_failing of the n_inside in it did.
    epsilon: in the metric's unit. held: the reference configuration. method: key of the document's methods.
    """

    arm: str
    searched: tuple[float, float]
    fails: tuple[tuple[float, float], ...] = ()
    n_failing: int = 0
    n_inside: int = 0
    why: str = ""
    epsilon: float = math.nan
    held: Mapping[str, Value] | None = None
    best: float = math.nan
    reference: float = math.nan
    low: Answer | None = None
    high: Answer | None = None
    ratio: Answer | None = None
    trains_from: Answer | None = None
    trains_to: Answer | None = None
    levels: pd.DataFrame | None = None
    not_checked: str = ""
    method: str = ""
    n: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is neither a safe range nor a region of failures."""
        return bool(self.why) and not self.fails


def safe_row(result: Result, arm: str, parameter: str, axis: Axis) -> SafeRow:
    own = result.axis(parameter, arm)
    ends = [v for v in (own.low, own.high, *own.choices) if v is not None]
    places = axis.positions(ends)
    searched = (float(np.nanmin(places)), float(np.nanmax(places))) if np.isfinite(places).any() else (math.nan,) * 2
    failing, n_failing, n_inside = _fails(result, arm, parameter, axis, searched)
    answers = result.answers(arm) or {}
    entry = next((e for e in answers.get("safe_ranges", ()) if e["parameter"] == parameter), None)
    if entry is None:
        why = why_no_surrogate(result, arm)
        if not why:
            unknown = answers["epsilon"] is None
            why = "seeds were not repeated" if unknown else f"{parameter} has no part in the reference configuration"
        return SafeRow(arm, searched, failing, n_failing, n_inside, why)
    held = answers["reference"] or {}
    level = entry["levels"] or {"probabilities": (), "n": 0, "method": "", "why_not_checked": ""}
    levels = pd.DataFrame(level["probabilities"], columns=["level", "within_epsilon"])
    levels["position"] = axis.positions(levels["level"])
    return SafeRow(
        arm=arm,
        searched=searched,
        fails=failing,
        n_failing=n_failing,
        n_inside=n_inside,
        epsilon=answers["epsilon"],
        held=held,
        best=float(axis.positions([entry["best"]])[0]),
        reference=float(axis.positions([held.get(parameter)])[0]),
        levels=levels.rename(columns={"within_epsilon": "probability"}).dropna(subset=["position"]),
        not_checked=level["why_not_checked"] or "",
        method=level["method"] or entry["low"]["method"],
        n=level["n"] or entry["low"]["n"],
        low=_answer(entry["low"]),
        high=_answer(entry["high"]),
        ratio=_answer(entry["ratio"]),
        trains_from=_answer(entry["trains_from"]),
        trains_to=_answer(entry["trains_to"]),
    )


def why_no_surrogate(result: Result, arm: str) -> str:
    """Empty where there is one."""
    answers = result.answers(arm)
    return "no surrogate was asked for" if answers is None else str(answers["why_no_surrogate"] or "")


def _fails(
    result: Result, arm: str, parameter: str, axis: Axis, searched: tuple[float, float]
) -> tuple[tuple[tuple[float, float], ...], int, int]:
    found = (result.arm(arm)["failures"] or {"regions": []})["regions"]
    found = [region for region in found if region["parameter"] == parameter]
    half = 0.5 if axis.kind == "choice" else 0.0
    low, high, failing, inside = searched[0] - half, searched[1] + half, 0, 0
    for region in found:
        bound = float(axis.positions([region["bound"]])[0])
        if not math.isfinite(bound):
            continue
        # Each region holds all that failed, and so does what they have in common.
        low, high = (max(low, bound - half), high) if region["side"] == "above" else (low, min(high, bound + half))
        failing = region["configurations_failing"]
        inside = min(inside or region["configurations_inside"], region["configurations_inside"])
    return ((low, high),) if inside else (), failing, inside


def _answer(entry: dict[str, Any] | None) -> Answer | None:
    return None if entry is None else answer(entry)
