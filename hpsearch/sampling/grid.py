"""The grid of an arm: the values along each axis, and how many configurations they make. Needs no Optuna."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from hpsearch.sampling.options import MAX_GRID
from hpsearch.space import Parameter, Value, active


def grid_size(parameters: Mapping[str, Parameter], fixed: Mapping[str, Value]) -> int:
    """The number of different configurations on the arm's grid. Raises ValueError where a range has no grid values."""
    levels = levels_of(parameters)
    cells = math.prod(len(values) for values in levels.values())
    if cells > MAX_GRID or not any(parameter.when for parameter in parameters.values()):
        return cells
    # Where a condition does not hold, the cells along that parameter are one configuration.
    points = (dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values()))
    return len({tuple((name, point[name]) for name in active(parameters, point, fixed)) for point in points})


def levels_of(parameters: Mapping[str, Parameter]) -> dict[str, tuple[Value, ...]]:
    levels = {name: parameter.levels() for name, parameter in parameters.items()}
    without = [name for name, values in levels.items() if values is None]
    if without:
        raise ValueError(f"sampler grid needs a grid, choices or a step for {', '.join(without)}")
    return {
        name: tuple(typed(parameters[name], value) for value in values)
        for name, values in levels.items()
        if values is not None
    }


def typed(parameter: Parameter, value: Value) -> Value:
    """A value that a file gives in the type that the other samplers give: it may say 1 for 1.0, and 1e2 for 100."""
    if parameter.choices is not None:
        return value
    return int(value) if parameter.integer else float(value)
