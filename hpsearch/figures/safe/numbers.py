"""The numbers of a sensitivity figure: trials, curves and safe ranges over one hyperparameter, arm by arm.

Positions are where something stands on the common axis: values, or indices of choices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.cells import make_cells
from hpsearch.analysis.columns import NOT_TRAINED, TRAINED, numeric
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.surface import cell_means
from hpsearch.figures.picture import NothingToDraw
from hpsearch.figures.result import Result
from hpsearch.figures.safe.rows import SafeRow, safe_row, why_no_surrogate

MOST_TRIALS = 2000  # drawn in one figure

SURROGATE, RAW = "expected metric", "mean in the cell"


@dataclass(frozen=True)
class SensitivityInfo:
    """One hyperparameter. Metrics in their own unit.

    trials: selection trials that ended with the metric: arm, configuration_id, value (of the hyperparameter), position,
    metric, trained. n_trials: how many there are, of which the table has at most MOST_TRIALS, evenly taken.
    n_not_trained: how many of these did not train; n_without: those besides that have no metric.
    curves: arm, source (SURROGATE, or RAW where the arm has no surrogate), value, position, mean, low, high, n
    (configurations: of the surrogate all, of RAW those in the cell), method, why_no_interval.
    rows: the strip, one an arm.
    """

    parameter: str
    objective: Objective
    axis: Axis
    arms: tuple[str, ...]
    trials: pd.DataFrame
    n_trials: int
    n_not_trained: int
    n_without: int
    curves: pd.DataFrame
    rows: tuple[SafeRow, ...]


def sensitivity_info(result: Result, parameter: str) -> SensitivityInfo:
    """Raises NothingToDraw where no arm searched it, or no trial of these arms ended with the metric."""
    arms = result.arms_that_searched(parameter)
    if not arms:
        known = ", ".join(result.parameters) or "none"
        raise NothingToDraw(f"no arm searched {parameter}; searched were: {known}")
    if result.objective is None:
        raise NothingToDraw(result.reason or "no trial has a metric")
    axis = result.axis(parameter)
    trials, n_without = _trials(result, result.objective, parameter, arms, axis)
    if trials.empty:
        raise NothingToDraw(result.reason or f"no trial that searched {parameter} ended with {result.objective.name}")
    return SensitivityInfo(
        parameter,
        result.objective,
        axis,
        tuple(arms),
        _thinned(trials),
        len(trials),
        int((~trials["trained"]).sum()),
        n_without,
        pd.concat([_curve(result, arm, parameter, axis) for arm in arms], ignore_index=True),
        tuple(safe_row(result, arm, parameter, axis) for arm in arms),
    )


def _trials(
    result: Result, objective: Objective, parameter: str, arms: list[str], axis: Axis
) -> tuple[pd.DataFrame, int]:
    table, column = result.trials, f"params.{parameter}"
    ended = table["arm"].isin(arms) & ~table["sampling.confirm"] & table["status"].isin((TRAINED, *NOT_TRAINED))
    rows = table[ended]
    if column not in rows.columns:
        return pd.DataFrame(), 0
    found = pd.DataFrame(
        {
            "arm": rows["arm"],
            "configuration_id": rows["configuration_id"],
            "value": rows[column],
            "position": axis.positions(rows[column]),
            "metric": numeric(rows, objective.column),
            "trained": rows["status"] == TRAINED,
        }
    )
    found = found[found["position"].notna()]
    lost = int((found["metric"].isna() & ~found["trained"]).sum())
    return found[found["metric"].notna()].reset_index(drop=True), lost


def _thinned(trials: pd.DataFrame) -> pd.DataFrame:
    """Every k-th trial along the axis, so that arms and ends keep their weight."""
    if len(trials) <= MOST_TRIALS:
        return trials
    order = trials.sort_values(["arm", "trained", "position"], kind="stable")
    return order.iloc[np.linspace(0, len(order) - 1, MOST_TRIALS).round().astype(int)].sort_index()


def _curve(result: Result, arm: str, parameter: str, axis: Axis) -> pd.DataFrame:
    entries = (result.answers(arm) or {}).get("marginal_curves", ())
    entry = next((e for e in entries if e["parameter"] == parameter), None)
    if entry is None:
        return _raw_means(result, arm, parameter, axis)
    made = pd.DataFrame({"arm": arm, "source": SURROGATE, "value": pd.Series(entry["values"], dtype=object)})
    made["position"] = axis.positions(entry["values"])
    for name in ("mean", "low", "high"):
        made[name] = np.nan if entry[name] is None else np.array(entry[name], dtype=float)
    told = {"n": entry["n"], "method": entry["method"], "why_no_interval": entry["why_no_interval"] or ""}
    return made.assign(**told).dropna(subset=["position", "mean"])


def _raw_means(result: Result, arm: str, parameter: str, axis: Axis) -> pd.DataFrame:
    rows = result.configurations
    rows = rows[(rows["arm"] == arm) & (rows["n"] > 0)]
    cells = make_cells(result.axis(parameter, arm), rows[f"params.{parameter}"])
    placed = rows.assign(cell=cells.assign(rows[f"params.{parameter}"]))
    means = cell_means(placed[placed["cell"] >= 0], ["cell"])
    values = [cells.centers[i] for i in means["cell"]]
    return pd.DataFrame(
        {
            "arm": arm,
            "source": RAW,
            "value": pd.Series(values, dtype=object),
            "position": axis.positions(values),
            "mean": means["mean"],
            "low": np.nan,
            "high": np.nan,
            "n": means["n_configurations"],
            "method": "",
            "why_no_interval": why_no_surrogate(result, arm) or f"{parameter} hardly varied",
        }
    ).dropna(subset=["position", "mean"])
