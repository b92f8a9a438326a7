"""Where Ray keeps its sockets and logs."""

import os
import time
from types import SimpleNamespace

import pytest

from hpsearch.errors import RunError
from hpsearch.execution.temporary import NEEDED, SOCKET, STARTING, make_temp_dir, remove_sessions
from hpsearch.lock import FolderLock


@pytest.fixture
def root(tmp_path, monkeypatch):
    short = tmp_path / "t"
    short.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(short))
    monkeypatch.setattr("hpsearch.execution.temporary.SOCKET", 1000)  # pytest's folders are deep
    return short


def test_nobody_else_can_enter_it_whatever_ray_makes_of_its_own(root):
    folder = make_temp_dir()
    assert os.path.dirname(folder) == str(root / f"hpsearch-{os.getuid()}")
    assert os.stat(os.path.dirname(folder)).st_mode & 0o777 == 0o700
    os.makedirs(folder)
    os.chmod(folder, 0o777)  # as Ray does
    assert make_temp_dir() == folder


@pytest.mark.parametrize("what", ["open", "link", "file"])
def test_a_folder_that_is_not_ours_alone_is_refused(root, what):
    private = root / f"hpsearch-{os.getuid()}"
    if what == "open":
        private.mkdir()
        private.chmod(0o777)
    elif what == "link":
        (root / "elsewhere").mkdir(mode=0o700)
        private.symlink_to(root / "elsewhere")
    else:
        private.touch()
    with pytest.raises(RunError, match="TMPDIR"):
        make_temp_dir()


def test_a_full_disk_is_told_before_ray_waits_for_ever_on_it(root, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=NEEDED - 1))
    with pytest.raises(RunError, match="20.0 MB are free there.*TMPDIR"):
        make_temp_dir()


def test_a_long_temporary_folder_leaves_sockets_names_that_are_short_enough(root, monkeypatch):
    monkeypatch.setattr("hpsearch.execution.temporary.SOCKET", SOCKET)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/scratch/" + 60 * "x")
    assert make_temp_dir().startswith("/tmp/")


def test_sessions_of_dead_drivers_go_and_those_of_others_stay(tmp_path):
    names = [f"session_{name}_1_2" for name in ("held", "dead", "starting", "forgotten")]
    for name in names:
        (tmp_path / name / "logs").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "session_latest").symlink_to(tmp_path / names[0])
    held = FolderLock(tmp_path / names[0])
    FolderLock(tmp_path / names[1]).close()
    long_ago = time.time() - STARTING - 60
    os.utime(tmp_path / names[3], (long_ago, long_ago))
    remove_sessions(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", names[0], "session_latest", names[2]]
    held.close()
    remove_sessions(tmp_path)
    assert not (tmp_path / names[0]).exists()
