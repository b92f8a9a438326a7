"""An Optuna study of one arm for one phase: tpe, gp and nsga2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import optuna
from optuna.trial import TrialState

from hpsearch.sampling.build import InSpace, Nsga2, optuna_sampler, quiet
from hpsearch.sampling.distributions import Params, distribution, snap, suggest
from hpsearch.sampling.known import Known, Outcome
from hpsearch.sobol import load_direction_numbers
from hpsearch.space import active, ordered
from hpsearch.study import Arm, Phase

Direction = Literal["maximize", "minimize"]
GENERATION = Nsga2._get_generation_key()  # of a trial's system attributes: what the sampler goes by


class OptunaStudy:
    """Rebuilt from what is known when its phase begins. A sampler is built anew for each ask: nothing is in it.

    Parameters without a condition are searched together; what the sampler does with the others is its own:
    tpe looks at each alone, gp and nsga2 draw them at random.
    """

    def __init__(self, arm: Arm, phase: Phase, directions: list[Direction], known: Iterable[Known]) -> None:
        self._arm, self._phase = arm, phase
        self._order = ordered(arm.parameters)
        spaces = {name: distribution(arm.parameters[name]) for name in sorted(arm.parameters)}
        self._together = {n: space for n, space in spaces.items() if not arm.parameters[n].when and not space.single()}
        self._study = optuna.create_study(directions=directions)
        for one in known:
            self.add(one)

    def ask(self, seed: int) -> tuple[Params, int | None, optuna.Trial]:
        if self._phase.sampler == "gp":
            load_direction_numbers()
        sampler = optuna_sampler(self._phase, seed)
        options = self._phase.options
        alone = not options.get("multivariate", len(self._study.directions) == 1)
        if self._phase.sampler != "tpe" or not (alone or options.get("group")):
            sampler = InSpace(sampler, self._together)
        self._study.sampler = sampler
        params: Params = {}
        with quiet():
            trial = self._study.ask()
            for name in self._order:
                if name in active(self._arm.parameters, params, self._arm.fixed):
                    params[name] = suggest(trial, name, self._arm.parameters[name])
        generation = None
        if self._phase.sampler == "nsga2":
            generation = self._study.get_trials(deepcopy=False)[trial.number].system_attrs.get(GENERATION, 0)
        return params, generation, trial

    def tell(self, trial: optuna.Trial, params: Params, outcome: Outcome) -> None:
        state, values = self._told(outcome)
        if state is TrialState.PRUNED:
            assert outcome.values is not None and outcome.epoch is not None
            trial.report(outcome.values[0], outcome.epoch)
            values = None  # Optuna takes what was reported
        self._study.tell(trial, values, state)

    def add(self, known: Known) -> None:
        state, values = self._told(known.outcome)
        params = {name: snap(self._arm.parameters[name], value) for name, value in known.params.items()}
        reported = {} if known.outcome.epoch is None or values is None else {known.outcome.epoch: values[0]}
        trial = optuna.create_trial(
            state=state,
            params=dict(params),
            distributions={name: distribution(self._arm.parameters[name]) for name in params},
            values=values,
            system_attrs={GENERATION: known.generation or 0} if self._phase.sampler == "nsga2" else {},
            intermediate_values=reported,
        )
        self._study.add_trial(trial)

    def _told(self, outcome: Outcome) -> tuple[TrialState, list[float] | None]:
        """A value at the epoch where it was stopped is none of those that ran to the end: tpe ranks it below them.

        Optuna knows no pruned trials with several objectives.
        """
        if outcome.values is None:
            return TrialState.FAIL, None
        if outcome.epoch is None:
            return TrialState.COMPLETE, list(outcome.values)
        return (
            (TrialState.PRUNED, list(outcome.values)) if len(self._study.directions) == 1 else (TrialState.FAIL, None)
        )
