"""Trials in TensorBoard, MLflow and Weights & Biases: what a run leaves for them, and that it never depends on them."""

import json
import struct
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpsearch import trackers
from hpsearch.check import check_study
from hpsearch.errors import MistakesError
from hpsearch.execution import tracking
from hpsearch.execution.tracking import Tracking, points, track
from hpsearch.results import Result, read_results
from hpsearch.study import load_study
from hpsearch.trackers import TRACKERS

STUDY = """
name: tracked
task: {name: "mine:train"}
arms: {a: {parameters: {x: {low: 0, high: 1}}}}
sampling: [{sampler: qmc, configurations: 2}]
seeds: 1
objectives: {val_accuracy: maximize}
resources: {concurrent: 1}
"""
THERE = [name for name, (package, _) in TRACKERS.items() if find_spec(package) is not None]


@pytest.fixture(scope="module")
def tracked(shared_place):
    """A run with every tracker whose package is installed."""
    shared_place.study(STUDY + f"tracking: [{', '.join(THERE)}]\n")
    _, error = shared_place.run("run", "study.yaml", "--no-dashboard")
    assert "tracking" not in error
    folder = shared_place.folder / "runs" / "tracked"
    results, _ = read_results(folder)
    assert len(results) == 2
    return folder, results


def needs(name):
    package, install = TRACKERS[name]
    return pytest.mark.skipif(name not in THERE, reason=f"{package} is not installed: pip install '{install}'")


def events(file: Path):
    """The records of a TensorBoard file."""
    from tensorboardX.proto.event_pb2 import Event

    content, at = file.read_bytes(), 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        yield Event.FromString(content[at + 12 : at + 12 + length])
        at += 12 + length + 4


@needs("tensorboard")
def test_tensorboard_has_a_run_for_each_trial_with_curves_and_hyperparameters(tracked):
    folder, results = tracked
    for result in results:
        (file,) = (folder / "tracking" / "tensorboard" / "a" / result.trial_id).glob("events.out.tfevents.*")
        found, plugins = {}, []
        for event in events(file):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
                plugins.append(value.metadata.plugin_data.plugin_name)
        curve = found["ray/tune/loss"]
        assert [step for step, _ in curve] == result.curve["epoch"] == [1, 2, 3]
        assert [value for _, value in curve] == pytest.approx(result.curve["loss"])
        assert found["ray/tune/val_accuracy"][-1][1] == pytest.approx(result.metrics["val_accuracy"])
        assert "hparams" in plugins


@needs("mlflow")
def test_mlflow_has_a_run_for_each_trial_with_curves_and_hyperparameters(tracked):
    folder, results = tracked
    code = (
        "import json, sys, mlflow\n"
        "client = mlflow.MlflowClient(f'sqlite:///{sys.argv[1]}')\n"
        "experiment = client.get_experiment_by_name('tracked')\n"
        "runs = client.search_runs([experiment.experiment_id])\n"
        "curve = lambda run: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, 'loss')]\n"
        "print(json.dumps([[r.info.run_name, r.info.status, r.data.params, r.data.metrics, curve(r)] for r in runs]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(folder / "tracking" / "mlflow.db")], capture_output=True, text=True, check=True
    )
    runs = {name: rest for name, *rest in json.loads(said.stdout.splitlines()[-1])}
    assert set(runs) == {f"a-{result.trial_id}" for result in results}
    for result in results:
        status, params, metrics, curve = runs[f"a-{result.trial_id}"]
        assert status == "FINISHED" and float(params["x"]) == pytest.approx(result.params["x"])
        assert params["seed"] == str(result.seed) and params["arm"] == "a" and params["status"] == "complete"
        assert metrics["val_accuracy"] == pytest.approx(result.metrics["val_accuracy"])
        assert [value for _, value in sorted(curve)] == pytest.approx(result.curve["loss"])


@needs("wandb")
def test_weights_and_biases_has_a_run_for_each_trial_in_files_that_can_be_sent_later(tracked):
    folder, results = tracked
    found = {file.parent.name: file.read_bytes() for file in (folder / "tracking" / "wandb").rglob("*.wandb")}
    assert len(found) == len(results) and all(name.startswith("offline-run-") for name in found)
    for result in results:
        (content,) = (text for name, text in found.items() if name.endswith(result.trial_id))
        for word in ("val_accuracy", "loss", "tracked", result.trial_id):
            assert word.encode() in content


def result(**more):
    sampling = {"phase": 0, "index": 0, "sampler": "qmc", "generation": None, "confirm": False}
    given = dict(status="complete", metrics={"val_accuracy": 0.5, "test_accuracy": None}, cost={"seconds": 2.0})
    return Result("id", "c", "arm", {"rho": 0.1}, {"sigma": 1.0}, 3, sampling, **{**given, **more})


def test_what_is_logged_of_a_trial(tmp_path):
    curve = {"epoch": [1, 3], "val_accuracy": [0.4, None], "train_loss": [2.0, 1.0]}
    assert list(points(result(curve=curve, epochs=3))) == [
        (1, {"val_accuracy": 0.4, "train_loss": 2.0}),
        (3, {"train_loss": 1.0, "cost/seconds": 2.0, "val_accuracy": 0.5}),
    ]
    assert list(points(result(epochs=None, metrics={}, cost={}))) == [(1, {})]
    trial = track(result(), tmp_path)
    assert trial.config == {"arm": "arm", "seed": 3, "status": "complete", "sigma": 1.0, "rho": 0.1}
    assert str(trial) == "arm-id" and trial.local_path == str(tmp_path / "arm" / "id")


class Recorder:
    """As Ray's callbacks are called; `broken` raises at the second trial, `stuck` never comes back."""

    def __init__(self, calls, kind, stuck):
        self.calls, self.kind, self.stuck = calls, kind, stuck

    def setup(self):
        self.calls.append((self.kind, "setup"))

    def log_trial_start(self, trial):
        if self.kind == "stuck":
            self.stuck.wait()
        if self.kind == "broken" and any(call[:2] == ("broken", "end") for call in self.calls):
            raise ConnectionError("no answer")

    def log_trial_result(self, iteration, trial, result):
        assert result["training_iteration"] == iteration

    def log_trial_end(self, trial, failed):
        self.calls.append((self.kind, "end", failed))

    def on_experiment_end(self, trials):
        pass


def follow(tmp_path, monkeypatch, kinds, results):
    calls, told, stuck = [], [], threading.Event()
    monkeypatch.setattr(tracking, "MAKERS", {k: lambda folder, study, k=k: Recorder(calls, k, stuck) for k in kinds})
    with Tracking(tmp_path, SimpleNamespace(tracking=tuple(kinds)), told.append) as one:
        one.add(results)
    stuck.set()
    return calls, told


def test_a_tracker_that_fails_is_told_once_and_the_others_go_on(tmp_path, monkeypatch):
    calls, told = follow(tmp_path, monkeypatch, ["broken", "good"], [result(), result(status="failed"), result()])
    assert [call for call in calls if call[0] == "good"] == [
        ("good", "setup"),
        ("good", "end", False),
        ("good", "end", True),
        ("good", "end", False),
    ]
    assert told == ["tracking by broken ends here, the run goes on: ConnectionError: no answer"]


def test_a_tracker_that_hangs_does_not_hold_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "PATIENCE", 0.2)
    _, told = follow(tmp_path, monkeypatch, ["stuck"], [result(), result()])
    assert len(told) == 1 and "were not logged" in told[0]


def test_without_trackers_nothing_is_started(tmp_path):
    before = threading.enumerate()
    with Tracking(tmp_path, SimpleNamespace(tracking=()), print) as one:
        one.add([result()])
        assert set(threading.enumerate()) <= set(before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "tensorbord",
            "tracking: unknown tracker 'tensorbord'; allowed: tensorboard, mlflow, wandb; did you mean 'tensorboard'?",
        ),
        ("[mlflow, aim]", "tracking: unknown tracker 'aim'; allowed: tensorboard, mlflow, wandb"),
        ("7", "tracking: got 7; allowed: one or a list of tensorboard, mlflow, wandb"),
        ("[tensorboard, tensorboard]", "allowed: each tracker once"),
    ],
)
def test_a_wrong_tracker_is_told_with_its_line(tmp_path, line, told):
    (tmp_path / "study.yaml").write_text(STUDY + f"tracking: {line}\n")
    with pytest.raises(MistakesError) as caught:
        load_study(tmp_path / "study.yaml")
    assert told in str(caught.value) and "study.yaml:9: " in str(caught.value)


def test_a_package_that_is_missing_is_told_with_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "mlflow" else object())
    text = STUDY.replace('"mine:train"', "digits").replace("{x: {low: 0,", "{rho: {low: 0,")
    (tmp_path / "study.yaml").write_text(text + "tracking: [tensorboard, mlflow]\n")
    study, document = load_study(tmp_path / "study.yaml")
    with pytest.raises(MistakesError, match=r"pip install 'hpsearch\[mlflow\]'; allowed: tensorboard, wandb"):
        check_study(study, document, tmp_path)
