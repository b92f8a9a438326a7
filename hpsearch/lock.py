"""One driver a folder: the operating system's lock on a file in it, which is gone with the process that holds it."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from hpsearch.errors import InputError, RunError

WAIT = 0.5  # seconds for which a lock may be looked at by others, who hold it for an instant
PAUSE = 0.002  # seconds from one try to the next: many tries, since several may be looking all the time


class FolderLock:
    """Held from its making until close(), or the end of the process, however that comes.

    Raises InputError where another process holds it, and on a file system that has no locks; RunError where the disk
    refuses to be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        try:
            self._file = path.open("a+")
        except OSError as error:
            raise InputError(f"{folder}: cannot be used as a run folder: lock: {error.strerror}") from None
        try:
            self._take(folder)
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {os.uname().nodename}")
            self._file.flush()
        except OSError as error:
            self.close()
            raise RunError(f"{path}: cannot write: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        try:
            self._file.close()
        except OSError:
            os.close(self._file.fileno())  # a full disk did not take who holds it

    def _take(self, folder: Path) -> None:
        until = time.monotonic() + WAIT
        while not _flock(self._file.fileno(), fcntl.LOCK_EX, folder):
            if time.monotonic() > until:
                self._file.seek(0)
                holder = self._file.read().strip() or "another process"
                raise InputError(f"{folder}: {holder} is running in this folder; wait for it, or give another --out")
            time.sleep(PAUSE)


def is_held(folder: Path) -> bool:
    """Whether a driver holds the folder now; False too where that cannot be seen, as no driver could hold it there."""
    try:
        file = os.open(folder / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _flock(file, fcntl.LOCK_SH, folder)
    except InputError:
        return False
    finally:
        os.close(file)


def _flock(file: int, kind: int, folder: Path) -> bool:
    """Whether the lock was free. Raises InputError where there are no locks."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise InputError(
            f"{folder}: this file system has no locks ({error.strerror}), so nothing would keep two drivers apart; "
            "give an --out on another one (a local disk will do: results come back to the driver), or mount it with "
            "locks"
        ) from None
    return True
