"""The search space that an arm's trials show: ranges as far as they were seen, choices, conditions, fixed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpsearch.analysis.axis import LOG_RATIO, key
from hpsearch.analysis.columns import Value
from hpsearch.errors import InputError
from hpsearch.interchange.conditions import conditions
from hpsearch.interchange.content import Trial

MAX_CHOICES = 500


def arm_section(
    trials: Sequence[Trial], declared: Mapping[str, Mapping[str, Any]], searched: bool
) -> dict[str, dict[str, Any]]:
    """parameters and fixed of one arm, as in a study file.

    declared: the ranges that the source knows; they are widened to what was seen. searched: what never varies was
    searched all the same, as an exported table tells apart what was searched and what was fixed.
    """
    points = [trial.values for trial in trials]
    whens, _ = conditions(points)
    values: dict[str, list[Value]] = {}
    for params in points:
        for name, value in params.items():
            values.setdefault(name, []).append(value)
    fixed_names = {name for trial in trials for name in trial.fixed}
    parameters, fixed = {}, {}
    for name, seen in values.items():
        distinct = list({key(value): value for value in seen}.values())
        everywhere = len(seen) == len(points) and len(distinct) == 1
        if everywhere and (name in fixed_names or not (searched or name in declared)):
            fixed[name] = distinct[0]
        else:
            space = _widened(name, declared[name], distinct) if name in declared else observed(name, distinct)
            parameters[name] = {**space, **({"when": whens[name]} if name in whens else {})}
    if not parameters and not fixed:
        fixed = {"hyperparameters": "none"}  # an arm must say something
    return {"parameters": parameters, "fixed": fixed}


def observed(name: str, values: Sequence[Value]) -> dict[str, Any]:
    """The keys of a hyperparameter of which these different values are known: a range for numbers, else choices."""
    numbers = [value for value in values if not isinstance(value, (bool, str))]
    if len(numbers) < len(values) or len(numbers) == 1:
        if len(values) > MAX_CHOICES:
            raise InputError(
                f"the hyperparameter {name} has {len(values)} different texts, e.g. {values[0]!r}; allowed: at most "
                f"{MAX_CHOICES}; leave it out of --params"
            )
        return {"choices": list(values)}
    low, high = min(numbers), max(numbers)
    log = low > 0 and high / low >= LOG_RATIO  # the factor by which a table without a study is read on a log axis
    return {"low": low, "high": high, "log": log, "int": all(isinstance(number, int) for number in numbers)}


def _widened(name: str, declared: Mapping[str, Any], values: Sequence[Value]) -> dict[str, Any]:
    """The declared keys, with what was seen outside of them."""
    if "choices" in declared:
        choices = {key(value): value for value in (*declared["choices"], *values)}
        return {"choices": list(choices.values())}
    numbers = [value for value in values if not isinstance(value, (bool, str))]
    if len(numbers) < len(values):
        return observed(name, values)
    low, high = min([declared["low"], *numbers]), max([declared["high"], *numbers])
    inside = (low, high) == (declared["low"], declared["high"])
    return {
        **declared,
        "low": low,
        "high": high,
        **({} if inside else {"step": None, "log": declared["log"] and low > 0}),
    }
