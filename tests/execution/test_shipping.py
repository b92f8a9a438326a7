"""What is sent to a cluster's workers, and which cluster it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpsearch.check import check_study
from hpsearch.errors import InputError, RunError
from hpsearch.execution import shipping
from hpsearch.execution.cluster import find_address, refuse_lost_folder, refuse_nobody, why_not
from hpsearch.execution.shipping import shipment
from hpsearch.study import build_study
from hpsearch.yamlfile import parse_yaml

CLASS = """
from hpsearch.tasks.digits import Digits
from shipped_parts.shapes import width

class Mine(Digits):
    def __init__(self, files: list | None = None):
        super().__init__(model="mlp")
"""
STUDY = """
name: s
task: {name: "NAME", OPTIONS epochs: 1}
arms: {sam: {fixed: {rho: 0.1}}}
sampling: [{sampler: grid}]
seeds: 1
objectives: {val_accuracy: maximize}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory as users have them: a task, what it imports, data, results, and much else."""
    folder = tmp_path / "work"
    files = {
        "shipped_mine.py": CLASS,
        "shipped_later.py": "",
        "shipped_parts/shapes.py": "width = 3\n",
        "shipped_parts/unused.py": "",
        "shipped_parts/.gitignore": "*",
        "shipped_parts/.git/config": "",
        "elsewhere/other.py": "",
        "data/small/a.txt": "a",
        "data/b.txt": "b",
        "data/large.bin": "c" * 1000,
        "runs/s/trials.jsonl": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    yield folder
    for name in [name for name in sys.modules if name.startswith("shipped_")]:
        del sys.modules[name]


def checked(folder, name="shipped_mine:Mine", options=""):
    text = STUDY.replace("NAME", name).replace("OPTIONS", options)
    return check_study(*build_study(parse_yaml(text, "study"), (), [folder]), folder)


def shipped(folder, **what):
    with shipment(checked(folder, **what), folder) as made:
        return {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}


def test_the_task_what_it_imports_and_what_its_options_name_are_sent_and_nothing_else(here):
    found = shipped(here, options="files: [data/small, data/b.txt, data/none, sgd], ")
    assert {name for name in found if not name.startswith("hpsearch/")} == {
        "shipped_mine.py",
        "shipped_later.py",  # beside the task: it may be imported later
        "shipped_parts/shapes.py",
        "shipped_parts/unused.py",
        "data/small/a.txt",
        "data/b.txt",
    }
    assert "hpsearch/execution/worker.py" in found and not any("__pycache__" in name for name in found)


def test_a_task_of_this_package_takes_nothing_of_the_working_directory(here):
    found = shipped(here, name="digits")
    assert all(name.startswith("hpsearch/") for name in found)


def test_what_is_sent_is_a_whole_package_and_runs_where_nothing_else_is(here):
    with shipment(checked(here), here) as made:
        code = (
            "import hpsearch.execution.worker, shipped_mine, hpsearch; print(hpsearch.__file__, shipped_mine.__file__)"
        )
        environment = {**os.environ, "PYTHONPATH": str(made)}
        said = subprocess.run([sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True)
        assert said.stdout.split() == [f"{made}/hpsearch/__init__.py", f"{made}/shipped_mine.py"], said.stderr


def test_too_much_is_refused_and_says_what(here, monkeypatch):
    monkeypatch.setattr(shipping, "LIMIT", 500)
    monkeypatch.setattr(shipping, "MEBIBYTE", 1)
    with pytest.raises(InputError, match="1000 of them 'data/large.bin'; allowed: 500 MiB.* absolute path"):
        shipped(here, options="files: [data/large.bin], ")


def test_a_path_out_of_the_working_directory_is_refused(here):
    (here.parent / "beside.txt").write_text("")
    with pytest.raises(InputError, match="task.files: '../beside.txt' lies outside of the working directory"):
        shipped(here, options="files: [../beside.txt], ")
    shipped(here, options=f"files: [{here.parent}/beside.txt], ")  # an absolute one is the user's care


ADDRESSES = [
    ("10.0.0.1:6379", None, "10.0.0.1:6379"),
    (None, None, None),
    (None, "10.0.0.1:6379", "10.0.0.1:6379"),
    (None, "http://127.0.0.1:8265", None),  # for `ray job submit`
    ("local", "10.0.0.1:6379", None),
    ("auto", None, "auto"),
    ("head-0.svc:6379", "10.0.0.1:6379", "head-0.svc:6379"),
]


@pytest.mark.parametrize(("asked", "variable", "found"), ADDRESSES)
def test_the_cluster_is_the_one_asked_for_else_rays_variable_says(monkeypatch, asked, variable, found):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert find_address(asked) == found


WRONG = [
    ("http://127.0.0.1:8265", "--address: 'http://127.0.0.1:8265' is the address of a dashboard: `ray job submit"),
    ("ray://10.0.0.1:10001", "Ray Client"),
    ("10.0.0.1", "allowed: host:port, auto, or local for Ray on this machine alone; did you mean '10.0.0.1:6379'"),
    ("", "got ''; allowed"),
    ("my host:1", "got 'my host:1'; allowed"),
]


@pytest.mark.parametrize(("address", "message"), WRONG)
def test_what_is_no_address_is_refused(address, message):
    with pytest.raises(InputError) as told:
        find_address(address)
    assert message in str(told.value)


def test_a_wrong_variable_is_told_by_its_name(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://10.0.0.1:10001")
    with pytest.raises(InputError, match="^RAY_ADDRESS: "):
        find_address(None)


def test_a_submitted_job_needs_a_run_folder_that_stays(monkeypatch):
    refuse_lost_folder(Path("runs/s"))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    refuse_lost_folder(Path("/runs/s"))
    with pytest.raises(InputError, match="absolute path"):
        refuse_lost_folder(Path("runs/s"))


def test_where_nothing_answers_it_is_said_at_once():
    with pytest.raises(RunError, match="no Ray cluster at 127.0.0.1:1: Connection refused; `ray start --head`"):
        refuse_nobody("127.0.0.1:1")


def test_why_a_cluster_was_not_joined_comes_from_the_cause():
    def raised(cause):
        try:
            raise ConnectionError("Failed to connect") from cause
        except ConnectionError as error:
            return why_not(error)

    assert "RAY_AUTH_MODE=token" in raised(RuntimeError("RPC error: InvalidAuthToken: ..."))
    assert "none of its nodes" in raised(RuntimeError("No node info found matching attributes: ''"))
    assert raised(RuntimeError("Version\n mismatch")) == "Failed to connect: Version mismatch"


def test_files_that_a_functions_fixed_values_name_are_sent(here):
    (here / "shipped_function.py").write_text("def train(params, seed, report):\n    report(val_accuracy=0.5)\n")
    text = STUDY.replace('"NAME", OPTIONS epochs: 1', '"shipped_function:train"')
    text = text.replace("rho: 0.1", "file: data/b.txt")
    study = check_study(*build_study(parse_yaml(text, "study"), (), [here]), here)
    with shipment(study, here) as made:
        assert (made / "data" / "b.txt").read_text() == "b" and (made / "shipped_function.py").is_file()
