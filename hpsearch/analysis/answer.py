"""A number as it may be quoted: with its interval, what it rests on, its unit and how it was made."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
TRAINS = 0.5  # a value is said to train where so many seeds do
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
PERCENT = 0.01  # shares of variance are quoted in whole percent


@dataclass(frozen=True)
class Answer:
    """value with its 95 % interval (NaN where none may be given, and `why` says why).

    n: configurations behind it. at_least, at_most: the interval reaches the edge of the searched range on that side.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str
    method: str
    why: str = ""
    at_least: bool = False
    at_most: bool = False

    @property
    def has_interval(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

    def overlaps(self, other: Answer) -> bool:
        """Whether the intervals touch; without an interval there is nothing that separates."""
        if not (self.has_interval and other.has_interval):
            return True
        return self.low <= other.high and other.low <= self.high

    def withheld(self, why: str) -> Answer:
        """The same without its interval."""
        return replace(self, low=math.nan, high=math.nan, why=why)


def quantiles(draws: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % credible interval of draws (draws,), equal tails."""
    low, high = np.quantile(draws, TAILS)
    return float(low), float(high)


def share_quantiles(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Of a share of variance: rounded outward to whole percent, so that nothing (0) and everything (1) are possible."""
    low, high = quantiles(draws)
    return max(0.0, round(math.floor(low / PERCENT) * PERCENT, 2)), min(
        1.0, round(math.ceil(high / PERCENT) * PERCENT, 2)
    )
