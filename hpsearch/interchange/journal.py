"""An Optuna journal storage of a study's configurations, as optuna-dashboard opens it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from hpsearch.analysis.columns import Value
from hpsearch.sampling import distributions
from hpsearch.space import Parameter
from hpsearch.study import Study


@dataclass(frozen=True)
class Configuration:
    """A trial to be. values: one an objective, None for a configuration without a result."""

    params: Mapping[str, Value]
    values: tuple[float, ...] | None
    attributes: Mapping[str, Any]


class Memory(BaseJournalBackend):
    """A journal in memory: a file is synced at every entry, which takes milliseconds each."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += json.loads(json.dumps(logs))


def journal(study: Study, arms: Mapping[str, Sequence[Configuration]]) -> bytes:
    """The journal file of a storage that optuna-dashboard opens."""
    memory = Memory()
    storage = optuna.storages.JournalStorage(memory)
    for arm, configurations in arms.items():
        target = optuna.create_study(
            storage=storage, study_name=f"{study.name}/{arm}", directions=list(study.objectives.values())
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # it has been so since Optuna 3.2
            target.set_metric_names(list(study.objectives))
        for configuration in configurations:
            target.add_trial(_frozen(configuration, study.arms[arm].parameters))
    return b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in memory.logs)


def _frozen(configuration: Configuration, parameters: Mapping[str, Parameter]) -> FrozenTrial:
    spaces = {}
    for name, value in configuration.params.items():
        parameter = parameters[name]  # a value may lie between its steps: on a grid, or in an earlier study file
        on_step = parameter.contains(value) or parameter.step is None
        spaces[name] = parameter if on_step else parameter.model_copy(update={"step": None})
    return optuna.create_trial(
        state=TrialState.FAIL if configuration.values is None else TrialState.COMPLETE,
        params=dict(configuration.params),
        distributions=distributions(spaces),
        values=None if configuration.values is None else list(configuration.values),
        user_attrs=dict(configuration.attributes),
    )
