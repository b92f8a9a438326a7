"""What counts as "within the best": a number in the metric's unit, or one standard error of a configuration's mean."""

from __future__ import annotations

import math
from typing import Literal

from hpsearch.analysis.model import Model
from hpsearch.errors import InputError, show

EPSILON = 0.01  # of a share: one point of accuracy
STANDARD_ERROR: Literal["se"] = "se"


def parse_epsilon(text: str | None, name: str) -> float | Literal["se"] | None:
    """None as it is. name: of the option, for the message of the InputError."""
    if text is None or text.strip().lower() == STANDARD_ERROR:
        return None if text is None else STANDARD_ERROR
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(
            f"{name}: got {show(text)}; allowed: a number > 0 in the metric's unit (0.01 is one point of accuracy), or "
            "se, one standard error of a configuration's mean"
        )
    return value


def epsilon_of(model: Model, wanted: float | Literal["se"] | None = None) -> float:
    """In the metric's unit: as wanted, where None is EPSILON of a share and "se" of other metrics.

    A standard error is NaN where seeds were not repeated.
    """
    if wanted is None and model.objective.share:
        return EPSILON
    if isinstance(wanted, int | float):
        return wanted
    return model.effect.sd / math.sqrt(max(model.setting.seeds, 1))
