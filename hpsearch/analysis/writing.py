"""Numbers as sentences have them: significant digits, percent and points, intervals, lists of names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.columns import Value
from hpsearch.errors import one_line

MINUS = "\N{MINUS SIGN}"
UNKNOWN = "not known"

# As they are named to a reader.
BUDGETS = {
    "configurations": "configurations",
    "backward_samples": "samples through backward",
    "flops": "FLOPs",
    "seconds": "seconds",
}


def number(value: float, digits: int = 3) -> str:
    """`digits` significant digits; an exponent only below 1e-4 or from 1e6 on. Whole numbers below that are whole."""
    if not math.isfinite(value):
        return UNKNOWN
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    shown = value if float(value).is_integer() else float(f"{value:.{digits}g}")
    return (f"{shown:.12f}".rstrip("0").rstrip(".") or "0").replace("-", MINUS)


def parameter(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(value) if isinstance(value, int | float) else one_line(value, 40)


def parameters(values: Mapping[str, Value]) -> str:
    """lr 0.1, rho 0.05."""
    return ", ".join(f"{one_line(name, 40)} {parameter(value)}" for name, value in values.items())


def level(value: float, share: bool) -> str:
    """A value of a metric: a share in percent with one decimal, else four significant digits."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{_fixed(100 * value, 1)} %" if share else number(value, 4)


def gap(value: float, share: bool) -> str:
    """A difference of two values, without a unit: of shares in points."""
    return _fixed(100 * value, 1) if share else number(value, 3)


def gap_unit(share: bool, metric: str) -> str:
    """As it follows a number."""
    return "points" if share else f"of {metric}"


def gaps_in(share: bool, metric: str) -> str:
    """As it follows "in", before numbers."""
    return "points" if share else f"units of {metric}"


def percent(share: float) -> str:
    """A share of variance, a probability: whole percent."""
    return f"{_fixed(100 * share, 0)} %" if math.isfinite(share) else UNKNOWN


def interval(answer: Answer, shown: str) -> str:
    """(x3.4, 95 % x1.5 to at least x20) without its brackets; `shown` is the format: times, level, percent or gap."""
    text = FORMS[shown](answer.value)
    if not answer.has_interval:
        return f"{text}, no interval"
    low, high = FORMS[shown](answer.low), FORMS[shown](answer.high)
    low, high = (
        f"{'at most ' if answer.at_most and shown == 'times' else ''}{low}",
        f"{'at least ' if answer.at_least and shown == 'times' else ''}{high}",
    )
    return f"{text}, 95 % {low} to {high}"


FORMS: Mapping[str, Callable[[float], str]] = {
    "times": lambda v: f"x{number(v, 2)}",
    "percent": percent,
    "level": lambda v: level(v, True),
    "points": lambda v: gap(v, True),
    "number": lambda v: number(v, 3),
}


def listed(names: Sequence[str]) -> str:
    return "".join(names) if len(names) < 2 else ", ".join(names[:-1]) + " and " + names[-1]


def count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def by_reason(reasons: Iterable[tuple[str, str]]) -> str:
    """(arm, why) pairs -> `sgd and sam: too few configurations; fsam: ...`: a reason that several share once."""
    groups: dict[str, list[str]] = {}
    for name, why in reasons:
        if name not in groups.setdefault(why, []):
            groups[why].append(name)
    return "; ".join(f"{listed(names)}: {why}" for why, names in groups.items())


def briefly(why: str) -> str:
    """too few configurations (16, 3 seeds): checked from … -> too few configurations; the warnings tell the rest."""
    return why.split(":")[0].split(" (")[0]


def metric_name(name: str) -> str:
    """val_accuracy -> validation accuracy; other names with spaces."""
    head, _, tail = name.partition("_")
    full = {"val": "validation", "test": "test", "train": "training"}.get(head)
    return one_line(f"{full} {tail}" if full and tail else name, 60).replace("_", " ")


def _fixed(value: float, digits: int) -> str:
    """No minus before what rounds to 0."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS) if math.isfinite(value) else UNKNOWN
