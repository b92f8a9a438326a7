"""One split's rows: labels, and encoded images in batches, whatever they come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hpsearch.tasks.data.columns import Columns
from hpsearch.tasks.protocol import DataError

BATCH = 256  # images that are read and decoded at once


class Rows(Protocol):
    """One split in its own order."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def labels(self) -> list[Any]:
        """One for each row, as found."""
        ...

    def images(self) -> Iterator[list[bytes | None]]:
        """Encoded images in order, in batches; None where there is none."""
        ...

    def where(self, row: int) -> str:
        """What a message about this row says of its place."""
        ...


@dataclass(frozen=True)
class ParquetRows:
    """Rows of parquet files, one after another."""

    files: tuple[Path, ...]
    columns: Columns

    @property
    def name(self) -> str:
        return self.files[0].name if len(self.files) == 1 else f"{self.files[0].name} and {len(self.files) - 1} more"

    def labels(self) -> list[Any]:
        found: list[Any] = []
        for path in self.files:
            with reading(path) as file:
                found += file.read([self.columns.label]).column(0).to_pylist()
        return found

    def images(self) -> Iterator[list[bytes | None]]:
        for path in self.files:
            with reading(path) as file:
                for batch in file.iter_batches(BATCH, columns=[self.columns.image]):
                    yield encoded(batch.column(0), path.name)

    def where(self, row: int) -> str:
        for path in self.files:
            with reading(path) as file:
                if row < file.metadata.num_rows:
                    return f"{path.name}, row {row}"
                row -= file.metadata.num_rows
        return f"{self.name}, row {row}"


@dataclass(frozen=True)
class FolderRows:
    """Image files in folders that bear their classes' names."""

    root: Path
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        return str(self.root)

    def labels(self) -> list[Any]:
        return [path.parent.name for path in self.files]

    def images(self) -> Iterator[list[bytes | None]]:
        for start in range(0, len(self.files), BATCH):
            yield [_read(path) for path in self.files[start : start + BATCH]]

    def where(self, row: int) -> str:
        return str(self.files[row])


@dataclass(frozen=True)
class HubRows:
    """A split of a Hugging Face data set, its images left encoded."""

    name: str
    split: Any  # datasets.Dataset
    columns: Columns

    def labels(self) -> list[Any]:
        return list(self.split.with_format(None)[self.columns.label])

    def images(self) -> Iterator[list[bytes | None]]:
        for batch in self.split.with_format("arrow").select_columns([self.columns.image]).iter(BATCH):
            for chunk in batch.column(0).chunks:
                yield encoded(chunk)

    def where(self, row: int) -> str:
        return f"{self.name}, row {row}"


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """An open pyarrow.parquet.ParquetFile. What goes wrong with it becomes a DataError."""
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise DataError("path", f"{path} is gone", "put it back") from None
    except PermissionError as error:
        raise DataError("path", f"{path} cannot be read: {error.strerror}", "give a file that can be read") from None
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataError("path", f"{path} is no parquet file that can be read ({reason})", "fetch it again") from None


def encoded(column: Any, table: str = "") -> list[bytes | None]:
    """Bytes of a pyarrow array of bytes, or of {bytes, path}; where only a path is given, the file there.

    table: the file's name where that is refused, because its content would not tell that the images have changed.
    """
    import pyarrow

    if not pyarrow.types.is_struct(column.type):
        found: list[bytes | None] = column.to_pylist()
        return found
    held = column.field("bytes").to_pylist()
    if None not in held or column.type.get_field_index("path") < 0:
        return [None if missing else value for value, missing in zip(held, column.is_null().to_pylist(), strict=True)]
    paths = column.field("path").to_pylist()
    if table and any(value is None and path for value, path in zip(held, paths, strict=True)):
        problem = f"{table} holds the paths of images instead of the images"
        raise DataError("path", problem, "write their bytes into the table, or give a folder of images")
    return [_read(Path(path)) if value is None and path else value for value, path in zip(held, paths, strict=True)]


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError("path", f"{path} cannot be read: {error.strerror}", "give files that can be read") from None
