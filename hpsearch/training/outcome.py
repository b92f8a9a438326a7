"""What a trial came to: the half of a result that the training side knows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

Status = Literal["complete", "diverged", "collapsed", "failed", "stopped"]

DIVERGED_FACTOR = 10.0  # a mean loss over an epoch above this many times the first batch's is divergence
COLLAPSED_FACTOR = 0.98  # a final training loss of at least this share of the constant predictor's is collapse


class Progress(NamedTuple):
    """Trials' worth of epochs that trials in training have behind them: in all, and of these in this process."""

    done: float = 0.0
    here: float = 0.0

    @classmethod
    def of(cls, each: Iterable[Self]) -> Self:
        """Of several trials."""
        parts = list(each)
        return cls(sum(part.done for part in parts), sum(part.here for part in parts))


@dataclass(frozen=True)
class Cost:
    """What the trial spent. flops: of the forward and backward passes of training, evaluation not counted."""

    backward_samples: int | None = None
    flops: float | None = None
    seconds: float | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class Outcome:
    """status, metrics (None where not known), cost, and one value an epoch in each list of `curve`.

    epochs_planned: None of a training function that was stopped early. out_of_memory: what failed was the GPU's memory.
    """

    status: Status
    epochs: int
    epochs_planned: int | None
    metrics: Mapping[str, float | None]
    cost: Cost
    curve: Mapping[str, list[float | None]] = field(default_factory=dict)
    error: str | None = None
    out_of_memory: bool = False


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN: a value that is not finite is not known. A checkpoint has Python's own numbers only."""
    return float(value) if math.isfinite(value) else None
