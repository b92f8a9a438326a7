"""Numbers of seeds that were fixed by the spread of the first ones: which intervals hold, and which seeds all have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hpsearch.analysis.columns import NO_RESULT, numeric
from hpsearch.seeds import TwoStage, student_t

if TYPE_CHECKING:
    from hpsearch.study import Study

INTERVAL = "two-stage"


def with_two_stages(rows: pd.DataFrame, trials: pd.DataFrame, column: str, rule: TwoStage | None) -> pd.DataFrame:
    """The rows of `summarize` with low, high and interval = "two-stage": the mean over all n seeds -+ t s / sqrt(n).

    s and t, with min - 1 degrees of freedom, are of the first `min` seeds: see TwoStage. With the spread over all n it
    would not be 95 %, because a configuration whose first seeds happen to lie close gets no more of them; nor with the
    arm's, where spreads differ. Rows without all of the first seeds stay as they are.
    """
    if rule is None or rows.empty:
        return rows
    first = trials[~trials["sampling.confirm"] & ~trials["status"].isin(NO_RESULT)]
    seeds = numeric(first, "seed")
    first = first[seeds.isin(range(rule.min))].assign(value=numeric(first, column), one=seeds)
    first = first.drop_duplicates(["arm", "configuration_id", "one"], keep="last")
    found = first.groupby(["arm", "configuration_id"])["value"].agg(["count", "std"])
    own = found.reindex(pd.MultiIndex.from_frame(rows[["arm", "configuration_id"]]))
    known = (own["count"] == rule.min).to_numpy()
    half = student_t(rule.min - 1) * own["std"].to_numpy(float) / np.sqrt(rows["n"].clip(lower=1).to_numpy(float))
    return rows.assign(
        low=np.where(known, rows["mean"] - half, rows["low"]),
        high=np.where(known, rows["mean"] + half, rows["high"]),
        interval=np.where(known, INTERVAL, rows["interval"]),
    )


def same_seeds(trials: pd.DataFrame, study: Study | None) -> pd.DataFrame:
    """Without the seeds that only some configurations were given: those that have them are the ones that vary most.

    What goes seed by seed (an effect of a seed, a front of one seed, a seed left out) needs the same ones in all.
    """
    if study is None or study.two_stage is None:
        return trials
    return trials[trials["sampling.confirm"] | numeric(trials, "seed").isin(study.first_seeds)]
