"""Arms against a control: differences of their best configurations on the same fresh seeds, paired by seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

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


def differences(
    table: pd.DataFrame, arms: Sequence[str], best: Sequence[Best], judged: Objective
) -> tuple[Difference, ...]:
    """Each arm's best configuration against that of the first arm, where both were confirmed on two seeds or more.

    A Task's seed fixes initial weights, order of batches and label noise in every arm, so a difference on one seed is
    freed of what they add to both. Empty when the first arm was not confirmed.
    """
    first = {b.arm: b.configuration_id for b in best if b.rank == 1 and b.confirmation is not None}
    runs = table[table["sampling.confirm"] & ~table["status"].isin(NO_RESULT)]
    values = {
        arm: numeric(rows, judged.column).set_axis(rows["seed"].to_numpy()).dropna()
        for arm, configuration in first.items()
        if len(rows := runs[(runs["arm"] == arm) & (runs["configuration_id"] == configuration)])
    }
    control = arms[0] if len(arms) else ""
    if control not in values:
        return ()
    paired = {arm: (values[arm] - values[control]).dropna() for arm in values if arm != control}
    paired = {arm: found for arm, found in paired.items() if len(found) >= 2}
    level = 1 - (1 - LEVEL) / max(1, len(paired))
    return tuple(Difference(arm, control, estimate(found, level), len(paired)) for arm, found in paired.items())
