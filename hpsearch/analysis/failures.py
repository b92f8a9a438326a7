"""Where training failed: the side of a hyperparameter's range on which trials did not train."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.arms import ArmFacts

CHANCE = 0.05  # a region is named only where chance leaves so much of the range clean less often


@dataclass(frozen=True)
class Region:
    """Every configuration of which some seed did not train has `parameter` >= `bound` (<= if not `above`).

    n_inside configurations lie in the region, n_failing of them had trials that did not train;
    `clean` is the nearest value outside of the region; all trained there and beyond.
    """

    parameter: str
    above: bool
    bound: float
    clean: float
    n_inside: int
    n_failing: int


@dataclass(frozen=True)
class Failures:
    """How often an arm did not train (selection trials), and the regions that hold all of that."""

    arm: str
    n_ended: int
    n_not_trained: int
    n_configurations: int
    n_failing: int
    regions: tuple[Region, ...]


def failures(configurations: pd.DataFrame, arms: Sequence[ArmFacts]) -> tuple[Failures, ...]:
    """One entry per arm with an ended trial."""
    found = []
    for arm in arms:
        rows = configurations[configurations["arm"] == arm.name]
        rows = rows[(rows["n_trained"] + rows["n_not_trained"]) > 0]
        if rows.empty:
            continue
        failing = (rows["n_not_trained"] > 0).to_numpy(bool)
        regions = [
            region
            for name in arm.cells
            if f"params.{name}" in rows.columns
            for region in failing_region(name, rows[f"params.{name}"], failing)
        ]
        found.append(
            Failures(
                arm=arm.name,
                n_ended=int((rows["n_trained"] + rows["n_not_trained"]).sum()),
                n_not_trained=int(rows["n_not_trained"].sum()),
                n_configurations=len(rows),
                n_failing=int(failing.sum()),
                regions=tuple(regions),
            )
        )
    return tuple(found)


def failing_region(name: str, column: pd.Series, failing: NDArray[np.bool_]) -> list[Region]:
    """The one-sided regions that hold all failing configurations; none if the values are not numbers."""
    if column.map(lambda v: isinstance(v, bool | str)).any():
        return []
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)  # (n,)
    known = np.isfinite(values)
    if failing[~known].any() or not failing.any():
        return []
    values, failing = values[known], failing[known]
    regions = []
    for above in (True, False):
        bound = values[failing].min() if above else values[failing].max()
        outside = values < bound if above else values > bound
        if outside.any() and _by_chance(len(values), int(failing.sum()), int(outside.sum())) < CHANCE:
            clean = values[outside].max() if above else values[outside].min()
            inside = int((~outside).sum())
            regions.append(Region(name, above, float(bound), float(clean), inside, int(failing.sum())))
    return regions


def _by_chance(n: int, n_failing: int, n_outside: int) -> float:
    """Probability that all of n_failing configurations drawn out of n miss the n_outside ones."""
    return comb(n - n_outside, n_failing) / comb(n, n_failing)
