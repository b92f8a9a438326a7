"""One arm's part of analysis.json: what was searched, the surrogate, and every answer that rests on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpsearch.analysis.answer import TAILS
from hpsearch.analysis.answers import ArmAnswers
from hpsearch.analysis.arms import ArmFacts
from hpsearch.analysis.axis import order_parameters
from hpsearch.analysis.calibration import INPUTS, Setting, read_table
from hpsearch.analysis.candidates import Scores
from hpsearch.analysis.columns import plain
from hpsearch.analysis.crosscheck import CrossCheck, Evaluation
from hpsearch.analysis.decomposition import Plane
from hpsearch.analysis.document_values import Methods, coarse
from hpsearch.analysis.failures import Failures
from hpsearch.analysis.importance import Importances
from hpsearch.analysis.inputs import Input
from hpsearch.analysis.model import Model
from hpsearch.analysis.robustness import Robust
from hpsearch.analysis.safe import SafeRange
from hpsearch.analysis.seeds import SeedEffect

CURVE = "expected metric along one hyperparameter, the others averaged over their ranges; pointwise 95 % band"
MAP = "expected metric over two hyperparameters, the others averaged over their ranges; width of the 95 % interval"
LEVELS = "share of 256 draws of the surrogate in which the level is within epsilon of the best; the others at reference"

CALIBRATION = (
    "statistic", "surface", "sampler", "seeds", "configurations", "studies", "intervals", "coverage", "width",
)  # fmt: skip


def arm_facts(facts: ArmFacts, failed: Failures | None, found: ArmAnswers | None, methods: Methods) -> dict[str, Any]:
    axes = [cells.axis for cells in facts.cells.values()]
    return {
        "arm": facts.name,
        "searched": [
            {
                "parameter": axis.name,
                "scale": axis.kind,
                "low": axis.low,
                "high": axis.high,
                "choices": axis.choices,
                "grid": axis.grid,
                "whole_numbers": axis.integer,
            }
            for axis in axes
        ],
        "fixed": facts.fixed,
        "failures": None if failed is None else _failures(failed),
        "answers": None if found is None else arm_answers(found, methods),
    }


def arm_answers(found: ArmAnswers, methods: Methods) -> dict[str, Any]:
    model = found.model
    safe = [_safe(one, model, methods) for one in found.safe]
    return {
        "configurations_used": len(model.rows),
        "chosen_by_results": model.adaptive,
        "stopped_early": model.stopped,
        "epsilon": found.epsilon,
        "unit": model.unit,
        "why_no_surrogate": model.reason or None,
        "seed_effect": _seed_effect(model.effect, model.unit, methods),
        "surrogate": _surrogate(found, methods),
        "importances": _importances(found.importances, methods),
        "importances_where_it_trains": None
        if found.trained is None
        else {
            "within": {name: {"low": low, "high": high} for name, (low, high) in found.box.items()},
            **_importances(found.trained, methods),
        },
        "marginal_curves": _curves(model, methods),
        "pair_maps": [_map(x, y, plane, model, methods) for (x, y), plane in found.maps.items()],
        "reference": found.safe[0].reference if found.safe else None,
        "safe_ranges": safe,
        "robust_optimum": None if found.robust is None else _robust(found.robust, methods),
        "expected_losses": [
            {
                "parameter": loss.parameter,
                "best": loss.best,
                "loss": methods.answer("expected_loss", loss.expected),
            }
            for loss in found.losses
        ],
        "tunability": [
            {"parameter": one.parameter, "best": one.best, "gain": methods.answer("tunability", one.gain)}
            for one in found.tunability
        ],
        "cross_check": None if found.check is None else _cross_check(found.check, methods),
        "warnings": found.warnings,
    }


def calibration_rows(arm: str, setting: Setting) -> list[dict[str, Any]]:
    """The rows of calibration.csv by which this arm's intervals are given or withheld."""
    n = setting.configurations * min(1.0, INPUTS / max(1, setting.inputs))
    found = []
    for statistic in sorted(set(read_table()["statistic"])):
        for sampler in setting.samplers:
            row = setting._row(statistic, sampler, n)
            if row is not None:
                found.append({"arm": arm, **{name: row[name] for name in CALIBRATION}})
    return found


def _failures(found: Failures) -> dict[str, Any]:
    return {
        "trials_ended": found.n_ended,
        "trials_not_trained": found.n_not_trained,
        "configurations_ended": found.n_configurations,
        "configurations_failing": found.n_failing,
        "regions": [
            {
                "parameter": region.parameter,
                "side": "above" if region.above else "below",
                "bound": region.bound,
                "nearest_clean": region.clean,
                "configurations_inside": region.n_inside,
                "configurations_failing": region.n_failing,
            }
            for region in found.regions
        ],
    }


def _seed_effect(found: SeedEffect, unit: str, methods: Methods) -> dict[str, Any]:
    method = methods.key("seed_effect", found.method, "seeds")
    why = "needs two configurations that share two seeds, and some spread over seeds"
    return {
        "sd_over_seeds": found.sd,
        "unit": unit,
        "seeds": found.n_seeds,
        "configurations": found.n_configurations,
        "shared_by_configurations": methods.number(
            method, found.share, found.low, found.high, found.n_seeds, "share of the variance over seeds", why
        ),
    }


def _surrogate(found: ArmAnswers, methods: Methods) -> dict[str, Any]:
    scores, surrogate = found.scores, found.model.surrogate
    none: dict[str, Any] = {
        "candidates": [],
        "chosen": None,
        "explains": None,
        "r2_ceiling": None,
        "trains": None,
        "sentence": None,
    }
    none |= {"configurations": None, "configurations_scored": None, "folds": None}
    return {
        "fitted_to": 0 if surrogate is None else surrogate.n,
        "predicts": None
        if surrogate is None
        else ("metric" if surrogate.counts is None else "metric and whether it trains"),
        "method": methods.key(
            "cross_validation",
            "cross-validation grouped by configuration; R2 with its standard error over configurations",
        ),
        "why_no_scores": scores if isinstance(scores, str) else None,
        **(none if isinstance(scores, str) else _scores(scores)),
    }


def _scores(scores: Scores) -> dict[str, Any]:
    return {
        "candidates": [
            {"name": one.name, "rmse": one.rmse, "r2": one.r2, "r2_standard_error": one.error, "n": one.n}
            for one in scores.candidates
        ],
        "chosen": scores.chosen,
        "explains": scores.explains,
        "r2_ceiling": scores.ceiling,
        "trains": None
        if scores.trains is None
        else {
            "brier_score": scores.trains.brier,
            "brier_score_of_constant": scores.trains.constant,
            "trials": scores.trains.n,
        },
        "configurations": scores.n,
        "configurations_scored": scores.n_scored,
        "folds": scores.folds,
        "sentence": scores.describe(),
    }


def _importances(found: Importances, methods: Methods) -> dict[str, Any]:
    return {
        "configurations": found.n,
        "seeds": found.seeds,
        "samplers": found.samplers,
        "why_none": found.reason or None,
        "monte_carlo_error": found.error,
        "spread": methods.answer("spread", found.spread),
        "hyperparameters": [
            {
                "parameter": one.parameter,
                "first_order": methods.answer("importance", one.first),
                "total": methods.answer("importance", one.total),
                "shapley": methods.answer("importance", one.shapley),
            }
            for one in found.items
        ],
        "ranked_above": {name: others for name, others in found.above},
        "interactions": [
            {"x": pair.x, "y": pair.y, "share": methods.answer("importance", pair.share)} for pair in found.interactions
        ],
        "shift_with_adaptive": found.shift,
    }


def _curves(model: Model, methods: Methods) -> list[dict[str, Any]]:
    if model.decomposition is None:
        return []
    why = model.setting.why_not("marginal_curve")
    made = []
    for one, along in zip(model.inputs.inputs, model.decomposition.along, strict=True):
        low, high = np.quantile(along.curves, TAILS, axis=0)
        made.append(
            {
                "parameter": one.name,
                "values": _values(one, along.at),
                "mean": coarse(along.curves.mean(0)),
                "low": None if why else coarse(low),
                "high": None if why else coarse(high),
                "n": len(model.rows),
                "unit": model.unit,
                "method": methods.key("marginal_curve", CURVE),
                "why_no_interval": why or None,
            }
        )
    return made


def _map(x: str, y: str, plane: Plane, model: Model, methods: Methods) -> dict[str, Any]:
    why = model.setting.why_not("pair_map")
    low, high = np.quantile(plane.maps, TAILS, axis=0)
    inputs = dict(zip(model.inputs.names, model.inputs.inputs, strict=True))
    return {
        "x": x,
        "y": y,
        "x_values": _values(inputs[x], plane.x),
        "y_values": _values(inputs[y], plane.y),
        "mean": coarse(plane.maps.mean(0)),
        "interval_width": None if why else coarse(high - low),
        "n": len(model.rows),
        "unit": model.unit,
        "method": methods.key("pair_map", MAP),
        "why_no_interval": why or None,
    }


def _values(one: Input, at: Any) -> list[Any]:
    """Coordinates as values: levels as they are, numbers rounded."""
    return list(one.levels) if one.levels else list(coarse(np.array([one.value(float(c)) for c in at])))


def _safe(found: SafeRange, model: Model, methods: Methods) -> dict[str, Any]:
    why = model.setting.why_not("safe_ratio") or None if found.levels else None
    return {
        "parameter": found.parameter,
        "best": found.best,
        "low": methods.answer("safe_range", found.low),
        "high": methods.answer("safe_range", found.high),
        "ratio": methods.answer("safe_range", found.ratio),
        "levels": {
            "method": methods.key("safe_levels", LEVELS),
            "n": len(model.rows),
            "why_not_checked": why,
            "probabilities": [{"level": level, "within_epsilon": share} for level, share in found.levels],
        }
        if found.levels
        else None,
        "trains_from": methods.answer("safe_range", found.trains_from),
        "trains_to": methods.answer("safe_range", found.trains_to),
    }


def _robust(found: Robust, methods: Methods) -> dict[str, Any]:
    return {
        "configuration_id": found.configuration_id,
        "params": found.params,
        "factor": found.factor,
        "shift": found.shift,
        "worst_corner": methods.answer("robust_optimum", found.worst),
        "worst_corner_of_reference": methods.answer("robust_optimum", found.reference_worst),
    }


def _cross_check(found: CrossCheck, methods: Methods) -> dict[str, Any]:
    def evaluation(one: Evaluation) -> dict[str, Any]:
        return {
            "n": one.n,
            "method": methods.key(one.evaluator.lower().replace("-", "_"), one.meaning),
            "caution": one.caution,
            "hyperparameters": [
                {
                    "parameter": name,
                    "value": importance.value,
                    "relative": importance.relative,
                    "why_none": importance.reason,
                }
                for name, importance in one.importances.items()
            ],
        }

    return {
        "metric": found.metric,
        "configurations": found.n,
        "fanova": evaluation(found.fanova),
        "ped_anova": evaluation(found.ped_anova),
        "forest_r2_out_of_bag": found.forest_fit,
        "configurations_counted_as_best": found.n_best,
    }


def params_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The hyperparameters that a row of a table has a value of, in display order."""
    names = order_parameters(str(c).removeprefix("params.") for c in row if str(c).startswith("params."))
    values = {name: plain(row[f"params.{name}"]) for name in names}
    return {name: value for name, value in values.items() if value is not None}
