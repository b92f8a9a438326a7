"""The target column of a table: classes, or numbers in units of the training rows' standard deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy
import torch
from torch import Tensor

from hpsearch.errors import show
from hpsearch.tasks.protocol import DataError
from hpsearch.tasks.tables.reading import Table
from hpsearch.tasks.tables.splits import NAMES

FEW = 20  # whole numbers with at most so many different values are classes, unless it is said otherwise


@dataclass(frozen=True)
class Targets:
    """values (N,): class numbers from 0 (int64), or numbers (float64). sd: the unit of a standardised one."""

    column: str
    values: Tensor
    classes: tuple[str, ...] = ()  # empty for regression
    sd: float = 1.0


@dataclass(frozen=True)
class SplitTargets:
    """parts: of train, validation and test, as they are trained on."""

    parts: tuple[Tensor, ...]
    targets: Targets


def read_targets(table: Table, column: str, kind: str | None) -> Targets:
    """Texts, booleans, categories and whole numbers of at most FEW values are classes, fractions are not.

    Raises DataError where `kind` is not given and the values do not tell, or where they do not fit.
    """
    series = table.frame[column]
    _complete(table, column)
    numbers = _numbers(series)
    kind = kind or _guess(column, numbers)
    if kind == "regression":
        if numbers is None:
            problem = f"column {show(column)} holds {table.cell(column, 0)}, which is no number"
            raise DataError("target", problem, "give kind: classification, or a column of numbers")
        return Targets(column, torch.tensor(numbers))
    levels, codes = numpy.unique(series.astype(str).to_numpy() if numbers is None else numbers, return_inverse=True)
    if len(levels) < 2:
        problem = f"column {show(column)} has one value only, {table.cell(column, 0)}"
        raise DataError("target", problem, "give a target with at least two classes")
    if len(levels) > max(2, len(series) / 2):
        problem = (
            f"column {show(column)} has {len(levels)} different values in {len(series)} rows: these are no classes"
        )
        raise DataError("target", problem, "give another target, or for numbers kind: regression")
    names = tuple(f"{level:g}" if isinstance(level, float) else str(level) for level in levels)
    return Targets(column, torch.from_numpy(codes.astype("int64")), names)


def split_targets(targets: Targets, rows: tuple[Tensor, ...]) -> SplitTargets:
    """Classes as they are; numbers less their mean over the training rows, in units of its standard deviation."""
    parts = tuple(targets.values[part] for part in rows)
    for name, part in zip(NAMES, parts, strict=True):
        constant = bool((part == part[0]).all())
        if constant and (name == "train" or not targets.classes):
            problem = f"column {show(targets.column)} has one value only in the {name} split ({len(part)} rows)"
            raise DataError("target", problem, "give more rows, or another split")
    if targets.classes:
        return SplitTargets(parts, targets)
    mean, sd = parts[0].mean(), parts[0].std(correction=0)  # R^2 and the loss of the training mean are then 0 and 1
    standardised = tuple(((part - mean) / sd).float() for part in parts)
    if not all(part.isfinite().all() for part in standardised):
        problem = f"the numbers of column {show(targets.column)} are too large to be standardised"
        raise DataError("target", problem, "rescale them")
    return SplitTargets(standardised, replace(targets, sd=float(sd)))


def _complete(table: Table, column: str) -> None:
    missing = table.frame[column].isna().to_numpy(dtype=bool)
    if missing.any():
        problem = f"column {show(column)} lacks {missing.sum()} values, first in {table.where(int(missing.argmax()))}"
        raise DataError("target", problem, "leave out the rows without a target")
    numbers = _numbers(table.frame[column])
    infinite = numpy.isinf(numbers) if numbers is not None else missing
    if infinite.any():
        where = table.where(int(infinite.argmax()))
        problem = f"column {show(column)} has {infinite.sum()} infinite values, first in {where}"
        raise DataError("target", problem, "leave out these rows")


def _numbers(series: Any) -> Any | None:
    """(N,) float64, or None for texts, booleans, categories and whatever else."""
    from pandas.api import types

    decimal = types.infer_dtype(series) == "decimal"
    if decimal or (types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)):
        return series.to_numpy(dtype="float64", na_value=numpy.nan)
    return None


def _guess(column: str, numbers: Any | None) -> str:
    if numbers is None:
        return "classification"
    if (numbers % 1 != 0).any():
        return "regression"
    values = len(numpy.unique(numbers))
    if values > FEW:
        problem = f"column {show(column)} has {values} different whole numbers: classes or amounts, nobody can tell"
        raise DataError("target", problem, "give kind: classification, or kind: regression")
    return "classification"
