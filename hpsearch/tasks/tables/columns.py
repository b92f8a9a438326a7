"""Which columns of a table are used, and as what."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hpsearch.errors import nearest, show
from hpsearch.tasks.protocol import DataError, OptionError
from hpsearch.tasks.tables.files import PARTS
from hpsearch.tasks.tables.reading import Table
from hpsearch.tasks.tables.splits import Shares


@dataclass(frozen=True)
class Use:
    """What of a table is used, and how: the options of the tabular task that decide on its tensors."""

    path: str
    target: str
    kind: str | None = None
    features: tuple[str, ...] | None = None
    categorical: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    split: str | None = None
    shares: Shares = Shares()
    impute: bool = False


def feature_columns(use: Use, table: Table) -> list[str]:
    """The names of the columns that are features; every name that an option gives is checked."""
    columns = [str(name) for name in table.frame.columns]
    named = {"target": (use.target,), "split": (use.split,) if use.split else ()}
    lists = {"features": use.features or (), "categorical": use.categorical, "drop": use.drop}
    for option, names in {**named, **lists}.items():
        for name in names:
            if name not in columns:
                near = nearest(name, columns)
                hint = f"; did you mean {near!r}?" if near else ""
                shown = ", ".join(columns[:12]) + (f" … ({len(columns)} in all)" if len(columns) > 12 else "")
                raise OptionError(option, name, f"a column of {table.name}: {shown}{hint}")
    taken = {use.target: "target", **({use.split: "split"} if use.split else {})}
    if use.split == use.target:
        raise OptionError("split", use.split, "another column than the target")
    for option, names in lists.items():
        for name in names:
            if name in taken:
                raise OptionError(option, name, f"columns other than the {taken[name]}")
            if names.count(name) > 1:
                raise OptionError(option, name, "each column once")
    chosen = use.features if use.features is not None else tuple(name for name in columns if name not in use.drop)
    left = [name for name in chosen if name not in taken]
    for option, names in (("drop", use.drop), ("categorical", use.categorical)):
        for name in names:
            if use.features is not None and option == "drop" and name in left:
                raise OptionError("drop", name, "columns that are not in features")
            if option == "categorical" and name not in left:
                raise OptionError("categorical", name, f"columns that are features: {', '.join(left[:12])}")
    if not left:
        raise DataError("features", f"{table.name}: no feature is left", "name at least one column, or drop fewer")
    return left


def refuse_missing(table: Table, features: list[str]) -> None:
    """Names all columns with missing values, so that they can be dealt with at once."""
    missing = {name: table.frame[name].isna().to_numpy(dtype=bool) for name in features}
    lacking = {name: where for name, where in missing.items() if where.any()}
    if lacking:
        told = [
            f"{show(name)} ({where.sum()}, first in {table.where(int(where.argmax()))})"
            for name, where in list(lacking.items())[:3]
        ]
        more = f" and {len(lacking) - 3} columns more" if len(lacking) > 3 else ""
        remedy = (
            f"give missing: impute (the mean, and an input that says so), or drop: [{', '.join(list(lacking)[:3])}]"
        )
        raise DataError("missing", f"missing values in {', '.join(told)}{more}", remedy)


def given_parts(use: Use, table: Table) -> Tensor:
    """(N,) 0, 1, 2 for train, validation, test, by the files or by the column `split`."""
    rows = len(table.frame)
    if use.split is None:
        given = torch.zeros(rows, dtype=torch.int64)
        for _, first, part in table.parts:
            given[first:] = part or 0
        return given
    if any(part for _, _, part in table.parts):
        raise OptionError("split", use.split, "null: the files of the folder are the split already")
    values = [str(value).strip().lower() for value in table.frame[use.split]]
    for row, value in enumerate(values):
        if value not in PARTS:
            problem = f"column {show(use.split)} has {table.cell(use.split, row)} in {table.where(row)}"
            raise DataError("split", problem, "it must say train, validation or test in every row")
    return torch.tensor([PARTS[value] for value in values])
