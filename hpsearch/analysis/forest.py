"""fANOVA: how the variance of a random forest's prediction splits among its inputs (Hutter, Hoos, Leyton-Brown 2014).

The forest and the numbers are those of Optuna 5's FanovaImportanceEvaluator, not normalised. They are read here from
the boxes of the leaves, all intervals between two splits at once. Optuna walks a tree anew for each interval: for 300
points of 4 inputs that took 15 s on one core, this 0.2 s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TREES = 64


def forest_shares(u: Floats, y: Floats, seed: int) -> tuple[Floats, float]:
    """The first-order share of each input in the variance of the forest's prediction, and the forest's fit.

    u: (n, d) in the unit cube; y: (n,), not constant. -> (d,), averaged over the trees that split at all (NaN if none
    does), and R² out of bag. What 1 lacks is interaction.
    """
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(n_estimators=TREES, max_depth=64, random_state=seed, oob_score=True)
    # Scikit-learn splits no node whose variance is below 2e-16. A power of two changes no digit, so no split either.
    forest.fit(u, np.ldexp(y, -np.frexp(np.ptp(y))[1]))
    found = [shares for tree in forest.estimators_ if (shares := _tree_shares(tree.tree_, u.shape[1])) is not None]
    return np.mean(found, axis=0) if found else np.full(u.shape[1], np.nan), float(forest.oob_score_)


def _tree_shares(tree: Any, d: int) -> Floats | None:
    """First-order shares of the variance of a tree's prediction over the unit cube, (d,); None if it is constant."""
    low, high = np.zeros((tree.node_count, d)), np.ones((tree.node_count, d))
    level = np.array([0])
    while len(level):
        level = level[tree.feature[level] >= 0]
        left, right, at = tree.children_left[level], tree.children_right[level], tree.feature[level]
        for child in (left, right):
            low[child], high[child] = low[level], high[level]
        high[left, at] = low[right, at] = tree.threshold[level]
        level = np.concatenate([left, right])
    leaf = tree.feature < 0
    low, high, value = low[leaf], high[leaf], tree.value[leaf, 0, 0]
    width = high - low  # (leaves, d)
    volume = width.prod(1)
    value = value - volume @ value
    variance = volume @ value**2
    return (
        np.array([_marginal_variance(low[:, i], high[:, i], value * volume) for i in range(d)]) / variance
        if variance
        else None
    )


def _marginal_variance(low: Floats, high: Floats, mass: Floats) -> float:
    """Of the mean prediction along one input: each leaf adds mass / width between its ends. The mean of it is 0."""
    width = high - low
    step = np.divide(mass, width, out=np.zeros_like(mass), where=width > 0)
    at = np.concatenate([low, high])
    order = np.argsort(at)
    curve = np.cumsum(np.concatenate([step, -step])[order])[:-1]
    return float(curve**2 @ np.diff(at[order]))
