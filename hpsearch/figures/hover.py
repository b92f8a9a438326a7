"""The texts under the pointer. Everything that comes from a table is escaped here."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from hpsearch.analysis.axis import order_parameters
from hpsearch.analysis.columns import COSTS, parameter_columns, plain
from hpsearch.analysis.objective import Objective
from hpsearch.figures import format as fmt
from hpsearch.figures.style import safe

HOW = {
    "pooled": "variance of the arm",
    "own": "its own variance",
    "two-stage": "spread of its first seeds",
    "cliff": "by the surrogate, beside a cliff",
}

# One row of a table. Rows are dicts here, because a pandas row takes a hundred times longer to read.
Row = dict[Any, Any]


def configuration_texts(points: pd.DataFrame, objective: Objective) -> list[str]:
    """Per configuration: arm, parameters, mean, spread, interval, share that did not train, compute."""
    names = parameter_names(points)
    return [_configuration(row, names, objective) for row in points.to_dict("records")]


def parameter_names(points: pd.DataFrame) -> list[str]:
    return order_parameters(column.removeprefix("params.") for column in parameter_columns(points))


def parameter_text(row: Row, names: Sequence[str]) -> str:
    values = {name: plain(row[f"params.{name}"]) for name in names}
    return ", ".join(f"{safe(n)} = {safe(fmt.parameter(v))}" for n, v in values.items() if v is not None)


def _configuration(row: Row, names: Sequence[str], objective: Objective) -> str:
    lines = [f"<b>{safe(row['arm'])}</b>", parameter_text(row, names)]
    lines.append(f"mean {fmt.metric(objective, row['mean'])} over {_seeds(row['n'])}")
    if pd.notna(row["sd"]):
        lines.append(f"sd over seeds {fmt.spread(objective, row['sd'])}")
    if pd.notna(row["low"]):
        ends = f"{fmt.metric(objective, row['low'])} to {fmt.metric(objective, row['high'])}"
        lines.append(f"95 % interval {ends} ({HOW.get(row['interval'], row['interval'])})")
    if row["n_not_trained"]:
        ended = row["n_trained"] + row["n_not_trained"]
        lines.append(f"<b>{int(row['n_not_trained'])} of {int(ended)} did not train</b>")
    costs = [fmt.cost(name, row[f"cost.{name}"]) for name in COSTS if pd.notna(row[f"cost.{name}"])]
    if costs:
        lines.append("per trial: " + ", ".join(costs))
    return "<br>".join(line for line in lines if line)


def _seeds(n: float) -> str:
    return f"{int(n)} seed" + ("" if int(n) == 1 else "s")
