"""Differences to the control, against the formula by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import small_table, trial

from hpsearch.analysis import analyze

CONTROL = [0.90, 0.93, 0.91, 0.96]
BETTER = [0.94, 0.96, 0.95, 0.99]


def table(*extra):
    rows = []
    for arm, values in {"sgd": CONTROL, "sam": BETTER, "msam": CONTROL[::-1]}.items():
        rows.append(trial(arm=arm, configuration=arm, value=0.5))
        rows += [trial(arm=arm, configuration=arm, seed=100 + i, value=v, confirm=True) for i, v in enumerate(values)]
    return small_table(*rows, *extra)


def test_paired_by_seed_with_bonferroni():
    found = {d.arm: d for d in analyze(table()).differences}
    assert list(found) == ["sam", "msam"] and all(d.control == "sgd" and d.comparisons == 2 for d in found.values())
    d = np.subtract(BETTER, CONTROL)
    half = stats.t.ppf(1 - 0.05 / 2 / 2, 3) * d.std(ddof=1) / 2
    assert found["sam"].estimate.mean == pytest.approx(d.mean())
    assert found["sam"].estimate.half == pytest.approx(half)
    assert found["sam"].estimate.low > 0 > found["msam"].estimate.low


def test_only_seeds_that_both_have_count():
    found = analyze(table()[lambda t: ~((t["arm"] == "sam") & (t["seed"] == 101))]).differences
    assert [d.estimate.n for d in found] == [3, 4]


@pytest.mark.parametrize(
    "keep", [lambda t: ~t["sampling.confirm"], lambda t: t["arm"] == "sgd", lambda t: t["seed"] < 101]
)
def test_none_without_confirmation_in_two_arms_on_two_seeds(keep):
    full = table()
    assert analyze(full[keep(full)]).differences == ()


def test_an_empty_table_has_none():
    assert analyze(pd.DataFrame()).differences == ()
