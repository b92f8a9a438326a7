"""Differences to the control, against the formula by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import analyze_tables as analyze
from synthetic import small_table, trial

from hpsearch.analysis.compare import improvements

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


def improved(full):
    found = analyze(full)
    return {i.arm: i for i in improvements(found.trials, ["sgd", "sam", "msam"], found.best, found.objectives[0])}


def test_probability_of_improvement_with_ties_against_either_side():
    found = improved(table())
    # msam has the control's values in reverse: 0.96, 0.91, 0.93, 0.90 against 0.90, 0.93, 0.91, 0.96.
    assert (found["sam"].wins, found["msam"].wins, found["msam"].probability) == (4, 2, 0.5)
    alpha = 0.05 / 2 / 2
    assert found["sam"].low == pytest.approx(alpha ** (1 / 4)) and found["sam"].high == 1.0
    assert found["sam"].comparisons == 2 and found["sam"].n == 4
    tied = table()
    tied.loc[tied["arm"] == "msam", "metrics.val_accuracy"] = [0.5, *CONTROL]
    msam = improved(tied)["msam"]
    assert (msam.wins, msam.ties, msam.probability, msam.low, msam.high) == (0, 4, 0.5, 0.0, 1.0)


def test_a_minimised_metric_wins_by_being_smaller():
    found = analyze(table(), objectives={"val_accuracy": "minimize"})
    sam = improvements(found.trials, ["sgd", "sam"], found.best, found.objectives[0])[0]
    assert (sam.wins, sam.probability) == (0, 0.0)


def test_a_repeated_confirmation_row_is_one_seed():
    full = table()
    twice = pd.concat([full, full[full["seed"] == 101]], ignore_index=True)
    assert [d.estimate for d in analyze(twice).differences] == [d.estimate for d in analyze(full).differences]
