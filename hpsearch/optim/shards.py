"""Splits a batch into disjoint shards."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any


def split(batch: tuple[Any, ...], num_shards: int) -> list[tuple[tuple[Any, ...], int]]:
    """The batch in at most `num_shards` consecutive parts with their sizes; sizes differ by one at most.

    batch: tensors or arrays with the samples along dimension 0, lists of one string or number a sample, or mappings and
    sequences of these. Numbers, strings, None and 0-dimensional tensors are handed to every shard as they are.
    Fewer samples than shards give one-sample shards: empty ones are dropped. One shard keeps the batch as it is.
    Raises ValueError when there is nothing to split or the parts disagree on the number of samples.
    """
    sizes = _sizes(batch)
    if num_shards == 1:
        return [(batch, max(sizes, default=1))]
    if len(sizes) != 1:
        found = "none" if not sizes else f"tensors of {sorted(sizes)} samples"
        raise ValueError(
            f"num_shards={num_shards} needs step(closure, inputs, targets, …) with tensors of one batch size along "
            f"dimension 0, but got {found}"
        )
    return [
        (tuple(_take(part, slice(start, end)) for part in batch), end - start)
        for start, end in bounds(sizes.pop(), num_shards)
    ]


def bounds(samples: int, num_shards: int) -> list[tuple[int, int]]:
    """Where each shard begins and ends; empty ones are dropped."""
    places = [samples * index // num_shards for index in range(num_shards + 1)]
    return [(start, end) for start, end in zip(places, places[1:], strict=False) if end > start]


def size(batch: tuple[Any, ...]) -> int:
    """The number of samples in a batch. Raises ValueError where its parts disagree or it holds none."""
    sizes = _sizes(batch)
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"a micro-batch must hold samples of one number along dimension 0, but got {sorted(sizes)}")
    return sizes.pop()


def shares(sizes: Sequence[float], weights: Any = None) -> list[float]:
    """What each shard counts for: its weight where weights are given, else its size; sums to 1.

    Raises ValueError unless there is one finite weight >= 0 a shard and one of them is positive.
    """
    given = list(sizes) if weights is None else [float(weight) for weight in weights]
    if len(given) != len(sizes):
        raise ValueError(f"weights must hold one number a shard, {len(sizes)}, but got {len(given)}")
    total = math.fsum(given)
    if not all(weight >= 0 for weight in given) or not 0 < total < math.inf:
        raise ValueError(f"weights must be finite and >= 0 with a positive sum, but got {given}")
    return [weight / total for weight in given]


def _is_array(part: Any) -> bool:
    return hasattr(part, "shape") and hasattr(part, "__getitem__")


def _is_samples(part: Any) -> bool:
    """Whether a list holds one plain value a sample: texts, say. A list of tensors is a batch's columns."""
    return bool(part) and not any(_is_array(value) or isinstance(value, (Mapping, tuple, list)) for value in part)


def _sizes(part: Any) -> set[int]:
    if _is_array(part):
        return {int(part.shape[0])} if len(part.shape) else set()
    if isinstance(part, Mapping):
        return set().union(*map(_sizes, part.values()))
    if isinstance(part, list) and _is_samples(part):
        return {len(part)}
    if isinstance(part, (tuple, list)):
        return set().union(*map(_sizes, part))
    return set()


def _take(part: Any, where: slice) -> Any:
    if _is_array(part):
        return part[where] if len(part.shape) else part
    if isinstance(part, MutableMapping):
        taken = copy.copy(part)  # of its own type: a tokenizer's BatchEncoding stays one
        for key, value in part.items():
            taken[key] = _take(value, where)
        return taken
    if isinstance(part, Mapping):
        return {key: _take(value, where) for key, value in part.items()}
    if isinstance(part, list) and _is_samples(part):
        return part[where]
    if isinstance(part, (tuple, list)):
        values = [_take(value, where) for value in part]
        return type(part)(*values) if hasattr(part, "_fields") else type(part)(values)  # _fields: a namedtuple
    return part
