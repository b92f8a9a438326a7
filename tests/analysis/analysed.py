"""One analysis of a small made-up study, which several files of tests read: it takes seconds."""

from dataclasses import replace
from functools import cache

import pandas as pd
import synthetic

from hpsearch.analysis import Analysis, analyze

ARMS = ("sgd", "sam")
STUDY = replace(synthetic.STUDY, arms={name: synthetic.STUDY.arms[name] for name in ARMS})


def table() -> pd.DataFrame:
    made = synthetic.digits_table(24)
    made = made[made["arm"].isin(ARMS)].reset_index(drop=True)
    curves = [[0.5 * value, value] for value in made["metrics.val_accuracy"].fillna(0.1)]
    return made.assign(**{"curve.val_accuracy": curves, "curve.epoch": [[1, 40]] * len(made)})


@cache
def analysis() -> Analysis:
    return analyze(table(), STUDY)
