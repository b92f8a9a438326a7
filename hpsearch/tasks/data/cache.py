"""Decoded data on the disk: folders of memory-mapped arrays, written once and only ever seen whole."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from hpsearch.tasks.protocol import DataError

META = "meta.json"


@dataclass(frozen=True)
class Entry:
    """A complete folder of arrays. meta: what its builder returned."""

    folder: Path
    meta: Mapping[str, Any]

    def array(self, name: str) -> numpy.ndarray[Any, Any]:
        """Memory-mapped copy-on-write: processes share its pages, and torch.from_numpy finds it writable."""
        found: numpy.ndarray[Any, Any] = numpy.load(self.folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
        return found


@dataclass
class Writer:
    """What a builder writes its arrays with."""

    folder: Path
    arrays: list[numpy.memmap[Any, Any]] = field(default_factory=list)

    def array(self, name: str, shape: tuple[int, ...], dtype: str) -> numpy.memmap[Any, Any]:
        """A new array, filled with zeros, whose room on the disk is taken at once.

        A mapping over a file with holes would end the process (SIGBUS) when the disk is full; this raises OSError.
        """
        path = self.folder / f"{name}.npy"
        array = numpy.lib.format.open_memmap(path, mode="w+", dtype=numpy.dtype(dtype), shape=shape)
        _reserve(path, array.offset)
        self.arrays.append(array)
        return array


def cache_folder() -> Path:
    """HPSEARCH_CACHE, else hpsearch in XDG_CACHE_HOME, else ~/.cache/hpsearch."""
    own, shared = os.environ.get("HPSEARCH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser()
    return (Path(shared) if shared else Path.home() / ".cache") / "hpsearch"


def open_entry(kind: str, key: str, build: Callable[[Writer], dict[str, Any]], option: str) -> Entry:
    """The entry, built if it is not there or not whole. Of processes that ask at once, one builds and the rest wait.

    option: the task's option that a DataError names where the cache cannot be written.
    """
    folder = cache_folder() / kind / key
    entry = _read(folder)
    if entry is not None:
        return entry
    try:
        entry = _build(folder, build)
    except (OSError, NotImplementedError) as error:  # what reads the data raises DataError; this is the cache's own
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "free some room there, or set HPSEARCH_CACHE to a folder that can be written"
        raise DataError(option, f"the cache {cache_folder()} cannot be written: {reason}", remedy) from None
    return entry


def _read(folder: Path) -> Entry | None:
    """The entry if it is whole: every file is there with its size. Bytes are not read again: that would take longer."""
    try:
        meta = json.loads((folder / META).read_text())
        whole = all((folder / name).stat().st_size == size for name, size in meta["sizes"].items())
        return Entry(folder, meta["meta"]) if whole and meta["sizes"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _build(folder: Path, build: Callable[[Writer], dict[str, Any]]) -> Entry:
    from filelock import FileLock  # torch depends on it

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # the system frees it when its holder dies
        entry = _read(folder)  # somebody else's, while this process waited
        if entry is not None:
            return entry
        for stale in folder.parent.glob(f"{folder.name}.*.tmp"):  # of a builder that was killed
            shutil.rmtree(stale, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".tmp", dir=folder.parent))
        try:
            writer = Writer(temporary)
            meta = build(writer)
            for array in writer.arrays:
                array.flush()
            writer.arrays.clear()
            sizes = {path.name: path.stat().st_size for path in sorted(temporary.iterdir())}
            (temporary / META).write_text(json.dumps({"sizes": sizes, "meta": meta}))
            _sync(temporary)
            if folder.exists():  # not whole, or it would have been read
                shutil.rmtree(folder)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return Entry(folder, meta)


def _reserve(path: Path, header: int) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
        file.seek(header)  # macOS has no such call: zeros are written
        for at in range(header, size, 2**20):
            file.write(bytes(min(2**20, size - at)))


def _sync(folder: Path) -> None:
    """To the disk before the rename: after a power cut the entry must not be there without its bytes."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
