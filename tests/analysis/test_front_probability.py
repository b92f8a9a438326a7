"""Probabilities of being on the front: known answers, edges, and calibration on simulated studies."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import digits_table, small_table, trial

from hpsearch.analysis.columns import standard
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.front_probability import best_for_cost, cost_groups, front_probability, seed_noise
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.pareto import front, non_dominated
from tests.calibration.arms import front_calibration

ACCURACY = Objective("val_accuracy", "metrics.val_accuracy", True, True)
LOSS = Objective("val_loss", "metrics.val_accuracy", False, False)


def study(values, costs=None, arm="sam"):
    """values: (configurations, seeds)."""
    return [
        trial(arm=arm, configuration=f"{arm}{i}", seed=s, value=v, samples=1000.0 if costs is None else costs[i])
        for i, row in enumerate(values)
        for s, v in enumerate(row)
    ]


def of(rows, objective=ACCURACY, **more):
    trials = standard(small_table(*rows))
    return front_probability(
        trials, front(summarize(trials, objective.column), objective, "backward_samples"), objective, **more
    )


def test_draws_agree_with_the_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        cost, gain = rng.integers(0, 4, 10).astype(float), rng.random((3, 10))
        found = best_for_cost(gain, cost_groups(cost))
        assert all(f.tolist() == non_dominated(cost, g).tolist() for f, g in zip(found, gain, strict=True))


def test_costs_equal_but_for_rounding_are_equal() -> None:
    assert cost_groups(np.array([2e9, 1e9, 1e9 * (1 + 1e-15), 3.0])).tolist() == [2, 1, 1, 0]


def test_two_configurations_of_equal_cost_share_the_front() -> None:
    # Two means are too few to shrink: the flat-prior answer, a t distribution of the difference.
    rng = np.random.default_rng(1)
    y = rng.normal(0.8, 0.01, (2, 6))
    found = of(study(y), draws=40_000)
    p = found.points["probability"].to_numpy()
    assert p.sum() == pytest.approx(1.0)
    residual = y - y.mean(0) - y.mean(1, keepdims=True) + y.mean()
    sd = np.sqrt((residual**2).sum() / 5 * 2 / 6)
    assert p[0] == pytest.approx(stats.t.cdf((y[0].mean() - y[1].mean()) / sd, 5), abs=0.01)
    assert found.df == 5


def test_what_a_seed_adds_to_all_is_no_noise() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(0.8, 0.01, (8, 4))
    shifted = y + rng.normal(0, 0.2, 4)
    one, other = of(study(y)).points, of(study(shifted)).points
    assert other["probability"].tolist() == pytest.approx(one["probability"].tolist(), abs=1e-9)


def test_seeds_that_configurations_do_not_share_give_the_plain_pooled_variance() -> None:
    y = np.random.default_rng(3).normal(0.8, 0.01, (5, 3))
    rows = [r | {"seed": i} for i, r in enumerate(study(y))]
    trials = standard(small_table(*rows))
    noise = seed_noise(trials, summarize(trials), ACCURACY)
    assert noise.df == 10 and noise.variance[0] == pytest.approx(y.var(axis=1, ddof=1).mean())


def test_many_alike_shrink_and_none_is_certain() -> None:
    found = of(study(np.random.default_rng(4).normal(0.8, 0.01, (40, 3)))).points
    assert found["probability"].sum() == pytest.approx(1.0) and found["probability"].max() < 0.3
    assert found["shrunk"].std() < 0.6 * found["mean"].std()
    assert ((found["low"] < found["shrunk"]) & (found["shrunk"] < found["high"])).all()


def test_clear_cases_are_sure() -> None:
    noise = np.array([-0.001, 0.0, 0.001])
    y = np.array([0.7, 0.9, 0.8])[:, None] + noise * np.array([[1], [-1], [1]])
    assert of(study(y, [1.0, 2.0, 3.0])).points["probability"].tolist() == [1.0, 1.0, 0.0]


def test_a_minimised_metric_is_the_mirror_image() -> None:
    y = np.random.default_rng(5).normal(0.8, 0.01, (6, 3))
    up, down = of(study(y)).points, of(study(-y), LOSS).points
    assert up["probability"].tolist() == pytest.approx(down["probability"].tolist(), abs=1e-9)
    assert up["low"].tolist() == pytest.approx((-down["high"]).tolist(), abs=1e-6)


def test_the_same_seed_gives_the_same_numbers() -> None:
    y = np.random.default_rng(6).normal(0.8, 0.01, (6, 3))
    first, again, other = (of(study(y), seed=s).points["probability"].tolist() for s in (0, 0, 1))
    assert first == again != other


def test_a_configuration_that_did_not_train_is_off_the_front() -> None:
    rows = study(np.random.default_rng(7).normal(0.8, 0.01, (4, 3)))
    rows.append(trial(configuration="bad", value=0.1, samples=1.0, status="diverged"))
    points = of(rows).points.set_index("configuration_id")
    assert points.loc["bad", "probability"] == 0.0 and np.isnan(points.loc["bad", "shrunk"])


def test_one_seed_has_no_probability() -> None:
    found = of(study([(0.8,), (0.9,)]))
    assert found.df == 0 and found.points["probability"].isna().all() and np.isnan(found.error)


def test_an_arm_without_repeats_takes_the_noise_of_the_others() -> None:
    y = np.random.default_rng(8).normal(0.8, 0.01, (6, 3))
    found = of(study(y) + study([(0.8,), (0.81,)], arm="sgd")).points
    assert found["probability"].notna().all() and found["probability"].sum() == pytest.approx(1.0)


def test_one_configuration_a_constant_metric_and_none_at_all() -> None:
    assert of(study([(0.8, 0.9)])).points["probability"].tolist() == [1.0]
    assert of(study([(0.8, 0.8, 0.8)] * 3)).points["probability"].tolist() == [1.0] * 3
    assert len(of([trial(value=None)]).points) == 0
    every = of([trial(configuration=c, seed=s, value=0.1, status="diverged") for c in "ab" for s in (0, 1)])
    assert every.points["probability"].tolist() == [0.0, 0.0] and every.n == 0


def test_repeated_rows_count_once() -> None:
    rows = study(np.random.default_rng(9).normal(0.8, 0.01, (6, 3)))
    trials = standard(small_table(*rows))
    points = summarize(trials)
    once = seed_noise(trials, points, ACCURACY)
    twice = seed_noise(pd.concat([trials, trials], ignore_index=True), points, ACCURACY)
    assert twice.df == once.df and twice.variance == pytest.approx(once.variance)


def test_on_a_whole_study_with_ten_thousand_trials() -> None:
    trials = standard(digits_table(12))
    found = front_probability(trials, front(summarize(trials), ACCURACY, "flops"), ACCURACY)
    assert found.points["probability"].between(0, 1).all() and found.error < 0.01
    y = np.random.default_rng(10).normal(0.8, 0.01, (3334, 3))
    wide = standard(pd.DataFrame(study(y)))
    points = front(summarize(wide), ACCURACY, "backward_samples")
    assert front_probability(wide, points, ACCURACY, draws=1000).points["probability"].sum() == pytest.approx(1.0)


def test_stated_probabilities_come_true_more_often_than_the_bootstraps() -> None:
    found = front_calibration(40, np.random.default_rng(11), draws=400)
    model, plain = found["model"], found["bootstrap"]
    assert model["brier"] < plain["brier"] and model["ece"] < 0.6 * plain["ece"]
    assert all(abs(b["stated"] - b["true"]) < 0.35 for b in model["bins"] if b["n"] >= 10)


def test_where_seeds_fail_the_best_is_less_sure() -> None:
    y = np.linspace(0.7, 0.9, 12)[:, None] + np.random.default_rng(12).normal(0, 0.002, (12, 3))
    rows = study(y, list(np.linspace(1, 2, 12)))
    sure = of(rows).points.set_index("configuration_id")["probability"]
    for i in range(6):  # one seed of each did not train: any other may fail as well
        seeds = [(0.8, "complete"), (0.8, "complete"), (0.1, "diverged")]
        rows += [
            trial(configuration=f"risky{i}", seed=s, value=v, status=status, samples=3.0)
            for s, (v, status) in enumerate(seeds)
        ]
    unsure = of(rows).points.set_index("configuration_id")["probability"]
    assert sure["sam10"] > 0.99 and 0.2 < unsure["sam10"] < 0.95
    assert (unsure.filter(like="risky") == 0).all()
