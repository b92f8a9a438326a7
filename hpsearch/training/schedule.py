"""Learning-rate schedules, as factors of the peak rate."""

from __future__ import annotations

import math


def factor(schedule: str, step: int, total: int, warmup: float = 0.0) -> float:
    """The factor at step `step` of `total`, counted from 0.

    cosine: half a cosine from 1 to 0 (arXiv 1608.03983, no restart). linear: from 1 to 0. constant: 1.
    step: a tenth from half of the steps on, a hundredth from three quarters on.
    warmup: share of the steps in which the rate first rises in equal steps; the schedule runs over the others.
    """
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / (rising + 1)
    step, total = step - rising, total - rising
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * step / total))
    if schedule == "linear":
        return 1.0 - step / total
    if schedule == "step":
        return 0.1 ** ((step >= 0.5 * total) + (step >= 0.75 * total))
    raise ValueError(f"schedule must be one of cosine, linear, constant, step, but got {schedule!r}")
