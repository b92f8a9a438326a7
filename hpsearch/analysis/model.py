"""The model of one arm: the configurations it learns from, its surrogate, and which intervals may be given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from hpsearch.analysis.arms import ArmFacts
from hpsearch.analysis.calibration import EVEN, Setting
from hpsearch.analysis.columns import NOT_TRAINED, Value, numeric, plain
from hpsearch.analysis.decomposition import Decomposition, decompose
from hpsearch.analysis.inputs import Inputs
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.seeds import SeedEffect, seed_effect
from hpsearch.analysis.surrogate import Surrogate, fit_surrogate
from hpsearch.analysis.two_stage import same_seeds

if TYPE_CHECKING:
    from hpsearch.study import Study


@dataclass(frozen=True)
class Model:
    """One arm's response to its hyperparameters.

    rows: the configurations (of `summarize`) that it was fitted to. surrogate: None where there can be none, `reason`
    says why. chance: mean metric of the trials that did not train, NaN where there are none. setting: what decides
    which intervals hold. adaptive: how many of the rows an adaptive sampler chose. stopped: trials that were stopped
    early and are in no mean.
    """

    arm: str
    objective: Objective
    rows: pd.DataFrame
    inputs: Inputs
    effect: SeedEffect
    surrogate: Surrogate | None
    decomposition: Decomposition | None
    reason: str
    chance: float
    setting: Setting
    adaptive: int
    stopped: int

    @property
    def unit(self) -> str:
        return self.objective.unit


def fit_model(
    trials: pd.DataFrame,
    configurations: pd.DataFrame,
    facts: ArmFacts,
    objective: Objective,
    study: Study | None,
    even: bool = False,
    seed: int = 0,
) -> Model:
    """The model of one arm from its selection trials.

    even: leave out what an adaptive sampler chose: where it looked depends on what it saw, so its points say little
    of the whole range, and shares of variance are of the whole range.
    """
    own = trials[(trials["arm"] == facts.name) & ~trials["sampling.confirm"]]
    rows = configurations[(configurations["arm"] == facts.name) & (configurations["n"] > 0)]
    drawn = samplers_of(own)
    by_eye = rows["configuration_id"].map(drawn).isin(EVEN)
    if even:
        rows = rows[by_eye]
        own = own[own["configuration_id"].isin(rows["configuration_id"])]
    arm = study.arms.get(facts.name) if study is not None else None
    rule = study.two_stage if study is not None else None
    inputs = Inputs.of_arm({n: c.axis for n, c in facts.cells.items()}, arm, rows)
    effect = seed_effect(same_seeds(own, study), objective.column)
    failed = numeric(own[own["status"].isin(NOT_TRAINED)], objective.column)
    chance = float(failed.mean()) if failed.notna().any() else math.nan
    found = fit_surrogate(rows, inputs, effect, chance, seed)
    surrogate, reason = (None, found) if isinstance(found, str) else (found, "")
    setting = Setting(
        surface="cliff" if (rows["n_not_trained"] > 0).any() else "smooth",
        samplers=tuple(dict.fromkeys(s for s in rows["configuration_id"].map(drawn) if even or s in EVEN)),
        seeds=rule.min if rule is not None else int(rows["n"].median()) if len(rows) else 0,
        configurations=int(by_eye.sum()),
        inputs=len(inputs),
    )
    return Model(
        arm=facts.name,
        objective=objective,
        rows=rows,
        inputs=inputs,
        effect=effect,
        surrogate=surrogate,
        decomposition=None if surrogate is None else decompose(surrogate, seed),
        reason=reason,
        chance=chance,
        setting=setting,
        adaptive=0 if even else int((~by_eye).sum()),
        stopped=int((own["status"] == "stopped").sum()),
    )


def samplers_of(trials: pd.DataFrame) -> dict[str, str]:
    """configuration_id -> the sampler that drew it; "unknown" where the table does not say."""
    if "sampling.sampler" not in trials.columns:
        return dict.fromkeys(map(str, trials["configuration_id"].unique()), "unknown")
    first = trials.drop_duplicates("configuration_id")
    return {
        str(c): str(plain(s) or "unknown")
        for c, s in zip(first["configuration_id"], first["sampling.sampler"], strict=True)
    }


def point_values(inputs: Inputs, row: pd.Series) -> dict[str, Value]:
    """The hyperparameters of one configuration that the model knows."""
    found = {name: plain(row[f"params.{name}"]) for name in inputs.names}
    return {name: value for name, value in found.items() if value is not None}
