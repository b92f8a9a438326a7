"""How often the interval of seeds by spread holds the truth, for values that are normal and values that are not, and
what that does to the variance that an arm's configurations pool.
"""

from __future__ import annotations

import math

import numpy

from hpsearch.seeds import TwoStage, student_t

CONFIGURATIONS = 40_000
RULE = TwoStage(min=3, max=10, half_width=2.0)  # in standard deviations
POOLED = (8, 24)  # configurations of an arm


def main() -> None:
    rng = numpy.random.default_rng(0)
    shape = (CONFIGURATIONS, RULE.max)
    drawn = {
        "normal": rng.standard_normal(shape),
        "t, 3 degrees of freedom": rng.standard_t(3, shape) / math.sqrt(3),
        "exponential": rng.exponential(1.0, shape) - 1.0,
    }
    print(f"{'values':24} {'seeds':>6} {'covers':>7} {'of first 3':>11}   pooled variance / true, by configurations")
    for name, values in drawn.items():
        first = values[:, : RULE.min]
        numbers = numpy.array([RULE.number(list(row)) for row in first])
        used = numpy.where(numpy.arange(RULE.max) < numbers[:, None], values, numpy.nan)
        means = numpy.nanmean(used, axis=1)
        half = student_t(RULE.min - 1) * first.std(axis=1, ddof=1)
        covers = (abs(means) <= half / numpy.sqrt(numbers)).mean()
        alone = (abs(first.mean(axis=1)) <= half / math.sqrt(RULE.min)).mean()
        squares = numpy.nansum((used - means[:, None]) ** 2, axis=1)
        pooled = [_groups(squares, k) / _groups(numbers - 1, k) for k in POOLED]
        shares = ", ".join(f"{k}: {found.mean():.3f}" for k, found in zip(POOLED, pooled, strict=True))
        print(f"{name:24} {numbers.mean():6.2f} {covers:6.1%} {alone:10.1%}   {shares}")


def _groups(values: numpy.ndarray, size: int) -> numpy.ndarray:
    """Sums over groups of so many configurations."""
    groups: numpy.ndarray = values[: len(values) // size * size].reshape(-1, size).sum(axis=1)
    return groups


if __name__ == "__main__":
    main()
