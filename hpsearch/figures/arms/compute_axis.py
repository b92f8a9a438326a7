"""Axes of what was spent: configurations, samples, FLOPs or seconds; plain numbers, few enough for a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hpsearch.figures import format as fmt
from hpsearch.figures.style import axis_style, log_ticks

LOG_RATIO = 4.0  # epochs double, so compute does
MOST = 6  # tick labels


def is_log(low: float, high: float) -> bool:
    return low > 0 and high / low >= LOG_RATIO


def spent_axis(
    title: str, low: float, high: float, most: int = MOST, values: Sequence[float] = (), pad: float = 0.06
) -> dict[str, object]:
    """From low to high, with some room. values: the few that there are, which are then the ticks."""
    log = is_log(low, high)
    ticks: dict[str, object]
    if 0 < len(values) <= most:
        ticks = {"tickmode": "array", "tickvals": list(values), "ticktext": [fmt.short(v) for v in values]}
    elif log:
        ticks = _thinned(log_ticks(low, high, fmt.short), most)
    else:
        ticks = {"tickmode": "auto", "nticks": most, "tickformat": ",.4~r" if high < 1e4 else "~s"}
    if log:
        room = pad * math.log10(high / low)
        ends = [math.log10(low) - room, math.log10(high) + room]
        return axis_style(f"{title}, log scale", type="log", range=ends, **ticks)
    room = pad * (high - low) or 0.1 * high or 1.0
    return axis_style(title, type="linear", range=[low - room, high + room], **ticks)


def _thinned(ticks: dict[str, object], most: int) -> dict[str, object]:
    """Decades alone, or every so many of those, where there are too many."""
    values, labels = np.array(ticks["tickvals"], dtype=float), np.array(ticks["ticktext"], dtype=object)
    if len(values) > most:
        decades = np.isclose(np.log10(values) % 1, 0) | np.isclose(np.log10(values) % 1, 1)
        keep = np.flatnonzero(decades) if decades.sum() >= 2 else np.arange(len(values))
        keep = keep[:: math.ceil(len(keep) / most)]
        values, labels = values[keep], labels[keep]
    return ticks | {"tickvals": values.tolist(), "ticktext": labels.tolist()}
