"""The questions that need a model of each arm's response, asked one after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import pandas as pd

from hpsearch.analysis.along import AlongTraining, importance_along
from hpsearch.analysis.arms import ArmFacts
from hpsearch.analysis.attainment import Attainment, attainments
from hpsearch.analysis.best import Best
from hpsearch.analysis.candidates import FOREST, PROCESS, SMOOTH, Scores, score_candidates
from hpsearch.analysis.columns import Value, plain
from hpsearch.analysis.compare import Improvement, improvements
from hpsearch.analysis.crosscheck import CrossCheck, cross_check
from hpsearch.analysis.decomposition import Plane, planes
from hpsearch.analysis.epsilon import epsilon_of
from hpsearch.analysis.equal_budget import AtBudget, at_equal_budgets
from hpsearch.analysis.failures import Failures
from hpsearch.analysis.front_probability import FrontProbability, front_probability
from hpsearch.analysis.importance import Importances, importances
from hpsearch.analysis.means import with_cliff
from hpsearch.analysis.model import Model, fit_model
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.pareto import Front
from hpsearch.analysis.robustness import (
    Loss,
    Robust,
    Tunability,
    expected_losses,
    robust_optimum,
    tunability,
)
from hpsearch.analysis.safe import SafeRange, safe_ranges
from hpsearch.analysis.surrogate import MOST
from hpsearch.analysis.tuning import TuningCurve, tuning_curves
from hpsearch.analysis.two_stage import same_seeds

if TYPE_CHECKING:
    from hpsearch.study import Study

Told = Callable[[str], None]
BETTER = {FOREST: "a forest", SMOOTH: "a process that takes no account of trials that did not train"}


@dataclass(frozen=True)
class Options:
    """epsilon: what counts as "within the best", in the metric's unit, or "se", one standard error of a configuration's
    mean; None is one point of a share, of other metrics "se". factor: how far off hyperparameters may be at the robust
    optimum. seed: of all draws; the same seed gives the same answers.
    """

    epsilon: float | Literal["se"] | None = None
    factor: float = 2.0
    seed: int = 0


@dataclass(frozen=True)
class ArmAnswers:
    """One arm. model: of all its configurations; even: of those that no sampler chose by results (the same object where
    that is all). scores: of the surrogates by cross-validation, or why there are none. trained: importances within the
    part of the ranges where every seed trained, None where nothing failed or no such part is known; box: that part.
    """

    arm: str
    model: Model
    even: Model
    epsilon: float
    scores: Scores | str
    importances: Importances
    trained: Importances | None
    box: dict[str, tuple[float, float]]
    maps: dict[tuple[str, str], Plane]
    safe: tuple[SafeRange, ...]
    robust: Robust | None
    losses: tuple[Loss, ...]
    tunability: tuple[Tunability, ...]
    check: CrossCheck | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """Everything that a model or many draws stand behind. configurations: with intervals that know the cliff."""

    options: Options
    configurations: pd.DataFrame
    arms: tuple[ArmAnswers, ...]
    along: tuple[AlongTraining, ...]
    tuning: tuple[TuningCurve, ...]
    improvements: tuple[Improvement, ...]
    budgets: tuple[AtBudget, ...]
    attainments: tuple[Attainment, ...]
    fronts: tuple[FrontProbability, ...]


def answer(
    trials: pd.DataFrame,
    configurations: pd.DataFrame,
    arms: Sequence[ArmFacts],
    best: Sequence[Best],
    fronts: Sequence[Front],
    failures: Sequence[Failures],
    objective: Objective,
    judged: Objective,
    study: Study | None,
    options: Options,
    told: Told,
) -> Answers:
    """told: called with each step before it begins."""
    names = [arm.name for arm in arms]
    found = []
    for facts in arms:
        told(f"{facts.name}: surrogate, importance, safe ranges")
        found.append(_answer_arm(trials, configurations, facts, failures, objective, study, options))
    told("importance along training")
    finals = {arm.arm: arm.even for arm in found}
    along = importance_along(trials, arms, objective, study, final=finals, seed=options.seed)
    told("arms at equal budgets, tuning curves, fronts")
    judged_at = improvements(trials, names, best, judged)
    even = same_seeds(trials, study)
    return Answers(
        options=options,
        configurations=_with_cliffs(configurations, found, options.seed),
        arms=tuple(found),
        along=along,
        tuning=tuning_curves(trials, configurations, names, objective),
        improvements=judged_at,
        budgets=at_equal_budgets(even, names, objective, judged),
        attainments=attainments(even, names, objective),
        fronts=tuple(front_probability(trials, front, objective, options.seed) for front in fronts),
    )


def _answer_arm(
    trials: pd.DataFrame,
    configurations: pd.DataFrame,
    facts: ArmFacts,
    failures: Sequence[Failures],
    objective: Objective,
    study: Study | None,
    options: Options,
) -> ArmAnswers:
    model = fit_model(trials, configurations, facts, objective, study, seed=options.seed)
    even = model
    if model.adaptive and len(model.rows) > model.adaptive:
        even = fit_model(trials, configurations, facts, objective, study, even=True, seed=options.seed)
        even = even if even.surrogate is not None else model
    epsilon = epsilon_of(model, options.epsilon)
    scores = score_candidates(model.rows, model.inputs, model.effect, model.chance, options.seed)
    inside, box = _where_it_trains(trials, configurations, facts, failures, objective, study, options)
    drawn: dict[tuple[int, int], Plane] = {}
    if model.surrogate is not None and model.decomposition is not None:
        drawn = planes(model.surrogate, model.decomposition, options.seed)
    maps = {(model.inputs.names[i], model.inputs.names[j]): plane for (i, j), plane in drawn.items()}
    alone = even is model
    share = importances(even, None if alone else model, options.seed, drawn if alone else None)
    return ArmAnswers(
        arm=facts.name,
        model=model,
        even=even,
        epsilon=epsilon,
        scores=scores,
        importances=share,
        trained=None if inside is None else importances(inside, seed=options.seed),
        box=box,
        maps=maps,
        safe=safe_ranges(model, epsilon) if math.isfinite(epsilon) else (),
        robust=robust_optimum(model, options.factor),
        losses=expected_losses(model),
        tunability=tunability(model, _defaults(facts.name, study)),
        check=cross_check(even.rows, facts, objective, options.seed),
        warnings=_warnings(model, even, share, scores),
    )


def _defaults(arm: str, study: Study | None) -> Mapping[str, Value]:
    declared = study.arms[arm].parameters if study is not None and arm in study.arms else {}
    found = {name: plain(getattr(p, "default", None)) for name, p in declared.items()}
    return {name: value for name, value in found.items() if value is not None}


def _where_it_trains(
    trials: pd.DataFrame,
    configurations: pd.DataFrame,
    facts: ArmFacts,
    failures: Sequence[Failures],
    objective: Objective,
    study: Study | None,
    options: Options,
) -> tuple[Model | None, dict[str, tuple[float, float]]]:
    """A model of the part of the ranges in which every seed trained, where hyperparameters' bounds tell it apart.

    Beside a cliff nearly all variance is the cliff's; what matters where it trains is asked of that part alone.
    """
    regions = [region for f in failures if f.arm == facts.name for region in f.regions]
    box: dict[str, tuple[float, float]] = {}
    cells = dict(facts.cells)
    rows = configurations[(configurations["arm"] == facts.name) & (configurations["n"] > 0)]
    for region in regions:
        axis = cells[region.parameter].axis
        if axis.low is None or axis.high is None:
            return None, {}
        low, high = (axis.low, region.clean) if region.above else (region.clean, axis.high)
        cells[region.parameter] = replace(cells[region.parameter], axis=replace(axis, low=low, high=high))
        values = pd.to_numeric(rows[f"params.{region.parameter}"], errors="coerce")
        rows = rows[values.between(low, high)]
        box[region.parameter] = (low, high)
    if not box or (rows["n_not_trained"] > 0).any():
        return None, {}
    kept = trials[trials["configuration_id"].isin(rows["configuration_id"]) & (trials["arm"] == facts.name)]
    even = fit_model(kept, rows, replace(facts, cells=cells), objective, study, even=True, seed=options.seed)
    return (even, box) if even.surrogate is not None else (None, {})


def _with_cliffs(configurations: pd.DataFrame, arms: Sequence[ArmAnswers], seed: int) -> pd.DataFrame:
    """The intervals of configurations of arms with a cliff, replaced where they may be given."""
    table = configurations
    for arm in arms:
        surrogate = arm.model.surrogate
        if surrogate is None or surrogate.counts is None or arm.model.setting.why_not("configuration_mean"):
            continue
        made = with_cliff(arm.model.rows, surrogate, seed)
        for column in ("low", "high", "interval"):
            table = table.assign(**{column: made[column].combine_first(table[column])})
    return table


def _warnings(model: Model, even: Model, share: Importances, scores: Scores | str) -> tuple[str, ...]:
    found = []
    if model.adaptive and even is model and model.surrogate is not None:
        found.append(
            f"{model.adaptive} of {len(model.rows)} configurations were chosen by results (or nobody knows how): "
            "shares of variance lean on where the sampler looked, by how much can't be told from this study"
        )
    elif share.shift:
        most = max(share.shift, key=lambda name: abs((share.shift or {})[name]))
        found.append(
            f"{model.adaptive} configurations chosen by results are left out of the shares of variance; with them the "
            f"share of {most} would move by {100 * share.shift[most]:+.0f} points"
        )
    if model.stopped:
        trials = "1 trial was" if model.stopped == 1 else f"{model.stopped} trials were"
        found.append(f"{trials} stopped early and are in no mean: what is left is the part that looked good")
    if not isinstance(scores, str) and not scores.explains:
        found.append("the surrogate explains nothing: what rests on it says no more than that")
    if isinstance(scores, Scores) and scores.chosen in BETTER:
        own, other = scores[PROCESS], scores[scores.chosen]
        found.append(
            f"{BETTER[scores.chosen]} predicts better (R² {other.r2:.2f}) than the surrogate behind these answers "
            f"({own.r2:.2f} ± {own.error:.2f}): take them with care"
        )
    if model.surrogate is not None and len(model.rows) > MOST:
        found.append(f"the surrogate was fitted to {model.surrogate.n} of {len(model.rows)} configurations")
    return tuple(found)
