"""Arms against a control: their best configurations on the same fresh seeds, paired by seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.special import betaincinv

from hpsearch.analysis.best import Best
from hpsearch.analysis.columns import NO_RESULT, numeric
from hpsearch.analysis.estimate import LEVEL, Estimate, estimate
from hpsearch.analysis.objective import Objective


@dataclass(frozen=True)
class Difference:
    """arm minus control, in the metric's own unit, over the fresh seeds that both have.

    The intervals of all `comparisons` hold together with 95 % confidence (Bonferroni).
    """

    arm: str
    control: str
    estimate: Estimate
    comparisons: int
    method: str = "mean difference on the same fresh seeds, Student's t, Bonferroni over the comparisons"
    assumes: str = (
        "differences about normal; seeds drawn at random; the two configurations as selected; a seed that would not "
        "train, but is not among these, is not in the interval"
    )


@dataclass(frozen=True)
class Improvement:
    """How likely the arm's best configuration beats the control's on a new seed; a tie counts half.

    n: fresh seeds both have. low, high hold together over `comparisons` with confidence `level`.
    """

    arm: str
    control: str
    n: int
    wins: int
    ties: int
    probability: float
    low: float
    high: float
    level: float
    comparisons: int
    method: str = (
        "wins and half the ties over the seeds, paired (Agarwal et al. 2108.13264); Clopper-Pearson with ties "
        "against either side, so it covers at least its level; Bonferroni over the comparisons"
    )
    assumes: str = "seeds drawn at random; the two configurations as selected"


def differences(
    table: pd.DataFrame, arms: Sequence[str], best: Sequence[Best], judged: Objective
) -> tuple[Difference, ...]:
    """Each arm's best configuration against that of the first arm, where both were confirmed on two seeds or more.

    A Task's seed fixes initial weights, order of batches and label noise in every arm, so a difference on one seed is
    freed of what they add to both. Empty when the first arm was not confirmed.
    """
    paired = _paired(table, arms, best, judged)
    level = _each(LEVEL, len(paired))
    return tuple(Difference(arm, arms[0], estimate(found, level), len(paired)) for arm, found in paired.items())


def improvements(
    table: pd.DataFrame, arms: Sequence[str], best: Sequence[Best], judged: Objective, level: float = LEVEL
) -> tuple[Improvement, ...]:
    """P(arm beats control) for the pairs of `differences`."""
    paired = _paired(table, arms, best, judged)
    found = []
    for arm, difference in paired.items():
        gain = judged.sign * difference.to_numpy(float)
        n, wins, ties = len(gain), int((gain > 0).sum()), int((gain == 0).sum())
        low, high = _binomial_bounds(n, wins, wins + ties, _each(level, len(paired)))
        p = (wins + ties / 2) / n
        found.append(Improvement(arm, arms[0], n, wins, ties, p, low, high, level, len(paired)))
    return tuple(found)


def _each(level: float, comparisons: int) -> float:
    return 1 - (1 - level) / max(1, comparisons)


def _paired(table: pd.DataFrame, arms: Sequence[str], best: Sequence[Best], judged: Objective) -> dict[str, pd.Series]:
    """Per arm but the first: arm minus control by fresh seed, where there are two or more."""
    first = {b.arm: b.configuration_id for b in best if b.rank == 1 and b.confirmation is not None}
    runs = table[table["sampling.confirm"] & ~table["status"].isin(NO_RESULT)]
    values = {
        # A repeated row of one seed is one run.
        arm: numeric(rows, judged.column).groupby(rows["seed"].to_numpy()).mean().dropna()
        for arm, configuration in first.items()
        if len(rows := runs[(runs["arm"] == arm) & (runs["configuration_id"] == configuration)])
    }
    control = arms[0] if len(arms) else ""
    if control not in values:
        return {}
    paired = {arm: (values[arm] - values[control]).dropna() for arm in values if arm != control}
    return {arm: found for arm, found in paired.items() if len(found) >= 2}


def _binomial_bounds(n: int, fewest: int, most: int, level: float) -> tuple[float, float]:
    """Clopper-Pearson: the lower bound from `fewest` successes of n, the upper one from `most`."""
    alpha = (1 - level) / 2
    low = float(betaincinv(fewest, n - fewest + 1, alpha)) if fewest > 0 else 0.0
    high = float(betaincinv(most + 1, n - most, 1 - alpha)) if most < n else 1.0
    return low, high
