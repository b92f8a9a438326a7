"""Splits a batch into disjoint shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def split(batch: tuple[Any, ...], num_shards: int) -> list[tuple[tuple[Any, ...], int]]:
    """The batch in at most `num_shards` consecutive parts with their sizes; sizes differ by one at most.

    batch: tensors with the samples along dimension 0, or mappings and sequences of such tensors.
    Fewer samples than shards give one-sample shards: empty ones are dropped. One shard keeps the batch as it is.
    Raises ValueError when there is nothing to split or the tensors disagree on the number of samples.
    """
    sizes = {tensor.shape[0] for tensor in _tensors(batch) if tensor.dim() > 0}
    if num_shards == 1:
        return [(batch, max(sizes, default=1))]
    if len(sizes) != 1:
        found = "none" if not sizes else f"tensors of {sorted(sizes)} samples"
        raise ValueError(
            f"num_shards={num_shards} needs step(closure, inputs, targets, …) with tensors of one batch size along "
            f"dimension 0, but got {found}"
        )
    total = sizes.pop()
    bounds = [total * index // num_shards for index in range(num_shards + 1)]
    return [
        (tuple(_take(part, slice(start, end)) for part in batch), end - start)
        for start, end in zip(bounds, bounds[1:], strict=False)
        if end > start
    ]


def _tensors(part: Any) -> list[torch.Tensor]:
    if isinstance(part, torch.Tensor):
        return [part]
    if isinstance(part, Mapping):
        return [tensor for value in part.values() for tensor in _tensors(value)]
    if isinstance(part, (tuple, list)):
        return [tensor for value in part for tensor in _tensors(value)]
    return []


def _take(part: Any, where: slice) -> Any:
    if isinstance(part, torch.Tensor):
        return part[where] if part.dim() > 0 else part
    if isinstance(part, Mapping):
        return {key: _take(value, where) for key, value in part.items()}
    if isinstance(part, (tuple, list)):
        values = [_take(value, where) for value in part]
        return type(part)(*values) if hasattr(part, "_fields") else type(part)(values)  # _fields: a namedtuple
    return part
