"""The samplers that adapt: the Optuna study of one arm, asked for configurations and told their means over seeds."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from hpsearch.sampling.build import seed32, tpe
from hpsearch.sampling.distributions import Params, distribution, suggest
from hpsearch.space import active, ordered
from hpsearch.study import Study

Asked = optuna.Trial  # a suggestion that the sampler waits to be told about


class Adaptive:
    """The Optuna study of one arm, told the mean over seeds of each configuration."""

    def __init__(self, study: Study, arm: str) -> None:
        self._arm = study.arms[arm]
        self._phases = study.phases(arm)
        self._key = (study.sampling_seed, arm)
        self._study = optuna.create_study(directions=list(study.objectives.values()))

    def ask(self, phase: int, index: int, repeat: int) -> tuple[Params, Asked]:
        seed = seed32(*self._key, phase, index, repeat)
        self._study.sampler = tpe(self._phases[phase], seed)
        trial = self._study.ask()
        params: Params = {}
        for name in ordered(self._arm.parameters):
            if name in active({**self._arm.parameters}, params, self._arm.fixed):
                params[name] = suggest(trial, name, self._arm.parameters[name])
        return params, trial

    def tell(self, trial: Asked, values: tuple[float, ...] | None) -> None:
        """The configuration's means, one an objective; None when it has none (a seed failed, or it was a repeat)."""
        if values is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, list(values))

    def add(self, params: Params, values: tuple[float, ...]) -> None:
        """A configuration that this sampler did not ask for: another phase's, or one of an earlier run."""
        space = {name: distribution(self._arm.parameters[name], value) for name, value in params.items()}
        self._study.add_trial(optuna.create_trial(params=dict(params), distributions=space, values=list(values)))
