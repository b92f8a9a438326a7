"""A second opinion on importance: fANOVA and PED-ANOVA, as Optuna has them, on the means of an arm's configurations.

Neither has intervals. They share no code with the surrogate and assume other things, which is what makes them a check.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.arms import ArmFacts
from hpsearch.analysis.axis import Axis, key
from hpsearch.analysis.columns import plain
from hpsearch.analysis.forest import TREES, forest_shares
from hpsearch.analysis.objective import Objective

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# optuna.importance imports scikit-learn's ensembles, which take seconds: only where a cross-check is asked for.

Floats = NDArray[np.float64]

MOST_CONFIGURATIONS = 5000  # of more, a random subset: what the study in memory and the forest do in seconds
LEAST_FOR_FOREST = 12  # on simulated smooth studies the fit out of bag was negative in half the cases with 8
LEAST_BEST = 5  # Optuna's own advice for PED-ANOVA
FEW_BEST = 10  # with 5 the first of three was right in two of three simulated studies, with 13 in five of six
BEST = 0.1  # PED-ANOVA's target_quantile


@dataclass(frozen=True)
class Importance:
    """Of one hyperparameter. value: as the evaluator computes it. relative: over the sum, what Optuna shows.

    Both are None where there is a reason why not.
    """

    value: float | None
    relative: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """What one evaluator found, by hyperparameter in display order.

    n: configurations it used; 0 if nothing was computed. meaning: what `value` is, in words. caution: what speaks
    against reading anything into it.
    """

    evaluator: str
    n: int
    importances: dict[str, Importance]
    meaning: str
    caution: str | None = None


@dataclass(frozen=True)
class CrossCheck:
    """n: configurations of the arm that have a mean of the metric.

    forest_fit: share of the variance of configurations left out of a tree that the forest explains (R² out of bag);
    may be negative. n_best: configurations that PED-ANOVA counts as the best, ties included.
    """

    arm: str
    metric: str
    n: int
    fanova: Evaluation
    ped_anova: Evaluation
    forest_fit: float | None
    n_best: int | None


@dataclass(frozen=True)
class _Column:
    """One hyperparameter of the configurations used: positions (n,) on an axis that is wide enough for them."""

    axis: Axis
    positions: Floats

    @property
    def active(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.positions)


def cross_check(configurations: pd.DataFrame, arm: ArmFacts, objective: Objective, seed: int = 0) -> CrossCheck | None:
    """Both evaluators on an arm's configuration means; None where it searched nothing or has no mean.

    configurations: the rows of `summarize` for this objective, of any arms. seed: of the forest, and of the subset
    where there are more than 5000 configurations. A value outside the declared range widens the range; 0 or less turns
    a log axis into a linear one, as everywhere. Every configuration counts once, whatever its number of seeds.
    """
    rows = configurations[(configurations["arm"] == arm.name) & np.isfinite(configurations["mean"].astype(float))]
    if rows.empty or not arm.cells:
        return None
    n = len(rows)
    if n > MOST_CONFIGURATIONS:
        chosen = np.random.default_rng(seed).choice(n, MOST_CONFIGURATIONS, replace=False)
        rows = rows.iloc[np.sort(chosen)]
    means = rows["mean"].to_numpy(dtype=np.float64)
    columns = {name: _column(cells.axis, rows) for name, cells in arm.cells.items()}
    subset = f" A random {len(rows)} of {n} configurations were used." if len(rows) < n else ""
    with _silence():
        fanova, fit = _fanova(columns, means, objective, seed % 2**32, subset)
        ped_anova, n_best = _ped_anova(columns, means, objective, subset)
    return CrossCheck(arm.name, objective.name, n, fanova, ped_anova, fit, n_best)


def _column(declared: Axis, rows: pd.DataFrame) -> _Column:
    name = f"params.{declared.name}"
    values = list(rows[name]) if name in rows.columns else [None] * len(rows)
    axis = declared
    if declared.kind == "choice":
        known = {key(c): c for c in declared.choices}
        known |= {key(v): v for v in map(plain, values) if v is not None and key(v) not in known}
        axis = replace(declared, choices=tuple(known.values()))
    positions = axis.positions(values)
    positions[~np.isfinite(positions)] = np.nan
    seen = positions[~np.isnan(positions)]
    if axis.kind != "choice" and len(seen):
        ends = [float(v) for v in (*seen, axis.low, axis.high) if v is not None]
        low, high = min(ends), max(ends)
        whole = axis.integer and all(float(v).is_integer() for v in ends)
        axis = replace(axis, low=low, high=high, integer=whole, kind="linear" if low <= 0 else axis.kind)
    return _Column(axis, positions)


# fANOVA


def _fanova(
    columns: Mapping[str, _Column], means: Floats, objective: Objective, seed: int, subset: str
) -> tuple[Evaluation, float | None]:
    reasons = {name: _why_not(column) for name, column in columns.items()}
    for name, column in columns.items():
        without = int((~column.active).sum())
        if reasons[name] is None and without:
            reasons[name] = f"conditional: {without} of {len(means)} configurations do not have it"
    nothing = _nothing(means, objective)
    if nothing is None and len(means) < LEAST_FOR_FOREST:
        nothing = f"{len(means)} configurations; a forest needs at least {LEAST_FOR_FOREST}"
    used = [name for name, reason in reasons.items() if reason is None and nothing is None]
    shares, fit, caution = np.empty(0), None, None
    if used:
        shares, fit = forest_shares(np.column_stack([_unit(columns[n]) for n in used]), means, seed)
        if fit <= 0:
            caution = (
                "The forest predicts left-out configurations no better than their mean does: the shares say nothing."
            )
    explains = "" if fit is None else f" It explains {max(fit, 0):.0%} of the variance of left-out configurations."
    meaning = (
        f"fANOVA: the share of the variance of a random forest's prediction of {objective.name}, over the whole range, "
        f"that each hyperparameter explains on its own, averaged over {TREES} trees. What the shares lack to 1 is "
        f"interaction. The forest also fits the noise of the means.{explains} Optuna shows the shares divided by their "
        "sum, and weighs a log range by its plain values; here it is weighed evenly in the logarithm, and choices are "
        f"weighed evenly.{subset}"
    )
    found = _importances(columns, dict(zip(used, shares, strict=True)), reasons, nothing)
    return Evaluation("fANOVA", len(means) if used else 0, found, meaning, caution), fit


def _unit(column: _Column) -> Floats:
    """Positions in [0, 1] along the axis, in log on a log axis; a choice or a whole number has a stretch to itself.

    So the forest's variance is over what can be sampled. Optuna gives it the plain values, and choices as one column
    each: a variance over the corners of a cube, most of which are no choice.
    """
    axis, x = column.axis, column.positions
    if axis.kind == "choice":
        return (x + 0.5) / len(axis.choices)
    assert axis.low is not None and axis.high is not None
    half = 0.5 if axis.integer else 0.0
    ends = np.array([axis.low - half, axis.high + half])
    if axis.kind == "log":
        x, ends = np.log(x), np.log(ends)
    x, ends = x / 4, ends / 4  # so that no range is too wide for its width to be a number
    return np.asarray((x - ends[0]) / (ends[1] - ends[0]))


# PED-ANOVA


def _ped_anova(
    columns: Mapping[str, _Column], means: Floats, objective: Objective, subset: str
) -> tuple[Evaluation, int | None]:
    reasons = {name: _why_not(column) for name, column in columns.items()}
    nothing, n = _nothing(means, objective), len(means)
    n_best = None
    if nothing is None:
        gain = np.sort(objective.sign * means)[::-1]
        n_best = int((gain >= gain[math.ceil(BEST * n) - 1]).sum())
        if n_best < LEAST_BEST:
            needed = math.floor((LEAST_BEST - 1) / BEST) + 1
            nothing = (
                f"the best 10 % of {n} configurations are {n_best}; Optuna advises at least {LEAST_BEST}, "
                f"that is {needed} configurations"
            )
    used = [name for name, reason in reasons.items() if reason is None and nothing is None]
    values: dict[str, float] = {}
    if used:
        values = _divergences({name: columns[name] for name in used}, means, objective)
    best = "" if n_best is None else f" ({n_best} configurations)"
    meaning = (
        f"PED-ANOVA: how far the values of a hyperparameter among the best 10 %{best} by {objective.name} are spread "
        "differently from those among all configurations (Pearson divergence of two kernel densities). It says what "
        "matters for getting among the best, and is no share of a variance: what decides whether training succeeds at "
        f"all may get little of it. Only its sizes beside each other have a meaning.{subset}"
    )
    if any(not columns[name].active.all() for name in used):
        meaning += " Of a conditional hyperparameter its values count, not whether it was active."
    few = n_best is not None and n_best < FEW_BEST and used
    caution = f"Only {n_best} configurations are among the best: the order is uncertain." if few else None
    found = _importances(columns, values, reasons, nothing)
    return Evaluation("PED-ANOVA", n if used else 0, found, meaning, caution), n_best


def _divergences(columns: Mapping[str, _Column], means: Floats, objective: Objective) -> dict[str, float]:
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    space = {name: _distribution(column.axis) for name, column in columns.items()}
    params: list[dict[str, Any]] = [{} for _ in means]
    for name, column in columns.items():
        whole = column.axis.kind == "choice" or column.axis.integer
        for i in np.flatnonzero(column.active):
            x = float(column.positions[i])
            params[i][name] = int(x) if whole else x
    study = optuna.create_study(
        direction="maximize" if objective.maximize else "minimize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.add_trials(
        [
            optuna.trial.create_trial(params=p, distributions={name: space[name] for name in p}, value=float(mean))
            for p, mean in zip(params, means, strict=True)
        ]
    )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST)
    return get_param_importances(study, evaluator=evaluator, params=list(columns), normalize=False)


def _distribution(axis: Axis) -> BaseDistribution:
    """Choices by their index: Optuna takes 1 and True for the same."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.kind == "choice":
        return CategoricalDistribution(range(len(axis.choices)))
    assert axis.low is not None and axis.high is not None
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.kind == "log")
    return FloatDistribution(axis.low, axis.high, log=axis.kind == "log")


# Both


def _why_not(column: _Column) -> str | None:
    values = np.unique(column.positions[column.active])
    if len(values) == 0:
        return "no configuration has a value of it"
    return "it never varied" if len(values) == 1 else None


def _nothing(means: Floats, objective: Objective) -> str | None:
    if len(means) == 1:
        return f"one configuration has a mean of {objective.name}"
    if np.ptp(means) == 0:
        return f"{objective.name} is {means[0]:g} in all {len(means)} configurations"
    return None


def _importances(
    columns: Mapping[str, _Column], values: Mapping[str, float], reasons: Mapping[str, str | None], nothing: str | None
) -> dict[str, Importance]:
    finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
    whole = sum(finite.values())
    found = {}
    for name in columns:
        if name in finite:
            found[name] = Importance(finite[name], finite[name] / whole if whole > 0 else None)
        else:
            found[name] = Importance(None, None, nothing or reasons[name] or "the evaluator gave no number")
    return found


@contextmanager
def _silence() -> Iterator[None]:
    """Without Optuna's log lines and warnings (experimental arguments, few trials); both are as before afterwards."""
    import optuna

    level = optuna.logging.get_verbosity()
    try:
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
