"""Gaussian processes with replicates: values with known noise, and counts of what trained (Laplace's approximation).

The settings of the kernel are not fixed at their best: draws of functions come from several draws of the settings, so
that intervals hold what is not known about smoothness and relevance either. Draws are exact given the settings
(Matheron's rule, Wilson et al., arXiv 2011.04026). Rasmussen and Williams, Gaussian Processes for Machine Learning,
chapters 2, 3 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize
from scipy.special import expit

from hpsearch.analysis.inputs import Inputs
from hpsearch.analysis.kernel import Features, Layout, diagonal, kernel, kernel_slopes

Floats = NDArray[np.float64]

MOST_FITTED = 256  # configurations by which the settings are found; more would change them little and cost n^3
JITTER = 1e-8
FARTHEST = 8.0  # from the prior's centre, for the logarithm of a setting


@dataclass(frozen=True)
class Prior:
    """Normal priors of the logarithms: main effects t, lengths, rho (interactions), seed noise."""

    t: tuple[float, float]
    length: tuple[float, float]
    rho: tuple[float, float]

    def moments(self, layout: Layout) -> tuple[Floats, Floats]:
        groups = [self.t] * len(layout.inputs) + [self.length] * len(layout.ordered) + [self.rho]
        return np.array([g[0] for g in groups]), np.array([g[1] for g in groups])


VALUES = Prior(t=(np.log(0.2), 2.0), length=(np.log(0.5), 0.6), rho=(np.log(0.5), 1.2))
COUNTS = Prior(t=(np.log(3.0), 1.2), length=(np.log(1.0), 0.6), rho=(np.log(0.2), 1.2))


@dataclass(frozen=True)
class Observations:
    """What was seen at the points x (n, d). root: square root of each point's precision; target: root times value."""

    x: Floats
    root: Floats
    target: Floats


@dataclass(frozen=True)
class Posterior:
    """The process given one vector of settings: K + 1 / root^2 solved once."""

    layout: Layout
    theta: Floats
    seen: Observations
    factor: Floats  # lower Cholesky factor of 1 + root K root
    alpha: Floats  # (n,) K(x, .) alpha is the mean

    @classmethod
    def of(cls, layout: Layout, theta: Floats, seen: Observations) -> Posterior:
        k = kernel(layout, theta, seen.x, seen.x)
        factor = cholesky(np.eye(len(k)) * (1 + JITTER) + seen.root[:, None] * k * seen.root[None, :])
        alpha = seen.root * cho_solve((factor, True), seen.target)
        return cls(layout, theta, seen, factor, alpha)

    def mean(self, x: Floats) -> Floats:
        return np.asarray(kernel(self.layout, self.theta, x, self.seen.x) @ self.alpha)

    def variance(self, x: Floats) -> Floats:
        k = kernel(self.layout, self.theta, x, self.seen.x)
        v = solve_triangular(self.factor, (k * self.seen.root[None, :]).T, lower=True)
        return np.asarray(diagonal(self.layout, self.theta, x) - (v * v).sum(0))

    def left_out(self) -> tuple[Floats, Floats]:
        """Mean and variance of every point predicted from the others, noise not added (GPML eq. 5.12)."""
        inverse = cho_solve((self.factor, True), np.eye(len(self.factor)))
        precision = self.seen.root**2 * np.diag(inverse)  # of K + noise
        value = self.seen.target / self.seen.root
        return value - self.alpha / precision, 1 / precision - 1 / self.seen.root**2

    def functions(self, n: int, rng: np.random.Generator) -> Functions:
        """n functions drawn from the posterior (Matheron's rule, within the span of the features).

        What the features leave out counts as noise of each point (Snelson and Ghahramani, 2006): draws bent to fit it
        were seen to spread half as wide as the posterior where seeds hardly differ.
        """
        features = Features.of(self.layout, self.theta)
        seen = features(self.seen.x)  # (m, points)
        rest = np.maximum(diagonal(self.layout, self.theta, self.seen.x) - (seen**2).sum(0), 0.0)
        lighter = 1 / np.sqrt(1 + rest * self.seen.root**2)
        seen *= self.seen.root * lighter
        factor = cholesky(np.eye(seen.shape[1]) * (1 + JITTER) + seen.T @ seen)
        weights = rng.standard_normal((len(features.scale), n))
        residual = (self.seen.target * lighter)[:, None] - seen.T @ weights - rng.standard_normal((seen.shape[1], n))
        return Functions(features, weights + seen @ cho_solve((factor, True), residual))


@dataclass(frozen=True)
class Functions:
    """Functions as weights (m, n) of features; the features are uncorrelated over the measure."""

    features: Features
    weights: Floats

    def __call__(self, x: Floats) -> Floats:
        """At points (k, d): (n, k). In single precision: its rounding is far below the spread of the draws."""
        return np.asarray(self.weights.T.astype(np.float32) @ self.features(x, np.float32), dtype=np.float64)

    def over(self, inputs: Sequence[int]) -> Functions:
        """The means of the functions over all inputs but these: the features of the others have mean zero."""
        other = [i for i in range(self.features.chosen.shape[1]) if i not in inputs]
        kept = ~(self.features.chosen[:, other] > 0).any(1)
        f = self.features
        return Functions(replace(f, chosen=f.chosen[kept], scale=f.scale[kept]), self.weights[kept])


@dataclass(frozen=True)
class Process:
    """The process over all its plausible settings: the best ones, and draws of them."""

    best: Posterior
    others: tuple[Posterior, ...]
    evidence: float  # log of the marginal likelihood at the best settings

    def functions(self, n: int, seed: int) -> tuple[Functions, ...]:
        """n functions in all, equally many from each setting; the same seed gives the same ones anywhere."""
        rng = np.random.default_rng(seed)
        counts = [len(part) for part in np.array_split(np.arange(n), len(self.others))]
        return tuple(p.functions(c, rng) for p, c in zip(self.others, counts, strict=True) if c)


def fit_values(
    inputs: Inputs, x: Floats, y: Floats, n: Floats, noise: float, df: int, seed: int, settings: int = 16
) -> Process:
    """y (m,): means over n (m,) seeds each, in units in which their spread is about 1.

    noise: pooled standard deviation over seeds, from df degrees of freedom; it is one of the settings, weighed by what
    the replicates say of it. With df = 0 it is learned from the surface alone.
    """
    layout = Layout(inputs)
    few = _few(len(x), seed)

    def evidence(theta: Floats, slopes: bool) -> tuple[float, Floats]:
        return _value_evidence(layout, theta, x[few], y[few], n[few], slopes)

    # The log of the noise has the likelihood of the pooled variance; without replicates a wide prior.
    centre, width = VALUES.moments(layout)
    guess = np.log(max(noise, 1e-6)) if df else np.log(0.3)
    prior = _prior(np.append(centre, guess), np.append(width, 1.5 if not df else 2.0), noise if df else None, df)
    # From little noise the search was seen to end at a length that explains each point alone.
    start = np.append(centre, max(guess, np.log(0.1)))
    thetas, best = _settings(evidence, prior, start, settings, seed)

    def posterior(theta: Floats) -> Posterior:
        root = np.sqrt(n) / np.exp(theta[-1])
        return Posterior.of(layout, theta[:-1], Observations(x, root, root * y))

    return Process(posterior(thetas[0]), tuple(map(posterior, thetas[1:])), best)


def fit_counts(inputs: Inputs, x: Floats, k: Floats, n: Floats, seed: int, settings: int = 16) -> Process:
    """The logit of the probability that a seed trains; k of n seeds did at each point."""
    layout = Layout(inputs)
    few = _few(len(x), seed)

    def evidence(theta: Floats, slopes: bool) -> tuple[float, Floats]:
        return _count_evidence(layout, theta, x[few], k[few], n[few], slopes)

    centre, width = COUNTS.moments(layout)
    thetas, best = _settings(evidence, _prior(centre, width, None, 0), centre, settings, seed)

    def posterior(theta: Floats) -> Posterior:
        latent, _ = _mode(kernel(layout, theta, x, x), k, n)
        p = expit(latent)
        root = np.sqrt(np.maximum(n * p * (1 - p), 1e-10))
        seen = Observations(x, root, root * latent + (k - n * p) / root)
        return Posterior.of(layout, theta, seen)

    return Process(posterior(thetas[0]), tuple(map(posterior, thetas[1:])), best)


def cholesky(a: Floats) -> Floats:
    factor, info = lapack.dpotrf(a, lower=1, clean=1)
    if info:
        raise np.linalg.LinAlgError("not positive definite")
    return np.asarray(factor)


Evidence = Callable[[Floats, bool], tuple[float, Floats]]


def _prior(centre: Floats, width: Floats, noise: float | None, df: int) -> Callable[[Floats], tuple[float, Floats]]:
    def value(theta: Floats) -> tuple[float, Floats]:
        z = (theta - centre) / width
        total, slope = -0.5 * float(z @ z), -z / width
        if noise is not None:
            ratio = noise**2 * np.exp(-2 * theta[-1])
            total += -df * theta[-1] - 0.5 * df * ratio
            slope[-1] += -df + df * ratio
        return total, slope

    return value


def _settings(
    evidence: Evidence, prior: Callable[[Floats], tuple[float, Floats]], start: Floats, n: int, seed: int
) -> tuple[list[Floats], float]:
    """The best settings, then n draws: a t around the best with the curvature there, reweighted by the posterior.

    With n = 0 the best ones alone, for point predictions.
    """

    def cost(theta: Floats) -> tuple[float, Floats]:
        try:
            (value, slope), (more, its_slope) = evidence(theta, True), prior(theta)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        return -value - more, -slope - its_slope

    # A line search may not run off to lengths at which the kernel is no number.
    bounds = [(value - FARTHEST, value + FARTHEST) for value in start]
    options = {"maxiter": 60, "maxcor": 10, "ftol": 1e-6}
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    best = found.x
    if not n:
        return [best], -float(found.fun)
    step = 0.05
    curvature = np.empty((len(best), len(best)))
    for i in range(len(best)):
        e = np.zeros(len(best))
        e[i] = step
        curvature[i] = (cost(best + e)[1] - cost(best - e)[1]) / (2 * step)
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
    spread = vectors / np.sqrt(np.clip(values, 0.15, None))  # no wider than the widest prior, about
    rng = np.random.default_rng(seed)
    tries = 4 * n
    df = 6
    z = rng.standard_normal((tries, len(best)))
    scale = np.sqrt(df / rng.chisquare(df, (tries, 1)))
    proposals = np.clip(best + (z * scale) @ spread.T, start - FARTHEST, start + FARTHEST)
    logs = np.empty(tries)
    for j, theta in enumerate(proposals):
        try:
            logs[j] = evidence(theta, False)[0] + prior(theta)[0]
        except np.linalg.LinAlgError:
            logs[j] = -np.inf
    squared = ((z * scale) ** 2).sum(1)
    logs += 0.5 * (df + len(best)) * np.log1p(squared / df)
    weights = np.exp(logs - logs.max())
    weights = np.minimum(weights / weights.sum(), 0.25)
    # Systematic resampling: each proposal about n times its weight.
    positions = (rng.random() + np.arange(n)) / n * weights.sum()
    picked = np.minimum(np.searchsorted(np.cumsum(weights), positions), tries - 1)
    return [best, *(proposals[j] for j in picked)], -float(found.fun)


def _value_evidence(
    layout: Layout, theta: Floats, x: Floats, y: Floats, n: Floats, slopes: bool
) -> tuple[float, Floats]:
    noise = np.exp(2 * theta[-1]) / n
    if slopes:
        k, dk = kernel_slopes(layout, theta[:-1], x)
    else:
        k, dk = kernel(layout, theta[:-1], x, x), np.empty(0)
    factor = cholesky(k + np.diag(noise + JITTER))
    alpha = cho_solve((factor, True), y)
    value = -0.5 * float(y @ alpha) - float(np.log(np.diag(factor)).sum()) - 0.5 * len(y) * np.log(2 * np.pi)
    if not slopes:
        return value, theta
    middle = np.outer(alpha, alpha) - cho_solve((factor, True), np.eye(len(y)))
    slope = 0.5 * np.einsum("ij,kij->k", middle, dk)
    return value, np.append(slope, float(np.diag(middle) @ noise))


def _mode(k: Floats, trained: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Most probable latent values given the counts, and K^-1 of them (GPML algorithm 3.1)."""
    latent, a = np.zeros(len(n)), np.zeros(len(n))
    share = (trained.sum() + 0.5) / (n.sum() + 1)
    objective = -np.inf
    for _ in range(50):
        p = expit(latent) if a.any() else np.full(len(n), share)
        w = np.maximum(n * p * (1 - p), 1e-10)
        b = w * latent + trained - n * p
        root = np.sqrt(w)
        factor = cholesky(np.eye(len(n)) * (1 + JITTER) + root[:, None] * k * root[None, :])
        new = b - root * cho_solve((factor, True), root * (k @ b))
        step = 1.0
        while True:  # a damped Newton step never goes down
            trial = a + step * (new - a)
            at = k @ trial
            value = -0.5 * trial @ at + (trained * at - n * np.logaddexp(0, at)).sum()
            if value >= objective - 1e-10 or step < 1e-3:
                break
            step /= 2
        done = value - objective < 1e-7
        a, latent, objective = trial, at, value
        if done:
            break
    return latent, a


def _count_evidence(
    layout: Layout, theta: Floats, x: Floats, trained: Floats, n: Floats, slopes: bool
) -> tuple[float, Floats]:
    """Laplace's approximation of the marginal likelihood and its slopes (GPML algorithm 5.1)."""
    k, dk = kernel_slopes(layout, theta, x) if slopes else (kernel(layout, theta, x, x), np.empty(0))
    latent, a = _mode(k, trained, n)
    p = expit(latent)
    w = np.maximum(n * p * (1 - p), 1e-10)
    root = np.sqrt(w)
    factor = cholesky(np.eye(len(n)) * (1 + JITTER) + root[:, None] * k * root[None, :])
    value = float(-0.5 * a @ latent + (trained * latent - n * np.logaddexp(0, latent)).sum())
    value -= float(np.log(np.diag(factor)).sum())
    if not slopes:
        return value, theta
    r = root[:, None] * cho_solve((factor, True), np.diag(root))
    c = solve_triangular(factor, root[:, None] * k, lower=True)
    third = -n * p * (1 - p) * (1 - 2 * p)
    s2 = 0.5 * (np.diag(k) - (c * c).sum(0)) * third
    gradient = trained - n * p
    s1 = 0.5 * (np.einsum("i,kij,j->k", a, dk, a) - np.einsum("ij,kji->k", r, dk))
    moved = np.einsum("kij,j->ki", dk, gradient)
    s3 = moved - (moved @ r.T) @ k.T
    return value, s1 + s3 @ s2


def _few(n: int, seed: int) -> NDArray[np.int64]:
    if n <= MOST_FITTED:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MOST_FITTED, replace=False))
