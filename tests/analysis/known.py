"""Test functions whose sensitivity indices are known exactly: Ishigami, Sobol's g-function, a sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """A function on the unit cube, with uniform inputs, and the variances V_u of its parts (Hoeffding, Sobol).

    parts: the part of the set u of inputs (from 0), without those that are 0. All indices follow from them.
    """

    name: str
    d: int
    function: Callable[[Floats], Floats]  # (n, d) -> (n,)
    mean: float
    parts: dict[frozenset[int], float]

    def __call__(self, u: Floats) -> Floats:
        return self.function(u)

    @property
    def variance(self) -> float:
        return sum(self.parts.values())

    @property
    def first(self) -> Floats:
        """First-order indices, (d,)."""
        return np.array([self.parts.get(frozenset({i}), 0.0) for i in range(self.d)]) / self.variance

    @property
    def total(self) -> Floats:
        """Total indices, (d,)."""
        return np.array([self._sum(lambda u, i=i: i in u) for i in range(self.d)]) / self.variance

    @property
    def pairs(self) -> Floats:
        """Second-order indices, (d, d), symmetric, 0 on the diagonal."""
        found = np.zeros((self.d, self.d))
        for u, v in self.parts.items():
            if len(u) == 2:
                i, j = sorted(u)
                found[i, j] = found[j, i] = v / self.variance
        return found

    @property
    def shapley(self) -> Floats:
        """Shapley effects as shares of the variance, (d,): each part goes in equal shares to its inputs (Owen 2014)."""
        parts = self.parts.items()
        return np.array([sum(v / len(u) for u, v in parts if i in u) for i in range(self.d)]) / self.variance

    def closed(self, inputs: frozenset[int]) -> float:
        """The variance of the expectation given these inputs, not divided by the whole."""
        return self._sum(lambda u: u <= inputs)

    def _sum(self, wanted: Callable[[frozenset[int]], bool]) -> float:
        return sum(v for u, v in self.parts.items() if wanted(u))


def ishigami(a: float = 7.0, b: float = 0.1) -> Known:
    """sin x1 + a sin^2 x2 + b x3^4 sin x1, with x = pi (2 u - 1) (Ishigami and Homma 1990)."""

    def function(u: Floats) -> Floats:
        x = np.pi * (2 * u - 1)
        return np.sin(x[:, 0]) + a * np.sin(x[:, 1]) ** 2 + b * x[:, 2] ** 4 * np.sin(x[:, 0])

    parts = {
        frozenset({0}): 0.5 * (1 + b * math.pi**4 / 5) ** 2,
        frozenset({1}): a**2 / 8,
        frozenset({0, 2}): b**2 * math.pi**8 * (1 / 18 - 1 / 50),
    }
    return Known("ishigami", 3, function, a / 2, parts)


def g_function(a: Sequence[float] = (0.0, 1.0, 4.5, 9.0)) -> Known:
    """The product of (|4 u_i - 2| + a_i) / (1 + a_i) (Saltelli and Sobol 1995); a small a_i makes input i matter."""
    a_ = np.asarray(a, dtype=float)

    def function(u: Floats) -> Floats:
        return np.asarray(np.prod((np.abs(4 * u - 2) + a_) / (1 + a_), axis=1))

    return Known("g", len(a_), function, 1.0, _product_parts(1 / (3 * (1 + a_) ** 2)))


def product(means: Sequence[float] = (0.0, 0.5, 1.0)) -> Known:
    """The product over i of (c_i + u_i - 1/2): with a mean c_i of 0 an input acts through interactions only."""
    c = np.asarray(means, dtype=float)

    def function(u: Floats) -> Floats:
        return np.asarray(np.prod(c + u - 0.5, axis=1))

    parts = {
        u: float(np.prod([1 / 12 if i in u else c[i] ** 2 for i in range(len(c))]))
        for u in _product_parts(np.ones(len(c)))
    }
    return Known("product", len(c), function, float(np.prod(c)), {u: v for u, v in parts.items() if v})


def additive(slopes: Sequence[float] = (3.0, 2.0, 1.0, 0.0)) -> Known:
    """The sum over i of s_i u_i: no interactions."""
    s = np.asarray(slopes, dtype=float)
    parts = {frozenset({i}): float(x) ** 2 / 12 for i, x in enumerate(s) if x}
    return Known("additive", len(s), lambda u: np.asarray(u @ s), float(s.sum() / 2), parts)


def _product_parts(v: Floats) -> dict[frozenset[int], float]:
    """Of a product of factors with mean 1 and variance v_i: V_u is the product of v_i over u."""
    sets = [frozenset(i for i in range(len(v)) if code >> i & 1) for code in range(1, 2 ** len(v))]
    return {u: float(np.prod([v[i] for i in u])) for u in sets}
