"""CMA-ES over an arm's ranges: its state is a function of the rows of the run, so nothing of it is ever stored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy

from hpsearch.sampling.distributions import Params
from hpsearch.sampling.known import Known, Outcome
from hpsearch.space import Parameter, Value

if TYPE_CHECKING:
    import cmaes

INSTALL = 'pip install "hpsearch[cmaes]"'
SIGMA = 1 / 6  # of a range: Optuna's first step size


class CmaEs:
    """CMA-ES in the unit cube (log axes by their logarithm), one update a generation, as N. Hansen's tutorial has it.

    Optuna's own sampler pickles its optimizer into the storage; here the generations are told again instead, in the
    order in which they were told first. It starts at the best configuration that is known before the phase.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        options: Mapping[str, Any],
        direction: str,
        known: Iterable[Known],
    ) -> None:
        self._parameters = dict(parameters)
        self._sign = 1.0 if direction == "minimize" else -1.0
        self._generation = 0
        self._solutions: dict[int, list[tuple[tuple[float, ...], numpy.ndarray[Any, Any]]]] = {}
        known = list(known)
        before = [one for one in known if one.generation is None and one.outcome.epoch is None]
        best = min(before, key=lambda one: self._rank(one.outcome), default=None)
        start = self._to_unit(best.params) if best is not None else numpy.full(len(self._parameters), 0.5)
        self._cma = make_cma(options, start) if self._parameters else None
        for one in known:
            self.add(one)

    def ask(self, seed: int) -> tuple[Params, int, int]:
        """The configuration, its generation, and again the generation: what tell() wants back."""
        if self._cma is None:
            return {}, 0, 0
        size = self._cma.population_size
        while len(told := self._solutions.get(self._generation, [])) >= size:
            # The values matter by their order only; early-stopped ones come after all others.
            ranked = sorted(told[:size], key=lambda solution: solution[0])
            self._cma.tell([(point, float(rank)) for rank, (_, point) in enumerate(ranked)])
            self._generation += 1
        self._cma.reseed_rng(seed)
        return self._from_unit(self._cma.ask()), self._generation, self._generation

    def tell(self, generation: int, params: Params, outcome: Outcome) -> None:
        if outcome.values is not None:
            self._solutions.setdefault(generation, []).append((self._rank(outcome), self._to_unit(params)))

    def add(self, known: Known) -> None:
        """Others than this phase's are no draws of its distribution, so they do not move it."""
        if known.generation is not None:
            self.tell(known.generation, known.params, known.outcome)

    def _rank(self, outcome: Outcome) -> tuple[float, ...]:
        assert outcome.values is not None
        value = self._sign * outcome.values[0]
        return (0.0, value) if outcome.epoch is None else (1.0, -outcome.epoch, value)

    def _to_unit(self, params: Params) -> numpy.ndarray[Any, Any]:
        """(P,), each in [0, 1]."""
        unit = []
        for name, parameter in self._parameters.items():
            low, high = _edges(parameter)
            value = float(params[name])
            unit.append(((math.log(value) if parameter.log else value) - low) / (high - low))
        return numpy.array(unit).clip(0.0, 1.0)

    def _from_unit(self, unit: numpy.ndarray[Any, Any]) -> Params:
        values = zip(self._parameters.items(), unit.tolist(), strict=True)
        return {name: _value(parameter, share) for (name, parameter), share in values}


def make_cma(options: Mapping[str, Any], start: Iterable[float]) -> cmaes.CMA | cmaes.SepCMA:
    """In the unit cube, from `start` (P,). Raises ValueError for options that exclude each other."""
    import cmaes

    mean = numpy.array(list(start))
    separable, adapt = options.get("use_separable_cma", False), options.get("lr_adapt", False)
    if separable and adapt:
        raise ValueError("use_separable_cma and lr_adapt are both true: one of the two")
    bounds = numpy.array([[0.0, 1.0]] * len(mean))
    same = {"bounds": bounds, "n_max_resampling": 10 * len(mean), "population_size": options.get("popsize"), "seed": 0}
    if separable and len(mean) > 1:
        return cmaes.SepCMA(mean, SIGMA, **same)
    return cmaes.CMA(mean, SIGMA, **same, lr_adapt=adapt)


def _edges(parameter: Parameter) -> tuple[float, float]:
    """Of the axis that is made [0, 1]. Half a step beyond the ends: each value then has an equal share of it."""
    assert parameter.low is not None and parameter.high is not None
    half = _step(parameter) / 2
    low, high = parameter.low - half, parameter.high + half
    return (math.log(low), math.log(high)) if parameter.log else (low, high)


def _step(parameter: Parameter) -> float:
    """0 for a continuous range."""
    return parameter.step or (1.0 if parameter.integer else 0.0)


def _value(parameter: Parameter, share: float) -> Value:
    assert parameter.low is not None and parameter.high is not None
    low, high = _edges(parameter)
    value = low + share * (high - low)
    value = math.exp(value) if parameter.log else value
    step = _step(parameter)
    if step:
        value = parameter.low + round((value - parameter.low) / step) * step
    value = min(max(value, parameter.low), parameter.high)
    return int(value) if parameter.integer else value
