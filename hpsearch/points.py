"""The sampler `points`: whether each configuration that a study lists is one of its arms'."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hpsearch.errors import KeyPath, Mistake, nearest, show
from hpsearch.space import active
from hpsearch.study import Arm


def check_points(path: KeyPath, points: object, arms: Mapping[str, Arm]) -> Iterator[Mistake]:
    """points: what stands at `path`. Each must be a configuration of every arm that the phase is for, and new."""
    if not isinstance(points, list) or not points:
        rule = "is missing" if points is None else f"got {show(points)}"
        yield Mistake(path, rule, "a list of at least one configuration, e.g. [{rho: 0.1, lr: 0.2}]")
        return
    seen: dict[str, int] = {}
    for number, point in enumerate(points):
        at = (*path, number)
        if not isinstance(point, dict):
            yield Mistake(at, f"got {show(point)}", "a mapping (hyperparameter: value)")
            continue
        first = seen.setdefault(json.dumps(point, sort_keys=True, default=str), number)
        if first != number:
            yield Mistake(at, f"is the same as points.{first}", "each configuration once")
            continue
        for name, arm in arms.items():
            yield from _check_point(at, point, name, arm)


def _check_point(path: KeyPath, point: Mapping[str, Any], arm_name: str, arm: Arm) -> Iterator[Mistake]:
    """All that the arm searches there, in range, and no more."""
    meant = set()
    for name, value in point.items():
        parameter = arm.parameters.get(name)
        if parameter is None:
            fixed = name in arm.fixed
            rule = f"arm {arm_name}: {name} is fixed" if fixed else f"arm {arm_name} has no parameter {show(name)}"
            searched = ", ".join(arm.parameters) or "none: the arm searches nothing"
            near = None if fixed else nearest(name, [other for other in arm.parameters if other not in point])
            meant.add(near)
            yield Mistake((*path, name), rule, searched, near)
        elif not parameter.contains(value, on_step=False):  # as in a grid, between steps is allowed
            near = nearest(value, [choice for choice in parameter.choices or () if isinstance(choice, str)])
            yield Mistake((*path, name), f"arm {arm_name}: got {show(value)}", parameter.allowed(), near)
    try:
        wanted = active(arm.parameters, point, arm.fixed)
    except ValueError:  # conditions that go round in a circle are told with the parameters
        return
    for name in wanted:
        if name not in point and name not in meant:  # a misspelt name is one mistake, not also a missing one
            yield Mistake(path, f"arm {arm_name}: {name} is missing", arm.parameters[name].allowed())
    for name in point:
        if name in arm.parameters and name not in wanted:
            when = ", ".join(f"{key}: {show(value)}" for key, value in (arm.parameters[name].when or {}).items())
            yield Mistake((*path, name), f"arm {arm_name}: {name} stands here only with {when}", f"no {name}")
