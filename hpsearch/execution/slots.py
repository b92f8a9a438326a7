"""A worker's slot on its node: the first that no living worker of the run holds."""

from __future__ import annotations

import fcntl
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Slot:
    """number: from 0. file: holds the lock, which is the operating system's: it is gone with the process."""

    number: int
    file: IO[str]


def take_slot(folder: Path, run: str) -> Slot:
    """folder: of this node and Ray's. run: what tells its workers from another run's in the same Ray."""
    for number in itertools.count():
        file = (folder / f"hpsearch-{run}-slot-{number}").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        return Slot(number, file)
    raise AssertionError  # count() has no end
