"""The rows of a GLUE set: from the hub, or from a local folder in the hub's schema; checked before anything trains."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpsearch.errors import nearest, one_line, show
from hpsearch.tasks.glue.files import Stamp, stamp
from hpsearch.tasks.glue.quiet import library, quiet
from hpsearch.tasks.glue.sets import HUB, SETS, GlueSet
from hpsearch.tasks.protocol import DataError

OFFLINE = (
    "set path to a folder that holds the parquet files and checkpoint to a checkpoint's folder, "
    "or load both once where there is a network"
)


@dataclass(frozen=True)
class Source:
    """Where the rows come from: parquet files with their stamps, or the hub's set of that name where files is empty."""

    dataset: str
    train: Stamp = ()
    heldout: Stamp = ()


@dataclass(frozen=True)
class Rows:
    """texts: a column of N texts for each text that a sample has. labels: N numbers."""

    texts: tuple[Sequence[str], ...]
    labels: Sequence[float]


def source(dataset: str, path: str | None) -> Source:
    """Finds the files; without a path the hub is the source. Raises DataError."""
    if path is None:
        return Source(dataset)
    try:
        train, heldout = find(dataset, path)
        return Source(dataset, stamp(train), stamp(heldout))
    except OSError as error:
        raise _unreadable(error, path) from None


def find(dataset: str, path: str) -> tuple[list[Path], list[Path]]:
    """The parquet files of the training split and of the hub's validation split. Raises DataError and OSError."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError("path", f"{show(path)} {what}", f"give a folder with {dataset}/train-*.parquet in it")
    names = {"train": ("train",), "validation": SETS[dataset].heldout}
    found: dict[str, list[Path]] = {}
    for split, stems in names.items():
        for place in (folder / dataset, folder):
            for stem in stems:
                files = [*place.glob(f"{stem}.parquet"), *place.glob(f"{stem}-*.parquet")]
                found[split] = found.get(split) or sorted(files)
        if not found[split]:
            there = sorted(file.name for file in folder.glob("*"))[:6]
            problem = f"{show(path)} has no {split} split of {dataset}; it holds {', '.join(there) or 'nothing'}"
            wanted = f"{stems[0]}-*.parquet or {stems[0]}.parquet"
            raise DataError("path", problem, f"put {wanted} there or in its subfolder {dataset}")
    return found["train"], found["validation"]


@lru_cache(maxsize=1)  # the constructor checks what data() then tokenises
def read(origin: Source) -> tuple[Rows, Rows]:
    """The rows of the training split and of the hub's validation split. Raises DataError."""
    known = SETS[origin.dataset]
    if origin.train:
        train, heldout = _from_files(origin.train), _from_files(origin.heldout)
        names = (_name(origin.train), _name(origin.heldout))
    else:
        train, heldout = _from_hub(origin.dataset, known)
        names = (f"{HUB} {origin.dataset}, train", f"{HUB} {origin.dataset}, {known.heldout[0]}")
    return _rows(train, known, names[0]), _rows(heldout, known, names[1])


def _from_files(files: Stamp) -> Any:
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    tables = []
    for path, _, _ in files:
        try:
            tables.append(parquet.ParquetFile(path).read())
        except (OSError, pyarrow.ArrowException) as error:
            raise _unreadable(error, path) from None
    try:
        return pyarrow.concat_tables(tables)
    except pyarrow.ArrowException as error:
        raise DataError("path", f"{_name(files)}: {one_line(error)}", "give all files the same columns") from None


def _unreadable(error: Exception, path: str) -> DataError:
    if isinstance(error, PermissionError):
        return DataError("path", f"{show(path, 200)} may not be read", "give yourself permission to read it")
    return DataError("path", f"{show(path, 200)} cannot be read as parquet: {one_line(error)}", "download it again")


def _from_hub(dataset: str, known: GlueSet) -> tuple[Any, Any]:
    """What `datasets` has in its cache, as it is; only what it lacks is asked for over the network."""
    datasets = library("datasets", "path")
    with quiet("datasets"):
        try:
            cached = importlib.import_module("datasets.packaged_modules.cache.cache")
            builder = cached.Cache(repo_id=HUB, dataset_name="glue", config_name=dataset, version="auto", hash="auto")
            found = builder.as_dataset()
        except Exception:  # not cached
            try:
                found = datasets.load_dataset(HUB, dataset)
            except Exception as error:  # of many libraries: the hub's, the HTTP client's, the file system's
                problem = f"{HUB} {dataset} is not in the cache and cannot be loaded: {one_line(error, 160)}"
                raise DataError("dataset", problem, OFFLINE) from None
        missing = [split for split in ("train", known.heldout[0]) if split not in found]
        if missing:
            problem = f"{HUB} {dataset} has no split {missing[0]}, only {', '.join(found)}"
            raise DataError("dataset", problem, "empty the cache of datasets, or set path to a folder")
        return tuple(found[split].with_format("arrow")[:] for split in ("train", known.heldout[0]))


def _rows(table: Any, known: GlueSet, where: str) -> Rows:
    for column in (*known.texts, "label"):
        if column not in table.column_names:
            near = nearest(column, table.column_names)
            hint = f" (is it {near!r}?)" if near else ""
            has = ", ".join(table.column_names) or "none"
            problem = f"{where} has no column {column!r}; its columns are {has}{hint}"
            raise DataError("path", problem, f"rename it: columns as in {HUB}")
    if table.num_rows == 0:
        raise DataError("path", f"{where} has no rows", "give a split that is not empty")
    texts = tuple(_texts(table, column, where) for column in known.texts)
    return Rows(texts, _labels(table, known, where))


def _texts(table: Any, column: str, where: str) -> Sequence[str]:
    values: list[Any] = table.column(column).to_pylist()
    wrong = next((number for number, value in enumerate(values) if not isinstance(value, str)), None)
    if wrong is not None:
        problem = f"{where}: column {column!r}, row {wrong} is {show(values[wrong])}, not a text"
        raise DataError("path", problem, "store texts")
    return values


def _labels(table: Any, known: GlueSet, where: str) -> Sequence[float]:
    values: list[Any] = table.column("label").to_pylist()
    if all(value == -1 for value in values):
        remedy = "GLUE hides the labels of its test split: give the train and the validation split"
        raise DataError("path", f"{where}: all labels are -1, so they are hidden", remedy)
    kinds, top = ((int, float), 5) if known.classes == 1 else ((int,), known.classes - 1)
    for number, value in enumerate(values):
        if not isinstance(value, kinds) or isinstance(value, bool) or not 0 <= value <= top:
            problem = f"{where}: column 'label', row {number} is {show(value)}"
            raise DataError("path", problem, f"a label must be {known.labels}")
    return values


def _name(files: Stamp) -> str:
    first = files[0][0]
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"
