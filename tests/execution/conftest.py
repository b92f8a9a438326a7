"""Runs of the real command, each in its own process and folder, on studies small enough to end in seconds."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

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


@dataclass(frozen=True)
class Place:
    """A working directory with a module `mine` of training functions."""

    folder: Path

    def study(self, text: str, name: str = "study.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "COLUMNS": "160"}
        return subprocess.Popen(
            [sys.executable, "-m", "hpsearch.cli", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # its own group, so that a test's Ctrl-C reaches it as a terminal's would
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Standard output and error of a command that must end with this exit code."""
        process = self.start(*arguments)
        out, error = process.communicate(timeout=300)
        assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{error}"
        assert "Traceback" not in error
        return out, error


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "mine.py").write_text(FUNCTION)
    return Place(tmp_path)
