"""Optuna's samplers, built from a phase's options and a seed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna

from hpsearch.streams import stream_seed
from hpsearch.study import Phase

optuna.logging.set_verbosity(logging.ERROR)


def try_options(phase: Phase) -> None:
    """Builds the sampler once; raises ValueError or TypeError for option values that Optuna refuses."""
    if phase.sampler == "qmc":
        qmc(phase, 0)
    elif phase.sampler == "tpe":
        tpe(phase, 0)


def qmc(phase: Phase, seed: int) -> optuna.samplers.QMCSampler:
    with experimental():
        return optuna.samplers.QMCSampler(**{"scramble": True, **phase.options}, seed=seed)


def tpe(phase: Phase, seed: int) -> optuna.samplers.TPESampler:
    with experimental():
        return optuna.samplers.TPESampler(**phase.options, seed=seed)


@contextmanager
def experimental() -> Iterator[None]:
    """Without Optuna's warning that a sampler, or an option, is experimental: some have been for years."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def seed32(*key: object) -> int:
    """numpy's legacy generators, which Optuna uses, take 32 bits."""
    return stream_seed(0, *key) % 2**32
