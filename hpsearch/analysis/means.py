"""Intervals of configurations' means in an arm of which some trials did not train."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.estimate import t_quantile
from hpsearch.analysis.surrogate import Surrogate

METHOD = "pooled t where it trains, times the fitted probability that it does"


def with_cliff(rows: pd.DataFrame, surrogate: Surrogate, seed: int = 0) -> pd.DataFrame:
    """The rows of `summarize` of one arm with low, high and interval = "cliff".

    That all of three seeds trained says little of whether the next one will: beside a cliff the spread over the
    seeds that were run is no guide. How often a configuration trains is taken from the whole arm's surface, and the
    metric where it trains from its own seeds, with the arm's pooled variance.
    """
    if surrogate.counts is None:
        return rows
    x = surrogate.inputs.coordinates(rows)
    n, mean = rows["n_trained"].to_numpy(float), rows["mean_trained"].to_numpy(float)
    sd, df = _pooled(rows["sd_trained"], n)
    p, fitted = surrogate.trains(x), surrogate.where_trained(x)  # (draws, k)
    t = np.random.default_rng(seed).standard_t(max(df, 1.0), p.shape)
    own = mean + t * sd / np.sqrt(np.maximum(n, 1.0))
    draws = p * np.where(n > 0, own, fitted) + (1 - p) * surrogate.chance
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    # The fit never gives 0 or 1, though a probability may be: then the seeds' own interval is the right one.
    none, every = (n == 0), (rows["n_not_trained"] == 0).to_numpy()
    ended = rows["n"].to_numpy(float)
    spread, spread_df = _pooled(rows["sd"].where(none), np.where(none, ended, 0.0))
    half = t_quantile(max(spread_df, 1.0)) * spread / np.sqrt(np.maximum(ended, 1.0))
    own_low = np.where(every, rows["low"], np.where(none, rows["mean"] - half, np.nan)).astype(float)
    own_high = np.where(every, rows["high"], np.where(none, rows["mean"] + half, np.nan)).astype(float)
    known = ended > 0
    return rows.assign(
        low=np.where(known, np.fmin(low, own_low), np.nan),
        high=np.where(known, np.fmax(high, own_high), np.nan),
        interval=np.where(known, "cliff", rows["interval"]),
    )


def _pooled(sd: pd.Series, n: NDArray[np.float64]) -> tuple[float, float]:
    """The pooled standard deviation of groups of n and its degrees of freedom."""
    df = np.where(n > 1, n - 1, 0.0)
    squares = np.where(df > 0, sd.to_numpy(float) ** 2 * df, 0.0)
    return float(np.sqrt(np.nansum(squares) / max(df.sum(), 1.0))), float(df.sum())
