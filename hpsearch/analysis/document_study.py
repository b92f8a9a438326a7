"""The parts of analysis.json that are about all arms: configurations, comparisons, training, tuning, fronts."""

from __future__ import annotations

from typing import Any

from hpsearch.analysis import Analysis
from hpsearch.analysis.along import AlongTraining, Moment
from hpsearch.analysis.best import Best, Confirmation
from hpsearch.analysis.columns import COSTS, STATUSES
from hpsearch.analysis.document_arms import params_of
from hpsearch.analysis.document_compute import budget_entry
from hpsearch.analysis.document_values import Methods, coarse
from hpsearch.analysis.objective import Objective

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
        "selection": methods.estimate(methods.key("selection", SELECTED, "seeds"), best.selection, goal.unit),
        "confirmation": None if best.confirmation is None else _confirmation(best.confirmation, goal, test, methods),
        "mean_cost": {cost: best.compute.get(cost) for cost in COSTS},
    }


def _confirmation(found: Confirmation, goal: Objective, test: Objective | None, methods: Methods) -> dict[str, Any]:
    method = methods.key("confirmation", CONFIRMED, "fresh seeds")
    known = found.test is not None and test is not None
    return {
        "objective": methods.estimate(method, found.objective, goal.unit),
        "test": methods.estimate(method, found.test, test.unit) if known and found.test and test else None,
        "not_trained": found.n_not_trained,
        "failed": found.n_failed,
    }


def comparison_entries(analysis: Analysis, methods: Methods) -> dict[str, Any]:
    judged, answers = analysis.test or analysis.objective, analysis.answers
    unit = "" if judged is None else judged.unit
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
    budgets = [budget_entry(one, unit, methods) for one in (answers.budgets if answers else ())]
    return {"differences": differences, "improvements": improvements, "equal_budgets": budgets}


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
