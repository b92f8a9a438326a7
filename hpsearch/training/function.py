"""Runs a user's own training function as a trial: train(params, seed, report)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch

from hpsearch.streams import GlobalGenerators
from hpsearch.tasks.registry import TrainFunction
from hpsearch.training.cost import peak_memory, reset_peak_memory
from hpsearch.training.outcome import Cost, Outcome, finite_or_none

MEASURED = ("seconds", "peak_memory_bytes")  # costs that are measured from outside
COSTS = ("backward_samples", "flops")  # costs that only the function can know; reported like metrics


def run_function(
    function: TrainFunction, params: Mapping[str, Any], seed: int, objectives: tuple[str, ...], device: str = "cpu"
) -> Outcome:
    """Calls the function with the global generators seeded, and takes its last report as the result.

    A report that is not finite means that training diverged: the trial's metrics are then `function.chance` (a mapping
    of metric to value) where the function has one, else not known. Raises ValueError for a report that is not numbers,
    or when an objective was never reported.
    """
    reports: list[Report] = []
    where = torch.device(device)
    was_reset = reset_peak_memory(where)
    started = time.perf_counter()
    with GlobalGenerators(seed).swapped():
        function(dict(params), seed, lambda **values: reports.append(as_report(values)))
    seconds = time.perf_counter() - started
    return outcome_of(function, reports, objectives, seconds, peak_memory(where, was_reset))


Report = dict[str, float]


def as_report(values: Mapping[str, Any]) -> Report:
    """What the function reported, as numbers. Raises ValueError for what is none."""
    for name, value in values.items():
        if isinstance(value, str) or not hasattr(value, "__float__"):
            raise ValueError(f"report({name}={value!r}): a metric must be a number")
    return {name: float(value) for name, value in values.items()}


def outcome_of(
    function: TrainFunction, reports: list[Report], objectives: tuple[str, ...], seconds: float, peak: int | None
) -> Outcome:
    """The outcome of a function that has ended, from all that it reported. Raises ValueError as run_function does."""
    last = {name: value for values in reports for name, value in values.items()}
    reported = ", ".join(last) or "nothing"
    costs = {name: finite_or_none(last.pop(name, math.nan)) for name in COSTS}
    diverged = not all(math.isfinite(value) for value in last.values())
    known = [*last, *MEASURED, *(name for name, value in costs.items() if value is not None)]
    missing = [name for name in objectives if name not in known]
    if missing and not diverged:  # who diverges may not get as far as an evaluation
        raise ValueError(f"the function ended without report({missing[0]}=…); it reported {reported}")
    metrics: dict[str, float | None] = {name: finite_or_none(value) for name, value in last.items()}
    if diverged:
        chance = getattr(function, "chance", {})
        # What was reported before it blew up is not what its user is left with.
        names = [*metrics, *(name for name in missing if name not in COSTS)]
        metrics = {name: finite_or_none(float(chance[name])) if name in chance else None for name in names}
    return Outcome(
        status="diverged" if diverged else "complete",
        epochs=len(reports),
        epochs_planned=len(reports),
        metrics=metrics,
        cost=cost_of(reports, seconds, peak),
        curve=curve_of(reports),
    )


def cost_of(reports: list[Report], seconds: float, peak: int | None) -> Cost:
    """What was measured from outside, and what the function reported of its own costs."""
    last = {name: value for values in reports for name, value in values.items()}
    samples, flops = (finite_or_none(last.get(name, math.nan)) for name in COSTS)
    return Cost(None if samples is None else int(samples), flops, seconds, peak)


def curve_of(reports: list[Report]) -> dict[str, list[float | None]]:
    """A value for each report, None where it did not name the metric or gave a number that is not finite."""
    names = dict.fromkeys(name for values in reports for name in values)
    curve: dict[str, list[float | None]] = {"epoch": [float(epoch) for epoch in range(1, len(reports) + 1)]}
    for name in names:
        curve[name] = [finite_or_none(values.get(name, math.nan)) for values in reports]
    return curve
