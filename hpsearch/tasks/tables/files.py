"""The files of a table: one, or a folder with one for each split; found, read as bytes, fingerprinted."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hpsearch.errors import nearest
from hpsearch.tasks.protocol import DataError, OptionError

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".pq")
PARTS = {"train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}


def table_files(path: str) -> dict[Path, int | None]:
    """The files that `path` means, each with the split it is: train 0, validation 1, test 2, None for all of them.

    Raises OptionError or DataError for a path that is missing or is no table, and a folder without train.csv.
    """
    given = Path(path).expanduser()
    try:
        if given.is_dir():
            return _in_folder(given)
        exists = given.is_file()
    except OSError as error:  # e.g. a folder on the way that may not be entered, or a name that is too long
        raise DataError("path", f"{path}: {error.strerror}", "give a table that this account can read") from None
    if not exists:
        siblings = [file.name for file in _listed(given.parent) if suffix(file)]
        near = nearest(given.name, siblings)
        hint = f"; did you mean {str(given.parent / near)!r}?" if near else ""
        raise OptionError("path", path, f"a file or folder that is there, from the working directory{hint}")
    if not suffix(given):
        raise OptionError("path", path, f"a table: {', '.join(SUFFIXES)} (save a spreadsheet as CSV)")
    return {given: None}


def stamp(path: str) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file does: (file, modification time in ns, bytes) of each."""
    return tuple((str(file), (found := file.stat()).st_mtime_ns, found.st_size) for file in table_files(path))


def fingerprint(path: str) -> str:
    """SHA-256 of the content, whatever the file's name and place."""
    digests = {part: hashlib.sha256(read_bytes(file)).hexdigest() for file, part in table_files(path).items()}
    if None in digests:
        return f"sha256:{digests[None]}"
    text = ",".join(f"{part}:{digest}" for part, digest in sorted(digests.items(), key=str))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        problem = f"{file}: cannot be read: {error.strerror}"
        raise DataError("path", problem, "give a table that this account can read") from None


def suffix(file: Path) -> str:
    """Of the file's name, as it is written: '.csv.gz'; empty where it is not a table's."""
    known = [suffix for suffix in SUFFIXES if file.name.lower().endswith(suffix)]
    return file.name[-max(map(len, known)) :] if known else ""


def _in_folder(folder: Path) -> dict[Path, int | None]:
    found: dict[int, Path] = {}
    for file in _listed(folder):
        part = PARTS.get(file.name.removesuffix(suffix(file)).lower()) if suffix(file) else None
        if part is not None and part in found:
            problem = f"{folder}: {found[part].name} and {file.name} are the same part"
            raise DataError("path", problem, "leave one of them there")
        if part is not None:
            found[part] = file
    if 0 not in found:
        problem = f"{folder}: no file of the training rows in this folder"
        raise DataError("path", problem, "give a table, or a folder with train.csv, validation.csv and test.csv")
    return {found[part]: part for part in sorted(found)}


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
