"""The commands as a user types them: exit codes, where text goes, help that matches the README."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpsearch.cli import app

ROOT = Path(__file__).parent.parent
COMMANDS = (
    "run",
    "plan",
    "status",
    "dashboard",
    "analyze",
    "report",
    "export",
    "import",
    "list",
    "show",
    "new",
    "doctor",
)


def call(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_stands_in_the_readme(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"hpsearch {command}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("kind", ["studies", "spaces", "tasks", "samplers"])
def test_what_is_listed_can_be_shown(kind):
    listed = call("list", kind)
    assert listed.exit_code == 0
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert names
    for name in names:
        shown = call("show", name)
        assert shown.exit_code == 0 and name in shown.stdout


def test_the_shipped_spaces_are_the_promised_ones():
    names = {line.split()[0] for line in call("list", "spaces").stdout.splitlines()}
    assert {"sgd", "sam", "asam", "msam", "fsam", "fmsam"} <= names


def test_plan_of_the_quickstart_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpsearch.probing.SECONDS", 0.1)  # how exact its times are is tested elsewhere
    result = call("plan", "quickstart", "--configurations", "2", "--seeds", "1")
    assert result.exit_code == 0, result.output
    # Six arms with two configurations of one seed, and eight confirmation runs each.
    assert re.search(r"total\s+12\s+60\s+0\s+60", result.stdout), result.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quikstart"], "did you mean 'quickstart'?"),
        (["plan", "quickstart", "--set", "seeds"], "--set seeds: must look like a.b.0.c=VALUE"),
        (["run", "quickstart", "--budget", "soon"], "--budget: got 'soon'; allowed: a number > 0 with s, m, h or d"),
        (["status", "nowhere"], "nowhere: no such run folder"),
        (["report", "nowhere"], "nowhere: no such run folder"),
        (["show", "samm"], "did you mean 'sam'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_message_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["run"], ["runn"], ["list", "things"], ["plan", "quickstart", "--seeds", "0"]])
def test_wrong_usage_is_exit_code_2(arguments):
    assert call(*arguments).exit_code == 2


def test_importing_hpsearch_is_light():
    code = (
        "import sys, hpsearch; print([m for m in ('torch', 'ray', 'optuna', 'pandas', 'plotly') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_training_needs_torch_alone():
    """A machine with a GPU may have torch and nothing else of ours."""
    code = """
import sys
for name in ("ray", "optuna", "plotly", "typer", "pandas", "pydantic", "yaml", "rich"):
    sys.modules[name] = None  # importing it now raises
from hpsearch.hyperparameters import Settings
from hpsearch.tasks.digits import Digits
from hpsearch.training.loop import train
print(train(Digits(), Settings.merge({"epochs": 1, "rho": 0.1, "lr": 0.1}), 0).status)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.stdout.strip() in ("complete", "collapsed"), said.stderr


def test_the_public_names():
    import hpsearch
    import hpsearch.reporting.build  # a submodule named like a function would hide it

    assert all(callable(getattr(hpsearch, name)) for name in ("run", "load", "analyze", "report"))
    with pytest.raises(AttributeError, match="nothing"):
        _ = hpsearch.nothing
