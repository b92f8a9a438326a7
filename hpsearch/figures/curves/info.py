"""Learning curves of an arm: per configuration the mean over its seeds at each recorded epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.columns import NOT_TRAINED
from hpsearch.figures.picture import NothingToDraw
from hpsearch.figures.result import Result

MOST_CONFIGURATIONS = 60
MOST_POINTS = 50  # of a curve
MOST_POINTS_IN_ALL = 1500  # of a picture
MOST_METRICS = 4
PLACES = ("epoch", "backward_samples")  # what a curve may be drawn over; every other curve.* is a metric
COLUMNS = ("arm", "configuration_id", "epoch", "backward_samples", "metric", "mean", "low", "high", "n")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CurvesInfo:
    """Of one arm. curves: a row per configuration, epoch and metric: mean, low, high (lowest and highest) over the n
    seeds that have a value there, in the metric's unit; backward_samples: their mean over those seeds (NaN: unknown).
    configurations: a row each, worst final value first: configuration_id, params.*, final (mean over seeds of the
    objective at the end, NaN where there is none), seeds, not_trained (how many of those did not train).
    ends: a row per trial that did not train: configuration_id, epoch (its last with a value), status.
    metrics: the objective first. configurations_found: how many have a curve, of which those drawn are a part that
    is even over the ranking. metrics_found: how many metrics were recorded.
    stopped: trials of those drawn that were stopped early.
    """

    arm: str
    curves: pd.DataFrame
    configurations: pd.DataFrame
    ends: pd.DataFrame
    metrics: tuple[str, ...]
    configurations_found: int
    metrics_found: int
    stopped: int


def curves_info(result: Result, arm: str) -> CurvesInfo:
    """Selection trials of the arm that did not crash. Raises NothingToDraw where nothing was recorded along them."""
    trials, columns = result.trials, [str(c) for c in result.trials.columns if str(c).startswith("curve.")]
    names = [c.removeprefix("curve.") for c in columns if c.removeprefix("curve.") not in PLACES]
    if not names:
        raise NothingToDraw(result.reason or "nothing was recorded along training")
    own = trials[(trials["arm"] == arm) & ~trials["sampling.confirm"] & (trials["status"] != "failed")]
    objective = result.objective.name if result.objective else ""
    known = [name for name in names if own[f"curve.{name}"].map(_has_number).any()]
    names = sorted(known, key=lambda name: name != objective)[:MOST_METRICS] or names[:1]
    found = _ranked(result, arm, own[own[[f"curve.{name}" for name in names]].map(_is_curve).any(axis=1)])
    drawn = found.iloc[_evenly(len(found), MOST_CONFIGURATIONS)]
    points = min(MOST_POINTS, MOST_POINTS_IN_ALL // max(len(drawn), 1))
    groups = own[["configuration_id", "status", *columns]].groupby("configuration_id", sort=False)
    rows, ends = [], []
    for identifier in drawn["configuration_id"]:
        records = groups.get_group(identifier).to_dict("records")
        more_rows, more_ends = _configuration(arm, identifier, records, names, points)
        rows += more_rows
        ends += more_ends
    curves = pd.DataFrame(rows, columns=list(COLUMNS))
    if curves.groupby(["configuration_id", "metric"]).size().max() < 2 or curves.empty:
        raise NothingToDraw("its trials recorded less than two epochs with a value")
    return CurvesInfo(
        arm,
        curves,
        drawn[drawn["configuration_id"].isin(set(curves["configuration_id"]))].reset_index(drop=True),
        pd.DataFrame(ends, columns=["configuration_id", "epoch", "status"]),
        tuple(names),
        len(found),
        len(known),
        int((own[own["configuration_id"].isin(drawn["configuration_id"])]["status"] == "stopped").sum()),
    )


def _ranked(result: Result, arm: str, trials: pd.DataFrame) -> pd.DataFrame:
    """The configurations of these trials, the worst first; those without a final value before all."""
    parameters = [f"params.{name}" for name in result.searched(arm) if f"params.{name}" in trials]
    groups = trials.groupby("configuration_id", sort=False)
    made = groups[parameters].first() if parameters else pd.DataFrame(index=groups.size().index)
    table = result.configurations
    final = table[table["arm"] == arm].set_index("configuration_id")["mean"]
    made["final"] = final.reindex(made.index).astype(float)
    made["seeds"] = groups.size()
    made["not_trained"] = trials["status"].isin(NOT_TRAINED).groupby(trials["configuration_id"], sort=False).sum()
    best_last = result.objective is None or result.objective.maximize
    order = made["final"].sort_values(ascending=best_last, na_position="first", kind="stable").index
    return made.loc[order].reset_index()


def _configuration(
    arm: str, identifier: str, trials: Sequence[dict[Any, Any]], names: Sequence[str], points: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of one configuration's curves, and the ends of those of its trials that did not train."""
    found = [(trial, *_series(trial, names)) for trial in trials]
    ends = [
        {"configuration_id": identifier, "epoch": float(epochs[-1]), "status": trial["status"]}
        for trial, epochs, _ in found
        if trial["status"] in NOT_TRAINED and len(epochs)
    ]
    chosen = _thinned(found, {end["epoch"] for end in ends}, points)
    rows: list[dict[str, Any]] = []
    for name in names:
        for epoch in chosen:
            at = [(v[name][i], v["backward_samples"][i]) for _, e, v in found for i in np.flatnonzero(e == epoch)]
            known = [(value, samples) for value, samples in at if math.isfinite(value)]
            if not known:
                continue
            values, samples = (np.array(part) for part in zip(*known, strict=True))
            row = {"arm": arm, "configuration_id": identifier, "epoch": epoch, "metric": name, "n": len(values)}
            ends_of = {"mean": float(values.mean()), "low": float(values.min()), "high": float(values.max())}
            rows.append({**row, **ends_of, "backward_samples": float(samples.mean())})
    return rows, ends


def _series(trial: dict[Any, Any], names: Sequence[str]) -> tuple[Floats, dict[str, Floats]]:
    """epochs (k,) at which the trial has any value, and by name (k,) each; what is not known is NaN."""
    lists = {name: trial.get(f"curve.{name}") for name in (*PLACES, *names)}
    length = max((len(v) for v in lists.values() if v is not None and _is_curve(v)), default=0)
    made = {name: _numbers(v, length) for name, v in lists.items()}
    epochs = made["epoch"] if _is_curve(lists["epoch"]) else np.arange(1.0, length + 1)
    known = np.isfinite(epochs) & np.any([np.isfinite(made[name]) for name in names], axis=0)
    return epochs[known], {name: values[known] for name, values in made.items()}


def _numbers(values: Any, length: int) -> Floats:
    made = np.full(length, np.nan)
    if _is_curve(values):
        found = np.array([v if isinstance(v, int | float | np.number) else np.nan for v in values], dtype=float)
        made[: len(found)] = np.where(np.isfinite(found), found, np.nan)
    return made


def _has_number(values: Any) -> bool:
    return _is_curve(values) and bool(np.isfinite(_numbers(values, len(values))).any())


def _thinned(
    found: Sequence[tuple[dict[Any, Any], Floats, dict[str, Floats]]], kept: set[float], most: int
) -> list[float]:
    """At most `most` epochs, evenly over those recorded; the last ones of what did not train are kept."""
    every = sorted({float(e) for _, epochs, _ in found for e in epochs})
    if len(every) <= most:
        return every
    return sorted(kept | {every[i] for i in _evenly(len(every), max(most - len(kept), 2))})


def _evenly(n: int, most: int) -> list[int]:
    """At most `most` of the indices of n things, the first and the last among them."""
    return list(range(n)) if n <= most else sorted({int(i) for i in np.linspace(0, n - 1, most).round()})


def _is_curve(value: object) -> bool:
    return isinstance(value, list | tuple | np.ndarray) and len(value) > 0
