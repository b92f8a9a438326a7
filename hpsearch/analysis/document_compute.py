"""What answers cost, in analysis.json: equal budgets, tuning curves, fronts, attainment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from hpsearch.analysis import Analysis
from hpsearch.analysis.attainment import PERCENTS, Attainment
from hpsearch.analysis.columns import COSTS
from hpsearch.analysis.document_arms import params_of
from hpsearch.analysis.document_values import Methods, coarse
from hpsearch.analysis.equal_budget import AtBudget
from hpsearch.analysis.estimate import Estimate
from hpsearch.analysis.front_probability import FrontProbability
from hpsearch.analysis.tuning import TuningCurve

LIKELY = 0.005  # configurations less likely to be on a front, and not on the observed one, are only counted


def budget_entry(one: AtBudget, unit: str, methods: Methods) -> dict[str, Any]:
    method = methods.key("equal_budget", one.method, "configurations of the arm that has fewer", one.assumes)
    n = min(one.n_arm, one.n_control)
    return {
        "arm": one.arm,
        "control": one.control,
        "budget": one.budget,
        "configurations_bought": {"arm": one.k_arm, "control": one.k_control},
        "compute_spent": {"arm": one.compute_arm, "control": one.compute_control},
        "configurations_used": {"arm": one.n_arm, "control": one.n_control},
        "seeds": one.n_seeds,
        "value": {"arm": one.value_arm, "control": one.value_control},
        "difference": methods.number(
            method, one.difference, one.low, one.high, n, unit, "see the method: which part of the search is used"
        ),
        "comparisons": one.comparisons,
    }


def tuning_entries(analysis: Analysis, methods: Methods) -> list[dict[str, Any]]:
    goal = analysis.objective
    if analysis.answers is None or goal is None:
        return []
    return [_tuning(one, goal.unit, methods) for one in analysis.answers.tuning]


def _tuning(one: TuningCurve, unit: str, methods: Methods) -> dict[str, Any]:
    return {
        "arm": one.arm,
        "configurations": one.points["k"].tolist(),
        "best": coarse(one.points["best"].to_numpy(float)),
        "low": None if one.band == "none" else coarse(one.points["low"].to_numpy(float)),
        "high": None if one.band == "none" else coarse(one.points["high"].to_numpy(float)),
        "compute": {cost: coarse(one.points[f"compute.{cost}"].to_numpy(float)) for cost in COSTS},
        "band": one.band,
        "n": one.n,
        "left_out": one.n_left_out,
        "unit": unit,
        "comparisons": one.comparisons,
        "method": methods.key("tuning_curve", one.method, assumes=one.assumes),
    }


def front_entries(analysis: Analysis, methods: Methods) -> dict[str, Any]:
    goal, answers = analysis.objective, analysis.answers
    if answers is None or goal is None:
        return {"fronts": [], "attainment": []}
    return {
        "fronts": [_front(one, goal.unit, methods) for one in answers.fronts],
        "attainment": [_attainment(one, goal.unit, methods) for one in answers.attainments],
    }


def _front(one: FrontProbability, unit: str, methods: Methods) -> dict[str, Any]:
    points = one.points
    kept = points[points["on_front"].astype(bool) | (points["probability"] >= LIKELY)].sort_values(
        ["compute", "mean", "arm", "configuration_id"], kind="stable"
    )
    return {
        "compute": one.compute,
        "configurations": len(points),
        "may_be_on_front": one.n,
        "noise_degrees_of_freedom": one.df,
        "draws": one.draws,
        "monte_carlo_error": one.error,
        "method": methods.key("front", one.method, assumes=one.assumes),
        "points": [_point(row, unit) for row in kept.to_dict("records")],
    }


def _point(row: dict[Any, Any], unit: str) -> dict[str, Any]:
    return {
        "arm": row["arm"],
        "configuration_id": str(row["configuration_id"]),
        "params": params_of(row),
        "compute": row["compute"],
        "mean": row["mean"],
        "on_observed_front": bool(row["on_front"]),
        "probability": row["probability"],
        "shrunk_mean": row["shrunk"],
        "low": row["low"],
        "high": row["high"],
        "n": row["n"],
        "unit": unit,
    }


def _attainment(one: Attainment, unit: str, methods: Methods) -> dict[str, Any]:
    method = methods.key("attainment", one.method, "seeds", one.assumes)
    share = "share of the box"
    return {
        "arm": one.arm,
        "compute": one.compute,
        "unit": unit,
        "curves": [_staircase(percent, one.curves[one.curves["percent"] == percent]) for percent in PERCENTS],
        "hypervolume": methods.estimate(method, _within_one(one.hypervolume), share, "fewer than three seeds"),
        "difference_to_control": None
        if one.difference is None
        else methods.estimate(method, one.difference, share, "fewer than three seeds in both"),
        "reference": {"compute": one.reference[0], "value": one.reference[1]},
        "seeds": one.n_seeds,
        "configurations": one.n_configurations,
        "comparisons": one.comparisons,
    }


def _within_one(found: Estimate) -> Estimate:
    """A share's interval ends at 0 and 1."""
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0)) if found.has_interval else found


def _staircase(percent: int, part: pd.DataFrame) -> dict[str, Any]:
    return {
        "percent_of_seeds": percent,
        "compute": coarse(part["compute"].to_numpy(float)),
        "value": coarse(part["value"].to_numpy(float)),
    }
