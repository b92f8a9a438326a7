"""The import arrows of the pipeline are proved by ruff: here, that ruff would see a wrong one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def banned(code: str, where: str) -> bool:
    said = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", str(ROOT / where), "-"],
        input=code,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert said.returncode in (0, 1), said.stderr
    return said.returncode == 1


@pytest.mark.parametrize(
    ("package", "home"),
    [
        ("ray", "hpsearch/execution/new.py"),
        ("optuna", "hpsearch/sampling/new.py"),
        ("plotly.graph_objects", "hpsearch/figures/new.py"),
        ("plotly.graph_objects", "hpsearch/reporting/new.py"),
        ("typer", "hpsearch/cli.py"),
        ("hpsearch.execution.run", "hpsearch/cli.py"),
    ],
)
def test_a_package_is_imported_in_its_home_only(package, home):
    code = f"import {package}\n"
    assert not banned(code, home)
    for where in ("training/new.py", "tasks/new.py", "optim/new.py", "analysis/new.py", "study.py", "results.py"):
        assert banned(code, f"hpsearch/{where}"), where
