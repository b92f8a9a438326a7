"""Parameters as Optuna's distributions, and its values as Python's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpsearch.space import Parameter, Value

Params = dict[str, Value]


def distributions(parameters: Mapping[str, Parameter]) -> dict[str, BaseDistribution]:
    return {name: distribution(parameter) for name, parameter in parameters.items()}


def distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.choices is not None:
        return CategoricalDistribution(parameter.choices)
    assert parameter.low is not None and parameter.high is not None
    if parameter.integer:
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def snap(parameter: Parameter, value: Value) -> Value:
    """The step nearest to a value that may lie between them (of a grid, or of an earlier study file)."""
    if parameter.choices is not None or parameter.step is None or parameter.contains(value):
        return value
    assert parameter.low is not None and parameter.high is not None
    steps = round((float(value) - parameter.low) / parameter.step)
    snapped = min(parameter.low + steps * parameter.step, parameter.high)
    return int(snapped) if parameter.integer else snapped


def suggest(trial: optuna.Trial, name: str, parameter: Parameter) -> Value:
    if parameter.choices is not None:
        return trial.suggest_categorical(name, parameter.choices)  # type: ignore[return-value]  # null is no choice
    assert parameter.low is not None and parameter.high is not None
    if parameter.integer:
        step = 1 if parameter.step is None else int(parameter.step)
        return trial.suggest_int(name, int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def native(params: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Params:
    """numpy's numbers as Python's, so that they are written to JSON and hashed as themselves."""
    plain = {name: value.item() if isinstance(value, numpy.generic) else value for name, value in params.items()}
    return {name: plain[name] for name in parameters}


def corner(space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """A point that every space has."""
    return {
        name: known.choices[0] if isinstance(known, CategoricalDistribution) else known.low  # type: ignore[attr-defined]
        for name, known in space.items()
    }
