"""How likely each configuration is on the true front of accuracy against compute, given the noise of seeds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaln

from hpsearch.analysis.columns import NO_RESULT, NOT_TRAINED, numeric
from hpsearch.analysis.configurations import KEYS
from hpsearch.analysis.estimate import LEVEL
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.pareto import Front

Floats = NDArray[np.float64]

DRAWS = 4000
SPREADS = 60  # values of the prior's sd that are weighed
BLOCK = 4_000_000  # numbers held at a time

METHOD = (
    "share of posterior draws in which no other configuration is at least as good for no more compute; normal means "
    "shrunk to their arm's, one variance of seeds per arm with its uncertainty, what a seed adds to all removed, "
    "the chance that a new seed does not train from the arm's other configurations"
)
ASSUMES = (
    "normal noise, one variance in an arm; means of an arm about normal; compute known; the chance of not training "
    "does not depend on where in the space; only configurations all of whose seeds trained may be on the front"
)


@dataclass(frozen=True)
class FrontProbability:
    """The front of one way to count compute, with probabilities.

    points: the rows of `Front.points` and probability: of being on the front of the true means (0 where a seed
    did not train, NaN where there is nothing to estimate noise from); shrunk, low, high: posterior mean of the
    configuration and its central interval at `level`, metric's unit.
    n: configurations that may be on the front. df: degrees of freedom of the noise, all arms together.
    error: the largest Monte Carlo standard error of a probability. A probability is about one configuration: no
    joint statement, so no correction for how many there are.
    """

    compute: str
    points: pd.DataFrame
    n: int
    df: int
    draws: int
    error: float
    level: float
    method: str = METHOD
    assumes: str = ASSUMES


def front_probability(
    trials: pd.DataFrame, front: Front, objective: Objective, seed: int = 0, draws: int = DRAWS, level: float = LEVEL
) -> FrontProbability:
    """Posterior probabilities for the points of a front. trials: as `standard` returns."""
    points = front.points.reset_index(drop=True)
    able = np.flatnonzero((points["n_not_trained"] == 0).to_numpy(bool))
    added = {name: np.full(len(points), np.nan) for name in ("probability", "shrunk", "low", "high")}
    added["probability"][(points["n_not_trained"] > 0).to_numpy(bool)] = 0.0
    noise = seed_noise(trials, points.iloc[able], objective)
    if noise.df > 0:
        rng = np.random.default_rng(seed)
        on_front = np.zeros(len(able))
        kept: list[Floats] = []
        groups = cost_groups(points["compute"].to_numpy(float)[able])
        failing = fail_rates(trials, points, objective)
        for means in posterior(noise, points.iloc[able], failing, draws, rng):
            on_front += best_for_cost(means, groups).sum(axis=0)
            kept.append(means[:: max(1, draws // 400)])
        sample = objective.sign * np.concatenate(kept)  # every tenth draw is enough for an interval
        added["probability"][able] = on_front / draws
        added["shrunk"][able] = sample.mean(axis=0)
        tails = np.quantile(sample, [(1 - level) / 2, (1 + level) / 2], axis=0)
        added["low"][able], added["high"][able] = tails
    p = added["probability"][able]
    error = float(np.sqrt(p * (1 - p) / draws).max()) if noise.df > 0 and len(p) else math.nan
    return FrontProbability(front.compute, points.assign(**added), len(able), noise.df, draws, error, level)


@dataclass(frozen=True)
class Noise:
    """Configurations as estimates with noise: mean (n,), larger is better; seeds (n,); variance of one seed (n,) and
    the degrees of freedom it rests on (n,), those of the arm; df: of all arms."""

    mean: Floats
    seeds: Floats
    variance: Floats
    arm_df: Floats
    df: int


def seed_noise(trials: pd.DataFrame, points: pd.DataFrame, objective: Objective) -> Noise:
    """Additive model: configuration + seed + noise, fitted by least squares (alternating), noise pooled by arm.

    What a seed adds to every configuration of every arm moves no comparison. An arm without a repeated
    configuration takes the variance of all arms.
    """
    rows = trials[~trials["sampling.confirm"] & ~trials["status"].isin(NO_RESULT)]
    rows = rows.assign(value=objective.sign * numeric(rows, objective.column)).dropna(subset=["value"])
    index = points[KEYS].assign(point=np.arange(len(points)))
    rows = rows.merge(index, on=KEYS)
    if "seed" not in rows.columns:
        rows = rows.assign(seed=np.arange(len(rows)))
    runs = rows.groupby(["point", "seed"])["value"].mean().reset_index()  # a repeated row is one run
    point, y = runs["point"].to_numpy(int), runs["value"].to_numpy(float)
    seed, names = pd.factorize(runs["seed"])
    count = np.bincount(point, minlength=len(points)).astype(float)
    per_seed = np.bincount(seed, minlength=len(names)).astype(float)
    shift = np.zeros(len(names))
    mean = np.zeros(len(points))
    for _ in range(30):
        mean = np.bincount(point, y - shift[seed], len(points)) / np.maximum(count, 1)
        shift = np.bincount(seed, y - mean[point], len(names)) / per_seed
        shift = np.where(per_seed > 1, shift - shift[per_seed > 1].mean(), 0.0) if (per_seed > 1).any() else shift * 0
    scale = float(np.abs(y).max()) if len(y) else 0.0
    if scale > 0:  # sums leave rounding in what were equal means, or no noise
        mean = np.round(mean / scale, 13) * scale
    residual = y - mean[point] - shift[seed]
    squares = np.where(np.abs(residual) > 1e-12 * scale, residual, 0.0) ** 2
    arms, arm_names = pd.factorize(points["arm"])
    total = np.bincount(arms, np.bincount(point, squares, len(points)), len(arm_names))
    df = np.bincount(arms, np.maximum(count - 1, 0), len(arm_names))
    repeated = df.sum()
    # The seed shifts cost degrees of freedom, here shared in proportion.
    df = df * max(0.0, 1 - max(0, (per_seed > 1).sum() - 1) / repeated) if repeated else df
    every = total.sum() / df.sum() if df.sum() > 0 else math.nan
    variance = np.where(df >= 1, total / np.maximum(df, 1e-9), every)
    arm_df = np.where(df >= 1, df, df.sum())
    return Noise(mean, count, variance[arms], arm_df[arms], int(round(float(df.sum()))))


@dataclass(frozen=True)
class FailRate:
    """An arm's beta distribution of the probability that a seed does not train, and the mean value if it does not."""

    a: float
    b: float
    value: float


def fail_rates(trials: pd.DataFrame, points: pd.DataFrame, objective: Objective) -> dict[str, FailRate]:
    """Per arm in which some seed did not train: the beta-binomial of largest likelihood over its configurations."""
    rows = trials[~trials["sampling.confirm"] & trials["status"].isin(NOT_TRAINED)]
    gain = (objective.sign * numeric(rows, objective.column)).groupby(rows["arm"]).mean().dropna()
    share, strength = np.meshgrid(np.geomspace(0.002, 0.9, 40), np.geomspace(0.02, 20, 30))
    a, b = (share * strength).ravel()[:, None], ((1 - share) * strength).ravel()[:, None]
    found = {}
    for arm, rows in points[points["arm"].isin(gain.index)].groupby("arm"):
        # Configurations with the same counts are one term.
        counts = rows.groupby(["n_not_trained", "n_ended"]).size()
        failed, ended = (counts.index.get_level_values(i).to_numpy(float) for i in (0, 1))
        terms = betaln(a + failed, b + ended - failed) - betaln(a, b)  # (grid, counts)
        at = int((terms @ counts.to_numpy(float)).argmax())
        found[str(arm)] = FailRate(float(a[at, 0]), float(b[at, 0]), float(gain[arm]))
    return found


def posterior(
    noise: Noise, points: pd.DataFrame, failing: dict[str, FailRate], draws: int, rng: np.random.Generator
) -> Iterator[Floats]:
    """Draws of the true means, blocks of (b, n) that add up to `draws` rows.

    Per arm: noise variance scaled inverse chi-square; the prior's sd from its marginal likelihood at the
    estimated noise, flat in the sd (Gelman 2006); centre and means normal given those (Gelman et al., BDA3, 5.4).
    Where seeds of an arm did not train, those of a configuration may all have trained by luck: its chance of not
    training is beta given that none did, and lowers its mean.
    """
    arm = points["arm"].to_numpy()
    n = len(noise.mean)
    size = max(1, BLOCK // max(n, 1))
    members = [np.flatnonzero(arm == name) for name in pd.unique(arm)]
    spreads = [_spread(noise.mean[i], noise.variance[i] / noise.seeds[i]) for i in members]
    for start in range(0, draws, size):
        b = min(size, draws - start)
        means = np.empty((b, n))
        for i, (grid, weight) in zip(members, spreads, strict=True):
            df = noise.arm_df[i[0]]
            factor = df / rng.chisquare(df, b)  # (b,)
            error = factor[:, None] * (noise.variance[i] / noise.seeds[i])[None]  # (b, m)
            between = rng.choice(grid, b, p=weight)[:, None] ** 2
            precision = 1 / np.maximum(error + between, 1e-300)
            total = precision.sum(axis=1, keepdims=True)
            centre = (precision * noise.mean[i]).sum(axis=1, keepdims=True) / total
            centre = centre + rng.standard_normal((b, 1)) / np.sqrt(total)
            keep = between * precision  # weight of the configuration's own mean
            spread = np.sqrt(np.maximum(keep * error, 0.0))
            means[:, i] = centre + keep * (noise.mean[i] - centre) + spread * rng.standard_normal((b, len(i)))
            rate = failing.get(str(arm[i[0]]))
            if rate is not None:
                p = rng.beta(rate.a, rate.b + noise.seeds[i], (b, len(i)))
                means[:, i] += p * np.minimum(rate.value - means[:, i], 0.0)
        yield means


def _spread(mean: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Values of the prior's sd and their posterior probability, (SPREADS,) each."""
    top = 3 * float(mean.std()) + 3 * math.sqrt(float(error.mean())) if len(mean) > 2 else 0.0
    if not top > 0:  # too few to learn from (or no spread at all): a prior so wide that nothing is shrunk
        wide = 100 * (float(np.ptp(mean)) + math.sqrt(float(error.max())))
        return np.array([wide]), np.ones(1)
    grid = top * (np.arange(SPREADS) + 0.5) / SPREADS  # not 0: then all would tie, and tie for the front
    variance = np.maximum(error + grid[:, None] ** 2, 1e-300)  # (SPREADS, m)
    precision = (1 / variance).sum(axis=1)
    centre = (mean / variance).sum(axis=1) / precision
    log = -0.5 * (np.log(variance).sum(axis=1) + np.log(precision) + ((mean - centre[:, None]) ** 2 / variance).sum(1))
    weight = np.exp(log - log.max())
    return grid, weight / weight.sum()


def cost_groups(cost: Floats) -> NDArray[np.int64]:
    """(n,) 0, 1, ... from cheap to dear; equal but for rounding is equal."""
    order = np.argsort(cost, kind="stable")
    ordered = cost[order]
    step = np.diff(ordered, prepend=ordered[:1]) > 1e-9 * np.abs(ordered)
    groups = np.empty(len(cost), dtype=np.int64)
    groups[order] = np.cumsum(step)
    return groups


def best_for_cost(means: Floats, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which are better than all cheaper ones and as good as any of their own cost. (b, n), (n,) -> (b, n)."""
    if not len(groups):
        return np.zeros(means.shape, dtype=np.bool_)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    best = np.maximum.reduceat(means[:, order], starts, axis=1)  # (b, groups)
    before = np.maximum.accumulate(best, axis=1)
    before = np.concatenate([np.full((len(means), 1), -np.inf), before[:, :-1]], axis=1)
    return np.asarray((means >= best[:, groups]) & (means > before[:, groups]), dtype=np.bool_)
