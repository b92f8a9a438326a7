"""Runs of the command, each in its own process and folder, on studies small enough to end in seconds."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from hpsearch.training import checkpoint

WIDTH = "160"  # columns of a line
HANG = 1800.0  # seconds after which something hangs; on a busy machine a run takes ten times as long as usual

FUNCTION = """
import os, time

def train(params, seed, report):
    for epoch in range(1, 4):
        report(val_accuracy=1 - (params["x"] - 0.3) ** 2 + 0.01 * seed * epoch, loss=1 / epoch)

def slow(params, seed, report):
    time.sleep(0.2)
    report(val_accuracy=params["x"])

def bad(params, seed, report):
    if params["kind"] == "raises":
        raise RuntimeError("no such luck")
    if params["kind"] == "dies":
        os._exit(9)
    if params["kind"] == "diverges":
        report(val_accuracy=float("nan"))
        return
    report(val_accuracy=0.5 + 0.1 * seed)
"""


UNSURE = ["cost.seconds", "cost.peak_memory_bytes", "started", "seconds_waiting", "concurrent", "attempt"]


def have_same_trials(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal but for times and memory; bit for bit in everything that was trained."""
    one, other = (t.drop(columns=UNSURE).sort_values("trial_id", ignore_index=True) for t in (one, other))
    pd.testing.assert_frame_equal(one, other[one.columns], check_exact=True)


def descendants(pid: int) -> dict[int, str]:
    """Process id -> name, of all that a process has started and that those have; from /proc."""
    children: dict[int, dict[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                state, parent = rest.split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), {})[int(entry.name)] = name
    found, left = {}, [pid]
    while left:
        below = children.get(left.pop(), {})
        found.update(below)
        left += below
    return found


def wait_until_gone(pids: Iterable[int], timeout: float = HANG) -> None:
    until = time.monotonic() + timeout
    while left := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < until, [Path(f"/proc/{pid}/cmdline").read_text() for pid in left]
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Warm:
    """A command forked by warm.py; the part of Popen that these tests use."""

    def __init__(self, server: subprocess.Popen[str], arguments: tuple[str, ...], folder: Path) -> None:
        self._out = Path(tempfile.mkdtemp()) / "command"
        assert server.stdin is not None and server.stdout is not None
        print(json.dumps({"arguments": arguments, "folder": str(folder), "out": str(self._out)}), file=server.stdin)
        server.stdin.flush()
        self.args, self.pid = arguments, int(server.stdout.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        code = self._out.with_suffix(".code")
        if self.returncode is None and code.exists():
            self.returncode = int(code.read_text())
        return self.returncode

    def communicate(self, timeout: float = HANG) -> tuple[str, str]:
        """Standard output and error, when it has ended."""
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.02)
        return self._out.with_suffix(".stdout").read_text(), self._out.with_suffix(".stderr").read_text()

    def started(self) -> dict[int, str]:
        """Ray's processes, and all others below it: process id -> name."""
        return descendants(self.pid)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Command = Warm | subprocess.Popen[str]


@dataclass(frozen=True)
class Place:
    """A working directory with a module `mine` of training functions."""

    folder: Path
    server: subprocess.Popen[str]

    def study(self, text: str, name: str = "study.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def start(self, *arguments: str) -> Warm:
        return Warm(self.server, arguments, self.folder)

    def start_cold(self, *arguments: str) -> subprocess.Popen[str]:
        """As a user starts it: a fresh interpreter, which imports all that it needs when it needs it."""
        return subprocess.Popen(
            [sys.executable, "-m", "hpsearch.cli", *arguments],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": WIDTH},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def below(self, pid: int) -> dict[int, str]:
        """The processes that one has started, and those that they have: process id -> name."""
        return descendants(pid)

    def run(self, *arguments: str, code: int = 0, cold: bool = False) -> tuple[str, str]:
        """Standard output and error of a command that must end with this exit code."""
        process: Command = self.start_cold(*arguments) if cold else self.start(*arguments)
        out, error = process.communicate(timeout=HANG)
        assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{error}"
        assert "Traceback" not in error
        return out, error

    def wait_for_results(self, lines: Path, process: Command, count: int) -> None:
        """Until this many are in a run's trials.jsonl."""
        until = time.monotonic() + HANG
        while not (lines.exists() and lines.read_bytes().count(b"\n") >= count):
            assert process.poll() is None and time.monotonic() < until, process.communicate(timeout=10)
            time.sleep(0.05)


@pytest.fixture(autouse=True)
def users_modules_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that imports a user's module in this process leaves none of it to the tests that follow."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    kept = {name: getattr(checkpoint, name) for name in ("FIRST", "SHARE")}
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(tempfile.gettempdir()) and "/pytest-" in file:  # a test's own folder
            del sys.modules[name]
    for name, value in kept.items():
        setattr(checkpoint, name, value)


@pytest.fixture(scope="session")
def same_table() -> Callable[[pd.DataFrame, pd.DataFrame], None]:
    """Fails where two tables differ in anything that was trained."""
    return have_same_trials


@pytest.fixture(scope="session")
def gone() -> Callable[[Iterable[int]], None]:
    """Waits until none of these processes is there any more, and fails when one stays."""
    return wait_until_gone


@pytest.fixture(scope="session")
def warm() -> Iterator[subprocess.Popen[str]]:
    command, pipe = [sys.executable, str(Path(__file__).parent / "warm.py")], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, "COLUMNS": WIDTH}) as server:
        yield server


def make_place(folder: Path, server: subprocess.Popen[str]) -> Place:
    (folder / "mine.py").write_text(FUNCTION)
    return Place(folder, server)


@pytest.fixture
def place(tmp_path: Path, warm: subprocess.Popen[str]) -> Place:
    return make_place(tmp_path, warm)


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory, warm: subprocess.Popen[str]) -> Place:
    """Of a module's tests together."""
    return make_place(tmp_path_factory.mktemp("shared"), warm)
