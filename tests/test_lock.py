"""One driver a folder, by whatever path, on whatever file system, whoever died."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from hpsearch import lock
from hpsearch.errors import InputError, RunError
from hpsearch.lock import FolderLock, is_held

HOLD = """
import sys
from pathlib import Path
from hpsearch.lock import FolderLock
held = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_the_second_driver_is_refused_by_every_path_to_the_folder(tmp_path, holder, monkeypatch):
    link = tmp_path.with_name("link")
    link.symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, link, link / ".." / tmp_path.name, type(tmp_path)(), type(tmp_path)("..") / tmp_path.name):
        assert is_held(path)
        with pytest.raises(InputError, match=f"process {holder.pid} on .* is running in this folder.*--out"):
            FolderLock(path)
    link.unlink()


def test_the_lock_of_a_dead_process_is_none(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert not is_held(tmp_path)
    assert f"process {holder.pid} " in (tmp_path / "lock").read_text()  # its file is still there
    FolderLock(tmp_path).close()


def test_children_of_the_driver_do_not_hold_it_for_longer(tmp_path):
    held = FolderLock(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as child:
        held.close()
        assert not is_held(tmp_path)
        child.communicate(b"\n")


def test_those_who_only_look_never_keep_a_driver_out(tmp_path):
    (tmp_path / "lock").touch()
    look = "from hpsearch.lock import is_held\nprint()\nwhile True: is_held(pathlib.Path(sys.argv[1]))"
    # Processes, as in use: a thread would hold the lock for as long as it waits for the interpreter.
    command = [sys.executable, "-u", "-c", "import pathlib, sys\n" + look, str(tmp_path)]
    lookers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for looker in lookers:
            looker.stdout.readline()  # it looks
        for _ in range(50):
            FolderLock(tmp_path).close()
    finally:
        for looker in lookers:
            looker.kill()
            looker.communicate()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, number):
    def none(file, kind):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(InputError, match="has no locks .*--out"):
        FolderLock(tmp_path)
    assert not is_held(tmp_path)


def test_a_disk_that_takes_nothing_is_said(tmp_path, monkeypatch):
    full = tmp_path / "lock"
    full.symlink_to("/dev/full")
    monkeypatch.setattr(lock.FolderLock, "_take", lambda self, folder: None)
    with pytest.raises(RunError, match="lock: cannot write"):
        FolderLock(tmp_path)


def test_a_folder_that_cannot_be_looked_at_is_not_held(tmp_path):
    assert not is_held(tmp_path / "none")
    (tmp_path / "lock").mkdir()
    assert not is_held(tmp_path)
    with pytest.raises(InputError, match="lock: Is a directory"):
        FolderLock(tmp_path)
