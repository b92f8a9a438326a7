"""What a seed adds to every configuration: how far comparisons gain from pairing by seed, and levels do not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.columns import TRAINED, numeric

Floats = NDArray[np.float64]

METHOD = "two-way analysis of variance over the configurations of which every seed trained"


@dataclass(frozen=True)
class SeedEffect:
    """The same seeds run in every configuration, so what a seed adds is no noise in a comparison, but all in a level.

    sd: over seeds of one configuration, in the metric's unit. share: the part of its square that all configurations
    have in common (0 where it can't be told), with a 95 % credible interval from a uniform prior; pairing by seed
    makes the variance of a difference (1 - share) as large. n_seeds, n_configurations: what it was computed from.
    """

    n_seeds: int
    n_configurations: int
    sd: float
    share: float
    low: float
    high: float
    grid: Floats
    posterior: Floats
    method: str = METHOD

    def shifts(self, n: int, rng: np.random.Generator) -> Floats:
        """n draws of how far the mean of these seeds lies from that of all seeds, (n,)."""
        if self.n_seeds < 2 or not math.isfinite(self.sd):
            return np.zeros(n)
        share = rng.choice(self.grid, n, p=self.posterior)
        return np.asarray(self.sd * np.sqrt(share / self.n_seeds) * rng.standard_normal(n))


def seed_effect(trials: pd.DataFrame, column: str) -> SeedEffect:
    """Of one arm's selection trials. Where no two configurations share two seeds, share is 0 with no interval."""
    trained = trials[trials["status"] == TRAINED]
    values = numeric(trained, column)
    wide = pd.DataFrame({"c": trained["configuration_id"], "s": numeric(trained, "seed"), "v": values}).dropna()
    table = wide.pivot_table(index="c", columns="s", values="v", aggfunc="mean")
    usual = table.columns[table.notna().mean() > 0.5]
    y = table[usual].dropna().to_numpy(float)  # (configurations, seeds)
    m, k = y.shape
    grid = np.linspace(0.0, 0.98, 99)
    nothing = SeedEffect(k, m, math.nan, 0.0, math.nan, math.nan, grid, np.full(99, 1 / 99))
    if k < 2 or m < 2:
        return nothing
    between = m * y.mean(0).var(ddof=1)  # expectation: own variance + m * common variance
    rest = y - y.mean(0) - y.mean(1)[:, None] + y.mean()
    df = (m - 1) * (k - 1)
    within = float((rest**2).sum()) / df
    sd = math.sqrt(y.var(axis=1, ddof=1).mean())
    if not sd > 0:
        return nothing
    # Both mean squares are scaled chi-squares; the scale is integrated out, which leaves a function of the share.
    ratio = 1 + m * grid / (1 - grid)
    log = -0.5 * (k - 1) * np.log(ratio) - 0.5 * (df + k - 1) * np.log(df * within + (k - 1) * between / ratio)
    posterior = np.exp(log - log.max())
    posterior /= posterior.sum()
    low, high = (float(grid[min(int(np.searchsorted(posterior.cumsum(), q)), 98)]) for q in (0.025, 0.975))
    return SeedEffect(k, m, sd, float(posterior @ grid), low, high, grid, posterior)
