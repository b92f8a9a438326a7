"""The samplers that adapt: asked for configurations of an arm, told the mean over seeds of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpsearch.sampling.build import seed32
from hpsearch.sampling.cmaes import CmaEs
from hpsearch.sampling.distributions import Params
from hpsearch.sampling.known import Known, Outcome
from hpsearch.sampling.optuna_study import OptunaStudy
from hpsearch.study import Study


@dataclass(frozen=True, eq=False)
class Asked:
    """A suggestion that the sampler waits to be told about."""

    params: Params
    generation: int | None  # of nsga2 and cmaes; it goes into the row
    phase: int
    ticket: Any  # what the phase's sampler knows it by


class Adaptive:
    """The adaptive phases of one arm, each with a sampler of its own, made at its first ask from all that is known."""

    def __init__(self, study: Study, arm: str) -> None:
        self._arm = study.arms[arm]
        self._phases = study.phases(arm)
        self._key = (study.sampling_seed, arm)
        self._directions = list(study.objectives.values())
        self._known: list[Known] = []
        self._phase = -1
        self._sampler: OptunaStudy | CmaEs | None = None

    def ask(self, phase: int, index: int, repeat: int) -> Asked:
        """Depends on (sampling_seed, arm, phase, index, repeat) and on what was told, in that order, alone.

        repeat: how many suggestions for this index were none, because they are planned already.
        """
        if self._sampler is None or self._phase != phase:
            self._phase, self._sampler = phase, self._begin(phase)
        params, generation, ticket = self._sampler.ask(seed32(*self._key, phase, index, repeat))
        return Asked(params, generation, phase, ticket)

    def tell(self, asked: Asked, values: tuple[float, ...] | None) -> None:
        """The configuration's means, one an objective; None when it has none (a seed failed, or it was a repeat)."""
        self._tell(asked, Outcome(values))

    def tell_stopped(self, asked: Asked, epoch: int, value: float) -> None:
        """Stopped early: the mean of the first objective at the last epoch that it reached. Never a final value."""
        self._tell(asked, Outcome((value,), epoch))

    def add(self, params: Params, values: tuple[float, ...], sampling: Mapping[str, Any] | None = None) -> None:
        """A configuration that was not asked for here: another phase's, or an earlier run's.

        sampling: what its row says of it (phase, sampler, generation); None for another study's.
        """
        self._add(params, Outcome(values), sampling)

    def add_stopped(self, params: Params, epoch: int, value: float, sampling: Mapping[str, Any] | None = None) -> None:
        """As add(), of one that was stopped early."""
        self._add(params, Outcome((value,), epoch), sampling)

    def _tell(self, asked: Asked, outcome: Outcome) -> None:
        known = Known(asked.params, outcome, asked.phase, asked.generation)
        if outcome.values is not None:
            self._known.append(known)
        assert self._sampler is not None  # it was asked
        if asked.phase == self._phase:
            self._sampler.tell(asked.ticket, asked.params, outcome)
        elif outcome.values is not None:  # it came back when the next phase had begun
            self._sampler.add(self._seen_from(self._phase, known))

    def _add(self, params: Params, outcome: Outcome, sampling: Mapping[str, Any] | None) -> None:
        known = Known(params, outcome, *self._origin(sampling))
        self._known.append(known)
        if self._sampler is not None:
            self._sampler.add(self._seen_from(self._phase, known))

    def _begin(self, phase: int) -> OptunaStudy | CmaEs:
        known = [self._seen_from(phase, one) for one in self._known]
        if self._phases[phase].sampler == "cmaes":
            return CmaEs(self._arm.parameters, self._phases[phase].options, self._directions[0], known)
        return OptunaStudy(self._arm, self._phases[phase], self._directions, known)

    def _origin(self, sampling: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
        """The phase and generation of a row, where it is of a phase that has the same sampler still."""
        if sampling is None or sampling["phase"] is None or sampling["phase"] >= len(self._phases):
            return None, None
        same = self._phases[sampling["phase"]].sampler == sampling["sampler"]
        return (sampling["phase"], sampling["generation"]) if same else (None, None)

    def _seen_from(self, phase: int, known: Known) -> Known:
        """Generations are a phase's own: to another one they say nothing."""
        return known if known.phase == phase else Known(known.params, known.outcome, None, None)
