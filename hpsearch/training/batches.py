"""The batches of an epoch: shuffled, augmented, cropped to their longest sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hpsearch.streams import generator
from hpsearch.tasks.protocol import Batch, Task, hook

CHUNK_BYTES = 2**28  # of training samples that are shuffled and augmented at once


@dataclass(frozen=True)
class Batches:
    """Of one trial's training split, which is on its device. The last, smaller batch is dropped: all have one size."""

    task: Task
    split: Batch
    lengths: Tensor | None
    batch_size: int
    seed: int

    @property
    def count(self) -> int:
        return len(self.split[0]) // self.batch_size

    def of(self, epoch: int, order: Tensor, start: int = 0) -> Iterator[Batch]:
        """From batch `start` on; the same ones whatever the start. order (N,): on the CPU.

        Many batches are shuffled and augmented at once: small operations would starve a GPU.
        """
        augment: Callable[[Batch, torch.Generator], Batch] | None = hook(self.task, "augment")
        device = self.split[0].device
        sample = sum(tensor[0].nbytes for tensor in self.split)
        per_chunk = max(1, CHUNK_BYTES // max(1, self.batch_size * sample))
        for first in range(start - start % per_chunk, self.count, per_chunk):
            last = min(first + per_chunk, self.count)
            rows = order[first * self.batch_size : last * self.batch_size]
            on_device = rows.to(device, non_blocking=True)
            chunk = tuple(tensor.index_select(0, on_device) for tensor in self.split)
            if augment is not None:  # its draws hang on the place in the epoch alone: a resumed trial repeats them
                chunk = augment(chunk, generator(self.seed, "augmentation", epoch, first))
            for index in range(max(first, start), last):
                at = (index - first) * self.batch_size
                batch = tuple(tensor[at : at + self.batch_size] for tensor in chunk)
                yield crop(self.task, batch, self.lengths, rows[at : at + self.batch_size])


def crop(task: Task, batch: Batch, lengths: Tensor | None, rows: Tensor | slice) -> Batch:
    """The batch cut to its longest sequence, where the data have lengths (N,), which are on the CPU."""
    if lengths is None:
        return batch
    return task.crop(batch, int(lengths[rows].max()))  # type: ignore[attr-defined,no-any-return]


def split_lengths(lengths: Mapping[str, Tensor], name: str) -> Tensor | None:
    found = lengths.get(name)
    return None if found is None else found.cpu()
