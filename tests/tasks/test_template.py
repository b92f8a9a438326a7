"""hpsearch new task: what it writes runs as it is; what it refuses, it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpsearch.check import check_study
from hpsearch.cli import app
from hpsearch.results import load
from hpsearch.study import load_study
from hpsearch.tasks.template import class_name
from hpsearch.tasks.trial_run import try_task
from hpsearch.training.pack import PackOrder, run_trial

ROOT = Path(__file__).parent.parent.parent


def new(*arguments):
    return CliRunner().invoke(app, ["new", "task", *map(str, arguments)])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def checked(name, folder):
    study, document = load_study(f"{name}.yaml", [], folder)
    return check_study(study, document, folder)


def test_the_class_and_its_study_run_from_an_empty_folder(here):
    said = new("template_spirals.py")
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines() == [
        "task: template_spirals.py",
        "study: template_spirals.yaml",
        "next:",
        "  hpsearch plan template_spirals.yaml",
        "  hpsearch run template_spirals.yaml",
        "  hpsearch report runs/template_spirals",
    ]
    assert sorted(path.name for path in here.iterdir()) == ["template_spirals.py", "template_spirals.yaml"]
    plan = CliRunner().invoke(app, ["plan", "template_spirals.yaml"])
    assert plan.exit_code == 0 and "total" in plan.stdout, plan.output
    small = ["--configurations", "1", "--seeds", "1", "--set", "task.epochs=20", "--set", "resources.concurrent=1"]
    command = [sys.executable, "-m", "hpsearch.cli", "run", "template_spirals.yaml", "--no-dashboard", *small]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # Ray's workers import this package too
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800, check=False)
    assert ran.returncode == 0, ran.stderr
    table = load(here / "runs" / "template_spirals")
    assert set(table["arm"]) == {"sgd", "sam"} and set(table["status"]) <= {"complete", "collapsed"}
    assert table["metrics.val_accuracy"].max() > 0.6


def test_the_class_as_written_learns(here):
    assert new("template_own.py").exit_code == 0
    found = checked("template_own", here)
    task = found.task(**found.study.task.options)
    try_task(task)
    options = dict(found.study.task.options)
    params = {"epochs": 60, "batch_size": 50, "lr": 0.2, "momentum": 0.9, "rho": 0.02}
    trial = PackOrder("template_own:TemplateOwnTask", options, str(here), params, (0,), ("val_accuracy",), 1, "cpu")
    outcome = run_trial(trial, 0).outcome
    assert outcome.status == "complete", outcome.error
    assert outcome.metrics["val_accuracy"] > 0.85


def test_the_function_and_its_study_run(here):
    assert new("template_function", "--function").exit_code == 0
    found = checked("template_function", here)
    arm = found.study.arms["sam"]
    params = {**arm.fixed, "lr": 0.2, "rho": 0.02, "epochs": 60}
    assert set(params) == {*arm.fixed, *arm.parameters}
    trial = PackOrder("template_function:train", {}, str(here), params, (0,), ("val_accuracy",), 1, "cpu")
    report = run_trial(trial, 0)
    assert report.outcome.status == "complete", report.outcome.error
    assert report.outcome.metrics["val_accuracy"] > 0.8 and len(report.outcome.curve["val_accuracy"]) == 60
    assert run_trial(trial, 0).outcome.metrics == report.outcome.metrics
    assert set(found.task.chance) == set(report.outcome.metrics)


def test_a_task_in_another_folder_is_entered_first(here):
    (here / "deeper").mkdir()
    said = new("deeper/template_there.py")
    assert "  cd deeper" in said.stdout.splitlines()
    assert (here / "deeper" / "template_there.yaml").is_file()


@pytest.mark.parametrize(
    ("module", "name"),
    [("rings", "RingsTask"), ("my_task", "MyTask"), ("task", "Task"), ("data", "DataTask"), ("a__b2", "AB2Task")],
)
def test_classes_are_named_by_their_module(module, name):
    assert class_name(module) == name


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("there.py", ["there.py: is there already; nothing was written"]),
        ("there", ["there.py: is there already"]),
        ("half.py", ["half.yaml: is there already; nothing was written"]),
        ("dangling.py", ["dangling.py: is there already"]),
        ("no/such/folder/x.py", ["no/such/folder: there is no such folder; make it"]),
        ("folder", ["folder: is a folder", "folder/my_task.py"]),
        (".", [".: is a folder"]),
        ("folder.py", ["there is another module named 'folder'"]),
        ("json.py", ["there is another module named 'json'"]),
        ("torch", ["there is another module named 'torch'"]),
        ("hpsearch.py", ["there is another module named 'hpsearch'"]),
        ("1x.py", ["'1x' cannot be a module's name", "beginning with a letter"]),
        ("my-task.py", ["'my-task' cannot be a module's name", "my_task.py"]),
        ("class.py", ["'class' cannot be a module's name"]),
        ("_x.py", ["'_x' cannot be a module's name"]),
        ("x" * 61 + ".py", ["cannot be a module's name", "at most 60"]),
        ("x.yaml", ["ends in '.yaml'", "x.py"]),
        ("a.b.py", ["'a.b' cannot be a module's name"]),
    ],
)
def test_wrong_paths_are_one_message_and_nothing_is_written(path, parts, here):
    (here / "there.py").write_text("mine")
    (here / "half.yaml").write_text("mine")
    (here / "folder").mkdir()
    os.symlink("nowhere", here / "dangling.py")
    before = sorted(here.rglob("*"))
    said = new(path)
    assert said.exit_code == 2 and said.stdout == ""
    for part in parts:
        assert part in said.stderr, said.stderr
    assert said.stderr.count("\n") == 1
    assert sorted(here.rglob("*")) == before and (here / "there.py").read_text() == "mine"


def test_a_folder_that_cannot_be_written_to_is_told_and_no_half_is_left(here, monkeypatch):
    opened = Path.open

    def refuse(self, mode="r", *arguments, **more):
        if self.suffix == ".yaml" and mode == "x":
            raise PermissionError(13, "Permission denied")
        return opened(self, mode, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    said = new("template_closed.py")
    assert said.exit_code == 2
    assert "template_closed.yaml: cannot be written: Permission denied" in said.stderr
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("arguments", [["new"], ["new", "task"], ["new", "study", "x.py"]])
def test_wrong_usage_is_exit_code_2(arguments):
    assert CliRunner().invoke(app, arguments).exit_code == 2
