"""Metrics of a split, in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from hpsearch.tasks.protocol import Batch, Task, hook
from hpsearch.training.batches import crop
from hpsearch.training.engine import Engine
from hpsearch.training.stack import Stack

EVALUATION_BATCH = 1024  # large enough for a GPU, small enough for a ResNet's activations in a laptop's memory


def evaluate(task: Task, model: nn.Module, split: Batch, lengths: Tensor | None, engine: Engine) -> dict[str, float]:
    """Each metric's mean over the split; the device is waited for once."""
    model.eval()
    means = _Means(len(split[0]))
    with torch.no_grad(), engine.autocast():
        for rows in _parts(len(split[0])):
            part = crop(task, tuple(tensor[rows] for tensor in split), lengths, rows)
            means.add(len(part[0]), task.measure(model, *part))
        return _summarize(task, means.read(1)[0])


def evaluate_stack(
    task: Task, stack: Stack, weights: Tensor, splits: Sequence[Batch], wanted: Sequence[bool]
) -> list[dict[str, float]]:
    """The same for each trial of a stack, on its own split; weights (K, P). Empty for those that are not wanted."""
    together = [_stack_tensors(columns) for columns in zip(*splits, strict=True)]
    samples = len(splits[0][0])
    means = _Means(samples)
    for rows in _parts(samples):
        part = tuple(tensor[:, rows] for tensor in together)
        means.add(part[0].shape[1], stack.measure(weights, part))
    found = means.read(len(splits))
    return [_summarize(task, each) if its_wanted else {} for each, its_wanted in zip(found, wanted, strict=True)]


def _stack_tensors(columns: Sequence[Tensor]) -> Tensor:
    """(K, ...); without a copy where all are the same memory."""
    first, *others = columns
    place = first.data_ptr(), first.shape, first.stride(), first.dtype
    if all((each.data_ptr(), each.shape, each.stride(), each.dtype) == place for each in others):
        return first.expand(len(columns), *first.shape)
    return torch.stack(list(columns))


def _summarize(task: Task, found: dict[str, float]) -> dict[str, float]:
    by_task = hook(task, "summarize")
    return found if by_task is None else dict(by_task(found))


def _parts(samples: int) -> Iterator[slice]:
    for start in range(0, samples, EVALUATION_BATCH):
        yield slice(start, start + EVALUATION_BATCH)


class _Means:
    """Of each metric over the parts of a split, in float64: one number, or one a trial of a stack."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._values: dict[str, list[Tensor]] = {}
        self._weights: list[float] = []

    def add(self, samples: int, measured: Mapping[str, Tensor]) -> None:
        self._weights.append(samples / self._samples)
        for name, value in measured.items():
            self._values.setdefault(name, []).append(value.detach().reshape(-1))

    def read(self, trials: int) -> list[dict[str, float]]:
        """Waits for the device, once."""
        if not self._values:
            return [{} for _ in range(trials)]
        totals = []
        for values in self._values.values():
            parts = torch.stack([value.double() for value in values])  # (parts, trials)
            totals.append((parts * parts.new_tensor(self._weights).unsqueeze(1)).sum(0))
        table = torch.stack(totals, 1).tolist()
        return [dict(zip(self._values, row, strict=True)) for row in table]
