"""Colours of configurations by the value of one hyperparameter, and what the legend says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.axis import Axis
from hpsearch.figures import format as fmt
from hpsearch.figures.style import DASHES, FAINT, PALETTE, RAMP, safe

STEPS = 5  # values that the legend of a range shows
MOST_CHOICES = len(PALETTE)
NAME = 12  # characters of a value in the legend


@dataclass(frozen=True)
class Colouring:
    """By one hyperparameter. lines: (colour, dash) of each configuration. legend: (label, colour, dash), from low."""

    parameter: str
    title: str
    lines: list[tuple[str, str]]
    legend: list[tuple[str, str, str]]


def colouring(axis: Axis, values: pd.Series) -> Colouring:
    """Numbers from dark to light, evenly in the logarithm where the axis is log; choices without an order by hue and
    dash. Configurations without a value are grey.
    """
    positions = axis.positions(values)
    ordered = axis.kind != "choice" or all(isinstance(c, int | float) and not isinstance(c, bool) for c in axis.choices)
    if not ordered:
        looks = [(PALETTE[i % len(PALETTE)], DASHES[i % len(DASHES)]) for i in range(len(axis.choices))]
        lines = [(FAINT, "solid") if math.isnan(p) else looks[int(p)] for p in positions]
        named = [(safe(fmt.parameter(c), NAME), *look) for c, look in zip(axis.choices, looks, strict=True)]
        return _with_unknown(Colouring(axis.name, axis.name, lines, named[:MOST_CHOICES]), positions)
    low, high = (0.0, len(axis.choices) - 1.0) if axis.kind == "choice" else (axis.low or 0.0, axis.high or 0.0)
    log = axis.kind == "log"
    lines = [(_ramp(_part(p, low, high, log)), "solid") for p in positions]
    legend = [(label, _ramp(_part(at, low, high, log)), "solid") for label, at in _samples(axis, low, high)]
    return _with_unknown(Colouring(axis.name, f"{axis.name}, log" if log else axis.name, lines, legend), positions)


def padded(legend: list[tuple[str, str, str]], longest: int) -> list[tuple[str, str, str]]:
    """With entries that are not shown."""
    return legend + [("", FAINT, "solid")] * (longest - len(legend))


def _with_unknown(found: Colouring, positions: NDArray[np.float64]) -> Colouring:
    if any(math.isnan(p) for p in positions):
        found.legend.append(("no value", FAINT, "solid"))
    return found


def _samples(axis: Axis, low: float, high: float) -> list[tuple[str, float]]:
    """(label, position) of the legend's lines: every choice where they are few, else some over the range."""
    n = len(axis.choices)
    if axis.kind == "choice":
        shown = range(n) if n <= MOST_CHOICES else sorted({round(i * (n - 1) / (STEPS - 1)) for i in range(STEPS)})
        return [(safe(fmt.parameter(axis.choices[i]), NAME), float(i)) for i in shown]
    if low == high:
        return [(fmt.number(low), low)]
    parts = [i / (STEPS - 1) for i in range(STEPS)]
    found = [low * (high / low) ** t if axis.kind == "log" else low + t * (high - low) for t in parts]
    return [(fmt.number(v if v in (low, high) else float(f"{v:.2g}"), 3), v) for v in found]


def _part(value: float, low: float, high: float, log: bool) -> float:
    """Where between the ends, in [0, 1]."""
    if math.isnan(value):
        return value
    if low == high:
        return 0.5
    place = math.log(value / low) / math.log(high / low) if log and value > 0 else (value - low) / (high - low)
    return min(max(place, 0.0), 1.0)


def _ramp(part: float) -> str:
    """Between the nearest two colours of the ramp."""
    if math.isnan(part):
        return FAINT
    i = min(int(part * (len(RAMP) - 1)), len(RAMP) - 2)
    t = part * (len(RAMP) - 1) - i
    ends = ([int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in RAMP[i : i + 2])
    return "#" + "".join(f"{round(a + t * (b - a)):02x}" for a, b in zip(*ends, strict=True))
