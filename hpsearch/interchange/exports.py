"""The trials of a run folder as the bytes of a CSV, parquet or Optuna journal file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hpsearch.analysis.columns import numeric
from hpsearch.analysis.configurations import metric_column, summarize
from hpsearch.identity import Identity
from hpsearch.interchange.journal import Configuration, attributes, journal
from hpsearch.results import Result, belonging, read_results, read_run, to_table
from hpsearch.study import Study


def table_bytes(folder: Path, format: str) -> bytes:
    """hpsearch.load's table with a column `study`: JSON of what the ids depend on besides the row, and objectives."""
    study, results = _read(folder)
    table = _with_whole_numbers(to_table(results), results).assign(study=origin(study))
    if format == "csv":
        return _curves_as_text(table).to_csv(index=False).encode()
    buffer = io.BytesIO()
    _arrow_ready(table).to_parquet(buffer, index=False)
    return buffer.getvalue()


def storage_bytes(folder: Path) -> bytes:
    """A journal storage: one Optuna study an arm, named study/arm, and one trial a configuration."""
    study, results = _read(folder)
    table = to_table(results)
    rows: dict[str, dict[str, list[Result]]] = {arm: {} for arm in study.arms}
    for result in results:
        rows[result.arm].setdefault(result.configuration_id, []).append(result)
    means = {name: _means(table, name) for name in study.objectives}
    seen = {name: dict(zip(table["trial_id"], _values(table, name), strict=True)) for name in study.objectives}
    arms = {
        arm: [
            _configuration(mine, [means[name].get((arm, key)) for name in study.objectives], seen)
            for key, mine in configurations.items()
        ]
        for arm, configurations in rows.items()
    }
    return journal(study, arms)


def origin(study: Study) -> str:
    """What an exported table says of its study in every row."""
    assert study.recorded is not None
    known = {
        "name": study.name,
        "task": study.recorded.task,
        "epochs": study.task.epochs,
        "batch_size": study.task.batch_size,
        "optimizer": study.optimizer,
        "objectives": study.objectives,
    }
    return json.dumps({key: value for key, value in known.items() if value is not None}, separators=(",", ":"))


def _read(folder: Path) -> tuple[Study, list[Result]]:
    study = read_run(folder)
    results, _ = read_results(folder)
    return study, belonging(results, study, Identity.recorded(study))


def _configuration(
    results: list[Result], means: list[float | None], seen: Mapping[str, Mapping[str, float | None]]
) -> Configuration:
    """The means are None where no selection seed has a value."""
    known = [mean for mean in means if mean is not None]
    values = tuple(known) if len(known) == len(means) else None
    return Configuration(dict(results[0].params), values, attributes(results, seen))


def _means(table: pd.DataFrame, metric: str) -> dict[tuple[str, str], float | None]:
    """(arm, configuration_id) -> mean over the selection seeds."""
    if table.empty:
        return {}
    rows = summarize(table, metric)
    return {
        (str(arm), str(key)): None if pd.isna(mean) else float(mean)
        for arm, key, mean in zip(rows["arm"], rows["configuration_id"], rows["mean"], strict=True)
    }


def _values(table: pd.DataFrame, metric: str) -> list[float | None]:
    return [None if pd.isna(value) else float(value) for value in numeric(table, metric_column(table, metric))]


def _with_whole_numbers(table: pd.DataFrame, results: list[Result]) -> pd.DataFrame:
    """pandas makes 4 a 4.0 where another row has no value: those columns get its type for whole numbers with gaps."""
    whole = {}
    for name in table.select_dtypes("float").columns:
        group, _, key = str(name).partition(".")
        cells = [getattr(result, group).get(key) if key else getattr(result, group) for result in results]
        if all(cell is None or type(cell) is int for cell in cells):
            whole[name] = pd.array(cells, dtype="Int64")
    return table.assign(**whole)


def _curves_as_text(table: pd.DataFrame) -> pd.DataFrame:
    """A cell of CSV has no type for lists: curves as JSON."""
    curves = [str(name) for name in table.columns if str(name).startswith("curve.")]
    text = {name: table[name].map(lambda curve: None if curve is None else json.dumps(curve)) for name in curves}
    return table.assign(**text)


def _arrow_ready(table: pd.DataFrame) -> pd.DataFrame:
    """Arrow takes one type a column: values of several become text."""
    mixed = {}
    for name in table.columns:
        kinds = {type(value) for value in table[name].dropna()}
        if len(kinds) > 1 and not kinds <= {int, float}:
            mixed[name] = table[name].map(lambda value: value if value is None else str(value))
    return table.assign(**mixed)
