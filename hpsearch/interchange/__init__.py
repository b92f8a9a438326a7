"""A run folder as a table or an Optuna storage, and the other way round. Importing this is light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpsearch.errors import InputError, nearest, show

if TYPE_CHECKING:
    from hpsearch.study import Study

__all__ = ["FORMATS", "Imported", "export_run", "import_run"]

FORMATS = {"csv": "trials.csv", "parquet": "trials.parquet", "optuna": "trials.optuna.log"}  # format -> file in DIR


@dataclass(frozen=True)
class Imported:
    """A run folder made from a foreign source. told: what was guessed, left out or changed, a line each."""

    folder: Path
    study: Study
    trials: int
    told: tuple[str, ...]


def export_run(folder: str | Path, format: str, out: str | Path | None = None) -> Path:
    """Writes the trials of a run folder to one file and gives its path.

    format: csv or parquet, the columns of hpsearch.load and one more, `study`, by which `import` gives the same ids
    again; or optuna, a journal storage with a study per arm and a trial per configuration, valued by its means over
    the selection seeds. out: the file; FORMATS tells its name in the run folder otherwise.
    Raises InputError for a folder without a run or an unknown format, RunError when the file cannot be written.
    """
    from hpsearch.interchange.exports import storage_bytes, table_bytes
    from hpsearch.results import write_atomically

    if format not in FORMATS:
        near = nearest(format, FORMATS)
        hint = f"; did you mean {near!r}?" if near else ""
        raise InputError(f"--format: got {show(format)}; allowed: {', '.join(FORMATS)}{hint}")
    path = Path(folder)
    target = path / FORMATS[format] if out is None else Path(out)
    content = storage_bytes(path) if format == "optuna" else table_bytes(path, format)
    write_atomically(target, content)
    return target


def import_run(
    source: str | Path,
    folder: str | Path,
    *,
    params: Sequence[str] = (),
    metrics: Sequence[str] = (),
    seed: str | None = None,
    arm: str | None = None,
    study: str | None = None,
) -> Imported:
    """Makes `folder` a run folder of the trials in a CSV, parquet or JSONL table, or in an Optuna storage.

    params: the columns that are hyperparameters. metrics: the objectives, the one that selects first, each NAME,
    NAME:maximize or NAME:minimize. seed, arm: their columns (in a storage: seed is a user attribute); "none" for none.
    study: one Optuna study of the storage. What is left out is guessed from names and values, and told.
    Raises InputError for a source that cannot be read, a name that is not in it, a folder that holds a run, and for
    trials that contradict each other; RunError when the folder cannot be written.
    """
    from hpsearch.interchange.content import Wishes
    from hpsearch.interchange.folder import make_run, refuse_run
    from hpsearch.interchange.rows import read_rows
    from hpsearch.interchange.sheets import read_sheet
    from hpsearch.interchange.storages import is_storage, read_storage

    target = Path(folder)
    refuse_run(target)
    wishes = Wishes(tuple(params), tuple(metrics), seed, arm, study)
    text = str(source)
    content = read_storage(text, wishes) if is_storage(text) else read_rows(read_sheet(Path(text)), wishes)
    made, trials, told = make_run(content, target)
    return Imported(target, made, trials, (*content.told, *told))
