"""What a search finds after k configurations: tuning curves, with exact simultaneous bands where these exist."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betaincinv, gammaln

from hpsearch.analysis.columns import COSTS, numeric
from hpsearch.analysis.configurations import KEYS
from hpsearch.analysis.estimate import LEVEL
from hpsearch.analysis.objective import Objective

Floats = NDArray[np.float64]

RANDOM = ("random", "qmc")  # samplers whose configurations follow the search space's own distribution
EVEN = (*RANDOM, "grid")  # samplers that do not look at results
GRID_SIZE = 50  # values of k in a curve, at most

MEANS = "of observed means over the study's seeds, so the noise of seeds is in it: the best of many is optimistic"
BAND = (
    "equal-tailed Learned-Miller-DeStefano band of the distribution function, its level found with an exact "
    "recursion, turned into a band of the median best of k (Lourie et al. 2311.09480); exact over all real k > 0 "
    "together, so at whole k up to n it covers more"
)


@dataclass(frozen=True)
class TuningCurve:
    """The best after k configurations of one arm.

    points: a row per k: k; best (metric's unit); low, high (NaN without a band, infinite where the data set no
    bound); compute.backward_samples, compute.flops, compute.seconds: spent on k configurations with all their
    seeds (NaN where not known).
    band: "exact", "approximate" or "none". level: simultaneous over all k and over the `comparisons` bands of all arms
    together; `band_level` is that of this band alone (Bonferroni). n: configurations with a mean; n_left_out:
    those of the same phases without one.
    """

    arm: str
    points: pd.DataFrame
    band: str
    n: int
    n_left_out: int
    level: float
    comparisons: int
    method: str
    assumes: str

    @property
    def band_level(self) -> float:
        return 1 - (1 - self.level) / max(1, self.comparisons)


def tuning_curves(
    trials: pd.DataFrame,
    configurations: pd.DataFrame,
    arms: Sequence[str],
    objective: Objective,
    level: float = LEVEL,
) -> tuple[TuningCurve, ...]:
    """Per arm a curve of its random phases, then, where a sampler looked at results, one in observed order.

    trials: as `standard` returns. configurations: as `summarize` returns for the objective.
    A configuration that did not train counts with its mean, as everywhere.
    """
    chosen = selected(trials).merge(configurations[[*KEYS, "n", "mean"]], on=KEYS)
    rows = {arm: chosen[chosen["arm"] == arm] for arm in arms}
    even = {arm: r[comparable(r)] for arm, r in rows.items()}
    bands = sum(bool((r["n"] > 0).any() and not (r["sampler"] == "grid").all()) for r in even.values())
    found: list[TuningCurve] = []
    for arm in arms:
        if (even[arm]["n"] > 0).any():
            found.append(_random_order(arm, even[arm], objective, level, bands))
        if (rows[arm]["n"] > 0).any() and (~is_even(rows[arm])).any():
            found.append(_observed_order(arm, rows[arm], objective, level, bands))
    return tuple(found)


def selected(trials: pd.DataFrame) -> pd.DataFrame:
    """A row per configuration of the selection, in the order tried: arm, configuration_id, sampler, compute.*.

    compute.<cost>: the sum over its trials, failed and stopped ones included: what trying it took. A row that
    repeats a trial counts once. NaN where no trial has the cost.
    """
    rows = trials[~trials["sampling.confirm"]]
    if "seed" in rows.columns:
        rows = rows[~rows.duplicated([*KEYS, "seed"], keep="last")]
    values = {name: rows[name] for name in KEYS}
    values["sampler"] = rows["sampling.sampler"] if "sampling.sampler" in rows.columns else pd.Series(None, rows.index)
    values |= {name: numeric(rows, f"sampling.{name}") for name in ("phase", "index")}
    values |= {f"compute.{name}": numeric(rows, f"cost.{name}") for name in COSTS}
    groups = pd.DataFrame(values).groupby(KEYS, sort=False)
    made = groups[["sampler", "phase", "index"]].first()
    made = made.join(groups[[f"compute.{name}" for name in COSTS]].sum(min_count=1))
    return made.reset_index().sort_values(["arm", "phase", "index"], kind="stable", ignore_index=True)


def is_even(chosen: pd.DataFrame) -> "pd.Series[bool]":
    """Which configurations no result has chosen. A sampler that is not known counts as one that did not look."""
    return chosen["sampler"].isna() | chosen["sampler"].isin(EVEN)


def comparable(chosen: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of one arm a random-order curve uses: those drawn from the space; a grid's only without such ones."""
    drawn = chosen["sampler"].isna() | chosen["sampler"].isin(RANDOM)
    return drawn if drawn.any() else is_even(chosen)


def _random_order(arm: str, rows: pd.DataFrame, objective: Objective, level: float, bands: int) -> TuningCurve:
    samplers = {"unknown" if pd.isna(s) else str(s) for s in rows["sampler"]}
    whole = rows[rows["n"] > 0]
    gain = np.sort(objective.sign * whole["mean"].to_numpy(float))  # (n,) ascending
    n, ks = len(gain), k_grid(len(gain))
    left_out = len(rows) - n
    band = "none" if samplers == {"grid"} else "exact" if samplers == {"random"} and not left_out else "approximate"
    bounds = (0.0, 1.0) if objective.maximize else (-1.0, 0.0)
    low, best, high = median_best(gain, ks, 1 - (1 - level) / max(1, bands), *(bounds if objective.share else ()))
    if band == "none":
        low = high = np.full(len(ks), np.nan)
    low, best, high = objective.sign * low, objective.sign * best, objective.sign * high
    spent = {f"compute.{name}": ks * rows[f"compute.{name}"].mean() for name in COSTS}
    points = {"k": ks, "best": best, "low": np.minimum(low, high), "high": np.maximum(low, high)}
    return TuningCurve(
        arm=arm,
        points=pd.DataFrame(points | spent),
        band=band,
        n=n,
        n_left_out=left_out,
        level=level,
        comparisons=bands,
        method=f"median best of k random configurations, {MEANS}; k to compute by the mean cost of a configuration"
        + (f"; {BAND}" if band != "none" else "; no band: a grid is no random sample"),
        assumes=_assumptions(samplers, left_out, len(np.unique(gain)) < n),
    )


def _assumptions(samplers: set[str], left_out: int, ties: bool) -> str:
    if samplers == {"grid"}:
        text = "the grid is all there is, and is tried in random order with replacement"
    else:
        text = "configurations drawn independently from one distribution"
    if "qmc" in samplers:
        text += "; quasi-random ones are more even than that, so the band is approximate"
    if "unknown" in samplers:
        text += "; the sampler is not known, so the band is approximate"
    if left_out:
        text += f"; {left_out} configurations without a result are left out, as if at random"
    return text + ("; with equal means the band covers at least its level" if ties and samplers != {"grid"} else "")


def _observed_order(arm: str, rows: pd.DataFrame, objective: Objective, level: float, bands: int) -> TuningCurve:
    """Costs add up in the order tried, those of configurations without a result included."""
    spent = rows[[f"compute.{name}" for name in COSTS]].cumsum().to_numpy(float)  # (all, costs)
    whole = (rows["n"] > 0).to_numpy(bool)
    gain = np.maximum.accumulate(objective.sign * rows["mean"].to_numpy(float)[whole])
    at = k_grid(len(gain)) - 1
    points = {"k": at + 1, "best": objective.sign * gain[at], "low": np.nan, "high": np.nan}
    columns = {f"compute.{name}": spent[whole][at, i] for i, name in enumerate(COSTS)}
    return TuningCurve(
        arm=arm,
        points=pd.DataFrame(points | columns),
        band="none",
        n=len(gain),
        n_left_out=int((~whole).sum()),
        level=level,
        comparisons=bands,
        method=f"observed order; adaptive, no band: one search, and the best so far {MEANS}",
        assumes="nothing beyond this one search",
    )


def k_grid(n: int) -> NDArray[np.int64]:
    """1 ... n, at most about GRID_SIZE values, log spaced where thinned."""
    if n <= GRID_SIZE:
        return np.arange(1, n + 1)
    return np.unique(np.round(np.geomspace(1, n, GRID_SIZE)).astype(np.int64))


def median_best(
    gain: Floats, ks: NDArray[np.int64], level: float, worst: float = -math.inf, top: float = math.inf
) -> tuple[Floats, Floats, Floats]:
    """low, point and high of the median of the best (largest) of k draws, (len(ks),) each.

    gain: (n,) ascending. The best of k has distribution function F^k, so its median is the 0.5^(1/k) quantile of F.
    A band lower <= F <= upper therefore gives high and low. worst, top: bounds of the support.
    With ties in F it holds with at least `level`: a value is Q(U) with U uniform, and F(Q(U)) >= U >= F(Q(U)-).
    """
    n = len(gain)
    lower, upper = order_bounds(n, level)
    extended = np.concatenate([[worst], gain, [top]])
    target = 0.5 ** (1 / ks)
    below = _quantile(extended, np.concatenate([upper, [1.0, 1.0]]), target)
    above = _quantile(extended, np.concatenate([[0.0], lower, [1.0]]), target)
    return below, _quantile(gain, np.arange(1, n + 1) / n, target), above


def _quantile(values: Floats, cumulative: Floats, target: Floats) -> Floats:
    """The smallest value whose distribution function reaches the target, but for rounding."""
    at = np.searchsorted(cumulative, target - 1e-12)
    return values[np.minimum(at, len(values) - 1)]


@lru_cache(maxsize=256)
def order_bounds(n: int, level: float) -> tuple[Floats, Floats]:
    """Bounds on the n uniform order statistics that hold together with `level`, (n,) each, equal-tailed.

    Learned-Miller & DeStefano 2008. Order statistics are beta distributed; the tail probability p, the same for
    all, is solved for. Measured on one core: 0.03 s at n = 48, 0.3 s at 512, 2 s at 3,000, 7 s at 10,000 (and
    kept); 100,000 simulations of the same took 3 s, 38 s and longer.
    """
    rank = np.arange(1, n + 1)

    def bounds(p: float) -> Floats:
        return np.asarray(betaincinv(rank, n + 1 - rank, p), dtype=float)

    def excess(log_p: float) -> float:
        lower = bounds(math.exp(log_p))
        return probability_within(lower, 1 - lower[::-1]) - level

    alpha = (1 - level) / 2
    # p = alpha holds for one of them, alpha / n (Bonferroni) for all at least.
    log_p = math.log(alpha) if n == 1 else brentq(excess, math.log(alpha / n), math.log(alpha), xtol=1e-4)
    lower = bounds(math.exp(log_p))
    return lower, 1 - lower[::-1]


def probability_within(lower: ArrayLike, upper: ArrayLike) -> float:
    """P(lower_i <= U_(i) <= upper_i for all i) for the order statistics of n uniforms.

    The number of uniforms below t is a Poisson process given its end (Moscovich & Nadler, 1503.04363): its
    states are propagated over all 2 n bounds, and cut to those allowed at each.
    """
    lower, upper = np.sort(np.asarray(lower, dtype=float)), np.sort(np.asarray(upper, dtype=float))
    n = len(lower)
    times = np.concatenate([np.sort(np.concatenate([lower, upper])), [1.0]])
    fewest = np.searchsorted(upper, times, side="right")  # counts allowed at each time
    most = np.searchsorted(lower, times, side="left")
    rates = n * np.diff(times, prepend=0.0)
    steps = np.arange(int(rates.max() + 10 * math.sqrt(rates.max()) + 15))  # more have probability 0 in floats
    factorials = gammaln(steps + 1.0)
    state, first = np.ones(1), 0  # state[i]: probability of first + i uniforms so far
    for rate, low, high in zip(rates.tolist(), fewest.tolist(), most.tolist(), strict=True):
        if rate > 0:
            size = min(len(steps), high - first + 1, int(rate + 10 * math.sqrt(rate) + 15))
            jumps = np.exp(steps[:size] * math.log(rate) - rate - factorials[:size])
            state = np.convolve(state, jumps)
        state = state[max(0, low - first) : high - first + 1]
        first = max(first, low)
        if not len(state):
            return 0.0
    end = state[n - first] if n - first < len(state) else 0.0
    return float(end / math.exp(n * math.log(n) - n - gammaln(n + 1.0)))
