"""One arm's part of analysis.json: what was searched, the surrogate, and every answer that rests on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpsearch.analysis.answers import ArmAnswers
from hpsearch.analysis.arms import ArmFacts
from hpsearch.analysis.axis import order_parameters
from hpsearch.analysis.calibration import INPUTS, Setting, read_table
from hpsearch.analysis.columns import plain
from hpsearch.analysis.crosscheck import CrossCheck, Evaluation
from hpsearch.analysis.document_surrogate import (
    curve_entries,
    importance_entry,
    map_entry,
    seed_entry,
    surrogate_entry,
)
from hpsearch.analysis.document_values import Methods, coarse
from hpsearch.analysis.failures import Failures
from hpsearch.analysis.model import Model
from hpsearch.analysis.robustness import Robust
from hpsearch.analysis.safe import SafeRange
from hpsearch.analysis.surface import Surface

LEVELS = "share of 256 draws of the surrogate in which the level is within epsilon of the best; the others at reference"

CALIBRATION = (
    "statistic", "surface", "sampler", "seeds", "configurations", "studies", "intervals", "coverage", "width",
)  # fmt: skip


def arm_facts(
    facts: ArmFacts, failed: Failures | None, found: ArmAnswers | None, surfaces: Sequence[Surface], methods: Methods
) -> dict[str, Any]:
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
        "cell_maps": [_cell_map(one) for one in surfaces],
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
        "seed_effect": seed_entry(model.effect, model.unit, methods),
        "surrogate": surrogate_entry(found, methods),
        "importances": importance_entry(found.importances, methods),
        "importances_where_it_trains": None
        if found.trained is None
        else {
            "within": {name: {"low": low, "high": high} for name, (low, high) in found.box.items()},
            **importance_entry(found.trained, methods),
        },
        "marginal_curves": curve_entries(model, methods),
        "pair_maps": [map_entry(x, y, plane, model, methods) for (x, y), plane in found.maps.items()],
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
            row = setting.row(statistic, sampler, n)
            if row is not None:
                found.append({"arm": arm, **{name: row[name] for name in CALIBRATION}})
    return found


def _cell_map(found: Surface) -> dict[str, Any]:
    """Means in cells, column by column: a value per cell that has a configuration."""
    columns = found.cells.drop(columns=["configurations", "share_not_trained"])
    return {
        "x": found.x.axis.name,
        "y": found.y.axis.name,
        "x_values": found.x.values or None,
        "x_edges": found.x.edges or None,
        "y_values": found.y.values or None,
        "y_edges": found.y.edges or None,
        "cells": {
            name: coarse(columns[name].to_numpy(float)) if columns[name].dtype.kind == "f" else columns[name].tolist()
            for name in map(str, columns.columns)
        },
    }


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
