"""Configurations that an arm could try next: Sobol' points of its space, all cells of a small one, points on a line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.axis import Axis, key, order_parameters
from hpsearch.analysis.columns import Value, plain
from hpsearch.analysis.inputs import Input, Inputs

if TYPE_CHECKING:
    from hpsearch.study import Study

Floats = NDArray[np.float64]
Params = dict[str, Value]

DRAWN = 128  # Sobol' points; so many cells and fewer are all listed
FINENESS = 1000  # values are rounded to this part of their range, so that a file can be read


def space(arm: str, study: Study | None, inputs: Inputs) -> Inputs:
    """All that the arm searches, also what did not vary so far; without a study what the model knows."""
    if study is None or arm not in study.arms:
        return inputs
    declared, fixed = study.arms[arm].parameters, study.arms[arm].fixed
    axes = [Input.from_axis(Axis.from_parameter(name, declared[name])) for name in order_parameters(declared)]
    when = {name: dict(p.when or {}) for name, p in declared.items() if getattr(p, "when", None)}
    held = {name: value for name, v in fixed.items() if (value := plain(v)) is not None}
    return Inputs(tuple(axes), when, held)


def steps(arm: str, study: Study | None) -> dict[str, float]:
    declared = study.arms[arm].parameters if study is not None and arm in study.arms else {}
    return {name: float(p.step or 0) for name, p in declared.items() if getattr(p, "step", None)}


def untried(
    whole: Inputs, grain: Mapping[str, float], known: pd.DataFrame, line: Sequence[Params], seed: int
) -> list[Params]:
    """Configurations of `whole` (of `space`) that are not among the known rows, each once; those on the line last.

    grain: the step of a hyperparameter that has one.
    """
    cells = math.prod(len(one.levels) if one.levels else DRAWN + 1 for one in whole.inputs)
    if cells <= DRAWN:
        x = np.array(list(product(*(one.nodes for one in whole.inputs))))
    else:
        x = whole.from_uniform(whole.uniform(DRAWN, seed))
    x = whole.deactivate(x.reshape(-1, len(whole)))
    drawn = [_values(whole, grain, row) for row in x]
    seen = {_same(point) for point in points_of(known, whole.names)}
    found = []
    for point in [*drawn, *line]:
        if _same(point) not in seen:
            seen.add(_same(point))
            found.append(point)
    return found


def along(whole: Inputs, grain: Mapping[str, float], start: Params, name: str, values: Sequence[Value]) -> list[Params]:
    """The configuration `start` with other values of one hyperparameter."""
    one = {i.name: i for i in whole.inputs}
    start = {other: _rounded(one[other], grain.get(other), value) for other, value in start.items()}
    made = [{**start, name: _rounded(one[name], grain.get(name), value)} for value in values]
    x = whole.coordinates(frame(made, whole.names))
    kept = (np.isnan(whole.deactivate(x)) == np.isnan(x)).all(1)  # a condition may hang on that hyperparameter
    return [point for point, fits in zip(made, kept, strict=True) if fits]


def points_of(rows: pd.DataFrame, names: Sequence[str]) -> list[Params]:
    """The hyperparameters of rows with params.*; those that are null or absent are left out."""
    columns = {name: rows[f"params.{name}"] for name in names if f"params.{name}" in rows.columns}
    cleaned = {name: [plain(v) for v in column] for name, column in columns.items()}
    return [{n: v for n, vs in cleaned.items() if (v := vs[k]) is not None} for k in range(len(rows))]


def frame(points: Sequence[Params], names: Sequence[str]) -> pd.DataFrame:
    """The other way: a column params.* for every name."""
    return pd.DataFrame({f"params.{n}": pd.Series([p.get(n) for p in points], dtype=object) for n in names})


def _values(whole: Inputs, grain: Mapping[str, float], row: Floats) -> Params:
    known = zip(whole.inputs, row, strict=True)
    return {i.name: _rounded(i, grain.get(i.name), i.value(float(x))) for i, x in known if np.isfinite(x)}


def _rounded(one: Input, step: float | None, value: Value) -> Value:
    low, high = one.axis.low, one.axis.high
    if one.levels:  # a table may say 4.0 for 4
        return next((level for level in one.levels if key(level) == key(value)), value)
    if low is None or high is None or isinstance(value, str | bool):
        return value
    if step:
        value = low + round((value - low) / step) * step
        fine = step
    else:
        fine = (value * math.log(high / low) if one.axis.kind == "log" else high - low) / FINENESS
    if one.axis.integer:
        return min(max(round(value), round(low)), round(high))
    digits = 12 if step else max(0, math.ceil(-math.log10(fine))) if fine > 0 else 12
    return min(max(round(float(value), digits), low), high)


def _same(point: Params) -> frozenset[tuple[str, tuple[bool, bool, Value]]]:
    return frozenset((name, key(value)) for name, value in point.items())
