"""One hyperparameter as an axis: its kind, range and choices."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.columns import Value, plain

if TYPE_CHECKING:
    from hpsearch.space import Parameter

LOG_RATIO = 20.0  # observed positive values that span at least this factor are read on a log axis

# What is under study comes first, everywhere; other hyperparameters follow in the order of the study.
PARAMETER_ORDER = ("rho", "num_shards", "ema_decay", "sigma", "interval", "adaptive", "lr")


@dataclass(frozen=True)
class Axis:
    """A hyperparameter's axis. A choice axis has `choices` in order, the others have `low` and `high`."""

    name: str
    kind: Literal["linear", "log", "choice"]
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()
    grid: tuple[Value, ...] = ()
    integer: bool = False

    @classmethod
    def from_parameter(cls, name: str, parameter: "Parameter") -> "Axis":
        """The axis of a declared hyperparameter."""
        grid = tuple(v for v in map(plain, parameter.grid or ()) if v is not None)
        if parameter.choices is not None:
            return cls(name, "choice", choices=_ordered(parameter.choices))
        numbers = [float(v) for v in grid if _is_number(v)]
        bounds = numbers + [float(b) for b in (parameter.low, parameter.high) if b is not None]
        if not bounds:
            return cls(name, "choice", choices=_ordered(grid))
        kind: Literal["linear", "log"] = "log" if parameter.log and min(bounds) > 0 else "linear"
        return cls(name, kind, min(bounds), max(bounds), grid=_ordered(grid), integer=bool(parameter.integer))

    @classmethod
    def from_values(cls, name: str, series: pd.Series) -> "Axis":
        """The axis guessed from observed values: log if positive over a factor of 20 or more."""
        values = [v for v in _distinct(series) if not (isinstance(v, float) and math.isinf(v))]
        if not values or not all(_is_number(v) for v in values):
            return cls(name, "choice", choices=_ordered(values))
        numbers = np.array(values, dtype=float)
        low, high = float(numbers.min()), float(numbers.max())
        log = low > 0 and high / low >= LOG_RATIO
        integer = all(float(v).is_integer() for v in numbers)
        return cls(name, "log" if log else "linear", low, high, integer=integer)

    @classmethod
    def merged(cls, axes: Sequence["Axis"]) -> "Axis":
        """One axis on which the axes of several arms can be overlaid."""
        name = axes[0].name
        choices = _ordered([c for axis in axes for c in axis.choices])
        if all(axis.kind == "choice" for axis in axes) or not all(_is_number(c) for c in choices):
            ends = [e for axis in axes for e in (axis.low, axis.high) if e is not None]
            return cls(name, "choice", choices=_ordered([*choices, *ends]))
        bounds = [float(c) for c in choices]
        bounds += [e for axis in axes for e in (axis.low, axis.high) if e is not None]
        log = any(axis.kind == "log" for axis in axes) and min(bounds) > 0
        return cls(name, "log" if log else "linear", min(bounds), max(bounds))

    def positions(self, values: Iterable[object]) -> NDArray[np.float64]:
        """Where values stand, (n,): the number itself, or the index of the choice; NaN if it has none."""
        cleaned = [plain(v) for v in values]
        if self.kind == "choice":
            index = {key(c): float(i) for i, c in enumerate(self.choices)}
            found = [math.nan if v is None else index.get(key(v), math.nan) for v in cleaned]
        else:
            found = [float(v) if v is not None and _is_number(v) else math.nan for v in cleaned]
        return np.array(found, dtype=np.float64)


def order_parameters(names: Iterable[str]) -> list[str]:
    """Names without repeats: those of PARAMETER_ORDER first, the rest as they came."""
    rank = {name: i for i, name in enumerate(PARAMETER_ORDER)}
    return sorted(dict.fromkeys(names), key=lambda name: rank.get(name, len(rank)))


def key(value: Value) -> tuple[bool, bool, Value]:
    """What makes two values the same: 4 and 4.0 are, 1, True and "1" are not."""
    return (isinstance(value, str), isinstance(value, bool), value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distinct(values: Iterable[object]) -> list[Value]:
    cleaned = (plain(v) for v in values)
    return list({key(v): v for v in cleaned if v is not None}.values())


def _ordered(values: Iterable[object]) -> tuple[Value, ...]:
    """Distinct values: numbers ascending, anything else in the order given."""
    distinct = _distinct(values)
    return tuple(sorted(distinct)) if all(_is_number(v) for v in distinct) else tuple(distinct)
