"""Phases that do not adapt: functions of (sampling_seed, arm, phase, index) alone, or a list of the study file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

import numpy
import optuna
from optuna.trial import TrialState

from hpsearch.sampling.build import qmc, seed32
from hpsearch.sampling.distributions import Params, corner, distributions, native
from hpsearch.sampling.grid import levels_of, typed
from hpsearch.sobol import load_direction_numbers
from hpsearch.space import Parameter, active
from hpsearch.stream_seeds import stream_seed
from hpsearch.study import Study


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
        levels = levels_of(self._arm.parameters)
        sizes = [len(values) for values in levels.values()]
        shuffled = numpy.random.default_rng(stream_seed(*self._key, "grid")).permutation(math.prod(sizes))
        for cell in shuffled:  # a cut grid is then a spread subset, not a corner
            places = numpy.unravel_index(int(cell), sizes) if sizes else ()
            yield {name: values[int(place)] for (name, values), place in zip(levels.items(), places, strict=True)}

    def _points(self) -> Iterator[Params]:
        for point in self._phase.options["points"]:
            yield {name: typed(self._arm.parameters[name], value) for name, value in point.items()}

    def _random(self) -> Iterator[Params]:
        yield from _random(self._arm.parameters, *self._key)

    def _qmc(self) -> Iterator[Params]:
        load_direction_numbers()
        space = distributions(self._arm.parameters)
        study = optuna.create_study(sampler=qmc(self._phase, seed32(*self._key)))
        # Optuna draws the first point of a study independently and infers the space from it: give it one to infer from.
        study.add_trial(optuna.create_trial(params=corner(space), distributions=space, value=0.0))
        while True:
            yield native(study.ask(space).params, self._arm.parameters)


def random_points(study: Study, arm: str, count: int) -> list[Params]:
    """Random points of an arm's space, the same ones each time: what a sampler may suggest, for predictions."""
    parameters, fixed = study.arms[arm].parameters, study.arms[arm].fixed
    drawn = itertools.islice(_random(parameters, arm), count)
    return [{name: point[name] for name in active(parameters, point, fixed)} for point in drawn]


def _random(parameters: Mapping[str, Parameter], *key: object) -> Iterator[Params]:
    """Point i depends on the key and i alone."""
    space = distributions(parameters)
    only = {name: value for name, value in corner(space).items() if space[name].single()}
    study = optuna.create_study()  # a trial of it for each point would cost five times as much as the point
    trial = optuna.create_trial(state=TrialState.RUNNING)
    for index in itertools.count():
        sampler = optuna.samplers.RandomSampler(seed=seed32(*key, index))
        point = {
            name: only[name] if name in only else sampler.sample_independent(study, trial, name, known)
            for name, known in space.items()
        }
        yield native(point, parameters)
