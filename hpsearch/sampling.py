"""Samplers: Optuna by ask and tell, one configuration at a time.

Grid, random and qmc are functions of (sampling_seed, arm, phase, index) alone, points of the list in the study file.
tpe sees the means over seeds of the arm's configurations. A sampler is built anew for each ask: one that is rebuilt
with its old seed repeats itself.
"""

from __future__ import annotations

import itertools
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from hpsearch.hyperparameters import Hyperparameter
from hpsearch.space import Parameter, Value, active, ordered
from hpsearch.streams import stream_seed
from hpsearch.study import Phase, Study

optuna.logging.set_verbosity(logging.ERROR)

Params = dict[str, Value]
Asked = optuna.Trial  # a suggestion that the sampler waits to be told about

SAMPLERS: Mapping[str, str] = {
    "grid": "every combination of the parameters' grid values, choices or steps, in a shuffled order",
    "random": "independent uniform draws (log-uniform on log axes)",
    "qmc": "a scrambled Sobol or Halton sequence: covers the space more evenly than random draws",
    "tpe": "Optuna's tree-structured Parzen estimator: adaptive, looks where the objectives are good",
    "points": "the configurations that its option points lists, e.g. [{rho: 0.1, lr: 0.2}], in that order",
}
ADAPTIVE = ("tpe",)
FINITE = ("grid", "points")  # a phase of theirs ends by itself, and may leave out how many configurations it has
MAX_GRID = 1_000_000

# What a phase may set, by sampler. Optuna takes any value and fails at the first suggestion, so they are checked here;
# seeds are ours, and callables cannot stand in a file. None: what is right depends on the arm (hpsearch.check says).
OPTIONS: Mapping[str, Mapping[str, Hyperparameter | None]] = {
    "grid": {},
    "random": {},
    "qmc": {
        "qmc_type": Hyperparameter("choice", "sobol", choices=("sobol", "halton")),
        "scramble": Hyperparameter("switch", True),
    },
    "tpe": {
        "n_startup_trials": Hyperparameter("whole", 10, low=0),
        "n_ei_candidates": Hyperparameter("whole", 24, low=1),
        "prior_weight": Hyperparameter("number", 1.0, above=0),
        "multivariate": Hyperparameter("switch", True),
        "group": Hyperparameter("switch", False),
        "constant_liar": Hyperparameter("switch", True),
        "consider_magic_clip": Hyperparameter("switch", True),
        "consider_endpoints": Hyperparameter("switch", False),
    },
    "points": {"points": None},
}


def try_options(phase: Phase) -> None:
    """Builds the sampler once; raises ValueError or TypeError for option values that Optuna refuses."""
    if phase.sampler == "qmc":
        _qmc(phase, 0)
    elif phase.sampler == "tpe":
        _tpe(phase, 0)


def grid_size(parameters: Mapping[str, Parameter], fixed: Mapping[str, Value]) -> int:
    """The number of different configurations on the arm's grid. Raises ValueError where a range has no grid values."""
    levels = _levels(parameters)
    cells = math.prod(len(values) for values in levels.values())
    if cells > MAX_GRID or not any(parameter.when for parameter in parameters.values()):
        return cells
    # Where a condition does not hold, the cells along that parameter are one configuration.
    points = (dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values()))
    return len({tuple((name, point[name]) for name in active(parameters, point, fixed)) for point in points})


class Sequence:
    """A phase that does not adapt: its configurations in order, each once."""

    def __init__(self, study: Study, arm: str, phase: int) -> None:
        self._arm = study.arms[arm]
        self._phase = study.phases(arm)[phase]
        self._key = (study.sampling_seed, arm, phase)

    def __iter__(self) -> Iterator[Params]:
        """Raw points; the planner skips repeats. Endless but for grid and points."""
        samplers = {"grid": self._grid, "random": self._random, "qmc": self._qmc, "points": self._points}
        draw = samplers[self._phase.sampler]
        for point in draw():
            names = active(self._arm.parameters, point, self._arm.fixed)
            yield {name: point[name] for name in names}

    def _grid(self) -> Iterator[Params]:
        levels = _levels(self._arm.parameters)
        sizes = [len(values) for values in levels.values()]
        shuffled = numpy.random.default_rng(stream_seed(*self._key, "grid")).permutation(math.prod(sizes))
        for cell in shuffled:  # a cut grid is then a spread subset, not a corner
            places = numpy.unravel_index(int(cell), sizes) if sizes else ()
            yield {name: values[int(place)] for (name, values), place in zip(levels.items(), places, strict=True)}

    def _points(self) -> Iterator[Params]:
        for point in self._phase.options["points"]:
            yield {name: _typed(self._arm.parameters[name], value) for name, value in point.items()}

    def _random(self) -> Iterator[Params]:
        yield from _random(self._arm.parameters, *self._key)

    def _qmc(self) -> Iterator[Params]:
        space = distributions(self._arm.parameters)
        study = optuna.create_study(sampler=_qmc(self._phase, _seed32(*self._key)))
        # Optuna draws the first point of a study independently and infers the space from it: give it one to infer from.
        study.add_trial(optuna.create_trial(params=_corner(space), distributions=space, value=0.0))
        while True:
            yield _native(study.ask(space).params, self._arm.parameters)


class Adaptive:
    """The Optuna study of one arm, told the mean over seeds of each configuration."""

    def __init__(self, study: Study, arm: str) -> None:
        self._arm = study.arms[arm]
        self._phases = study.phases(arm)
        self._key = (study.sampling_seed, arm)
        self._study = optuna.create_study(directions=list(study.objectives.values()))

    def ask(self, phase: int, index: int, repeat: int) -> tuple[Params, Asked]:
        seed = _seed32(*self._key, phase, index, repeat)
        self._study.sampler = _tpe(self._phases[phase], seed)
        trial = self._study.ask()
        params: Params = {}
        for name in ordered(self._arm.parameters):
            if name in active({**self._arm.parameters}, params, self._arm.fixed):
                params[name] = _suggest(trial, name, self._arm.parameters[name])
        return params, trial

    def tell(self, trial: Asked, values: tuple[float, ...] | None) -> None:
        """The configuration's means, one an objective; None when it has none (a seed failed, or it was a repeat)."""
        if values is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, list(values))

    def add(self, params: Params, values: tuple[float, ...]) -> None:
        """A configuration that this sampler did not ask for: another phase's, or one of an earlier run."""
        space = {name: _distribution(self._arm.parameters[name], value) for name, value in params.items()}
        self._study.add_trial(optuna.create_trial(params=dict(params), distributions=space, values=list(values)))


def random_points(study: Study, arm: str, count: int) -> list[Params]:
    """Random points of an arm's space, the same ones each time: what a sampler may suggest, for predictions."""
    parameters, fixed = study.arms[arm].parameters, study.arms[arm].fixed
    drawn = itertools.islice(_random(parameters, arm), count)
    return [{name: point[name] for name in active(parameters, point, fixed)} for point in drawn]


def _random(parameters: Mapping[str, Parameter], *key: object) -> Iterator[Params]:
    """Point i depends on the key and i alone."""
    space = distributions(parameters)
    for index in itertools.count():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=_seed32(*key, index)))
        yield _native(study.ask(space).params, parameters)


def distributions(parameters: Mapping[str, Parameter]) -> dict[str, BaseDistribution]:
    return {name: _distribution(parameter) for name, parameter in parameters.items()}


def _distribution(parameter: Parameter, value: Value | None = None) -> BaseDistribution:
    """value: one that it must hold, though it may lie between the steps (of a grid, or of an earlier study file)."""
    if parameter.choices is not None:
        return CategoricalDistribution(parameter.choices)
    assert parameter.low is not None and parameter.high is not None
    step = parameter.step if value is None or parameter.contains(value) else None
    if parameter.integer:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=int(step or 1))
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=step)


def _suggest(trial: optuna.Trial, name: str, parameter: Parameter) -> Value:
    if parameter.choices is not None:
        return trial.suggest_categorical(name, parameter.choices)  # type: ignore[return-value]  # null is no choice
    assert parameter.low is not None and parameter.high is not None
    if parameter.integer:
        step = 1 if parameter.step is None else int(parameter.step)
        return trial.suggest_int(name, int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def _native(params: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Params:
    """numpy's numbers as Python's, so that they are written to JSON and hashed as themselves."""
    plain = {name: value.item() if isinstance(value, numpy.generic) else value for name, value in params.items()}
    return {name: plain[name] for name in parameters}


def _levels(parameters: Mapping[str, Parameter]) -> dict[str, tuple[Value, ...]]:
    levels = {name: parameter.levels() for name, parameter in parameters.items()}
    without = [name for name, values in levels.items() if values is None]
    if without:
        raise ValueError(f"sampler grid needs a grid, choices or a step for {', '.join(without)}")
    return {
        name: tuple(_typed(parameters[name], value) for value in values)
        for name, values in levels.items()
        if values is not None
    }


def _typed(parameter: Parameter, value: Value) -> Value:
    """A value that a file gives in the type that the other samplers give: it may say 1 for 1.0, and 1e2 for 100."""
    if parameter.choices is not None:
        return value
    return int(value) if parameter.integer else float(value)


def _corner(space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    return {
        name: distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low  # type: ignore[attr-defined]
        for name, distribution in space.items()
    }


def _qmc(phase: Phase, seed: int) -> optuna.samplers.QMCSampler:
    with _experimental():
        return optuna.samplers.QMCSampler(**{"scramble": True, **phase.options}, seed=seed)


def _tpe(phase: Phase, seed: int) -> optuna.samplers.TPESampler:
    with _experimental():
        return optuna.samplers.TPESampler(**phase.options, seed=seed)


@contextmanager
def _experimental() -> Iterator[None]:
    """Without Optuna's warning that a sampler, or an option, is experimental: some have been for years."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _seed32(*key: object) -> int:
    """numpy's legacy generators, which Optuna uses, take 32 bits."""
    return stream_seed(0, *key) % 2**32
