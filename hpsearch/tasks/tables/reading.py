"""Table files, CSV or parquet, as one pandas frame."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpsearch.errors import one_line, show
from hpsearch.tasks.protocol import DataError
from hpsearch.tasks.tables.files import read_bytes, suffix, table_files

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Table:
    """parts: (file, first row, its part of PARTS or None) of each file, in the order of the rows."""

    frame: pandas.DataFrame
    parts: tuple[tuple[str, int, int | None], ...]

    def where(self, row: int) -> str:
        """'row 7 of train.csv', counted from 1, the header left out."""
        file, first, _ = next(part for part in reversed(self.parts) if part[1] <= row)
        return f"row {row - first + 1} of {file}"

    def cell(self, column: str, row: int) -> str:
        """As a message quotes it: 0, not np.int64(0)."""
        value = self.frame[column].iloc[row]
        return show(value.item() if hasattr(value, "item") else value)

    @property
    def name(self) -> str:
        return ", ".join(file for file, _, _ in self.parts)


def read_table(path: str) -> Table:
    """Reads the table that `path` means. Raises DataError that says what is wrong and what to do."""
    import pandas

    files = table_files(path)
    frames = [_read(file) for file in files]
    first = frames[0]
    for file, frame in zip(files, frames, strict=True):
        if set(frame.columns) != set(first.columns):
            (odd, *_) = sorted(set(frame.columns) ^ set(first.columns))
            lacking = file.name if odd in first.columns else next(iter(files)).name
            problem = f"{path}: the files have different columns: {lacking} lacks {odd!r}"
            raise DataError("path", problem, "give all files the same columns")
    starts = [sum(map(len, frames[:number])) for number in range(len(frames))]
    parts = tuple((file.name, start, part) for (file, part), start in zip(files.items(), starts, strict=True))
    joined = first if len(frames) == 1 else pandas.concat([frame[first.columns] for frame in frames], ignore_index=True)
    return Table(joined, parts)


def _read(file: Path) -> pandas.DataFrame:
    raw = read_bytes(file)
    kind = suffix(file).lower()
    frame = _parquet(file, raw) if kind in (".parquet", ".pq") else _csv(file, raw, kind)
    if not len(frame):
        raise DataError("path", f"{file}: has no rows", "give a table with a header and rows")
    return frame


def _csv(file: Path, raw: bytes, kind: str) -> pandas.DataFrame:
    import pandas

    text = _text(file, raw, kind)
    line = text.partition("\n")[0]
    delimiter = "\t" if kind.startswith(".tsv") else max(",;\t", key=line.count)
    try:
        header = [name.strip() for name in next(csv.reader(io.StringIO(text), delimiter=delimiter), [])]
        _once(file, [name for name in header if name])
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # rows longer than the header are a warning, and cut
            unique = [name or f"\0{place}" for place, name in enumerate(header)]
            frame = pandas.read_csv(
                io.StringIO(text),
                sep=delimiter,
                header=0,
                names=unique,
                index_col=False,
                skipinitialspace=True,
                low_memory=False,
            )
    except (pandas.errors.ParserError, pandas.errors.ParserWarning, csv.Error) as error:
        cut = isinstance(error, pandas.errors.ParserWarning)
        what = "its rows have more cells than its header" if cut else one_line(error, 150)
        problem = f"{file}: is not a table: {what}"
        raise DataError("path", problem, "give every row as many cells as the header has") from None
    except pandas.errors.EmptyDataError:
        raise DataError("path", f"{file}: is empty", "give a table with a header and rows") from None
    # A column without a name is a row index that was saved with the table: no feature.
    return frame[[name for name in header if name]]


def _text(file: Path, raw: bytes, kind: str) -> str:
    try:
        raw = gzip.decompress(raw) if kind.endswith(".gz") else raw
    except (OSError, EOFError, zlib.error) as error:
        problem = f"{file}: is not a gzip file that can be read: {one_line(error, 150)}"
        raise DataError("path", problem, "compress it again, or give the .csv") from None
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = f"{file}:{line}: is not {encoding.upper().removesuffix('-SIG')} text (byte 0x{raw[error.start]:02x})"
        raise DataError("path", problem, "save it as CSV in UTF-8") from None
    if "\0" in text:
        raise DataError("path", f"{file}: holds binary data", "give a CSV file in UTF-8, or a .parquet file")
    return text


def _parquet(file: Path, raw: bytes) -> pandas.DataFrame:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        _once(file, pyarrow.parquet.read_schema(io.BytesIO(raw)).names)
        table = pyarrow.parquet.read_table(io.BytesIO(raw))
        # An index that pandas wrote is a column like any other, or, without a name, only numbers the rows.
        kept = [name for name in table.column_names if not name.startswith("__index_level_")]
        return table.select(kept).to_pandas(ignore_metadata=True)  # type: ignore[no-any-return]
    except (pyarrow.ArrowException, OSError) as error:
        problem = f"{file}: is not a parquet file that can be read: {one_line(error, 150)}"
        raise DataError("path", problem, "write it again, or give a CSV") from None


def _once(file: Path, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError("path", f"{file}: the column {show(twice)} is there twice", "give each column its own name")
