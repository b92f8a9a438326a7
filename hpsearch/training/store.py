"""Where a checkpoint is kept: a file, or whatever reads and writes like it. Needs no torch."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol


class Store(Protocol):
    """Where the newest state of one trial is kept. It is the old one or the new one, whatever happens between."""

    def read(self) -> BinaryIO | None:
        """What was written last, to be closed by the caller; None where there is nothing."""
        ...

    def write(self, dump: Callable[[BinaryIO], object]) -> None:
        """Keeps what dump() writes into the file that it is given. Raises OSError where it cannot."""
        ...


class File:
    """A store on a disk that this process can write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> BinaryIO | None:
        try:
            return self.path.open("rb")
        except OSError:
            return None

    def write(self, dump: Callable[[BinaryIO], object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}-{threading.get_native_id()}")
        try:
            with beside.open("wb") as file:
                dump(file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        finally:
            beside.unlink(missing_ok=True)
