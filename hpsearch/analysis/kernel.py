"""The prior of the surrogate: a sum of main effects and interactions, each with mean zero over the ranges.

K(x, z) = c + (prod_i (1 + rho t_i^2 k_i(x_i, z_i)) - 1) / rho

with k_i a Matern-5/2 kernel (equal levels, for levels without order) less its mean over the measure of input i, scaled
to unit average variance (the ANOVA kernels of Durrande et al., arXiv 1106.3571). t_i^2 is then the prior variance of
the main effect of input i, rho t_i^2 t_j^2 that of the interaction of two. An inactive hyperparameter has no effect:
k_i = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.analysis.inputs import Input, Inputs

Floats = NDArray[np.float64]

CONSTANT = 25.0  # prior variance of the overall mean, in standardised units: flat
MOST_FEATURES = 400  # products of one-dimensional eigenfunctions that a drawn function is made of
SMALLEST = 1e-6  # of the largest product's variance: smaller ones are left out of the draws


@dataclass(frozen=True)
class Layout:
    """Where the kernel's numbers stand in one vector of logarithms: t (d), lengths (of the inputs with order), rho."""

    inputs: Inputs

    @property
    def ordered(self) -> list[int]:
        return [k for k, i in enumerate(self.inputs.inputs) if i.kind != "nominal"]

    @property
    def size(self) -> int:
        return len(self.inputs) + len(self.ordered) + 1

    def split(self, theta: Floats) -> tuple[Floats, Floats, float]:
        d = len(self.inputs)
        lengths = np.ones(d)
        lengths[self.ordered] = np.exp(theta[d : self.size - 1])
        return np.exp(theta[:d]), lengths, float(np.exp(theta[self.size - 1]))


def one_dimension(i: Input, x: Floats, z: Floats, length: float, slope: bool = False) -> tuple[Floats, Floats | None]:
    """k_i(x, z), (n, m), and its derivative by the logarithm of the length if asked for."""
    w = i.weights
    (xz, dxz), (xu, dxu), (zu, dzu), (uu, duu) = (
        _raw(i, a, b, length, slope) for a, b in ((x, z), (x, i.nodes), (z, i.nodes), (i.nodes, i.nodes))
    )

    def centred(xz: Floats, xu: Floats, zu: Floats, uu: Floats) -> tuple[Floats, float]:
        whole = w @ uu @ w
        return xz - (xu @ w)[:, None] - (zu @ w)[None, :] + whole, float(w @ np.diag(uu) - whole)

    k, variance = centred(xz, xu, zu, uu)
    inactive = np.isnan(x)[:, None] | np.isnan(z)[None, :]
    k = np.where(inactive, 0.0, k / variance)
    if not slope:
        return k, None
    dk, dvariance = centred(dxz, dxu, dzu, duu)
    return k, np.where(inactive, 0.0, dk / variance - k * dvariance / variance)


def _raw(i: Input, x: Floats, z: Floats, length: float, slope: bool) -> tuple[Floats, Floats]:
    r = np.abs(x[:, None] - z[None, :])
    if i.kind == "nominal":
        return (r < 1e-9).astype(float), np.zeros_like(r) if slope else r
    s = np.sqrt(5.0) * r / length
    decay = np.exp(-s)
    k = (1 + s + s * s / 3) * decay
    return k, s * s * (1 + s) / 3 * decay if slope else r


def kernel(layout: Layout, theta: Floats, x: Floats, z: Floats) -> Floats:
    """K(x, z), (n, m)."""
    t, lengths, rho = layout.split(theta)
    product = np.ones((len(x), len(z)))
    for k, i in enumerate(layout.inputs.inputs):
        product *= 1 + rho * t[k] ** 2 * one_dimension(i, x[:, k], z[:, k], lengths[k])[0]
    return CONSTANT + (product - 1) / rho


def diagonal(layout: Layout, theta: Floats, x: Floats) -> Floats:
    """K(x, x) of each point with itself, (n,)."""
    t, lengths, rho = layout.split(theta)
    product = np.ones(len(x))
    for k, i in enumerate(layout.inputs.inputs):
        # As one_dimension has it, where k of a point with itself is 1.
        means = _raw(i, x[:, k], i.nodes, lengths[k], False)[0] @ i.weights
        whole = i.weights @ _raw(i, i.nodes, i.nodes, lengths[k], False)[0] @ i.weights
        own = (1 - 2 * means + whole) / (1 - whole)
        product *= 1 + rho * t[k] ** 2 * np.where(np.isnan(x[:, k]), 0.0, own)
    return np.asarray(CONSTANT + (product - 1) / rho)


def kernel_slopes(layout: Layout, theta: Floats, x: Floats) -> tuple[Floats, Floats]:
    """K(x, x), (n, n), and its derivatives by theta, (size, n, n)."""
    t, lengths, rho = layout.split(theta)
    d, n = len(layout.inputs), len(x)
    terms, slopes = np.empty((d, n, n)), np.zeros((d, n, n))
    for k, i in enumerate(layout.inputs.inputs):
        value, slope = one_dimension(i, x[:, k], x[:, k], lengths[k], slope=True)
        terms[k] = rho * t[k] ** 2 * value
        slopes[k] = rho * t[k] ** 2 * slope
    before = np.cumprod(np.concatenate([np.ones((1, n, n)), 1 + terms[:-1]]), 0) if d else terms
    after = np.cumprod(np.concatenate([np.ones((1, n, n)), 1 + terms[:0:-1]]), 0)[::-1] if d else terms
    others = before * after  # the product without term k
    product = others[-1] * (1 + terms[-1]) if d else np.ones((n, n))
    out = np.empty((layout.size, n, n))
    out[:d] = 2 * terms * others / rho
    out[d:-1] = slopes[layout.ordered] * others[layout.ordered] / rho
    out[-1] = (terms * others).sum(0) / rho - (product - 1) / rho
    return CONSTANT + (product - 1) / rho, out


@dataclass(frozen=True)
class Features:
    """phi(x) with phi(x)' phi(z) close to K(x, z): products of the kernels' leading eigenfunctions (Nystrom).

    chosen: (m, d) which eigenfunction of each input, 0 for none; scale: (m,).
    """

    layout: Layout
    lengths: Floats
    maps: tuple[Floats, ...]  # (J, nodes) each: map @ k_i(nodes, x) gives the eigenfunctions, (J, n), of variance 1
    offsets: tuple[Floats, ...]  # (J,) each: what centring k_i takes off all of a row of that
    chosen: NDArray[np.int64]
    scale: Floats

    @classmethod
    def of(cls, layout: Layout, theta: Floats, most: int = MOST_FEATURES) -> Features:
        t, lengths, rho = layout.split(theta)
        maps, offsets, sizes = [], [], []
        for k, i in enumerate(layout.inputs.inputs):
            root = np.sqrt(i.weights)
            gram = one_dimension(i, i.nodes, i.nodes, lengths[k])[0]
            values, vectors = np.linalg.eigh(root[:, None] * gram * root[None, :])
            order = np.argsort(values)[::-1]
            keep = order[values[order] > SMALLEST * max(values.max(), 0.0)][:10]
            one = (root[:, None] * vectors[:, keep] / values[keep]).T
            # k_i = (raw - its means over either argument + the whole mean) / variance, folded into map and offset, so
            # that a point costs its raw kernel with the nodes and nothing else.
            raw = _raw(i, i.nodes, i.nodes, lengths[k], False)[0]
            means, whole = raw @ i.weights, float(i.weights @ raw @ i.weights)
            variance = float(i.weights @ np.diag(raw)) - whole
            sums = one.sum(1)
            maps.append((one - sums[:, None] * i.weights) / variance)
            offsets.append((one @ means - sums * whole) / variance)
            sizes.append(rho * t[k] ** 2 * values[keep])
        chosen, scale = _largest_products(sizes, most)
        own = tuple(maps), tuple(offsets)
        return cls(layout, lengths, *own, chosen, np.where(chosen.any(1), np.sqrt(scale / rho), CONSTANT**0.5))

    def __call__(self, x: Floats, kind: type = np.float64) -> NDArray[Any]:
        """(n, d) -> (m, n): a feature a row, because rows are gathered faster than columns."""
        out: NDArray[Any] = np.repeat(self.scale[:, None].astype(kind), len(x), 1)
        for k, i in enumerate(self.layout.inputs.inputs):
            distinct, where = np.unique(x[:, k], return_inverse=True)  # designs repeat coordinates
            raw = _raw(i, i.nodes, distinct, self.lengths[k], False)[0]
            one = np.where(np.isnan(distinct), 0.0, self.maps[k] @ np.nan_to_num(raw) - self.offsets[k][:, None])
            used = self.chosen[:, k] > 0
            out[used] *= one.astype(kind)[:, where][self.chosen[used, k] - 1]
        return out


def _largest_products(sizes: list[Floats], most: int) -> tuple[NDArray[np.int64], Floats]:
    """The products of at most one factor an input that are largest; the empty product comes first."""
    chosen, scale = np.zeros((1, 0), dtype=np.int64), np.ones(1)
    for size in sizes:
        factors = np.concatenate([[1.0], size])
        both = (scale[:, None] * factors[None, :]).ravel()
        index = np.concatenate(
            [np.repeat(chosen, len(factors), 0), np.tile(np.arange(len(factors)), len(chosen))[:, None]], 1
        )
        # The empty product must stay whatever its size: it is the constant.
        rank = np.argsort(-np.where(index.any(1), both, np.inf), kind="stable")[: 4 * most]
        chosen, scale = index[rank], both[rank]
    kept = scale[:most] > SMALLEST * scale[1:2].max(initial=0.0)
    return chosen[:most][kept], scale[:most][kept]
