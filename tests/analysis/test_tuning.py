"""Tuning curves against simulation, opda's bands and small cases by hand."""

import numpy as np
import pandas as pd
import pytest
from opda.nonparametric import EmpiricalDistribution
from synthetic import digits_table, small_table, trial

from hpsearch.analysis.columns import standard
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.tuning import k_grid, median_best, order_bounds, probability_within, selected, tuning_curves

ACCURACY = Objective("val_accuracy", "metrics.val_accuracy", True, True)
LOSS = Objective("val_loss", "metrics.val_accuracy", False, False)


def table(values, sampler="random", arm="sam", **columns):
    rows = [trial(arm=arm, configuration=f"{arm}{i}", value=v) for i, v in enumerate(values)]
    return small_table(*rows).assign(
        **{"sampling.sampler": sampler, "sampling.phase": 0, "sampling.index": range(len(rows))}, **columns
    )


def curves(trials, objective=ACCURACY):
    trials = standard(trials)
    arms = list(dict.fromkeys(trials["arm"]))
    return tuning_curves(trials, summarize(trials, objective.column), arms, objective)


def test_the_probability_of_staying_within_bounds_agrees_with_simulation() -> None:
    lower, upper = np.array([0.05, 0.2, 0.3, 0.5]), np.array([0.5, 0.6, 0.9, 0.97])
    u = np.sort(np.random.default_rng(0).random((200_000, 4)), axis=1)
    inside = ((u >= lower) & (u <= upper)).all(axis=1).mean()
    assert probability_within(lower, upper) == pytest.approx(inside, abs=0.005)
    assert probability_within([0.1], [0.7]) == pytest.approx(0.6)
    assert probability_within([0.0, 0.0], [1.0, 1.0]) == pytest.approx(1.0)


@pytest.mark.parametrize("n", [1, 2, 30, 200])
def test_the_bounds_hold_with_their_level(n) -> None:
    assert probability_within(*order_bounds(n, 0.95)) == pytest.approx(0.95, abs=1e-5)


def test_agrees_with_opda() -> None:
    y = np.sort(np.random.default_rng(1).random(9))
    ks = k_grid(9)
    lower, point, upper = EmpiricalDistribution.confidence_bands(
        y, 0.95, a=0.0, b=1.0, method="ld_equal_tailed", generator=np.random.default_rng(0), n_jobs=1
    )
    low, best, high = median_best(y, ks, 0.95, 0.0, 1.0)
    assert low == pytest.approx(upper.quantile_tuning_curve(ks))
    assert best == pytest.approx(point.quantile_tuning_curve(ks))
    assert high == pytest.approx(lower.quantile_tuning_curve(ks))
    # opda simulates its level: 100,000 draws.
    assert lower.cdf(y) == pytest.approx(order_bounds(9, 0.95)[0], abs=0.002)


def coverage(ks, decimals=9, level=0.9, n=20, repeats=1000) -> float:
    rng = np.random.default_rng(2)
    pool = np.sort(np.round(rng.beta(5, 2, 400_000), decimals))
    truth = pool[np.ceil(0.5 ** (1 / ks) * len(pool)).astype(int) - 1]
    inside = 0
    for _ in range(repeats):
        low, _, high = median_best(np.sort(np.round(rng.beta(5, 2, n), decimals)), ks, level, 0.0, 1.0)
        inside += bool(((low <= truth) & (truth <= high)).all())
    return inside / repeats


def test_the_band_is_exact_over_all_real_k() -> None:
    # Below k = 1 it speaks of the worst configurations, above n of ones better than any seen.
    assert coverage(np.geomspace(0.05, 500, 2000)) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("decimals", [9, 1])
def test_the_band_holds_the_whole_curve_ties_or_not(decimals) -> None:
    assert coverage(k_grid(20), decimals) > 0.9


def test_a_minimised_metric_is_the_mirror_image() -> None:
    values = np.random.default_rng(3).normal(size=25)
    (up,), (down,) = curves(table(values), LOSS), curves(table(-values), Objective("x", LOSS.column, True, False))
    for one, other in (("best", "best"), ("low", "high"), ("high", "low")):
        assert up.points[one].to_numpy() == pytest.approx(-down.points[other].to_numpy())
    assert (up.points["best"].diff().dropna() <= 0).all() and np.isneginf(up.points["low"].iloc[-1])


def test_the_kind_of_band_follows_the_sampler() -> None:
    values = np.linspace(0.5, 0.9, 12)
    kinds = {s: [c.band for c in curves(table(values, s))] for s in ("random", "qmc", "grid", "tpe", None)}
    assert kinds == {
        "random": ["exact"],
        "qmc": ["approximate"],
        "grid": ["none"],
        "tpe": ["none"],
        None: ["approximate"],
    }


def test_adaptive_phases_only_give_the_observed_order() -> None:
    values = [0.5, 0.7, 0.6, 0.9, 0.8]
    mixed = table(values, ["random", "random", "tpe", "tpe", "tpe"]).iloc[::-1]
    random, observed = curves(mixed)
    assert random.n == 2 and random.band == "exact"
    assert observed.points["best"].tolist() == [0.5, 0.7, 0.7, 0.9, 0.9]
    assert observed.points["low"].isna().all() and "adaptive" in observed.method
    assert observed.points["compute.backward_samples"].tolist() == [1000, 2000, 3000, 4000, 5000]


def test_compute_counts_all_seeds_and_failed_trials_but_no_repeated_rows() -> None:
    rows = [trial(configuration="a", seed=s, value=0.8) for s in range(3)]
    rows.append(trial(configuration="b", seed=0, value=None, status="failed", samples=400.0))
    rows.append(trial(configuration="c", seed=9, value=0.8, confirm=True))
    found = selected(standard(small_table(*rows, rows[0]))).set_index("configuration_id")
    assert found["compute.backward_samples"].to_dict() == {"a": 3000.0, "b": 400.0}
    assert found["compute.flops"].isna().all()


def test_bands_of_all_arms_hold_together() -> None:
    values = np.random.default_rng(4).random(20)
    (alone,) = curves(table(values))
    first, second = curves(pd.concat([table(values), table(values, arm="sgd")]))
    assert first.comparisons == 2 and first.band_level == pytest.approx(0.975)
    assert (first.points["low"] <= alone.points["low"]).all() and (first.points["low"] < alone.points["low"]).any()


def test_one_configuration_one_seed() -> None:
    (curve,) = curves(table([0.7]))
    assert curve.points[["k", "best", "low", "high"]].to_numpy().tolist() == [[1, 0.7, 0.0, 1.0]]


def test_a_constant_metric_has_a_flat_curve_and_says_that_the_band_is_conservative() -> None:
    (curve,) = curves(table([0.1] * 15))
    assert set(curve.points["best"]) == {0.1} and "at least its level" in curve.assumes


def test_configurations_without_a_result_make_the_band_approximate() -> None:
    (curve,) = curves(table([0.7, 0.8, 0.9, np.nan]))
    assert (curve.n, curve.n_left_out, curve.band) == (3, 1, "approximate") and "left out" in curve.assumes


def test_nothing_measured_has_no_curve() -> None:
    assert curves(table([np.nan, np.nan])) == () and curves(pd.DataFrame()) == ()
    assert curves(table([0.1, 0.1], status="diverged"))[0].points["best"].tolist() == [0.1, 0.1]


def test_ten_thousand_trials_within_seconds() -> None:
    values = np.random.default_rng(5).random(3_334)
    wide = table(values).loc[lambda t: t.index.repeat(3)].assign(seed=np.tile(range(3), 3_334))
    (curve,) = curves(wide)
    assert len(curve.points) <= 50 and curve.points["k"].iloc[-1] == 3_334


def test_on_a_whole_study() -> None:
    trials = digits_table(12)
    found = curves(trials)
    assert [c.arm for c in found] == list(trials["arm"].unique())
    assert all(c.n + c.n_left_out in (4, 12) and c.level == 0.95 and c.method and c.assumes for c in found)
