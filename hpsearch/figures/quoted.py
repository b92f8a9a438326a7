"""Numbers of the document as answers again, and as texts with their interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.writing import briefly, by_reason
from hpsearch.figures import format as fmt


def known(value: float | None) -> float:
    """null is NaN."""
    return math.nan if value is None else float(value)


def answer(entry: Mapping[str, Any]) -> Answer:
    """`method` is the key in the document's methods."""
    return Answer(
        known(entry["value"]), known(entry["low"]), known(entry["high"]), int(entry["n"]), str(entry["unit"]),
        str(entry["method"]), str(entry["why_no_interval"] or ""), bool(entry["at_least"]), bool(entry["at_most"]),
    )  # fmt: skip


def not_asked(document: Mapping[str, Any]) -> str:
    """Why what rests on the whole analysis is missing: it was left out; empty where it was made."""
    return "the analysis was asked for means only" if document["options"] is None else ""


def columns(found: Answer) -> dict[str, object]:
    """Its columns of a table of numbers."""
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "unit": found.unit,
        "method": found.method,
        "why_no_interval": found.why,
    }


def level(goal: Objective, found: Answer) -> str:
    """93.29 % (92.36 to 94.22)."""
    text = fmt.metric(goal, found.value)
    if not found.has_interval:
        return text
    ends = [fmt.metric(goal, v).removesuffix(f"{fmt.SPACE}%") for v in (found.low, found.high)]
    return f"{text} ({ends[0]} to {ends[1]})"


def gap(found: Answer, unit: bool = True) -> str:
    """+3.10 (1.47 to 4.74) points; a share's difference is in points."""
    share = found.unit == "share"
    text = _signed(found.value, share, "+")
    if found.has_interval:
        text += f" ({_signed(found.low, share)} to {_signed(found.high, share)})"
    return text + (" points" if share and unit else "")


def plain(found: Answer, digits: int = 2) -> str:
    """0.84 (0.65 to 1.03)."""
    text = f"{found.value:.{digits}f}" if math.isfinite(found.value) else fmt.DASH
    if found.has_interval:
        text += f" ({found.low:.{digits}f} to {found.high:.{digits}f})"
    return text.replace("-", fmt.MINUS)


def without_interval(found: Iterable[tuple[str, Answer]]) -> str:
    """The sentence on the numbers that have none; empty where all have one."""
    reasons = [(name, briefly(one.why)) for name, one in found if not one.has_interval]
    return f"No interval: {by_reason(reasons)}." if reasons else ""


def method_text(method: Mapping[str, Any]) -> str:
    """How it was computed and what it assumes."""
    assumed = f" Assumes: {method['assumes']}." if method["assumes"] else ""
    return f"{fmt.sentence(method['text'])}.{assumed}"


def _signed(value: float, share: bool, plus: str = "") -> str:
    if not math.isfinite(value):
        return fmt.DASH
    text = f"{round(100 * value, 2) + 0.0:{plus}.2f}" if share else f"{value + 0.0:{plus}.3g}"
    return text.replace("-", fmt.MINUS)
