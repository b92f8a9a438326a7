"""Accuracy against compute: the configurations that no other one beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hpsearch.analysis.columns import COSTS
from hpsearch.analysis.objective import Objective


@dataclass(frozen=True)
class Front:
    """The front for one way to count compute.

    points: the rows of `summarize` with a mean and this cost, and the columns `compute` and `on_front`.
    Only configurations all of whose seeds trained may be on the front: one that diverges ends early, so it
    looks cheap, and its mean over trained and chance-level seeds is not what its compute buys.
    """

    compute: str
    points: pd.DataFrame


def fronts(configurations: pd.DataFrame, objectives: Sequence[Objective]) -> tuple[Front, ...]:
    """A Front per known cost; a cost that is an objective comes first."""
    named = [o.name for o in objectives[1:] if o.name in COSTS]
    made = (front(configurations, objectives[0], cost) for cost in dict.fromkeys([*named, *COSTS]))
    return tuple(f for f in made if len(f.points))


def front(configurations: pd.DataFrame, objective: Objective, cost: str) -> Front:
    compute = configurations[f"cost.{cost}"]
    points = configurations.assign(compute=compute)[(configurations["n"] > 0) & compute.notna()]
    trained = (points["n_not_trained"] == 0).to_numpy(bool)
    gain = (objective.sign * points["mean"]).where(trained, -np.inf)
    return Front(cost, points.assign(on_front=trained & non_dominated(points["compute"], gain)))


def non_dominated(cost: ArrayLike, gain: ArrayLike) -> NDArray[np.bool_]:
    """Which points have no other with cost <= and gain >=, one of them strictly. (n,) -> (n,)."""
    cost, gain = np.asarray(cost, dtype=float), np.asarray(gain, dtype=float)
    order = np.lexsort((-gain, cost))  # by cost; at equal cost the best first
    best_before = np.maximum.accumulate(np.concatenate([[-np.inf], gain[order]]))[:-1]
    keep = np.zeros(len(cost), dtype=bool)
    keep[order] = gain[order] > best_before
    # Exact twins of a point on the front do not dominate each other.
    twins = {(c, g) for c, g in zip(cost[keep], gain[keep], strict=True)}
    pairs = zip(cost, gain, strict=True)
    return np.array([kept or pair in twins for kept, pair in zip(keep, pairs, strict=True)], dtype=np.bool_)
