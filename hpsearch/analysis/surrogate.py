"""A model of one arm's response: the expectation of a metric over seeds, anywhere in the ranges, with its uncertainty.

Where every trial trained it is one Gaussian process of the configurations' means. Where some did not, it is two: the
metric where it trains, and the probability that it trains; the expectation is then p * metric + (1 - p) * chance, which
copes with the cliff that a smooth function can't follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from hpsearch.analysis.inputs import Inputs
from hpsearch.analysis.process import Functions, Process, fit_counts, fit_values
from hpsearch.analysis.seeds import SeedEffect

Floats = NDArray[np.float64]

DRAWS = 256  # functions from the posterior: 2.5 % quantiles then rest on 6 of them on each side
LEAST = 8  # configurations with a result, below which no surface is fitted
MOST = 500  # configurations a process is given; of more, a random part


@dataclass(frozen=True)
class Surrogate:
    """Draws of the response: call it with points (k, d) for (draws, k) values in the metric's unit.

    centre, unit: the metric is centre + unit * process. shifts (draws,): of the level, because all configurations share
    the same few seeds. chance: what a trial that did not train has on average. n: configurations it was fitted to,
    of n_known.
    """

    inputs: Inputs
    centre: float
    unit: float
    values: Process
    counts: Process | None
    chance: float
    shifts: Floats
    n: int
    n_known: int
    value_functions: tuple[Functions, ...]
    count_functions: tuple[Functions, ...]

    def __call__(self, x: Floats) -> Floats:
        trained = self.where_trained(x)
        if self.counts is None:
            return trained
        p = self.trains(x)
        return p * trained + (1 - p) * self.chance

    def where_trained(self, x: Floats) -> Floats:
        """The metric of trials that train, (draws, k)."""
        return self.centre + self.unit * _stack(self.value_functions, x) + self.shifts[:, None]

    def trains(self, x: Floats) -> Floats:
        """The probability that a seed trains, (draws, k)."""
        if self.counts is None:
            return np.ones((len(self.shifts), len(x)))
        return np.asarray(expit(_stack(self.count_functions, x)))

    def mean(self, x: Floats) -> Floats:
        """The response at the best settings, (k,): what configurations are ranked by.

        Beside a cliff the mean over draws is blurred by all the places where it may be; this is nearer the truth.
        """
        trained = self.centre + self.unit * self.values.best.mean(x)
        if self.counts is None:
            return trained
        p = expit(self.counts.best.mean(x))
        return np.asarray(p * trained + (1 - p) * self.chance)

    @property
    def additive_parts(self) -> tuple[Functions, ...] | None:
        """The draws as sums of uncorrelated features; None where the response is a product of two processes."""
        return self.value_functions if self.counts is None and not self.inputs.when else None


def fit_surrogate(
    configurations: pd.DataFrame, inputs: Inputs, effect: SeedEffect, chance: float, seed: int = 0, draws: int = DRAWS
) -> Surrogate | str:
    """The surrogate of one arm's rows of `summarize`, or why there is none.

    chance: mean metric of the trials that did not train (not used where all did).
    """
    rows = configurations[configurations["n"] > 0]
    x = inputs.coordinates(rows)
    trained, ended = rows["n_trained"].to_numpy(float), rows["n"].to_numpy(float)
    y, sd = rows["mean_trained"].to_numpy(float), rows["sd_trained"].to_numpy(float)
    if not len(inputs):
        return "no hyperparameter varied"
    known = np.flatnonzero(trained > 0)
    if len(known) < LEAST:
        return f"{len(known)} configurations with a result where training worked: a surface needs {LEAST}"
    centre, unit = float(y[known].mean()), float(y[known].std())
    df = np.where(trained > 1, trained - 1, 0.0)
    noise = float(np.sqrt(np.nansum(np.where(df > 0, sd**2 * df, 0.0)) / df.sum())) if df.sum() else 0.0
    noise *= np.sqrt(1 - effect.share)  # what all configurations share moves the level, not the shape
    if not unit > 1e-12 * max(1.0, abs(centre)):
        return "the metric is constant"
    # Of too many configurations a random part.
    rng = np.random.default_rng(seed)
    part = known if len(known) <= MOST else np.sort(rng.choice(known, MOST, replace=False))
    # A noise of zero (one value repeated exactly) still needs a positive number.
    values = fit_values(
        inputs, x[part], (y[part] - centre) / unit, trained[part], max(noise / unit, 1e-4), int(df.sum()), seed
    )
    counts = None
    if (trained < ended).any():
        every = np.arange(len(x)) if len(x) <= MOST else np.sort(rng.choice(len(x), MOST, replace=False))
        counts = fit_counts(inputs, x[every], trained[every], ended[every], seed + 1)
    return Surrogate(
        inputs=inputs,
        centre=centre,
        unit=unit,
        values=values,
        counts=counts,
        chance=chance,
        shifts=effect.shifts(draws, rng),
        n=len(part),
        n_known=len(rows),
        value_functions=values.functions(draws, seed),
        count_functions=counts.functions(draws, seed + 1) if counts is not None else (),
    )


def _stack(functions: tuple[Functions, ...], x: Floats) -> Floats:
    return np.concatenate([f(x) for f in functions])
