"""Means over the seeds of a configuration: what the sampler is told, and what picks the best."""

from __future__ import annotations

from hpsearch.results import Result


def mean_of(results: list[Result], objective: str) -> float | None:
    """The mean of a metric or cost; None when there is no result, or one does not know it."""
    values = [value_of(result, objective) for result in results]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if values and len(known) == len(values) else None


def value_of(result: Result, objective: str) -> float | None:
    """A diverged trial's cost is what it would have cost in full: it must not look cheap because it ended early."""
    if objective in result.metrics:
        return result.metrics[objective]
    cost = result.cost.get(objective)
    if cost is None or result.status != "diverged" or objective == "peak_memory_bytes":
        return cost
    return cost * (result.epochs_planned or 1) / (result.epochs or 1)
