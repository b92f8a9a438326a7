"""The texts under the pointer. Everything that comes from a table is escaped here."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from hpsearch.analysis.axis import order_parameters
from hpsearch.analysis.columns import COSTS, parameter_columns, plain
from hpsearch.analysis.objective import Objective
from hpsearch.figures import format as fmt
from hpsearch.figures.style import safe

MOST_LISTED = 5  # configurations that a cell's hover names

HOW = {"pooled": "variance of the arm", "own": "its own variance", "cliff": "by the surrogate, beside a cliff"}

# One row of a table. Rows are dicts here, because a pandas row takes a hundred times longer to read.
Row = dict[Any, Any]


def configuration_texts(points: pd.DataFrame, objective: Objective) -> list[str]:
    """Per configuration: arm, parameters, mean, spread, interval, share that did not train, compute."""
    names = parameter_names(points)
    return [_configuration(row, names, objective) for row in points.to_dict("records")]


def cell_texts(cells: pd.DataFrame, configurations: pd.DataFrame, objective: Objective) -> list[str]:
    """Per cell: its mean, the number of configurations and trials, spread, what did not train, which."""
    names = parameter_names(configurations)
    rows = {str(row["configuration_id"]): row for row in configurations.to_dict("records")}
    return [_cell(cell, rows, names, objective) for cell in cells.to_dict("records")]


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


def _cell(cell: Row, configurations: dict[str, Row], names: Sequence[str], objective: Objective) -> str:
    count = int(cell["n_configurations"])
    made_of = f"{count} configuration{'' if count == 1 else 's'}, {int(cell['n_trials'])} trials"
    lines = [f"<b>{fmt.metric(objective, cell['mean'])}</b>, mean of {made_of}"]
    if pd.notna(cell["sd"]):
        lines.append(f"sd over seeds {fmt.spread(objective, cell['sd'])}")
    if cell["n_not_trained"]:
        lines.append(f"<b>{int(cell['n_not_trained'])}/{int(cell['n_ended'])} did not train</b>")
    ids = cell["configurations"]
    for identifier in ids[:MOST_LISTED]:
        found = configurations[str(identifier)]
        mean = fmt.metric(objective, found["mean"])
        lines.append(f"{mean}: {parameter_text(found, names)} ({_seeds(found['n'])})")
    if len(ids) > MOST_LISTED:
        lines.append(f"and {len(ids) - MOST_LISTED} more")
    return "<br>".join(lines)


def _seeds(n: float) -> str:
    return f"{int(n)} seed" + ("" if int(n) == 1 else "s")
