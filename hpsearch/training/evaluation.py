"""Metrics of a split, in evaluation mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hpsearch.tasks.protocol import Batch, Task, hook
from hpsearch.training.batches import crop
from hpsearch.training.engine import Engine

EVALUATION_BATCH = 1024  # large enough for a GPU, small enough for a ResNet's activations in a laptop's memory


def evaluate(task: Task, model: nn.Module, split: Batch, lengths: Tensor | None, engine: Engine) -> dict[str, float]:
    """Each metric's mean over the split; the device is waited for once."""
    model.eval()
    samples = len(split[0])
    means: dict[str, list[Tensor]] = {}
    weights: list[float] = []
    with torch.inference_mode(), engine.autocast():
        for start in range(0, samples, EVALUATION_BATCH):
            rows = slice(start, start + EVALUATION_BATCH)
            part = crop(task, tuple(tensor[rows] for tensor in split), lengths, rows)
            weights.append(len(part[0]) / samples)
            for name, value in task.measure(model, *part).items():
                means.setdefault(name, []).append(value.detach())
        totals = {}
        for name, values in means.items():
            parts = torch.stack([value.double() for value in values])
            totals[name] = (parts * parts.new_tensor(weights)).sum()
        found = dict(zip(totals, torch.stack(list(totals.values())).tolist(), strict=True)) if totals else {}
    summarize = hook(task, "summarize")
    return found if summarize is None else dict(summarize(found))
