"""Shapley effects: the variance of a function shared out among its inputs, interactions in equal parts."""

import math
from collections.abc import Mapping
from itertools import chain, combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpsearch.errors import InputError, show

Floats = NDArray[np.float64]

MOST_INPUTS = 8  # 2^8 closed variances of each draw


def shapley_effects(closed: Mapping[frozenset[int], ArrayLike], d: int) -> Floats:
    """Shapley effects from closed variances, exactly. -> (S, d), in the unit of the variances.

    closed: for every set u of inputs 0 … d - 1, the variance V_u of the expectation of the function given the
    inputs in u, (S,): one entry per draw of the function, so that quantiles over S make intervals. A number stands for
    one draw. The empty set may be left out; its variance is 0.

    Input i gets its marginal contribution, averaged over all orders in which the inputs can be revealed (Owen 2014;
    Song, Nelson and Staum 2016): the sum over u without i of |u|! (d - |u| - 1)! / d! (V_{u + i} - V_u). A row sums to
    the variance of the whole set. With independent inputs an effect lies between the first-order and the total
    variance. Variances that are themselves estimates may give an effect below 0; it is returned as it is, for the
    sum to hold.

    Raises InputError where d is not in 1 … 8, a set is missing or has inputs outside 0 … d - 1, lengths differ, or a
    value is not finite.
    """
    variances = _stack(closed, d)  # (2^d, S)
    return np.asarray((_weights(d) @ variances).T, dtype=np.float64)


def subsets(d: int) -> tuple[frozenset[int], ...]:
    """All 2^d sets of the inputs 0 … d - 1, the empty one first, by size."""
    return tuple(frozenset(u) for u in chain.from_iterable(combinations(range(d), k) for k in range(d + 1)))


def _weights(d: int) -> Floats:
    """(d, 2^d): what a set's variance adds to each effect, in the order of `subsets`."""
    rows = np.empty((d, 2**d))
    for column, u in enumerate(subsets(d)):
        k = len(u)
        joined = 1 / (d * math.comb(d - 1, k - 1)) if k else 0.0  # (k - 1)! (d - k)! / d!: u is what i has just joined
        joining = 1 / (d * math.comb(d - 1, k)) if k < d else 0.0  # k! (d - k - 1)! / d!: i has yet to join u
        rows[:, column] = [joined if i in u else -joining for i in range(d)]
    return rows


def _stack(closed: Mapping[frozenset[int], ArrayLike], d: int) -> Floats:
    """The variances as (2^d, S), in the order of `subsets`."""
    if isinstance(d, bool) or not isinstance(d, int | np.integer) or not 1 <= d <= MOST_INPUTS:
        raise InputError(
            f"Shapley effects need d, the number of inputs, as a whole number in 1 … {MOST_INPUTS}, got {d!r}"
        )
    sets = subsets(int(d))
    strange = [u for u in closed if u not in set(sets)]
    if strange:
        raise InputError(f"closed has {show(strange[0])}; allowed: frozensets of the inputs 0 … {d - 1}")
    missing = [u for u in sets if u and u not in closed]
    if missing:
        raise InputError(
            f"closed lacks the inputs {sorted(missing[0])}; all {2**d - 1} sets of {d} inputs must be there"
        )
    rows = {u: np.atleast_1d(np.asarray(v, dtype=np.float64)) for u, v in closed.items()}
    shape = rows[sets[-1]].shape
    if len(shape) != 1:
        raise InputError(f"closed[{sorted(sets[-1])}] must have one dimension, the draws, but its shape is {shape}")
    for u, row in rows.items():
        if row.shape != shape:
            raise InputError(f"closed[{sorted(u)}] has shape {row.shape}, but that of all inputs has {shape}")
        if not np.isfinite(row).all():
            raise InputError(f"closed[{sorted(u)}] must be finite, but has {show(float(row[~np.isfinite(row)][0]))}")
    empty = rows.setdefault(sets[0], np.zeros(shape))
    if empty.any():
        raise InputError(
            f"closed[[]], the variance without any input, must be 0, got {show(float(empty[empty != 0][0]))}"
        )
    return np.stack([rows[u] for u in sets])
