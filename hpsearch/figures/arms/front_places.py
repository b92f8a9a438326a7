"""Where configurations stand on an axis of compute: those that cost the same side by side, so that each is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.figures.arms.compute_axis import is_log

SAME = 0.002  # of the axis: compute that counts as equal
SHARED = 0.6  # amounts of compute per configuration, up to which they are spread
SLOT = 0.05  # of the axis: an arm's, at most
FILLED = 0.75  # of the room between two amounts of compute, and of an arm's slot

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """x: where each configuration is drawn, (configurations,). stacks: the amounts of compute that several share,
    ascending; (stacks, 2) ends: from where to where their configurations are spread. Empty where amounts vary.
    """

    x: Floats
    stacks: Floats
    ends: Floats


def places(compute: pd.Series, trained: pd.Series, arm: pd.Series, mean: pd.Series) -> Places:
    """compute: NaN where not known. trained: whether all seeds did; the others may have ended early, at any compute.

    Spread where all that trained cost one of a few amounts, as with a fixed number of epochs.
    """
    amounts = compute.to_numpy(float)
    whole = trained.to_numpy(bool) & np.isfinite(amounts)
    if not whole.any():
        return Places(amounts, np.empty(0), np.empty((0, 2)))
    log = is_log(float(amounts[whole].min()), float(amounts[whole].max()))
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.log10(amounts) if log else amounts.copy()
    span = float(np.ptp(at[whole])) or abs(float(at[whole][0])) or 1.0
    stacks = _stacks(np.sort(at[whole]), SAME * span)
    if len(stacks) > max(1, SHARED * whole.sum()):
        return Places(amounts, np.empty(0), np.empty((0, 2)))
    gap = float(np.diff(stacks).min()) if len(stacks) > 1 else span
    slot = min(SLOT * span, FILLED * gap / max(1, arm.nunique()))
    nearest = np.abs(np.nan_to_num(at, nan=np.inf, posinf=np.inf, neginf=-np.inf)[:, None] - stacks[None, :])
    member = np.where(nearest.min(axis=1) <= SAME * span, nearest.argmin(axis=1), -1)  # (configurations,)
    rows = pd.DataFrame({"stack": member, "arm": pd.factorize(arm)[0], "mean": mean.to_numpy(float)})
    rows = rows[rows["stack"] >= 0]
    by_stack = rows.groupby("stack")["arm"]
    column = by_stack.rank(method="dense")
    columns = column.groupby(rows["stack"]).transform("max")
    within = rows.groupby(["stack", "arm"])["mean"]
    order = (within.rank(method="first") - 0.5) / within.transform("size") - 0.5
    shift = slot * (column - columns / 2 - 0.5 + FILLED * order)
    moved = at.copy()
    moved[rows.index] = stacks[rows["stack"]] + shift.to_numpy(float)
    half = slot * columns.groupby(rows["stack"]).first().sort_index().to_numpy(float) / 2
    ends = np.column_stack([stacks - half, stacks + half])
    return Places(10**moved, 10**stacks, 10**ends) if log else Places(moved, stacks, ends)


def _stacks(at: Floats, tolerance: float) -> Floats:
    """The middles of runs of nearly equal amounts. at: ascending."""
    groups = np.split(at, np.flatnonzero(np.diff(at) > tolerance) + 1)
    return np.array([group.mean() for group in groups])
