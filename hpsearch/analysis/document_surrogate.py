"""An arm's surrogate in analysis.json: its scores, marginal curves, pair maps and variance shares."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpsearch.analysis.answer import TAILS
from hpsearch.analysis.answers import ArmAnswers
from hpsearch.analysis.candidates import Scores
from hpsearch.analysis.decomposition import Plane
from hpsearch.analysis.document_values import Methods, coarse
from hpsearch.analysis.importance import Importances
from hpsearch.analysis.inputs import Input
from hpsearch.analysis.model import Model
from hpsearch.analysis.seeds import SeedEffect

CURVE = "expected metric along one hyperparameter, the others averaged over their ranges; pointwise 95 % band"
MAP = "expected metric over two hyperparameters, the others averaged over their ranges; width of the 95 % interval"


def seed_entry(found: SeedEffect, unit: str, methods: Methods) -> dict[str, Any]:
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


def surrogate_entry(found: ArmAnswers, methods: Methods) -> dict[str, Any]:
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


def importance_entry(found: Importances, methods: Methods) -> dict[str, Any]:
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


def curve_entries(model: Model, methods: Methods) -> list[dict[str, Any]]:
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


def map_entry(x: str, y: str, plane: Plane, model: Model, methods: Methods) -> dict[str, Any]:
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


def _values(one: Input, at: Any) -> list[Any]:
    """Coordinates as values: levels as they are, numbers rounded."""
    return list(one.levels) if one.levels else list(coarse(np.array([one.value(float(c)) for c in at])))
