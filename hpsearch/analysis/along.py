"""When a hyperparameter matters: its share of the variance at 10, 25, 50 and 100 % of the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.answer import TAILS, Answer, quantiles, share_quantiles
from hpsearch.analysis.arms import ArmFacts
from hpsearch.analysis.calibration import EVEN
from hpsearch.analysis.columns import NO_RESULT, NOT_TRAINED, Value
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.importance import METHOD, Importance
from hpsearch.analysis.model import Model, fit_model, samplers_of
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.so_far import FRACTIONS, at_fractions
from hpsearch.analysis.surrogate import LEAST

if TYPE_CHECKING:
    from hpsearch.study import Study

__all__ = ["FRACTIONS", "AlongTraining", "Curve", "Moment", "at_fractions", "importance_along"]

Floats = NDArray[np.float64]

SPREAD_METHOD = "standard deviation over the ranges; 95 % credible interval of the surrogate"


@dataclass(frozen=True)
class Curve:
    """The expected metric along one hyperparameter, the others averaged over their ranges.

    values (k,): in the hyperparameter's own unit. mean, low, high (k,): mean over the draws and pointwise 95 % band, in
    the metric's unit; the band is NaN where none may be given, and `why` says why.
    """

    parameter: str
    values: tuple[Value, ...]
    mean: Floats
    low: Floats
    high: Floats
    why: str = ""


@dataclass(frozen=True)
class Moment:
    """One arm after a fraction of the epochs.

    epochs: the fewest and the most that this fraction is, over its trials. n: configurations with a value, to which the
    model was fitted. observed: standard deviation of their means, what seeds add included; spread: that of the expected
    metric over the ranges; both in the metric's unit, for shares of next to nothing mean little. not_trained: share of
    the trials that have diverged by then or collapse in the end (NaN without trials). stopped: trials that early
    stopping had ended by then; what it left was selected by its results, so no interval is given where there are any.
    importances, curves: in the arm's order of display; shapley is None. reason: why there are none, else empty.
    """

    fraction: float
    epochs: tuple[int, int]
    n: int
    observed: float
    spread: Answer | None
    not_trained: float
    stopped: int
    importances: tuple[Importance, ...]
    curves: tuple[Curve, ...]
    reason: str


@dataclass(frozen=True)
class AlongTraining:
    """One arm along training. without: ended trials that have no curve and are left out at every fraction.

    moments: one a fraction, in order; empty where `reason` says why.
    """

    arm: str
    metric: str
    moments: tuple[Moment, ...]
    without: int
    reason: str

    def sentence(self) -> str:
        """Which hyperparameter matters most when, said only where its total share's interval lies above all others."""
        if self.reason:
            return self.reason
        fitted = [m for m in self.moments if m.importances]
        if not fitted:
            return self.moments[-1].reason
        if all(len(m.importances) == 1 for m in fitted):
            return f"{fitted[0].importances[0].parameter} is the only hyperparameter that varied"
        leaders = [_leader(m.importances) for m in self.moments]
        names = [None if leader is None else leader.parameter for leader in leaders]
        clauses: list[str] = []
        for _, group in groupby(range(len(names)), key=names.__getitem__):
            run = list(group)
            leader = leaders[run[0]]
            if leader is not None:
                clauses.append(
                    f"{leader.parameter} {'' if clauses else 'matters most '}{self._when(run, leader.total)}"
                )
        if not clauses:
            why = next((i.total.why for i in fitted[-1].importances if i.total.why), "the intervals overlap")
            return f"no hyperparameter can be said to matter most at any time: {why}"
        return ", ".join(clauses)

    def _when(self, run: Sequence[int], total: Answer) -> str:
        """from 50 % on (total 0.81, 0.74 to 0.88 at 50 %)."""
        start, end = (f"{100 * self.moments[i].fraction:g} %" for i in (run[0], run[-1]))
        share = f"total {total.value:.2f}, {total.low:.2f} to {total.high:.2f}"
        if len(run) == 1:
            return f"at {start} ({share})"
        when = f"from {start} on" if run[-1] == len(self.moments) - 1 else f"from {start} to {end}"
        return f"{when} ({share} at {start})"


def importance_along(
    trials: pd.DataFrame,
    arms: Sequence[ArmFacts],
    objective: Objective,
    study: Study | None = None,
    fractions: Sequence[float] = FRACTIONS,
    final: Mapping[str, Model] | None = None,
    seed: int = 0,
) -> tuple[AlongTraining, ...]:
    """Every arm's shares of variance after each fraction of its epochs, one model a fraction.

    trials: as `standard` returns, with curve.*. What an adaptive sampler chose is left out, unless the others are too
    few for a surface. final: arm -> its model at the end of training, fitted by the same rule, to be used as it is.
    Raises InputError as `at_fractions` does.
    """
    models = final or {}
    return tuple(_of_arm(trials, facts, objective, study, fractions, models.get(facts.name), seed) for facts in arms)


def _of_arm(
    trials: pd.DataFrame,
    facts: ArmFacts,
    objective: Objective,
    study: Study | None,
    fractions: Sequence[float],
    final: Model | None,
    seed: int,
) -> AlongTraining:
    own = trials[(trials["arm"] == facts.name) & ~trials["sampling.confirm"]]
    ended = int((~own["status"].isin(NO_RESULT)).sum())
    tables = at_fractions(own, objective, fractions)
    if isinstance(tables, str):
        return AlongTraining(facts.name, objective.name, (), ended, tables)
    even = sum(sampler in EVEN for sampler in samplers_of(own).values()) >= LEAST
    moments: list[Moment] = []
    before: pd.DataFrame | None = None
    without = 0
    for fraction, table in tables.items():
        without = ended - int((~own.loc[table.index, "status"].isin(NO_RESULT)).sum())
        if before is not None and _same(table, before, objective.column):  # few epochs: the last ones once more
            moments.append(replace(moments[-1], fraction=fraction))
            continue
        given = final if fraction == 1 and not without and final is not None and not (even and final.adaptive) else None
        rows = summarize(table, objective.column)
        model = given or fit_model(table, rows, facts, objective, study, even, seed)
        moments.append(_moment(fraction, table, model))
        before = table
    return AlongTraining(facts.name, objective.name, tuple(moments), without, "")


def _moment(fraction: float, table: pd.DataFrame, model: Model) -> Moment:
    epochs = table["at_epoch"]
    known = table[~table["status"].isin(NO_RESULT)]
    stopped = int((table["status"] == "stopped").sum())
    why = f"{stopped} of {len(table)} trials were stopped early: the others were selected" if stopped else ""
    means = model.rows["mean"]
    fitted = model.surrogate is not None
    return Moment(
        fraction=fraction,
        epochs=(int(epochs.min()), int(epochs.max())),
        n=len(model.rows),
        observed=float(means.std(ddof=1)) if len(means) > 1 else math.nan,
        spread=_spread(model, why) if fitted else None,
        not_trained=float(known["status"].isin(NOT_TRAINED).mean()) if len(known) else math.nan,
        stopped=stopped,
        importances=_importances(model, why) if fitted else (),
        curves=_curves(model, why) if fitted else (),
        reason=model.reason,
    )


def _spread(model: Model, why: str) -> Answer:
    assert model.decomposition is not None
    sd = np.sqrt(model.decomposition.variance)
    answer = Answer(float(sd.mean()), *quantiles(sd), len(model.rows), model.unit, SPREAD_METHOD)
    return _gated(model, answer, "marginal_curve", why)


def _importances(model: Model, why: str) -> tuple[Importance, ...]:
    parts = model.decomposition
    assert parts is not None

    def share(draws: Floats, statistic: str) -> Answer:
        answer = Answer(float(draws.mean()), *share_quantiles(draws), len(model.rows), "share of variance", METHOD)
        return _gated(model, answer, statistic, why)

    return tuple(
        Importance(name, share(parts.first[:, i], "first_order"), share(parts.total[:, i], "total"), None)
        for i, name in enumerate(model.inputs.names)
    )


def _gated(model: Model, answer: Answer, statistic: str, why: str) -> Answer:
    return answer.withheld(why) if why else model.setting.gate(answer, statistic)


def _curves(model: Model, why: str) -> tuple[Curve, ...]:
    assert model.decomposition is not None
    why = why or model.setting.why_not("marginal_curve")
    found = []
    for one, along in zip(model.inputs.inputs, model.decomposition.along, strict=True):
        mean = along.curves.mean(0)
        low, high = (np.full_like(mean, math.nan),) * 2 if why else np.quantile(along.curves, TAILS, axis=0)
        found.append(Curve(one.name, tuple(one.value(x) for x in along.at), mean, low, high, why))
    return tuple(found)


def _leader(importances: Sequence[Importance]) -> Importance | None:
    """The one whose total share's interval lies above those of all others."""
    if len(importances) < 2:
        return None
    first, *others = sorted(importances, key=lambda i: -i.total.value)
    return None if any(first.total.overlaps(other.total) for other in others) else first


def _same(table: pd.DataFrame, before: pd.DataFrame, column: str) -> bool:
    names = ["status", column, "at_epoch"]
    return table[names].equals(before[names])
