"""A mean with its 95 % interval, and the t quantile behind every interval of the report."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` runs, in the metric's own unit; `low` and `high` are NaN where n < 2."""

    n: int
    mean: float
    sd: float
    low: float
    high: float

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2

    @property
    def has_interval(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

    def overlaps(self, other: "Estimate") -> bool:
        """Whether the intervals touch. An estimate without an interval overlaps everything."""
        if not (self.has_interval and other.has_interval):
            return True
        return self.low <= other.high and other.low <= self.high


def estimate(values: ArrayLike, level: float = LEVEL) -> Estimate:
    """Mean, sd (ddof 1) and mean +- t((1 + level) / 2, n - 1) * sd / sqrt(n) of the finite values."""
    x = np.asarray(values, dtype=float)  # (n,)
    x = x[np.isfinite(x)]
    n = len(x)
    mean = float(x.mean()) if n else math.nan
    if n < 2:
        return Estimate(n, mean, math.nan, math.nan, math.nan)
    sd = float(x.std(ddof=1))
    half = float(t_quantile(n - 1, level)) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half)


def t_quantile(df: ArrayLike, level: float = LEVEL) -> NDArray[np.float64]:
    """Two-sided quantile of Student's t; NaN where df is not positive."""
    df = np.asarray(df, dtype=float)
    return np.asarray(stdtrit(np.where(df > 0, df, np.nan), (1 + level) / 2), dtype=float)
