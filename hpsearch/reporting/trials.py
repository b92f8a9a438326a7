"""All trials as data for the page: the sortable table, and what a click on a row tells besides."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from hpsearch.analysis.axis import order_parameters
from hpsearch.analysis.columns import COSTS, NO_RESULT, Value, parameter_columns, plain
from hpsearch.study import Study
from hpsearch.yamlfile import dump_yaml

Kind = Literal["text", "number", "share", "samples", "flop", "seconds", "error"]
COST_KINDS: dict[str, tuple[str, Kind]] = {
    "backward_samples": ("samples", "samples"),
    "flops": ("FLOP", "flop"),
    "seconds": ("time", "seconds"),
}
# Shown of one trial, not in the table.
DETAILS = ("trial_id", "configuration_id", "epochs", "epochs_planned", "attempt", "host", "device", "threads")
CURVE_POINTS = 60  # of a trial's curve
DIGITS = 5  # significant, of a curve


@dataclass(frozen=True)
class TrialTable:
    """columns: label, kind and the table's column of each; values: by column, null as None. JSON-ready."""

    columns: tuple[tuple[str, Kind, str], ...]
    values: tuple[tuple[Value | None, ...], ...]


def trial_data(trials: pd.DataFrame, study: Study | None, first: Collection[str] = ()) -> dict[str, Any]:
    """What the page's table needs: columns by label and kind; details and curves of every trial; the head of a study
    file that repeats one.
    """
    table = trial_table(trials, first)
    return {
        "columns": [{"label": label, "kind": kind, "column": column} for label, kind, column in table.columns],
        "values": table.values,
        "details": _details(trials),
        "curves": _curves(trials),
        "repeat": None if study is None else repeat_head(study),
    }


def trial_table(trials: pd.DataFrame, first: Collection[str] = ()) -> TrialTable:
    """The columns that some trial has, in reading order: what it was, how it ended, what it cost. first: metrics, by
    their column, that come before the others.
    """
    ended = ~trials["status"].isin(NO_RESULT)
    chosen: list[tuple[str, Kind, str, pd.Series]] = [("arm", "text", "arm", trials["arm"])]
    names = order_parameters(c.removeprefix("params.") for c in parameter_columns(trials))
    for name in names:
        column = f"params.{name}"
        chosen.append((name, _kind(trials[column]), column, trials[column]))
    if "seed" in trials.columns:
        chosen.append(("seed", "number", "seed", trials["seed"]))
    chosen.append(("stage", "text", "", _stage(trials)))
    chosen.append(("status", "text", "status", trials["status"]))
    metrics = [str(c) for c in trials.columns if str(c).startswith("metrics.")]
    # What is judged comes first: a table wider than the screen is cut off at the right.
    metrics.sort(key=lambda c: c not in first)
    for column in metrics:
        values = trials[column].where(ended)
        kind: Kind = _kind(values)
        named = any(word in column for word in ("accuracy", "error"))
        if kind == "number" and named and pd.to_numeric(values).dropna().between(0, 1).all():
            kind = "share"
        chosen.append((column.removeprefix("metrics.").replace("_", " "), kind, column, values))
    for cost in COSTS:
        if f"cost.{cost}" in trials.columns:
            chosen.append((*COST_KINDS[cost], f"cost.{cost}", trials[f"cost.{cost}"]))
    if "error" in trials.columns:
        chosen.append(("error", "error", "error", trials["error"]))

    cleaned = [(label, kind, column, _json_ready(series)) for label, kind, column, series in chosen]
    used = [c for c in cleaned if any(v is not None for v in c[3])]
    return TrialTable(
        columns=tuple((label, kind, column) for label, kind, column, _ in used),
        values=tuple(tuple(values) for *_, values in used),
    )


def repeat_head(study: Study) -> str:
    """The lines of a study file that every trial shares; the arm, its values and the seed follow in the page."""
    whole: dict[str, Any] = study.model_dump(mode="json", by_alias=True, exclude_unset=True)
    task: dict[str, Any] = dict(whole["task"])
    task.pop("options", None)
    task.update(study.task.options)
    kept: dict[str, Any] = {key: whole[key] for key in ("optimizer", "resources") if key in whole}
    head: dict[str, Any] = {"name": f"{study.name}-again", "task": task, **kept, "objectives": whole["objectives"]}
    return dump_yaml(head)


def _details(trials: pd.DataFrame) -> dict[str, list[Value | None]]:
    """By name: a value per trial. What it held fixed comes as fixed.NAME."""
    held = [str(c) for c in trials.columns if str(c).startswith(("fixed.", "versions."))]
    wanted = [c for c in (*DETAILS, "started", *held) if c in trials.columns]
    made = {c: _json_ready(trials[c]) for c in wanted}
    return {name: values for name, values in made.items() if any(v is not None for v in values)}


def _curves(trials: pd.DataFrame) -> dict[str, list[list[float | None] | None]]:
    """By name, epoch among them: the values of every trial, at most 60 of each."""
    names = [str(c) for c in trials.columns if str(c).startswith("curve.") and c != "curve.backward_samples"]
    if "curve.epoch" not in names:
        return {}
    return {name.removeprefix("curve."): [_thinned(one) for one in trials[name]] for name in names}


def _thinned(curve: Any) -> list[float | None] | None:
    if not isinstance(curve, list | tuple | np.ndarray) or not len(curve):
        return None
    if len(curve) > CURVE_POINTS:
        curve = [curve[int(i)] for i in np.linspace(0, len(curve) - 1, CURVE_POINTS).round()]
    return [float(f"{v:.{DIGITS}g}") if isinstance(v, int | float) and math.isfinite(v) else None for v in curve]


def _json_ready(series: pd.Series) -> list[Value | None]:
    """JSON has no infinity: as text."""
    values = map(plain, series)
    return [str(v) if isinstance(v, float) and not math.isfinite(v) else v for v in values]


def _kind(series: pd.Series) -> Kind:
    values = [plain(v) for v in series]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values if v is not None)
    return "number" if numbers else "text"


def _stage(trials: pd.DataFrame) -> pd.Series:
    """ "confirm", or the phase and its sampler."""
    phase = trials.get("sampling.phase", pd.Series(None, index=trials.index, dtype=object))
    sampler = trials.get("sampling.sampler", pd.Series(None, index=trials.index, dtype=object))
    texts = []
    for confirm, p, s in zip(trials["sampling.confirm"], map(plain, phase), map(plain, sampler), strict=True):
        parts = ["confirm"] if confirm else [f"phase {p:g}" if isinstance(p, int | float) else "", str(s or "")]
        texts.append(" ".join(part for part in parts if part) or None)
    return pd.Series(texts, index=trials.index, dtype=object)
