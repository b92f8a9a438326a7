"""Names for results: a trial's id is a hash of what determines its result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
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
        return _hash(self._what(arm, params))

    def trial_id(self, arm: str, params: Mapping[str, Any], seed: int) -> str:
        return _hash({**self._what(arm, params), "seed": str(seed)})

    def _what(self, arm: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if self.function:  # its parameters are its own: there are no defaults to leave out
            values: Mapping[str, Any] = {**self.study.arms[arm].fixed, **params}
        else:
            values = self.study.settings(arm, params).changed()
        return {"task": dict(self.task), "arm": arm, "settings": dict(values)}


def _hash(what: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of SHA-256 over canonical JSON: sorted keys, numbers as float64 (but see _floats)."""
    text = json.dumps(_floats(what), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _floats(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _floats(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_floats(part) for part in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    number = float(value) + 0.0  # -0.0 is 0.0
    return number if number == value else value  # a whole number that float64 would round stays itself
