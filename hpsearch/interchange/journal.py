"""An Optuna journal storage of a study's configurations, as optuna-dashboard opens it."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from hpsearch.analysis.columns import Value
from hpsearch.results import Result
from hpsearch.sampling.distributions import distributions
from hpsearch.space import Parameter
from hpsearch.study import Study


@dataclass(frozen=True)
class Configuration:
    """A trial to be. values: one an objective, None for a configuration without a result.

    curve: epoch -> the mean of the first objective there. stopped: early, so that its last value is no final one.
    """

    params: Mapping[str, Value]
    values: tuple[float, ...] | None
    attributes: Mapping[str, Any]
    curve: Mapping[int, float] = field(default_factory=dict)
    stopped: bool = False
    started: datetime | None = None
    ended: datetime | None = None


class Memory(BaseJournalBackend):
    """A journal in memory: a file is synced at every entry, which takes milliseconds each."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []
        self._taken = 0  # that are in the logs no more

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from - self._taken :]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += json.loads(json.dumps(logs))

    def take(self) -> list[dict[str, Any]]:
        """What has come since the last time."""
        taken, self.logs = self.logs, []
        self._taken += len(taken)
        return taken


class Journal:
    """The journal of a storage with a study per arm, as bytes: the same ones for the same configurations."""

    def __init__(self, study: Study) -> None:
        self._study, self._memory = study, Memory()
        storage = optuna.storages.JournalStorage(self._memory)
        self._arms = {arm: self._create(storage, arm) for arm in study.arms}

    def add(self, arm: str, configuration: Configuration) -> None:
        self._arms[arm].add_trial(_frozen(configuration, self._study.arms[arm].parameters))

    def take(self) -> bytes:
        """The lines that have come since the last time."""
        logs = ({**log, "worker_id": "hpsearch"} for log in self._memory.take())  # Optuna's is drawn at random
        return b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)

    def _create(self, storage: optuna.storages.JournalStorage, arm: str) -> optuna.Study:
        directions = list(self._study.objectives.values())
        target = optuna.create_study(storage=storage, study_name=f"{self._study.name}/{arm}", directions=directions)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # it has been so since Optuna 3.2
            target.set_metric_names(list(self._study.objectives))
        return target


def journal(study: Study, arms: Mapping[str, Sequence[Configuration]]) -> bytes:
    """The journal file of a storage that optuna-dashboard opens."""
    made = Journal(study)
    for arm, configurations in arms.items():
        for configuration in configurations:
            made.add(arm, configuration)
    return made.take()


def attributes(results: Sequence[Result], seen: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    """What a trial says of its seeds. results: of one configuration; seen: objective -> trial_id -> value."""
    selection = [result for result in results if not result.sampling["confirm"]]
    confirm = [result for result in results if result.sampling["confirm"]]
    said: dict[str, Any] = {
        "configuration_id": results[0].configuration_id,
        "n": sum(result.done for result in selection),
        "statuses": dict(Counter(result.status for result in selection)),
        "seeds": _by_seed(selection, seen),
    }
    return {**said, "confirmation": _by_seed(confirm, seen)} if confirm else said


def _by_seed(results: Iterable[Result], seen: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, Any]]:
    return {
        str(result.seed): {
            "status": result.status,
            **{name: values.get(result.trial_id) for name, values in seen.items()},
        }
        for result in results
    }


def _frozen(configuration: Configuration, parameters: Mapping[str, Parameter]) -> FrozenTrial:
    spaces = {}
    for name, value in configuration.params.items():
        parameter = parameters[name]  # a value may lie between its steps: on a grid, or in an earlier study file
        on_step = parameter.contains(value) or parameter.step is None
        spaces[name] = parameter if on_step else parameter.model_copy(update={"step": None})
    ended = TrialState.FAIL if configuration.values is None else TrialState.COMPLETE
    trial = optuna.create_trial(
        state=TrialState.PRUNED if configuration.stopped else ended,
        params=dict(configuration.params),
        distributions=distributions(spaces),
        values=None if configuration.values is None else list(configuration.values),
        user_attrs=dict(configuration.attributes),
        intermediate_values=dict(configuration.curve),
    )
    if configuration.started is not None and configuration.ended is not None:
        trial.datetime_start, trial.datetime_complete = configuration.started, configuration.ended
    return trial
