"""Columns of a table as numbers: what a model can take, standardised and one-hot by the training rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy
import torch

from hpsearch.errors import show
from hpsearch.tasks.protocol import Batch, DataError
from hpsearch.tasks.tables.columns import Use, feature_columns, given_parts, refuse_missing
from hpsearch.tasks.tables.reading import Table, read_table
from hpsearch.tasks.tables.splits import split_rows
from hpsearch.tasks.tables.targets import Targets, read_targets, split_targets

if TYPE_CHECKING:
    import pandas

MAX_LEVELS = 100  # of a column of texts that nobody has said to be categories; more is an id or free text
MAX_CATEGORIES = 1000  # of any column: each is an input


@dataclass(frozen=True)
class Prepared:
    """The three splits of (inputs (N, F), targets (N,)), what each of the F inputs is, and what the targets are."""

    train: Batch
    val: Batch
    test: Batch
    inputs: tuple[str, ...]
    targets: Targets


@lru_cache(maxsize=2)
def prepare(use: Use, stamp: object) -> Prepared:
    """Reads and encodes once for a process; `stamp` is that of the files, so that a changed one is read again.

    Raises OptionError for a column that is not there and DataError for what cannot be trained on.
    """
    table = read_table(use.path)
    features = feature_columns(use, table)
    if not use.impute:
        refuse_missing(table, features)
    targets = read_targets(table, use.target, use.kind)
    rows = split_rows(given_parts(use, table), targets.values if targets.classes else None, use.shares)
    trained = split_targets(targets, rows)
    train = rows[0].numpy()
    encoded = [
        (name, values)
        for feature in features
        for name, values in _encode(table, feature, train, use)
        if values[train].min() < values[train].max()  # a constant tells nothing, and has no spread to divide by
    ]
    if not encoded:
        problem = f"{table.name}: no feature is left: each is constant in the training rows"
        raise DataError("features", problem, "give columns that vary")
    inputs = torch.from_numpy(numpy.stack([values for _, values in encoded], 1).astype("float32"))  # (N, F)
    splits = [(inputs[part], values) for part, values in zip(rows, trained.parts, strict=True)]
    return Prepared(splits[0], splits[1], splits[2], tuple(name for name, _ in encoded), trained.targets)


def _encode(table: Table, name: str, train: Any, use: Use) -> Iterator[tuple[str, Any]]:
    """(name, (N,) float64) of each input that a column becomes."""
    column = table.frame[name]
    missing = column.isna().to_numpy(dtype=bool)
    if name in use.categorical or is_category(column, name, table):
        yield from _one_hot(table, name, missing, train, name in use.categorical)
        return
    values = column.to_numpy(dtype="float64", na_value=numpy.nan)
    infinite = numpy.isinf(values)
    if infinite.any():
        problem = f"column {show(name)} has {infinite.sum()} infinite values, first in {table.where(infinite.argmax())}"
        raise DataError("path", problem, f"replace them, or drop: [{name}]")
    known = values[train][~missing[train]]
    with numpy.errstate(over="ignore", invalid="ignore"):
        mean, spread = (known.mean(), known.std()) if len(known) else (0.0, 0.0)
        # A column whose spread is rounding noise is constant, as far as float64 can tell.
        scaled = (values - mean) / spread if not spread <= 1e-12 * abs(mean) else numpy.zeros(len(values))
        scaled = numpy.where(missing, 0.0, scaled)  # the mean, after standardising
        too_large = not numpy.isfinite([mean, spread]).all() or not numpy.isfinite(scaled.astype("float32")).all()
    if too_large:
        problem = f"{table.name}: the numbers of column {show(name)} are too large to be standardised"
        raise DataError("path", problem, f"rescale them, or drop: [{name}]")
    yield name, scaled
    if missing.any():
        yield f"{name} is missing", missing.astype("float64")


def _one_hot(table: Table, name: str, missing: Any, train: Any, said: bool) -> Iterator[tuple[str, Any]]:
    """One input for each level of the training rows; a level that they lack is 0 in all of them: unknown."""
    values = table.frame[name].astype(object).to_numpy()
    try:
        levels = sorted(set(values[train][~missing[train]]), key=lambda value: (isinstance(value, str), value))
    except TypeError:
        problem = f"column {show(name)} of {table.name} holds values that have no order, e.g. {table.cell(name, 0)}"
        raise DataError("path", problem, f"turn them into texts or numbers, or drop: [{name}]") from None
    most = MAX_CATEGORIES if said else min(MAX_LEVELS, max(2, len(train) / 2))
    if len(levels) > most:
        kind = "values: too many for categories" if said else "texts: an id, or prose"
        remedy = f"drop: [{name}]" + ("" if said else f", or, if they are categories, categorical: [{name}]")
        problem = f"column {show(name)} has, in {len(train)} training rows, {len(levels)} different {kind}"
        raise DataError("path", problem, remedy)
    numbers = {level: number for number, level in enumerate(levels)}
    codes = numpy.array([-1 if gone else numbers.get(value, -1) for value, gone in zip(values, missing, strict=True)])
    for number, level in enumerate(levels):
        yield f"{name}={level}", (codes == number).astype("float64")
    if missing.any():
        yield f"{name} is missing", missing.astype("float64")


def is_category(column: pandas.Series[Any], name: str, table: Table) -> bool:
    """Texts, booleans and categories are, numbers are not. Raises DataError for what is neither."""
    import pandas
    from pandas.api import types

    if types.is_bool_dtype(column.dtype) or isinstance(column.dtype, pandas.CategoricalDtype):
        return True
    if types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype):
        return False
    what = types.infer_dtype(column, skipna=True)
    if what in ("decimal", "integer", "floating", "mixed-integer-float", "empty"):
        return False
    if what in ("boolean", "categorical"):
        return True
    if what != "string":
        mixed = "values of several types" if what.startswith("mixed") else f"values of type {what}"
        problem = f"column {show(name)} of {table.name} holds {mixed}; allowed: numbers, texts, booleans, categories"
        raise DataError("path", problem, f"turn them into numbers, or drop: [{name}]")
    texts = column.dropna()
    wrong = pandas.to_numeric(texts, errors="coerce").isna()
    if wrong.any() and not wrong.all() and wrong.mean() < 0.5:
        row = int(wrong[wrong].index[0])
        problem = f"column {show(name)} holds numbers, but {show(texts[row])} in {table.where(row)}"
        remedy = f"correct it, leave the cell empty and give missing: impute, or drop: [{name}]"
        raise DataError("path", problem, remedy)
    return True
