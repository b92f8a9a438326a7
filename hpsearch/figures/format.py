"""Numbers as a reader wants them: plain decimals, percent, 1.2 M samples, 3.4 TFLOP, 5.1 min."""

import math
from collections.abc import Mapping
from datetime import datetime

from hpsearch.analysis.columns import Value
from hpsearch.analysis.estimate import Estimate
from hpsearch.analysis.objective import Objective

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"
EQUALS = f"{SPACE}={SPACE}"  # a line does not break inside of it
PLUS_MINUS = f"{SPACE}±{SPACE}"

COST_NAMES = {
    "backward_samples": "samples through backward",
    "flops": "FLOPs",
    "seconds": "seconds",
}
COST_LABELS = {"backward_samples": "samples", "flops": "FLOPs", "seconds": "seconds"}
_UNITS = {"backward_samples": "samples", "flops": "FLOP"}
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_DURATIONS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def number(value: float, digits: int = 3) -> str:
    """A plain decimal with `digits` significant digits; an exponent only below 1e-4 or from 1e6 on."""
    if not math.isfinite(value):
        return DASH
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    shown = float(f"{value:.{digits}g}")
    if float(value).is_integer():  # whole numbers are labels: 1024, not 1020
        shown = value
    return f"{shown:.12f}".rstrip("0").rstrip(".").replace("-", MINUS)


def parameter(value: Value) -> str:
    """The value of a hyperparameter."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(value) if isinstance(value, int | float) else value


def parameters(values: dict[str, Value]) -> str:
    return ", ".join(f"{name}{EQUALS}{parameter(value)}" for name, value in values.items())


def settings(values: Mapping[str, object]) -> str:
    """Settings of a study file; nested ones in brackets."""
    known = {name: value for name, value in values.items() if value is not None}
    return ", ".join(f"{name}{EQUALS}{_setting(value)}" for name, value in known.items())


def _setting(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + settings(value) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_setting(v) for v in value) + "]"
    return parameter(value) if isinstance(value, bool | int | float | str) else str(value)


def metric(objective: Objective, value: float, digits: int = 2) -> str:
    """A metric's value: a share as percent with `digits` decimals, else 4 significant digits."""
    if not math.isfinite(value):
        return DASH
    if objective.share:
        return f"{100 * value:.{digits}f}{SPACE}%".replace("-", MINUS)
    return number(value, 4)


def estimate(objective: Objective, found: Estimate) -> str:
    """mean ± half width of the 95 % interval, or the mean alone."""
    if not found.has_interval:
        return metric(objective, found.mean)
    if objective.share:
        return f"{100 * found.mean:.2f}{PLUS_MINUS}{100 * found.half:.2f}{SPACE}%"
    return f"{number(found.mean, 4)}{PLUS_MINUS}{number(found.half, 2)}"


def difference(objective: Objective, found: Estimate) -> str:
    """A signed difference ± half width; of shares in percentage points."""
    if objective.share:
        text, half, unit = f"{100 * found.mean:+.2f}", f"{100 * found.half:.2f}", f"{SPACE}points"
    else:
        text, half, unit = f"{found.mean:+.3g}", number(found.half, 2), ""
    return text.replace("-", MINUS) + f"{PLUS_MINUS}{half}{unit}"


def spread(objective: Objective, sd: float) -> str:
    """A standard deviation in the metric's unit; percentage points for shares."""
    if not math.isfinite(sd):
        return DASH
    return f"{100 * sd:.2f}{SPACE}points" if objective.share else number(sd, 2)


def metric_name(name: str) -> str:
    """val_accuracy -> validation accuracy; other names with spaces."""
    head, _, tail = name.partition("_")
    full = {"val": "validation", "test": "test", "train": "training"}.get(head)
    return f"{full} {tail.replace('_', ' ')}" if full and tail else name


def axis_title(objective: Objective) -> str:
    title = sentence(metric_name(objective.name))
    return f"{title} (%)" if objective.share else title


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def moment(iso: str) -> str:
    """An ISO 8601 time to the minute; any other text as it is."""
    try:
        found = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = found.strftime("%z")
    return found.strftime("%Y-%m-%d %H:%M") + (" UTC" if zone == "+0000" else f" {zone}".rstrip())


def cost(name: str, value: float) -> str:
    """An amount of compute with its unit."""
    if not math.isfinite(value):
        return DASH
    if name == "seconds":
        return duration(value)
    scaled, prefix = _scaled(value)
    unit = _UNITS.get(name, "")
    if unit == "FLOP":
        return f"{scaled}{SPACE}{prefix}{unit}"
    return SPACE.join(part for part in (scaled, prefix, unit) if part)


def duration(seconds: float) -> str:
    for size, unit in _DURATIONS:
        if seconds >= 2 * size:
            return f"{number(seconds / size, 3)}{SPACE}{unit}"
    return f"{number(seconds, 3)}{SPACE}s"


def short(value: float) -> str:
    """A number for an axis tick: 20k, 1.5M."""
    scaled, prefix = _scaled(value)
    return f"{scaled}{prefix}"


def _scaled(value: float) -> tuple[str, str]:
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return number(value / size), prefix
    return number(value), ""


def rounded(value: float, digits: int = 5) -> float:
    """With `digits` significant digits: what a drawing needs, and a page can carry many thousands of."""
    return float(f"{value:.{digits}g}")
