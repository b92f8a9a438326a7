"""What more trials would tell: the variance that linear functionals of a response keep after points are added.

Given its settings, the posterior variance of a Gaussian process does not depend on the values that will be seen, so it
is known before they are (Cohn, Neural Networks 1996; Seo et al., IJCNN 2000). Beside a cliff the response p * metric +
(1 - p) * chance is taken to first order in both processes: the latent one counts (metric - chance) p (1 - p).

That says which points tell most, and too much of how far an interval shrinks: it takes the settings as known, and the
end of a range is no linear functional. Widths are predicted from the draws instead, which are brought to what each of
some of them would show (Matheron's rule with the covariances of the draws: an ensemble Kalman update).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from hpsearch.analysis.inputs import Inputs
from hpsearch.analysis.kernel import Layout, kernel
from hpsearch.analysis.process import VALUES, Observations, Posterior
from hpsearch.analysis.surrogate import Surrogate

Floats = NDArray[np.float64]

RARE = 0.05  # the least share of seeds that a point is taken to train
FUTURES = 16  # draws taken for the truth in turn
PRIOR_NOISE = 0.3  # of a mean, in standardised units, where nothing is known


@dataclass(frozen=True)
class Target:
    """What is to be known better: functionals combine (q, t) @ response at points (t, d), weighed by weights (q,)."""

    points: Floats
    combine: Floats
    weights: Floats

    @classmethod
    def everywhere(cls, inputs: Inputs, seed: int, n: int = 128) -> Target:
        """The response itself over the ranges: the integrated variance (ALC)."""
        return cls(inputs.from_uniform(inputs.uniform(n, seed)), np.eye(n), np.full(n, 1 / n))


@dataclass(frozen=True)
class Term:
    """One process with one setting. at_points (t,), noise (c,): how the target hangs on it, what a candidate adds."""

    posterior: Posterior
    at_points: Floats
    noise: Floats


def terms(surrogate: Surrogate, target: Target, candidates: Floats, seeds: int, trained: float) -> list[list[Term]]:
    """One list per setting; the variances of the processes in it add up.

    seeds: of a new configuration. trained: mean number of seeds that trained, over the configurations where any did.
    """
    step = 4 if surrogate.n <= 200 else 8  # of 16 settings; each costs a solve
    p, there = surrogate.trains(target.points), surrogate.trains(candidates)  # (draws, t), (draws, c)
    share = seeds * np.maximum(there.mean(0), RARE)
    made = []
    for values in surrogate.values.others[::step]:
        noise = trained / np.mean(values.seen.root**2)  # over seeds: a point's precision is its seeds over this
        made.append([Term(values, surrogate.unit * p.mean(0), noise / share)])
    if surrogate.counts is None:
        return made
    slope = (p * (1 - p)).mean(0) * (surrogate.where_trained(target.points).mean(0) - surrogate.chance)
    noise = 1 / (seeds * np.maximum((there * (1 - there)).mean(0), 1e-6))
    return [[*one, Term(c, slope, noise)] for one, c in zip(made, surrogate.counts.others[::step], strict=True)]


def prior_terms(inputs: Inputs, known: Floats, candidates: Floats) -> list[list[Term]]:
    """Where there is no surrogate: the kernel's prior, which spreads points evenly. known (n, d): points that are."""
    layout = Layout(inputs)
    theta = VALUES.moments(layout)[0]
    seen = Observations(known, np.full(len(known), 1 / PRIOR_NOISE), np.zeros(len(known)))
    flat = Posterior.of(layout, theta, seen) if len(known) else Posterior(layout, theta, seen, np.eye(0), np.empty(0))
    return [[Term(flat, np.ones(1), np.full(len(candidates), PRIOR_NOISE**2))]]


class Greedy:
    """Candidates (c, d) taken one by one, each the one after which least variance of the target is left."""

    def __init__(self, of: list[list[Term]], target: Target, candidates: Floats) -> None:
        self._fields = [_Field.of(term, target, candidates) for setting in of for term in setting]
        self._weights = target.weights
        self._settings = len(of)

    @property
    def variance(self) -> float:
        """Of the target, the mean over settings."""
        return float(sum(self._weights @ f.own for f in self._fields) / self._settings)

    def best(self, free: NDArray[np.bool_]) -> int:
        """Index of the best candidate among the free (c,); the first of equals."""
        gains = sum(self._weights @ f.across**2 / f.after for f in self._fields)
        return int(np.where(free, gains, -np.inf).argmax())

    def take(self, index: int) -> None:
        self._fields = [f.take(index) for f in self._fields]


def variance_with_seeds(of: list[list[Term]], target: Target, factor: float) -> float:
    """The variance of the target were there `factor` times as many seeds of every configuration."""
    nothing = np.empty((0, target.points.shape[1]))
    more = [[Term(_repeated(t.posterior, factor), t.at_points, np.empty(0)) for t in setting] for setting in of]
    return Greedy(more, target, nothing).variance


def predicted_width(
    surrogate: Surrogate,
    points: Floats,
    read: Callable[[Floats], float],
    new: Floats,
    seeds: int,
    trained: float,
    seed: int,
    shift: float = 1.0,
) -> float:
    """The mean of read(draws at points (k, d)) over what `seeds` more trials at each of the points new (n, d) may show.

    trained: as in `terms`. shift: what is left of the shared seeds' part of the level.
    """
    rng = np.random.default_rng(seed)
    level = shift * surrogate.shifts[:, None] * surrogate.trains(points).mean(0)
    bare = replace(surrogate, shifts=np.zeros(len(surrogate.shifts)))  # the same seeds show the same shift
    draws, there = bare(points), bare(new)  # (draws, k), (draws, n)
    noise = surrogate.unit**2 * trained / np.mean(surrogate.values.best.seen.root**2)
    p = surrogate.trains(new).mean(0)
    fall = 0.0 if surrogate.counts is None else (bare.where_trained(new).mean(0) - surrogate.chance) ** 2
    spread = (p * noise + fall * p * (1 - p)) / seeds + 1e-12 * surrogate.unit**2
    centred = there - there.mean(0)
    gain = np.linalg.solve(
        centred.T @ centred / len(there) + np.diag(spread), centred.T @ (draws - draws.mean(0)) / len(there)
    )  # (n, k)
    found = []
    for truth in rng.integers(0, len(draws), FUTURES):
        seen = there[truth] + rng.standard_normal(len(p)) * np.sqrt(spread)
        missed = seen - there - rng.standard_normal(there.shape) * np.sqrt(spread)
        found.append(read(draws + missed @ gain + level))
    return float(np.mean(found))


@dataclass(frozen=True)
class _Field:
    """Covariances given what is seen: functionals' variances own (q,), across (q, c), among candidates (c, c)."""

    own: Floats
    across: Floats
    among: Floats
    noise: Floats

    @property
    def after(self) -> Floats:
        """Variance of a candidate's observed mean, (c,)."""
        return np.asarray(np.maximum(np.diag(self.among), 0.0) + self.noise)

    @classmethod
    def of(cls, term: Term, target: Target, candidates: Floats) -> _Field:
        p, combine = term.posterior, target.combine * term.at_points
        root = p.seen.root[:, None]

        def seen(x: Floats) -> Floats:  # (n, k)
            known = root * kernel(p.layout, p.theta, p.seen.x, x)
            return np.asarray(solve_triangular(p.factor, known, lower=True)) if len(known) else known

        t, c = seen(target.points) @ combine.T, seen(candidates)
        prior = kernel(p.layout, p.theta, target.points, target.points)
        own = ((combine @ prior) * combine).sum(1) - (t * t).sum(0)
        across = combine @ kernel(p.layout, p.theta, target.points, candidates) - t.T @ c
        among = kernel(p.layout, p.theta, candidates, candidates) - c.T @ c
        return cls(np.maximum(own, 0.0), across, among, term.noise)

    def take(self, index: int) -> _Field:
        size = self.after[index]
        one, row = self.across[:, index], self.among[index]
        return _Field(
            np.maximum(self.own - one**2 / size, 0.0),
            self.across - np.outer(one, row) / size,
            self.among - np.outer(row, row) / size,
            self.noise,
        )


def _repeated(posterior: Posterior, factor: float) -> Posterior:
    seen = posterior.seen
    if not len(seen.x):
        return posterior
    scale = np.sqrt(factor)
    more = Observations(seen.x, seen.root * scale, seen.target * scale)
    return Posterior.of(posterior.layout, posterior.theta, more)
