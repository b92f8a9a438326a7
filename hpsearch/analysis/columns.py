"""The table that all of analysis/ reads: the columns it needs and the groups of status values."""

import math

import numpy as np
import pandas as pd

from hpsearch.errors import InputError

COSTS = ("backward_samples", "flops", "seconds")  # the three ways compute is counted

TRAINED = "complete"
NOT_TRAINED = ("diverged", "collapsed")  # results: their metrics enter every mean
NO_RESULT = ("failed", "stopped")  # no final metrics: they enter no mean
STATUSES = (TRAINED, *NOT_TRAINED, *NO_RESULT)

REQUIRED = ("arm", "configuration_id", "status")

Value = bool | int | float | str


def standard(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every column that analysis reads; what was absent is null.

    A table without rows may lack everything. A table with rows must name arm, configuration and status.
    """
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing and len(table):
        raise InputError(
            f"a table of trials must have the columns {', '.join(REQUIRED)}, but this one lacks "
            f"{', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    wanted = {name: pd.Series(dtype=object) for name in missing}
    if "sampling.confirm" in table.columns:
        confirm = table["sampling.confirm"].map(lambda x: not is_null(x) and bool(x)).astype(bool)
    else:
        confirm = pd.Series(False, index=table.index, dtype=bool)
    names = {name: _as_text(table[name]) for name in ("arm", "configuration_id") if name in table.columns}
    return table.assign(**wanted, **names, **{"sampling.confirm": confirm}).reset_index(drop=True)


def _as_text(names: pd.Series) -> pd.Series:
    """Names that are numbers become text, so that they are the same in a document and in the table."""
    if all(isinstance(name, str) for name in names):
        return names
    return names.map(lambda name: None if is_null(name) else str(name)).astype(object)


def numeric(table: pd.DataFrame, column: str) -> pd.Series:
    """A column as finite floats: what is absent, null, text or infinite becomes NaN."""
    if column not in table.columns:
        return pd.Series(np.nan, index=table.index, dtype=float)
    values = pd.to_numeric(table[column], errors="coerce").astype(float)
    return values.where(np.isfinite(values))


def parameter_columns(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.columns if str(name).startswith("params.")]


def is_null(value: object) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or value is pd.NA or value is pd.NaT


def plain(value: object) -> Value | None:
    """A cell of the table as a Python scalar: null is None, numbers equal to an integer keep their type."""
    if isinstance(value, np.generic):
        value = value.item()
    if is_null(value):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)
