"""Table files as columns of cells: CSV in whatever encoding, parquet, JSON lines."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpsearch.errors import InputError, nearest, one_line, show

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson", ".json")
NULLS = ("", "none", "null", "na", "n/a", "<na>")  # in a column of numbers; "nan" is a number that went wrong
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|infinity|nan)", re.IGNORECASE)


@dataclass(frozen=True)
class Sheet:
    """A table as read: columns of equal length, None for an empty cell. raw: every cell is text, as in CSV."""

    source: str
    columns: Mapping[str, Sequence[Any]]
    raw: bool
    told: tuple[str, ...] = ()
    _typed: dict[str, list[Any]] = field(default_factory=dict, compare=False)  # columns that were asked for

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def cells(self, name: str) -> list[Any]:
        """The column with its types; the text of a CSV cell is read as a number or as true and false where it is one.

        A text that stands for nothing (none, null, NA) is None, but in a column that holds other text: None may be a
        choice there.
        """
        if name not in self._typed:
            self._typed[name] = self._read(name)
        return self._typed[name]

    def _read(self, name: str) -> list[Any]:
        column = list(self.columns[name])
        if self.raw:
            column = [None if cell is None else _typed(cell) for cell in column]
        texts = {cell for cell in column if isinstance(cell, str)}
        if texts and all(text.strip().lower() in NULLS for text in texts):
            column = [None if isinstance(cell, str) else cell for cell in column]
        return column

    def numbers(self, name: str) -> list[float | None]:
        """The column as floats, NaN and infinite ones too; None where the cell is empty or no number."""
        return [_number(cell) for cell in self.cells(name)]

    def is_numeric(self, name: str) -> bool:
        """Whether there are numbers in the column and nothing else (true and false are none)."""
        cells = [cell for cell in self.cells(name) if cell is not None]
        return bool(cells) and all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in cells)


def read_sheet(path: Path) -> Sheet:
    """Raises InputError for a file that is missing, unreadable, of an unknown kind, broken, or without rows."""
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"{path}: {'is a directory; give a file' if path.is_dir() else 'no such file'}")
    if suffix not in SUFFIXES:
        near = nearest(suffix, SUFFIXES)
        hint = f"; did you mean {near}?" if near else ""
        allowed = f"{', '.join(SUFFIXES)}, or an Optuna storage (journal file, .db file, sqlite:/// or other URL)"
        raise InputError(f"{path}: unknown kind of file {show(suffix)}; allowed: {allowed}{hint}")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if suffix in (".parquet", ".pq"):
        sheet = _parquet(path, raw)
    else:
        text, told = _decode(raw)
        sheet = _csv(path, text, told) if suffix in (".csv", ".tsv") else _json(path, text, told)
    if not sheet.columns or not len(sheet):
        raise InputError(f"{path}: has no rows")
    return sheet


def _decode(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """Text in UTF-8 or UTF-16, with a byte order mark or without; else it is taken for Windows-1252."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace"), ("encoding: UTF-16",)
    try:
        return raw.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace"), ("encoding: not UTF-8; read as Windows-1252",)


def _csv(path: Path, text: str, told: tuple[str, ...]) -> Sheet:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count) if path.suffix.lower() == ".csv" else "\t"
    limit = csv.field_size_limit(len(text) + 1)  # a curve of thousands of epochs is longer than the usual limit
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise InputError(f"{path}: is not valid CSV: {one_line(error)}") from None
    finally:
        csv.field_size_limit(limit)
    if not rows:
        raise InputError(f"{path}: is empty")
    header = [name.strip() for name in rows.pop(0)]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: the column {show(twice)} is there twice; allowed: each name once")
    for number, row in enumerate(rows, start=1):
        if len(row) > len(header):
            cells = f"row {number} has {len(row)} cells, and the header {len(header)}"
            raise InputError(f"{path}: {cells}; allowed: as many cells as columns")
    columns = {
        name: [row[place] if place < len(row) and row[place].strip() else None for row in rows]
        for place, name in enumerate(header)
    }
    return Sheet(path.name, columns, True, told)


def _json(path: Path, text: str, told: tuple[str, ...]) -> Sheet:
    """One object a line, or a list of objects; what is nested is named by its path, params.lr."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    records = []
    try:
        if text.lstrip().startswith("["):
            records = json.loads(text)
        else:
            for number, line in lines:
                try:
                    records.append(json.loads(line))
                except ValueError:
                    if number != lines[-1][0] or not records:
                        raise InputError(f"{path}:{number}: is not one JSON object a line") from None
                    told = (*told, f"the last line was cut off and is left out: {number}")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid JSON: {one_line(error)}") from None
    wrong = next((number for number, record in enumerate(records, start=1) if not isinstance(record, dict)), None)
    if wrong is not None:
        raise InputError(f"{path}: record {wrong} is {show(records[wrong - 1])}; allowed: an object a line")
    return Sheet(path.name, _columns(records), False, told)


def _parquet(path: Path, raw: bytes) -> Sheet:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(raw))
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: is not a parquet file that can be read: {one_line(error)}") from None
    return Sheet(path.name, _columns(table.to_pylist()), False)


def _columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    rows = [dict(_flat(record)) for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names if not name.startswith("__index_level_")}


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", None if isinstance(value, Mapping) else value


def _typed(text: str) -> bool | int | float | str:
    stripped = text.strip()
    if stripped.lower() in ("true", "false"):
        return stripped.lower() == "true"
    if not NUMBER.fullmatch(stripped):
        return text
    return int(stripped) if stripped.lstrip("+-").isdecimal() and len(stripped) < 300 else float(stripped)


def _number(cell: object) -> float | None:
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return None
    try:
        return float(cell)
    except OverflowError:
        return math.inf
