"""Hyperparameters that not every trial of an arm has: when they apply, and the arms where nothing says when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hpsearch.analysis.axis import key
from hpsearch.analysis.columns import Value
from hpsearch.interchange.content import Trial, valid_names

Params = Mapping[str, Value]


def conditions(points: Sequence[Params]) -> tuple[dict[str, dict[str, Value]], list[str]]:
    """hyperparameter -> its `when`, for those that some points lack; and those for which no `when` is right.

    A `when` is right if it holds for exactly the points that have the hyperparameter. One key is tried before several,
    and only keys that come earlier are, so that no circle can arise.
    """
    names = list(dict.fromkeys(name for params in points for name in params))
    known = [name for name in names if all(name in params for params in points)]
    left = [name for name in names if name not in known]
    found: dict[str, dict[str, Value]] = {}
    while left:
        solved = {name: when for name in left if (when := _when(name, known, points)) is not None}
        if not solved:
            break
        found |= solved
        known += solved
        left = [name for name in left if name not in solved]
    return found, left


def split(trials: Sequence[Trial]) -> tuple[list[Trial], list[str]]:
    """The trials with an arm of its own for each set of hyperparameters that no `when` explains, and what to tell."""
    arms: dict[str, list[int]] = {}
    for place, trial in enumerate(trials):
        arms.setdefault(trial.arm, []).append(place)
    taken, renamed, told = list(arms), dict[int, str](), list[str]()
    for arm, places in arms.items():
        _, left = conditions([trials[place].values for place in places])
        if not left:
            continue
        groups: dict[tuple[str, ...], list[int]] = {}
        for place in places:
            groups.setdefault(tuple(name for name in left if name in trials[place].values), []).append(place)
        parts: list[str] = []
        for having, members in sorted(groups.items(), key=lambda group: -len(group[1])):
            name = arm if not parts else list(valid_names([*taken, f"{arm}.{'.'.join(having) or 'none'}"]).values())[-1]
            taken.append(name)
            renamed |= dict.fromkeys(members, name)
            parts.append(f"{name} ({len(members)} trials with {', '.join(having) or 'none of them'})")
        told.append(f"{arm}: nothing says when {', '.join(left)} applies, so it is split into arms: {', '.join(parts)}")
    return [replace(trial, arm=renamed.get(place, trial.arm)) for place, trial in enumerate(trials)], told


def _when(name: str, known: Sequence[str], points: Sequence[Params]) -> dict[str, Value] | None:
    having = [params for params in points if name in params]
    lacking = [params for params in points if name not in params]
    needed: dict[str, Value] = {}
    for other in known:
        values = {key(params[other]): params[other] for params in having if other in params}
        if len(values) == 1 and all(other in params for params in having):
            needed[other] = next(iter(values.values()))
    for other, value in needed.items():
        if not any(_holds({other: value}, params) for params in lacking):
            return {other: value}
    return None if any(_holds(needed, params) for params in lacking) else _fewest(needed, lacking)


def _fewest(when: dict[str, Value], lacking: Sequence[Params]) -> dict[str, Value]:
    """Without the keys that exclude nothing that the others let in."""
    for other in list(when):
        fewer = {name: value for name, value in when.items() if name != other}
        if not any(_holds(fewer, params) for params in lacking):
            when = fewer
    return when


def _holds(when: Params, params: Params) -> bool:
    return all(other in params and key(params[other]) == key(value) for other, value in when.items())
