"""Arms against a control when both may spend the same: configurations, backward samples, FLOPs or seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from hpsearch.analysis.columns import COSTS, NO_RESULT, numeric
from hpsearch.analysis.estimate import LEVEL, t_quantile
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.tuning import comparable, is_even, selected

Floats = NDArray[np.float64]

FEWEST = 10  # configurations per arm for an interval
PART = 4  # an interval is given for the best of n / PART


@dataclass(frozen=True)
class AtBudget:
    """arm minus control when both search with the same budget, in the judged metric's own unit.

    budget: "configurations", "backward_samples", "flops" or "seconds". k_arm, k_control: configurations it buys;
    2.5 is two or three with equal chances. compute_arm, compute_control: what they take, in the budget's unit.
    n_arm, n_control: configurations used; n_seeds: seeds. low, high: NaN where there is no interval; those of one
    budget hold together over `comparisons` arms with confidence `level`.
    """

    arm: str
    control: str
    budget: str
    k_arm: float
    k_control: float
    compute_arm: float
    compute_control: float
    n_arm: int
    n_control: int
    n_seeds: int
    value_arm: float
    value_control: float
    difference: float
    low: float
    high: float
    level: float
    comparisons: int
    method: str
    assumes: str


def at_equal_budgets(
    trials: pd.DataFrame, arms: Sequence[str], objective: Objective, judged: Objective, level: float = LEVEL
) -> tuple[AtBudget, ...]:
    """Each arm against the first at equal number of configurations, backward samples, FLOPs and seconds.

    The estimand: draw k configurations at random, train each on all seeds but one, select the best mean of the
    objective, judge it on the seed left out; the expected difference. Averages over which k are exact (a
    U-statistic), and every seed is left out once, the same one in both arms. Up to two rows per arm and budget:
    a quarter of what both arms can afford, from configurations drawn from the space, with an interval (the best
    of most of them would rest on one or two configurations); then all of it, in the order tried, adaptive
    samplers included, without one. trials: as `standard` returns.
    """
    found: list[AtBudget] = []
    chosen = selected(trials)
    for part in (True, False):
        pairs = {arm: _pair(trials, chosen, (arm, arms[0]), objective, judged, part) for arm in arms[1:]}
        known = {arm: pair for arm, pair in pairs.items() if pair is not None}
        for arm, pair in known.items():
            rows = (_row(arm, arms[0], pair, b, part, judged, level, len(known)) for b in ("configurations", *COSTS))
            found += [row for row in rows if row is not None]
    return tuple(found)


@dataclass(frozen=True)
class _Runs:
    """Configurations of an arm that ended on every seed used, in the order tried.

    selects, judged: (n, seeds), larger is better. random: drawn from the space; else the order is the sampler's.
    compute: mean of what one configuration takes, by cost.
    """

    selects: Floats
    judged: Floats
    random: bool
    compute: dict[str, float]

    def __len__(self) -> int:
        return len(self.selects)

    def value(self, k: float) -> float:
        """Expected judged metric of the configuration selected among k, on a seed that did not select it."""
        if self.random:
            return float(np.mean([best_of(score, y, k)[0] for score, y in self._folds(len(self))]))
        down, up = math.floor(k), math.ceil(k)
        few, more = (float(np.mean([y[np.argmax(score)] for score, y in self._folds(i)])) for i in (down, up))
        return few + (k - down) * (more - few)

    def without_each(self, k: float) -> Floats:
        """`value` with one configuration left out, (n,)."""
        folds = [best_of(score, y, k)[1] for score, y in self._folds(len(self))]
        return np.asarray(np.mean(folds, axis=0), dtype=float)

    def by_seed(self, k: float) -> Floats:
        return np.array([best_of(score, y, k)[0] for score, y in self._folds(len(self))])

    def _folds(self, first: int) -> list[tuple[Floats, Floats]]:
        """Per seed: the mean of the selecting metric over the other seeds (n,), the judged metric on this one (n,)."""
        x, y = self.selects[:first], self.judged[:first]
        seeds = x.shape[1]
        others = (x.sum(1, keepdims=True) - x) / (seeds - 1) if seeds > 1 else x
        # Sums leave rounding in what were equal means; equal ones must tie.
        return [(np.round(others[:, s], 12), y[:, s]) for s in range(seeds)]


def _pair(
    trials: pd.DataFrame,
    chosen: pd.DataFrame,
    arms: tuple[str, str],
    objective: Objective,
    judged: Objective,
    only_random: bool,
) -> tuple[_Runs, _Runs] | None:
    """The runs of both arms on the seeds that at least half the configurations of each have."""
    rows = {arm: chosen[chosen["arm"] == arm] for arm in arms}
    if only_random:
        rows = {arm: r[comparable(r) & (r["sampler"] != "grid")] for arm, r in rows.items()}
    tables = {arm: _by_seed(trials, arm, r, objective, judged) for arm, r in rows.items()}
    if any(not len(x) for x, _ in tables.values()):
        return None
    shares = [(x.notna() & y.notna()).mean().rename(arm) for arm, (x, y) in tables.items()]
    seeds = pd.concat(shares, axis=1).fillna(0.0).min(axis=1)
    seeds = seeds[seeds >= 0.5]
    made = []
    for arm, (x, y) in tables.items():
        x, y = x[seeds.index], y[seeds.index]
        whole = x.notna().all(axis=1) & y.notna().all(axis=1)
        selects, judges = objective.sign * x[whole].to_numpy(float), judged.sign * y[whole].to_numpy(float)
        if not selects.size:
            return None
        compute = {name: float(rows[arm][f"compute.{name}"].mean()) for name in COSTS}
        random = bool(is_even(rows[arm]).all())
        made.append(_Runs(selects, judges, random, compute))
    return made[0], made[1]


def _by_seed(
    trials: pd.DataFrame, arm: str, chosen: pd.DataFrame, objective: Objective, judged: Objective
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The selecting and the judged metric, a row per configuration in the order tried, a column per seed."""
    ids = pd.Index(chosen["configuration_id"])
    rows = trials[(trials["arm"] == arm) & ~trials["sampling.confirm"] & ~trials["status"].isin(NO_RESULT)]
    seed = rows["seed"] if "seed" in rows.columns else pd.Series(0, rows.index)
    keys = [rows["configuration_id"], seed]
    tables = [numeric(rows, o.column).groupby(keys).mean().unstack().reindex(ids) for o in (objective, judged)]
    return tables[0], tables[1].reindex(columns=tables[0].columns)


def _row(
    arm: str, control: str, pair: tuple[_Runs, _Runs], budget: str, part: bool, judged: Objective, level: float, m: int
) -> AtBudget | None:
    """None where the budget is not known or does not buy a configuration of both. m: comparisons."""
    unit = [1.0 if budget == "configurations" else runs.compute[budget] for runs in pair]
    if not all(math.isfinite(u) and u > 0 for u in unit):
        return None
    affordable = [max(1, len(runs) // PART) if part else len(runs) for runs in pair]
    amount = min(u * k for u, k in zip(unit, affordable, strict=True))
    # Rounded, so that u * k / u is k again.
    ks = [min(round(amount / u, 9), float(len(runs))) for u, runs in zip(unit, pair, strict=True)]
    if min(ks) < 1:
        return None
    values = [judged.sign * runs.value(k) for runs, k in zip(pair, ks, strict=True)]
    n_seeds = pair[0].selects.shape[1]
    enough = part and n_seeds >= 2 and min(map(len, pair)) >= FEWEST
    half = _half_width(pair, ks, 1 - (1 - level) / m) if enough else math.nan
    difference = values[0] - values[1]
    return AtBudget(
        arm=arm,
        control=control,
        budget=budget,
        k_arm=ks[0],
        k_control=ks[1],
        compute_arm=ks[0] * unit[0],
        compute_control=ks[1] * unit[1],
        n_arm=len(pair[0]),
        n_control=len(pair[1]),
        n_seeds=n_seeds,
        value_arm=values[0],
        value_control=values[1],
        difference=difference,
        low=difference - half,
        high=difference + half,
        level=level,
        comparisons=m,
        method=_method(enough, part, n_seeds),
        assumes=_assumes(pair, n_seeds, budget),
    )


def _method(interval: bool, part: bool, n_seeds: int) -> str:
    text = "best of k over " + ("all sets of k configurations" if part else "what was tried, in order")
    text += ", selected on the other seeds and judged on the one left out" if n_seeds > 1 else ", on one seed"
    if interval:
        return (
            f"{text}; approximate: jackknife over configurations plus the spread over seeds, t with n / k degrees "
            "of freedom, Bonferroni over the arms"
        )
    if not part:
        return f"{text}; no interval: nothing is left that tells how another search would go"
    return f"{text}; no interval below {FEWEST} configurations in each arm and two seeds"


def _assumes(pair: tuple[_Runs, _Runs], n_seeds: int, budget: str) -> str:
    text = "configurations drawn independently" if all(r.random for r in pair) else "nothing beyond these searches"
    text += "; seeds drawn at random, and the same ones in both arms" if n_seeds > 1 else "; optimistic: one seed"
    return text if budget == "configurations" else f"{text}; the mean cost of a configuration is known"


def _half_width(pair: tuple[_Runs, _Runs], ks: Sequence[float], level: float) -> float:
    """From the variance between configurations of each arm and that of the difference between seeds.

    The jackknife is conservative on average (Efron & Stein 1981). There are about n / k independent bests of k,
    so that many degrees of freedom. Coverage measured at 95 %, k = n / 4, three seeds: 97 to 99 % where all
    configurations train, 88 to 97 % where the selected one may fail on a new seed.
    """
    between = sum(_jackknife(runs.without_each(k)) for runs, k in zip(pair, ks, strict=True))
    by_seed = pair[0].by_seed(ks[0]) - pair[1].by_seed(ks[1])
    variance = between + float(by_seed.var(ddof=1)) / len(by_seed)
    df = min(len(runs) / k for runs, k in zip(pair, ks, strict=True))
    return float(t_quantile(df, level)) * math.sqrt(variance)


def _jackknife(values: Floats) -> float:
    return float((len(values) - 1) / len(values) * ((values - values.mean()) ** 2).sum())


def best_of(score: Floats, y: Floats, k: float) -> tuple[float, Floats]:
    """Mean of y at the best score over all sets of k of n, and the same without each one of the n, (n,).

    Equal scores are drawn among at random. O(n log n).
    """
    n = len(score)
    order = np.argsort(-score, kind="stable")
    _, group = np.unique(-score, return_inverse=True)
    y = (np.bincount(group, y) / np.bincount(group))[group][order]  # best first
    full = float(_weights(n, k) @ y)
    if k > n - 1:
        return full, np.full(n, np.nan)
    w = _weights(n - 1, k)
    before = np.concatenate([[0.0], np.cumsum(w * y[:-1])])  # those ranked before the one left out keep their rank
    after = np.concatenate([np.cumsum((w * y[1:])[::-1])[::-1], [0.0]])
    without = np.empty(n)
    without[order] = before + after
    return full, without


def _weights(n: int, k: float) -> Floats:
    """P(the r-th best of n is the best of k drawn without replacement), r = 1 ... n: C(n - r, k - 1) / C(n, k).

    Between whole k the mixture of the two nearest.
    """
    down = math.floor(k)
    if k > down:
        return (down + 1 - k) * _weights(n, down) + (k - down) * _weights(n, down + 1)
    rest = np.arange(n - 1, down - 2, -1)  # worse ones, where there are enough for the other k - 1
    terms = gammaln(rest + 1) - gammaln(rest - down + 2)  # C(rest, k - 1) without its constant factor
    constant = math.log(down) + gammaln(n - down + 1) - gammaln(n + 1)
    return np.concatenate([np.exp(terms + constant), np.zeros(down - 1)])
