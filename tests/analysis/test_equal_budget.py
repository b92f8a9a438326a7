"""Comparisons at equal budgets against enumeration of all sets, and the cases without an interval."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from synthetic import digits_table, small_table, trial

from hpsearch.analysis.columns import standard
from hpsearch.analysis.equal_budget import at_equal_budgets, best_of
from hpsearch.analysis.objective import Objective

VALIDATION = Objective("val_accuracy", "metrics.val_accuracy", True, True)
TEST = Objective("test_accuracy", "metrics.test_accuracy", True, True)


def study(n=12, seeds=3, arms=("sgd", "sam"), sampler="random", samples=(1000.0, 2000.0), seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        trial(arm=arm, configuration=f"{arm}{i}", seed=s, value=v, test=v - 0.1 + rng.normal(0, 0.01), samples=cost)
        for arm, cost in zip(arms, samples, strict=True)
        for i in range(n)
        for s in range(seeds)
        for v in [0.7 + 0.01 * i + rng.normal(0, 0.01)]
    ]
    return standard(small_table(*rows).assign(**{"sampling.sampler": sampler}))


def rows_of(trials, objective=VALIDATION, judged=TEST, arms=("sgd", "sam")):
    return at_equal_budgets(trials, list(arms), objective, judged)


def by_hand(trials, arm, k):
    """All sets of k, every seed left out once."""
    rows = trials[trials["arm"] == arm]
    x = rows.pivot(index="configuration_id", columns="seed", values=VALIDATION.column).to_numpy()
    y = rows.pivot(index="configuration_id", columns="seed", values=TEST.column).to_numpy()
    found = []
    for s in range(x.shape[1]):
        score = np.delete(x, s, axis=1).mean(axis=1)
        sets = [max(c, key=lambda i: score[i]) for c in combinations(range(len(x)), k)]
        found.append(np.mean([y[i, s] for i in sets]))
    return np.mean(found)


def test_the_mean_over_all_sets_and_left_out_seeds() -> None:
    trials = study()
    row = rows_of(trials)[0]
    assert (row.arm, row.control, row.budget, row.k_arm, row.k_control, row.n_seeds) == (
        "sam",
        "sgd",
        "configurations",
        3,
        3,
        3,
    )
    assert row.value_arm == pytest.approx(by_hand(trials, "sam", 3))
    assert row.difference == pytest.approx(by_hand(trials, "sam", 3) - by_hand(trials, "sgd", 3))
    assert row.low < row.difference < row.high


def test_leaving_one_out_agrees_with_doing_it() -> None:
    rng = np.random.default_rng(1)
    score, y = np.round(rng.random(9), 1), rng.random(9)
    score = score + np.arange(9) * 1e-6  # no ties: with ties the left-out value is approximate
    for k in (1, 3, 2.5, 8):
        slow = [best_of(np.delete(score, j), np.delete(y, j), k)[0] for j in range(9)]
        assert best_of(score, y, k)[1] == pytest.approx(slow)


def test_equal_scores_are_drawn_among_at_random() -> None:
    assert best_of(np.array([1.0, 1.0, 0.0]), np.array([5.0, 7.0, 0.0]), 3)[0] == pytest.approx(6.0)


def test_at_equal_compute_the_dearer_arm_tries_fewer() -> None:
    rows = {(r.budget, np.isfinite(r.low)): r for r in rows_of(study())}
    with_interval, whole = rows["backward_samples", True], rows["backward_samples", False]
    assert (with_interval.k_arm, with_interval.k_control) == (1.5, 3)
    assert with_interval.compute_arm == pytest.approx(with_interval.compute_control) == pytest.approx(9000)
    assert (whole.k_arm, whole.k_control) == (6, 12)
    assert not any(budget in ("flops", "seconds") for budget, _ in rows)


@pytest.mark.parametrize("trials", [study(n=9), study(seeds=1), study(n=1)])
def test_no_interval_on_few_configurations_or_one_seed(trials) -> None:
    rows = rows_of(trials)
    assert rows and all(np.isnan(r.low) and np.isfinite(r.difference) and "no interval" in r.method for r in rows)


def test_adaptive_arms_are_compared_as_tried_without_an_interval() -> None:
    trials = study(sampler="tpe")
    rows = rows_of(trials)
    assert [r.k_arm for r in rows] == [12, 6] and all(np.isnan(r.low) for r in rows)
    first = trials["configuration_id"].isin([f"sam{i}" for i in range(6)])
    assert rows[1].value_arm == pytest.approx(by_hand(trials[first], "sam", 6))


def test_a_minimised_metric_flips_both() -> None:
    trials = study()
    mirrored = trials.assign(**{o.column: -trials[o.column] for o in (VALIDATION, TEST)})
    down = [Objective(o.name, o.column, False, False) for o in (VALIDATION, TEST)]
    for up, flipped in zip(rows_of(trials), rows_of(mirrored, *down), strict=True):
        assert flipped.difference == pytest.approx(-up.difference)


def test_a_shared_seed_cancels() -> None:
    trials = study()
    shifted = trials.assign(**{c.column: trials[c.column] + 0.3 * trials["seed"] for c in (VALIDATION, TEST)})
    for one, other in zip(rows_of(trials), rows_of(shifted), strict=True):
        assert other.difference == pytest.approx(one.difference)
        assert other.high == pytest.approx(one.high, nan_ok=True)


def test_incomplete_configurations_are_left_out_and_repeated_rows_count_once() -> None:
    trials = study()
    trials.loc[trials.index[0], TEST.column] = np.nan
    assert rows_of(trials)[0].n_control == 11
    full = study()
    repeated = rows_of(pd.concat([full, full.iloc[:7]], ignore_index=True))
    assert [r.difference for r in repeated] == pytest.approx([r.difference for r in rows_of(full)])


def test_nothing_to_compare() -> None:
    assert rows_of(study(arms=("sgd",), samples=(1.0,)), arms=("sgd",)) == ()
    assert rows_of(study(arms=("sgd",), samples=(1.0,))) == ()
    assert rows_of(study().assign(**{VALIDATION.column: np.nan})) == ()
    assert at_equal_budgets(standard(pd.DataFrame()), [], VALIDATION, VALIDATION) == ()


def test_the_interval_widens_with_the_number_of_arms() -> None:
    trials = study(arms=("sgd", "sam", "fsam"), samples=(1.0, 1.0, 1.0))
    two, three = rows_of(trials)[0], rows_of(trials, arms=("sgd", "sam", "fsam"))[0]
    assert (two.comparisons, three.comparisons) == (1, 2) and three.high > two.high


def test_on_a_whole_study() -> None:
    trials = standard(digits_table(12))
    arms = list(trials["arm"].unique())
    rows = rows_of(trials, arms=arms)
    assert {r.budget for r in rows} == {"configurations", "backward_samples", "flops", "seconds"}
    assert {r.arm for r in rows} == set(arms[1:]) and all(r.level == 0.95 and r.assumes for r in rows)
