"""Learning-rate schedules, as factors of the peak rate."""

from __future__ import annotations

import math


def factor(schedule: str, step: int, total: int) -> float:
    """The factor at step `step` of `total`, counted from 0.

    cosine: half a cosine from 1 to 0 (arXiv 1608.03983, no restart). constant: 1.
    step: a tenth from half of the steps on, a hundredth from three quarters on.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * step / total))
    if schedule == "step":
        return 0.1 ** ((step >= 0.5 * total) + (step >= 0.75 * total))
    raise ValueError(f"schedule must be one of cosine, constant, step, but got {schedule!r}")
