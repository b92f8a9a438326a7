"""Optuna's samplers, built from a phase's options and a seed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, nsgaii
from optuna.trial import FrozenTrial, TrialState

from hpsearch.sampling.cmaes import INSTALL, make_cma
from hpsearch.stream_seeds import stream_seed
from hpsearch.study import Phase

optuna.logging.set_verbosity(logging.ERROR)

CROSSOVERS = {
    "blxalpha": nsgaii.BLXAlphaCrossover,
    "sbx": nsgaii.SBXCrossover,
    "spx": nsgaii.SPXCrossover,
    "undx": nsgaii.UNDXCrossover,
    "vsbx": nsgaii.VSBXCrossover,
}  # uniform, the default, takes swapping_prob and is made by the sampler
QUARTER = 4  # of a phase is one generation, and there are as many configurations in it at least


def missing_package(sampler: str) -> str | None:
    """The command that installs what the sampler needs, where it is not there."""
    return INSTALL if sampler == "cmaes" and find_spec("cmaes") is None else None


def try_options(phase: Phase) -> None:
    """Builds the sampler once; raises ValueError or TypeError for option values that it refuses."""
    if phase.sampler == "qmc":
        qmc(phase, 0)
    elif phase.sampler == "cmaes":
        make_cma(phase.options, [0.5, 0.5])
    elif phase.sampler in ("tpe", "gp", "nsga2"):
        optuna_sampler(phase, 0)


def qmc(phase: Phase, seed: int) -> optuna.samplers.QMCSampler:
    with quiet():
        return optuna.samplers.QMCSampler(**{"scramble": True, **phase.options}, seed=seed)


def optuna_sampler(phase: Phase, seed: int) -> BaseSampler:
    with quiet():
        if phase.sampler == "tpe":
            return optuna.samplers.TPESampler(**phase.options, seed=seed)
        if phase.sampler == "gp":
            return optuna.samplers.GPSampler(**phase.options, seed=seed, warn_independent_sampling=False)
        return _nsga2(phase, seed)


def _nsga2(phase: Phase, seed: int) -> Nsga2:
    options = dict(phase.options)
    options.setdefault("population_size", max(QUARTER, (phase.configurations or 0) // QUARTER))
    crossover = CROSSOVERS.get(options.pop("crossover", "uniform"))
    mutation = nsgaii.PolynomialMutation() if options.pop("mutation", "random") == "polynomial" else None
    made = crossover() if crossover is not None else None
    return Nsga2(**options, crossover=made, mutation=mutation, seed=seed)


class Nsga2(optuna.samplers.NSGAIISampler):
    """Optuna's gives a generation's parents in another order at first: a resumed run has another first."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


class InSpace(BaseSampler):
    """A sampler that is told its search space: a new one would compare all trials to find it, most of its time."""

    def __init__(self, sampler: BaseSampler, space: dict[str, BaseDistribution]) -> None:
        self._sampler, self._space = sampler, space

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's warnings that a sampler or an option is experimental, or goes with a later major version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def seed32(*key: object) -> int:
    """numpy's legacy generators, which Optuna uses, take 32 bits."""
    return stream_seed(0, *key) % 2**32
