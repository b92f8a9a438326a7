"""Tables in which configurations have different numbers of seeds, fixed by the spread of the first three."""

import math

import numpy as np
import pandas as pd
import pytest

from hpsearch.analysis import Options, analyze
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.two_stage import same_seeds
from hpsearch.results import Result
from hpsearch.seeds import TwoStage
from hpsearch.study import parse_study
from hpsearch.tally import Tally

RULE = TwoStage(min=3, max=12, half_width=0.01)
STUDY = parse_study("""
name: s
task: {name: digits}
arms: {sam: {parameters: {rho: {low: 0.0, high: 1.0}, lr: {low: 0.0, high: 1.0}}}}
sampling: [{sampler: random, configurations: 40}]
seeds: {min: 3, max: 12, half_width: 0.01}
objectives: {val_accuracy: maximize}
""")


def table(configurations, rng, noisy=0.02, quiet=0.002, arm="sam"):
    """Every second configuration is ten times as noisy. Seeds have nothing in common."""
    rows = []
    for number in range(configurations):
        rho, lr = rng.random(2)
        values = truth(rho, lr) + (noisy if number % 2 else quiet) * rng.standard_normal(RULE.max)
        for seed in range(RULE.number(list(values[: RULE.min]))):
            cost = {f"cost.{name}": 100.0 + rho for name in ("backward_samples", "flops", "seconds")}
            key = f"{arm}{number}"
            rows.append(
                {"trial_id": f"{key}/{seed}", "configuration_id": key, "arm": arm, "seed": seed, "status": "complete"}
                | {"params.rho": rho, "params.lr": lr, "metrics.val_accuracy": values[seed], **cost}
                | {
                    "sampling.confirm": False,
                    "sampling.sampler": "random",
                    "sampling.phase": 0,
                    "sampling.index": number,
                }
            )
    return pd.DataFrame(rows)


def truth(rho, lr):
    return 0.9 - 0.2 * (rho - 0.4) ** 2 - 0.05 * lr


def test_intervals_of_single_configurations_hold_whatever_their_spread():
    trials = table(4000, np.random.default_rng(3))
    rows = summarize(trials, rule=RULE)
    assert set(rows["interval"]) == {"two-stage"}
    real = truth(rows["params.rho"], rows["params.lr"])
    noisy = rows["configuration_id"].str[3:].astype(int) % 2 == 1
    inside = (rows["low"] <= real) & (real <= rows["high"])
    assert abs(inside[noisy].mean() - 0.95) < 0.015 and abs(inside[~noisy].mean() - 0.95) < 0.015  # 4 standard errors
    assert ((rows["high"] - rows["low"]) / 2 <= RULE.half_width * (1 + 1e-9))[rows["n"] < RULE.max].all()
    # The arm's variance is too small for the noisy ones and much too large for the others.
    pooled = summarize(trials)
    inside = (pooled["low"] <= real) & (real <= pooled["high"])
    assert inside[noisy].mean() < 0.94 < 0.99 < inside[~noisy].mean()


def test_the_interval_is_of_the_mean_over_all_seeds_with_the_spread_of_the_first():
    trials = table(2, np.random.default_rng(0))
    row = summarize(trials, rule=RULE).iloc[1]
    values = trials.loc[trials["configuration_id"] == "sam1", "metrics.val_accuracy"].tolist()
    assert row["n"] == len(values) > 3
    half = 4.302652729911275 * np.std(values[:3], ddof=1) / math.sqrt(len(values))
    assert (row["low"], row["high"]) == pytest.approx((np.mean(values) - half, np.mean(values) + half))


def test_a_configuration_without_all_its_first_seeds_has_the_interval_of_its_arm():
    trials = table(4, np.random.default_rng(0))
    rows = summarize(trials[~((trials["configuration_id"] == "sam2") & (trials["seed"] == 1))], rule=RULE)
    assert rows["interval"].tolist() == ["two-stage", "two-stage", "pooled", "two-stage"]


def test_what_goes_seed_by_seed_uses_the_seeds_that_all_have():
    """Seed 11 is there only where the first three lay far apart: a front of it would be of the noisy ones alone."""
    trials = table(40, np.random.default_rng(1))
    assert (trials["seed"] == 11).sum() > 10
    assert set(same_seeds(trials, STUDY)["seed"]) == {0, 1, 2}
    found = analyze(trials, STUDY, options=Options())
    model = found.answers.arms[0].model
    assert (model.effect.n_seeds, model.effect.n_configurations, model.setting.seeds) == (3, 40, 3)
    assert all(one.n_seeds == 3 for one in found.answers.attainments)
    assert model.surrogate.n == 40 and (model.rows["n"] > 3).sum() > 10
    # Weighted by their numbers, the surface is near the truth.
    points = np.random.default_rng(2).random((200, 2))
    names = list(model.inputs.names)
    rho, lr = points[:, names.index("rho")], points[:, names.index("lr")]
    assert np.abs(model.surrogate.mean(points) - truth(rho, lr)).mean() < 0.01


def test_the_best_may_have_few_seeds():
    """One that got no more seeds is as whole as one that got all of them."""
    trials = table(40, np.random.default_rng(1))
    best = analyze(trials, STUDY, options=None).best[0]
    means = trials.groupby("configuration_id")["metrics.val_accuracy"].mean()
    assert best.configuration_id == means.idxmax()


def test_the_live_view_says_what_the_analysis_says():
    trials = table(30, np.random.default_rng(5))
    results = [
        Result(
            row["trial_id"], row["configuration_id"], "sam", {}, {}, row["seed"], {"confirm": False}, "complete",
            metrics={"val_accuracy": row["metrics.val_accuracy"]},
        )
        for row in trials.to_dict("records")
    ]  # fmt: skip
    tally = Tally(STUDY, results).arms["sam"]
    best, rows = tally.best(), summarize(trials, rule=RULE)
    row = rows.loc[rows["mean"].idxmax()]
    assert (best.mean, best.half, best.n) == pytest.approx((row["mean"], (row["high"] - row["low"]) / 2, row["n"]))
    assert tally.spent().numbers == tuple(rows["n"]) and sum(tally.spent().numbers) == len(trials)
