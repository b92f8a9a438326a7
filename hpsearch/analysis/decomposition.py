"""Draws of a response -> marginal curves, pair maps and variance shares, with the Monte-Carlo error of these.

Over the ranges, with independent uniform inputs (Sobol' 2001; Saltelli et al. 2010). Where the response is a sum of
uncorrelated features, all of it is exact: curves and maps are sums of the features of those inputs alone, shares are
sums of squared weights. Elsewhere (a response with a cliff is a product; conditions cut corners out of the ranges)
every input is run along its own quadrature against the same points of the others, which gives shares and curve at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hpsearch.analysis.process import Functions
from hpsearch.analysis.surrogate import Surrogate

Floats = NDArray[np.float64]

STEPS = 25  # points of a marginal curve along a range
SIDE = 13  # points of a pair map along each range
OTHERS = 64  # points of the other inputs at each point of a curve; twice, which tells the Monte-Carlo error
LEADING = 8  # inputs whose pairs are computed: those with the largest total shares


@dataclass(frozen=True)
class Along:
    """One input along its range. at (k,): coordinates; curves (draws, k): means over the other inputs."""

    at: Floats
    curves: Floats


@dataclass(frozen=True)
class Plane:
    """Two inputs i and j. x (k,), y (l,): coordinates; maps (draws, k, l): means over the others; share (draws,)."""

    x: Floats
    y: Floats
    maps: Floats
    share: Floats  # of the variance, that the two explain together beyond each alone


@dataclass(frozen=True)
class Decomposition:
    """first, total (draws, d): shares of the variance. variance (draws,): in the metric's unit squared.

    error: the largest Monte-Carlo standard error of the mean of a share over the draws; 0 where shares are exact.
    """

    along: tuple[Along, ...]
    first: Floats
    total: Floats
    variance: Floats
    error: float


def decompose(surrogate: Surrogate, seed: int = 0) -> Decomposition:
    parts = surrogate.additive_parts
    d = len(surrogate.inputs)
    if parts is not None:
        along = tuple(Along(at := quadrature(surrogate, i)[0], _curves(surrogate, parts, i, at)) for i in range(d))
        shares = [_exact_shares(f, d) for f in parts]
        first, total = (np.concatenate([s[k] for s in shares]) for k in (0, 1))
        return Decomposition(along, first, total, surrogate.unit**2 * np.concatenate([s[2] for s in shares]), 0.0)
    halves = [[_run_along(surrogate, i, s) for i in range(d)] for s in (seed, seed + 1)]
    one, two = (np.stack([np.stack([first, total]) for _, first, total, _ in half]) for half in halves)  # (d, 2, draws)
    along = tuple(Along(quadrature(surrogate, i)[0], (halves[0][i][0] + halves[1][i][0]) / 2) for i in range(d))
    mean = (one + two) / 2
    variance = np.mean([whole for half in halves for *_, whole in half], 0)
    error = float(np.abs((one - two).mean(2)).max() / 2)
    return Decomposition(along, mean[:, 0].T, mean[:, 1].T, variance, error)


def planes(surrogate: Surrogate, parts: Decomposition, seed: int = 0) -> dict[tuple[int, int], Plane]:
    """Every pair of inputs; of more than 8 inputs the pairs of the 8 that matter most."""
    leading = sorted(int(i) for i in np.argsort(-parts.total.mean(0), kind="stable")[:LEADING])
    return {(i, j): _plane(surrogate, parts, i, j, seed) for i, j in combinations(leading, 2)}


def quadrature(surrogate: Surrogate, i: int, steps: int = STEPS) -> tuple[Floats, Floats]:
    """Coordinates along input i and their weights: its levels, or midpoints, which bear a jump."""
    one = surrogate.inputs.inputs[i]
    if one.levels:
        return one.nodes, one.weights
    return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)


def _curves(surrogate: Surrogate, parts: tuple[Functions, ...], i: int, at: Floats) -> Floats:
    x = np.full((len(at), len(surrogate.inputs)), 0.5)
    x[:, i] = at
    values = np.concatenate([f.over([i])(x) for f in parts])
    return surrogate.centre + surrogate.unit * values + surrogate.shifts[:, None]


def _exact_shares(f: Functions, d: int) -> tuple[Floats, Floats, Floats]:
    used = f.features.chosen > 0  # (m, d)
    squares = (f.weights * f.features.scale[:, None]) ** 2
    whole = squares[used.any(1)].sum(0)
    safe = np.where(whole > 0, whole, 1.0)[:, None]
    alone = used.sum(1) == 1
    first = np.stack([squares[used[:, i] & alone].sum(0) for i in range(d)], 1) / safe
    total = np.stack([squares[used[:, i]].sum(0) for i in range(d)], 1) / safe
    return first, total, whole


def _exact_pair(f: Functions, i: int, j: int) -> Floats:
    used = f.features.chosen > 0
    squares = (f.weights * f.features.scale[:, None]) ** 2
    whole = squares[used.any(1)].sum(0)
    together = squares[used[:, i] & used[:, j] & (used.sum(1) == 2)].sum(0)
    return np.asarray(together / np.where(whole > 0, whole, 1.0))


def _run_along(surrogate: Surrogate, i: int, seed: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Curves (draws, k), first-order and total shares and the variance (draws,) of input i."""
    at, weights = quadrature(surrogate, i)
    base = surrogate.inputs.from_uniform(surrogate.inputs.uniform(OTHERS, seed))
    x = np.repeat(base[None], len(at), 0)  # (k, others, d)
    x[:, :, i] = at[:, None]
    f = _evaluate(surrogate, x)  # (draws, k, others)
    curves = f.mean(2)
    means = np.einsum("skm,k->sm", f, weights)
    inside = np.einsum("skm,k->sm", (f - means[:, None, :]) ** 2, weights).mean(1)
    whole = inside + means.var(1)
    safe = np.where(whole > 0, whole, 1.0)
    alone = ((curves - (curves @ weights)[:, None]) ** 2) @ weights
    return curves, alone / safe, inside / safe, whole


def _plane(surrogate: Surrogate, parts: Decomposition, i: int, j: int, seed: int) -> Plane:
    (a, u), (b, v) = quadrature(surrogate, i, SIDE), quadrature(surrogate, j, SIDE)
    others = 1 if surrogate.additive_parts is not None else OTHERS // 4
    x = np.repeat(surrogate.inputs.from_uniform(surrogate.inputs.uniform(others, seed))[None], len(a) * len(b), 0)
    x[:, :, i] = np.repeat(a, len(b))[:, None]
    x[:, :, j] = np.tile(b, len(a))[:, None]
    functions = surrogate.additive_parts
    if functions is not None:
        over = np.concatenate([f.over([i, j])(x[:, 0]) for f in functions])
        flat = surrogate.centre + surrogate.unit * over + surrogate.shifts[:, None]
    else:
        flat = _evaluate(surrogate, x).mean(2)
    maps = flat.reshape(-1, len(a), len(b))
    if functions is not None:
        return Plane(a, b, maps, np.concatenate([_exact_pair(f, i, j) for f in functions]))
    # The pair's own part is what is left of the map after both curves: no difference of large shares.
    rows, columns = np.einsum("skl,l->sk", maps, v), np.einsum("skl,k->sl", maps, u)
    own = maps - rows[:, :, None] - columns[:, None, :] + (rows @ u)[:, None, None]
    together = np.einsum("skl,k,l->s", own**2, u, v)
    return Plane(a, b, maps, np.clip(together / np.where(parts.variance > 0, parts.variance, 1.0), 0.0, 1.0))


def _evaluate(surrogate: Surrogate, x: Floats) -> Floats:
    """(k, m, d) -> (draws, k, m)."""
    inputs = surrogate.inputs
    return surrogate(inputs.deactivate(x.reshape(-1, len(inputs)))).reshape(-1, *x.shape[:2])
