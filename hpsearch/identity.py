"""Names for results: a trial's id is a hash of what determines its result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hpsearch.study import Study


@dataclass(frozen=True)
class Identity:
    """Gives ids within one study. task: hpsearch.tasks.identity of the task; function: it is a training function."""

    study: Study
    task: Mapping[str, Any]
    function: bool

    @classmethod
    def recorded(cls, study: Study) -> Identity:
        """From a run folder's study.yaml, without importing the task."""
        assert study.recorded is not None
        task = {key: value for key, value in study.recorded.task.items() if key != "function"}
        return cls(study, task, bool(study.recorded.task["function"]))

    def configuration_id(self, arm: str, params: Mapping[str, Any]) -> str:
        return self.ids(arm, params, ())[0]

    def trial_id(self, arm: str, params: Mapping[str, Any], seed: int) -> str:
        return self.ids(arm, params, (seed,))[1][seed]

    def ids(self, arm: str, params: Mapping[str, Any], seeds: Iterable[int]) -> tuple[str, dict[int, str]]:
        """The configuration's id and its trials' by seed: at once, since what they share is most of the work.

        An id is of canonical JSON with sorted keys: arm, seed (of a trial only), settings, task.
        """
        before = '{"arm":' + _json(arm)
        after = f',"settings":{_json(self._settings(arm, params))},"task":{self._task}}}'
        return _digest(before + after), {seed: _digest(f'{before},"seed":"{seed}"{after}') for seed in seeds}

    def _settings(self, arm: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.function:  # its parameters are its own: there are no defaults to leave out
            return {**self.study.arms[arm].fixed, **params}
        return self.study.settings(arm, params).changed()

    @cached_property
    def _task(self) -> str:
        return _json(self.task)


def _digest(text: str) -> str:
    """16 hexadecimal digits of SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _json(what: Any) -> str:
    """Canonical: sorted keys, numbers as float64 (but see _floats)."""
    return json.dumps(_floats(what), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _floats(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _floats(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_floats(part) for part in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    number = float(value) + 0.0  # -0.0 is 0.0
    return number if number == value else value  # a whole number that float64 would round stays itself
