"""What an adaptive sampler is told: a configuration, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from hpsearch.sampling.distributions import Params


@dataclass(frozen=True)
class Outcome:
    """values: one an objective, None where there are none (a seed failed, or it was a repeat).

    epoch: where it was stopped early; then there is one value, the mean of the first objective at that epoch.
    """

    values: tuple[float, ...] | None
    epoch: int | None = None


@dataclass(frozen=True)
class Known:
    """phase, generation: where the sampler of that phase suggested it; None where no phase of the plan did."""

    params: Params
    outcome: Outcome
    phase: int | None
    generation: int | None
