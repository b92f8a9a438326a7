"""Means over the seeds of a configuration: what the sampler is told, what picks the best, what fixes more seeds."""

from __future__ import annotations

from collections.abc import Sequence

from hpsearch.results import Result


def mean_of(results: Sequence[Result | None], objective: str) -> float | None:
    """The mean of a metric or cost over seeds; None when a seed is missing, was stopped, or does not know it.

    Failed seeds are left out. A seed without a value is not: it did not train, and the others are the lucky ones.
    """
    if any(result is None or result.status == "stopped" for result in results):
        return None
    values = [value_of(result, objective) for result in results if result is not None and result.done]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if values and len(known) == len(values) else None


def values_of(results: Sequence[Result | None], objective: str) -> list[float] | None:
    """One value a seed; None when a seed is missing, failed, was stopped, or has none: then no spread is known."""
    ended = [result for result in results if result is not None and result.done and result.status != "stopped"]
    values = [value for result in ended if (value := value_of(result, objective)) is not None]
    return values if len(values) == len(results) else None


def stopped_at(results: Sequence[Result | None], objective: str) -> tuple[int, float] | None:
    """The epoch at which seeds were stopped together, and their mean after it; diverged ones at their chance level.

    None when a seed is missing, none was stopped, or there is no value.
    """
    epochs = [result.epochs or 0 for result in results if result is not None and result.status == "stopped"]
    if None in results or not min(epochs, default=0):
        return None
    values = []
    for result in results:
        if result is not None and result.done:
            curve = result.curve.get(objective, [])[: min(epochs)]
            reached = result.status != "diverged" and len(curve) == min(epochs)
            values.append(curve[-1] if reached else result.metrics.get(objective))
    known = [value for value in values if value is not None]
    return (min(epochs), sum(known) / len(known)) if known else None


def value_of(result: Result, objective: str) -> float | None:
    """A diverged trial's cost is what it would have cost in full: it must not look cheap because it ended early."""
    if objective in result.metrics:
        return result.metrics[objective]
    cost = result.cost.get(objective)
    if cost is None or result.status != "diverged" or objective == "peak_memory_bytes":
        return cost
    return cost * (result.epochs_planned or 1) / (result.epochs or 1)
