"""Results -> values that JSON can hold: rounded, null for what is not known, methods named by a key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.columns import is_null
from hpsearch.analysis.estimate import Estimate

DIGITS = 12  # of floats: below what differs between machines, above what anybody reads
MAP_DIGITS = 6  # of curves and maps, which are many


class Methods:
    """Texts of methods, which many numbers share: each is told once, numbers refer to it by its key."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str], str] = {}

    def key(self, name: str, text: str, n_counts: str = "configurations", assumes: str = "") -> str:
        """name: the key, followed by _2, _3 ... where another text has it already. n_counts: what `n` counts."""
        told = (text, n_counts, assumes)
        if told not in self._keys:
            taken, key, number = set(self._keys.values()), name, 1
            while key in taken:
                number += 1
                key = f"{name}_{number}"
            self._keys[told] = key
        return self._keys[told]

    def entries(self) -> dict[str, dict[str, Any]]:
        return {
            key: {"text": text, "n_counts": n_counts, "assumes": assumes or None}
            for (text, n_counts, assumes), key in sorted(self._keys.items(), key=lambda item: item[1])
        }

    def answer(self, name: str, found: Answer | None, n_counts: str = "configurations") -> dict[str, Any] | None:
        if found is None:
            return None
        return {
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "n": found.n,
            "unit": found.unit,
            "method": self.key(name, found.method, n_counts),
            "why_no_interval": None if found.has_interval else found.why or "none is defined for it",
            "at_least": found.at_least,
            "at_most": found.at_most,
        }

    def number(self, method: str, value: float, low: float, high: float, n: int, unit: str, why: str) -> dict[str, Any]:
        """A number that is no Answer, in the same form. method: a key. why: used where there is no interval."""
        known = math.isfinite(low) and math.isfinite(high)
        return {
            "value": value,
            "low": low,
            "high": high,
            "n": n,
            "unit": unit,
            "method": method,
            "why_no_interval": None if known else why,
            "at_least": False,
            "at_most": False,
        }

    def estimate(self, method: str, found: Estimate, unit: str, why: str = "") -> dict[str, Any]:
        reason = why or ("no run has a value" if not found.n else "one run, or no interval holds for so few")
        return self.number(method, found.mean, found.low, found.high, found.n, unit, reason)


def clean(value: Any, digits: int = DIGITS) -> Any:
    """The same as plain Python that JSON can hold: no NaN, no infinity, no numpy, text that UTF-8 can say."""
    if isinstance(value, Mapping):
        return {clean(str(key)): clean(item, digits) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return clean(value.tolist(), digits)
    if isinstance(value, list | tuple):
        return [clean(item, digits) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if is_null(value):
        return None
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # + 0.0: zero has no sign.
        return float(f"{value:.{digits}g}") + 0.0 if math.isfinite(value) else None
    text = str(value.value if isinstance(value, Enum) else value)
    return text.encode("utf-8", "replace").decode("utf-8")


def coarse(values: NDArray[np.float64]) -> Any:
    """A curve or a map as nested lists."""
    return clean(np.asarray(values, dtype=float), MAP_DIGITS)
