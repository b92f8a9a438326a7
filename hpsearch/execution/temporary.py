"""Where Ray keeps its sockets and logs: a folder that nobody else can enter, and that does not grow from run to run."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpsearch.errors import HpsearchError, RunError
from hpsearch.lock import FolderLock, is_held

SOCKET = 107  # bytes that a socket's path may have
SESSION = len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1")
NEEDED = 20_000_000  # bytes free, for sockets and logs: on a full disk Ray's start waits for ever
STARTING = 3600.0  # seconds after which a session that nobody holds was not about to be held


def make_temp_dir() -> str:
    """The folder for Ray's sessions, inside one that only this user can enter: Ray opens its own to everybody.

    Raises RunError where it cannot be made, is somebody else's, or has no space.
    """
    root = Path(tempfile.gettempdir())
    if len(os.fsencode(root)) + len(f"/hpsearch-{os.getuid()}") + SESSION > SOCKET:
        root = Path("/tmp")
    private = root / f"hpsearch-{os.getuid()}"
    try:
        private.mkdir(mode=0o700, exist_ok=True)
        found = private.lstat()
    except OSError as error:
        raise RunError(f"{private}: Ray's sessions cannot be kept there: {error.strerror}; set TMPDIR") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise RunError(
            f"{private}: is not a folder that is yours alone, so others could put sockets of theirs in the place of "
            "Ray's; remove it, or set TMPDIR"
        )
    free = shutil.disk_usage(private).free
    if free < NEEDED:
        raise RunError(
            f"{private}: {free / 1e6:.1f} MB are free there, and Ray's logs need {NEEDED / 1e6:.0f} MB to begin with; "
            "make space, or set TMPDIR"
        )
    return str(private / "ray")


@contextmanager
def held_session() -> Iterator[None]:
    """Marks the session that this process has started as in use; sessions whose drivers are gone are removed first.

    The logs of the last run stay until the next one. On a running cluster there is nothing to hold.
    """
    from ray._private.worker import global_worker

    node = global_worker.node
    if node is None or not node.is_head():
        yield
        return
    session = Path(node.get_session_dir_path())
    lock = FolderLock(session)
    try:
        remove_sessions(session.parent)
        yield
    finally:
        lock.close()


def remove_sessions(folder: Path) -> None:
    """Those that no driver holds."""
    for session in folder.glob("session_*_*"):
        if session.is_symlink():  # to the latest
            continue
        try:
            young = time.time() - session.stat().st_mtime < STARTING
            if is_held(session) or (young and not (session / "lock").exists()):  # the latter may be starting
                continue
            lock = FolderLock(session)
        except (HpsearchError, OSError):  # held meanwhile, or removed by another run
            continue
        shutil.rmtree(session, ignore_errors=True)
        lock.close()
