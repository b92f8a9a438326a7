import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import STUDY, digits_table, small_table, trial
from synthetic import analyze_tables as analyze

from hpsearch.analysis.best import Best, separated
from hpsearch.analysis.estimate import Estimate, estimate
from hpsearch.analysis.failures import failing_region


def test_estimate_is_a_t_interval() -> None:
    values = [0.9, 0.92, 0.91, 0.95, 0.9]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found.n, found.low, found.high) == (5, pytest.approx(low), pytest.approx(high))


def test_estimate_of_one_and_of_none() -> None:
    one = estimate([0.5])
    assert one.mean == 0.5 and not one.has_interval
    assert estimate([math.nan]).n == 0


def best_of(*trials: dict[str, object]) -> tuple[Best, ...]:
    return analyze(small_table(*trials)).best


def test_selection_ignores_confirmation_and_the_interval_uses_nothing_else() -> None:
    runs = [0.70, 0.72, 0.74]
    best = best_of(
        trial(configuration="a", value=0.9, test=0.89, rho=0.1),
        trial(configuration="b", value=0.8, test=0.99, rho=0.2),
        *(
            trial(configuration="a", seed=9 + i, value=v, test=v - 0.1, confirm=True, rho=0.1)
            for i, v in enumerate(runs)
        ),
        trial(configuration="a", seed=20, value=None, confirm=True, status="failed", rho=0.1),
    )
    (first,) = best
    assert (first.configuration_id, first.rank, first.n_configurations) == ("a", 1, 2)
    assert first.params == {"rho": 0.1}
    assert first.selection.mean == 0.9 and first.selection.n == 1
    assert first.confirmation is not None and first.confirmation.test is not None
    assert first.confirmation.objective == estimate(runs)
    assert first.confirmation.test.mean == pytest.approx(0.62)
    assert first.confirmation.n_failed == 1
    assert first.reported is first.confirmation.test


def test_without_confirmation_nothing_is_reported() -> None:
    (first,) = best_of(trial(value=0.9))
    assert first.confirmation is None and first.reported is None


def test_other_confirmed_configurations_are_listed_with_their_rank() -> None:
    best = best_of(
        trial(configuration="a", value=0.9),
        trial(configuration="b", value=0.8),
        trial(configuration="c", value=0.7),
        trial(configuration="c", seed=9, value=0.95, confirm=True),
    )
    assert [(b.configuration_id, b.rank) for b in best] == [("a", 1), ("c", 3)]


def test_confirmation_runs_that_did_not_train_count() -> None:
    (first,) = best_of(
        trial(value=0.9),
        trial(seed=8, value=0.9, confirm=True),
        trial(seed=9, value=0.1, confirm=True, status="collapsed"),
    )
    assert first.confirmation is not None
    assert first.confirmation.n_not_trained == 1
    assert first.confirmation.objective.mean == pytest.approx(0.5)


def test_arms_are_separated_only_where_intervals_do_not_touch() -> None:
    table = small_table(
        *(trial(arm=a, configuration=a, value=v) for a, v in (("x", 0.9), ("y", 0.9), ("z", 0.9))),
        *(
            trial(arm=a, configuration=a, seed=9 + i, value=m + d, confirm=True)
            for a, m in (("x", 0.5), ("y", 0.501), ("z", 0.9))
            for i, d in enumerate((-0.001, 0.0, 0.001))
        ),
    )
    assert separated(analyze(table).best, maximize=True) == {"z": ("x", "y")}
    assert separated(analyze(table).best, maximize=False) == {"x": ("z",), "y": ("z",)}


def test_no_interval_overlaps_everything() -> None:
    assert Estimate(1, 0.1, math.nan, math.nan, math.nan).overlaps(estimate([0.9, 0.9001]))


def region(values: list[object], failing: list[bool]) -> list[tuple[bool, float, float]]:
    found = failing_region("rho", pd.Series(values), np.array(failing))
    return [(r.above, r.bound, r.clean) for r in found]


def test_failures_above_a_value_are_a_region() -> None:
    rho = [0.01, 0.02, 0.05, 0.1, 0.2, 0.71, 0.9, 1.5]
    assert region(rho, [v > 0.5 for v in rho]) == [(True, 0.71, 0.2)]
    assert region(rho, [v < 0.03 or v == 0.05 for v in rho]) == [(False, 0.05, 0.1)]


def test_scattered_failures_are_no_region() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert region(values, [True, False, False, False, False, True]) == []
    # One failure at a third of the range: chance alone does that often.
    assert region(values, [False, False, True, False, False, False]) == []


def test_no_region_over_names_nothing_failing_or_nulls() -> None:
    assert region(["a", "b"], [False, True]) == []
    assert region([0.1, 0.2], [False, False]) == []
    assert region([0.1, None], [False, True]) == []


def test_the_cliffs_of_a_whole_study() -> None:
    found = {f.arm: f for f in analyze(digits_table(), STUDY).failures}
    assert found["sgd"].n_not_trained == 0 and found["sgd"].regions == ()
    (sam,), (fsam,) = found["sam"].regions, found["fsam"].regions
    assert sam.parameter == fsam.parameter == "rho"
    assert sam.above and sam.clean < sam.bound < fsam.bound
