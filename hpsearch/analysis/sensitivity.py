"""One hyperparameter over all arms that searched it: configurations, and the mean in each cell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpsearch.analysis.arms import ArmFacts
from hpsearch.analysis.axis import Axis, order_parameters
from hpsearch.analysis.surface import cell_means


@dataclass(frozen=True)
class Sensitivity:
    """What one picture shows.

    points: one row per configuration, the columns of `summarize` and `position` on `axis`.
    lines: one row per arm and cell, the columns of a Surface's cells and `cell`, `position` (its middle).
    Positions are values, or indices of choices.
    ranges: one row per arm with such a range: the longest run of neighbouring tried values at which every
    seed of every configuration trained: `low`, `high` (positions) and `n_configurations` in it.
    """

    parameter: str
    axis: Axis
    arms: tuple[str, ...]
    points: pd.DataFrame
    lines: pd.DataFrame
    ranges: pd.DataFrame


def sensitivities(configurations: pd.DataFrame, arms: Sequence[ArmFacts]) -> tuple[Sensitivity, ...]:
    """One Sensitivity per hyperparameter that some arm searched and measured."""
    names = order_parameters(name for arm in arms for name in arm.cells)
    made = (sensitivity(configurations, name, [arm for arm in arms if name in arm.cells]) for name in names)
    return tuple(s for s in made if len(s.points))


def sensitivity(configurations: pd.DataFrame, name: str, arms: Sequence[ArmFacts]) -> Sensitivity:
    axis = Axis.merged([arm.cells[name].axis for arm in arms])
    points, lines, ranges = [], [], []
    for arm in arms:
        rows = configurations[(configurations["arm"] == arm.name) & (configurations["n_ended"] > 0)]
        column = f"params.{name}"
        if column not in rows.columns or rows.empty:
            continue
        cells = arm.cells[name]
        rows = rows.assign(position=axis.positions(rows[column]), cell=cells.assign(rows[column]))
        rows = rows[rows["position"].notna()]
        points.append(rows)
        ranges.append(trained_range(rows, log=axis.kind == "log").assign(arm=arm.name))
        means = cell_means(rows[rows["cell"] >= 0], ["cell"])
        lines.append(
            means.assign(
                arm=arm.name,
                position=axis.positions([cells.centers[i] for i in means["cell"]]),
            )
        )
    kept = tuple(arm.name for arm in arms if any((p["arm"] == arm.name).any() for p in points))
    return Sensitivity(name, axis, kept, _stack(points), _stack(lines), _stack(ranges))


def trained_range(rows: pd.DataFrame, log: bool) -> pd.DataFrame:
    """One row (low, high, n_configurations), or none where no value trained throughout.

    The longest run is the widest on the axis; a single value has width 0.
    """
    values = rows.groupby("position").agg(
        failing=("n_not_trained", "sum"), n_configurations=("configuration_id", "count")
    )
    runs = (values["failing"] > 0).cumsum()
    clean = values[values["failing"] == 0].reset_index()
    if clean.empty:
        return pd.DataFrame()
    by_run = clean.groupby(runs[values["failing"] == 0].to_numpy())
    found = by_run.agg(low=("position", "min"), high=("position", "max"), n_configurations=("n_configurations", "sum"))
    low, high = found["low"].to_numpy(), found["high"].to_numpy()
    width = np.log(high / low) if log else high - low
    return found.iloc[[int(width.argmax())]].reset_index(drop=True)


def _stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
