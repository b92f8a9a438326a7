"""The parts of analysis.json that are about all arms: configurations, comparisons, training, tuning, fronts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from hpsearch.analysis import Analysis
from hpsearch.analysis.along import AlongTraining, Moment
from hpsearch.analysis.attainment import PERCENTS, Attainment
from hpsearch.analysis.best import Best, Confirmation
from hpsearch.analysis.columns import COSTS, STATUSES
from hpsearch.analysis.document_arms import params_of
from hpsearch.analysis.document_values import Methods, coarse
from hpsearch.analysis.equal_budget import AtBudget
from hpsearch.analysis.front_probability import FrontProbability
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.tuning import TuningCurve

LIKELY = 0.005  # configurations less likely to be on a front, and not on the observed one, are only counted
SELECTED = "mean over the selection seeds, 95 % interval; of a selected configuration it is optimistic"
CONFIRMED = "mean over the fresh seeds, Student's t"


def overview_entry(analysis: Analysis) -> dict[str, Any]:
    run = analysis.overview
    counts = [
        {
            "arm": row["arm"],
            "configurations": row["configurations"],
            "trials": row["trials"],
            "confirmation_trials": row["confirm"],
            "by_status": {status: row[status] for status in STATUSES},
        }
        for row in run.counts.to_dict("records")
    ]
    totals = {
        cost: {"amount": total.amount, "trials_known": total.n_known, "trials_unknown": total.n_unknown}
        for cost, total in run.totals.items()
    }
    return {
        "trials": run.n_trials,
        "seeds": run.seeds,
        "confirmation_seeds": run.confirm_seeds,
        "arms": counts,
        "total_cost": totals,
    }


def configuration_entries(analysis: Analysis) -> list[dict[str, Any]]:
    """One a configuration, in the table's order; intervals know the cliff where a surrogate does."""
    table = analysis.configurations if analysis.answers is None else analysis.answers.configurations
    return [
        {
            "arm": row["arm"],
            "configuration_id": str(row["configuration_id"]),
            "params": params_of(row),
            "mean": row["mean"],
            "low": row["low"],
            "high": row["high"],
            "interval": row["interval"],
            "sd": row["sd"],
            "n": row["n"],
            "mean_trained": row["mean_trained"],
            "n_trained": row["n_trained"],
            "n_not_trained": row["n_not_trained"],
            "n_failed": row["n_failed"],
            "n_missing": row["n_missing"],
            "mean_cost": {cost: row[f"cost.{cost}"] for cost in COSTS},
        }
        for row in table.to_dict("records")
    ]


def best_entries(analysis: Analysis, methods: Methods) -> list[dict[str, Any]]:
    goal = analysis.objective
    return [] if goal is None else [_best(one, goal, analysis.test, methods) for one in analysis.best]


def _best(best: Best, goal: Objective, test: Objective | None, methods: Methods) -> dict[str, Any]:
    return {
        "arm": best.arm,
        "rank": best.rank,
        "configuration_id": best.configuration_id,
        "params": best.params,
        "configurations_tried": best.n_configurations,
        "not_trained": best.n_not_trained,
        "selection": methods.estimate(methods.key("selection", SELECTED, "seeds"), best.selection, _unit(goal)),
        "confirmation": None if best.confirmation is None else _confirmation(best.confirmation, goal, test, methods),
        "mean_cost": {cost: best.compute.get(cost) for cost in COSTS},
    }


def _confirmation(found: Confirmation, goal: Objective, test: Objective | None, methods: Methods) -> dict[str, Any]:
    method = methods.key("confirmation", CONFIRMED, "fresh seeds")
    known = found.test is not None and test is not None
    return {
        "objective": methods.estimate(method, found.objective, _unit(goal)),
        "test": methods.estimate(method, found.test, _unit(test)) if known and found.test and test else None,
        "not_trained": found.n_not_trained,
        "failed": found.n_failed,
    }


def comparison_entries(analysis: Analysis, methods: Methods) -> dict[str, Any]:
    judged, answers = analysis.test or analysis.objective, analysis.answers
    unit = "" if judged is None else _unit(judged)
    differences = [
        {
            "arm": one.arm,
            "control": one.control,
            "difference": methods.estimate(
                methods.key("paired_difference", one.method, "fresh seeds", one.assumes), one.estimate, unit
            ),
            "comparisons": one.comparisons,
        }
        for one in analysis.differences
    ]
    improvements = [
        {
            "arm": one.arm,
            "control": one.control,
            "probability": methods.number(
                methods.key("improvement", one.method, "fresh seeds", one.assumes),
                one.probability, one.low, one.high, one.n, "probability", "no fresh seed in both",
            ),
            "wins": one.wins,
            "ties": one.ties,
            "comparisons": one.comparisons,
        }
        for one in (answers.improvements if answers else ())
    ]  # fmt: skip
    budgets = [_budget(one, unit, methods) for one in (answers.budgets if answers else ())]
    return {"differences": differences, "improvements": improvements, "equal_budgets": budgets}


def _budget(one: AtBudget, unit: str, methods: Methods) -> dict[str, Any]:
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


def training_entries(analysis: Analysis, methods: Methods) -> list[dict[str, Any]]:
    found: tuple[AlongTraining, ...] = analysis.answers.along if analysis.answers else ()
    return [
        {
            "arm": one.arm,
            "metric": one.metric,
            "trials_without_curve": one.without,
            "why_none": one.reason or None,
            "sentence": one.sentence(),
            "moments": [_moment(moment, methods) for moment in one.moments],
        }
        for one in found
    ]


def _moment(moment: Moment, methods: Methods) -> dict[str, Any]:
    return {
        "fraction": moment.fraction,
        "epochs": {"fewest": moment.epochs[0], "most": moment.epochs[1]},
        "n": moment.n,
        "observed_sd": moment.observed,
        "spread": methods.answer("spread", moment.spread),
        "share_not_trained": moment.not_trained,
        "stopped_early": moment.stopped,
        "why_none": moment.reason or None,
        "hyperparameters": [
            {
                "parameter": one.parameter,
                "first_order": methods.answer("importance", one.first),
                "total": methods.answer("importance", one.total),
            }
            for one in moment.importances
        ],
        "curves": [
            {
                "parameter": curve.parameter,
                "values": curve.values,
                "mean": coarse(curve.mean),
                "low": None if curve.why else coarse(curve.low),
                "high": None if curve.why else coarse(curve.high),
                "why_no_interval": curve.why or None,
            }
            for curve in moment.curves
        ],
    }


def tuning_entries(analysis: Analysis, methods: Methods) -> list[dict[str, Any]]:
    goal = analysis.objective
    if analysis.answers is None or goal is None:
        return []
    return [_tuning(one, _unit(goal), methods) for one in analysis.answers.tuning]


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
        "fronts": [_front(one, _unit(goal), methods) for one in answers.fronts],
        "attainment": [_attainment(one, _unit(goal), methods) for one in answers.attainments],
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
        "hypervolume": methods.estimate(method, one.hypervolume, share, "fewer than three seeds"),
        "difference_to_control": None
        if one.difference is None
        else methods.estimate(method, one.difference, share, "fewer than three seeds in both"),
        "reference": {"compute": one.reference[0], "value": one.reference[1]},
        "seeds": one.n_seeds,
        "configurations": one.n_configurations,
        "comparisons": one.comparisons,
    }


def _staircase(percent: int, part: pd.DataFrame) -> dict[str, Any]:
    return {
        "percent_of_seeds": percent,
        "compute": coarse(part["compute"].to_numpy(float)),
        "value": coarse(part["value"].to_numpy(float)),
    }


def _unit(objective: Objective) -> str:
    return "share" if objective.share else objective.name
