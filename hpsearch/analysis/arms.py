"""What each arm searched, what it held fixed, in the study's order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from hpsearch.analysis.axis import Axis, key, order_parameters
from hpsearch.analysis.cells import Cells, make_cells
from hpsearch.analysis.columns import Value, parameter_columns, plain

if TYPE_CHECKING:
    from hpsearch.study import Study


@dataclass(frozen=True)
class ArmFacts:
    """One arm. `cells` has the axis of every searched hyperparameter, cut into cells, in display order."""

    name: str
    cells: dict[str, Cells]
    fixed: dict[str, Value]


def describe_arms(table: pd.DataFrame, study: "Study | None") -> tuple[ArmFacts, ...]:
    """The arms of the study, then those that only the table knows."""
    declared = study.arms if study is not None else {}
    names = dict.fromkeys([*declared, *(str(a) for a in table["arm"].dropna().unique())])
    arms = []
    for name in names:
        rows = table[table["arm"] == name]
        if name in declared:
            arm = declared[name]
            axes = {n: Axis.from_parameter(n, p) for n, p in arm.parameters.items()}
            fixed = {n: v for n, v in ((n, plain(v)) for n, v in arm.fixed.items()) if v is not None}
        else:
            axes, fixed = _observed(rows)
        selection = rows[~rows["sampling.confirm"]]
        cells = {n: make_cells(axes[n], _column(selection, n)) for n in order_parameters(axes)}
        arms.append(ArmFacts(name, cells, fixed))
    return tuple(arms)


def _observed(rows: pd.DataFrame) -> tuple[dict[str, Axis], dict[str, Value]]:
    """Without a study: a parameter that varies was searched, one that does not was fixed."""
    axes: dict[str, Axis] = {}
    fixed: dict[str, Value] = {}
    columns = parameter_columns(rows) + [str(c) for c in rows.columns if str(c).startswith("fixed.")]
    for column in columns:
        distinct = {key(v): v for v in map(plain, rows[column]) if v is not None}
        name = column.split(".", 1)[1]
        if len(distinct) > 1 and column.startswith("params."):
            axes[name] = Axis.from_values(name, rows[column])
        elif len(distinct) == 1:
            fixed[name] = next(iter(distinct.values()))
    return axes, fixed


def _column(rows: pd.DataFrame, name: str) -> pd.Series:
    column = f"params.{name}"
    return rows[column] if column in rows.columns else pd.Series(dtype=float)
