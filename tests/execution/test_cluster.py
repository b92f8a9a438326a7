"""A cluster of three nodes: separate Ray processes, whose workers see neither the package nor the working directory."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import hpsearch
from hpsearch.check import check_study
from hpsearch.results import load, read_results
from hpsearch.study import load_study
from hpsearch.training.loop import train
from tests.execution.nodes import ADDRESS, DASHBOARD, Room, possible

pytestmark = pytest.mark.skipif(not possible(), reason="this machine does not let us make namespaces (unshare)")

PASSES = 280  # over a batch, in a trial: 10 epochs, 14 batches, two gradients
LATE = 180  # of them
HANG = 1800  # seconds after which something hangs

# What mine.py imports lies beside it, what the study names lies below it; the log is on storage that all nodes share.
TASK = """
import os, time
from pathlib import Path

import hpsearch.training.checkpoint
from hpsearch.tasks.digits import Digits

from helpers.names import classes

hpsearch.training.checkpoint.FIRST = 0.5  # seconds
hpsearch.training.checkpoint.SHARE = 1.0

class Slow(Digits):
    def __init__(self, labels: str, log: str):
        super().__init__(model="mlp", label_noise=0.2)
        self.log = log
        assert classes(Path(labels).read_text()) == 10

    def data(self, seed):
        self.passes = 0  # of a trial, in this process
        return super().data(seed)

    def measure(self, model, *batch):
        if model.training and os.environ.get("SLOW", "1") == "1":
            self.passes += 1
            with open(f"{self.log}/{os.uname().nodename}", "a") as file:
                file.write(f"{self.passes}\\n")
            time.sleep(0.02)
            while os.path.exists(f"{self.log}/wait-{os.uname().nodename}"):
                time.sleep(0.05)
        return super().measure(model, *batch)
"""
STUDY = """
name: far
task: {name: "mine:Slow", labels: files/labels.txt, log: LOG, epochs: 10, batch_size: 64}
arms: {sam: {parameters: {rho: {low: 0.01, high: 0.1}}}}
sampling: [{sampler: qmc, configurations: 4}]
seeds: 1
objectives: {val_accuracy: maximize}
"""


def wait(happened, process):
    """Until it has, or the process has ended."""
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


class Cluster:
    """A room with the nodes `head`, which has no CPU, `one` and `two`, and a working directory."""

    def __init__(self, room: Room, folder: Path, shared: Path) -> None:
        self.room, self.folder, self.shared = room, folder, shared
        room.start("head", "--head", "--port=6379", "--num-cpus=0", "--include-dashboard=true")
        room.wait_for_head()
        for name in ("one", "two"):
            self.add(name)

    def add(self, name: str) -> None:
        hidden = (Path(hpsearch.__file__).parent, self.folder)
        self.room.start(name, f"--address={ADDRESS}", "--num-cpus=1", hidden=hidden)

    def command(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self.room.inside, sys.executable, *arguments],
            cwd=self.folder,
            env=self.room.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hpsearch(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        return self.command("-m", "hpsearch.cli", *arguments, **variables)

    def passes(self, *nodes: str) -> list[int]:
        """Each pass over a batch that was made there, counted within its trial and process."""
        files = [self.shared / node for node in nodes]
        return [int(line) for file in files if file.exists() for line in file.read_text().splitlines()]

    def actors(self) -> list[str]:
        """Classes of the actors that live on the cluster."""
        code = (
            f"import json, ray; ray.init('{ADDRESS}', logging_level='ERROR'); from ray._private.state import actors; "
            "print(json.dumps([a['ActorClassName'] for a in actors().values() if a['State'] != 'DEAD']))"
        )
        out, error = self.command("-c", code).communicate(timeout=HANG)
        return json.loads(out.splitlines()[-1]) if out else pytest.fail(error)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder, shared = tmp_path_factory.mktemp("place"), tmp_path_factory.mktemp("shared")
    (folder / "mine.py").write_text(TASK)
    (folder / "helpers").mkdir()
    (folder / "helpers" / "names.py").write_text("def classes(text):\n    return len(text.split())\n")
    (folder / "files").mkdir()
    (folder / "files" / "labels.txt").write_text("0 1 2 3 4 5 6 7 8 9")
    (folder / "study.yaml").write_text(STUDY.replace("LOG", str(shared)))
    with Room() as room:
        yield Cluster(room, folder, shared)


def test_a_study_survives_a_node_and_its_long_trials_go_on_elsewhere(cluster, monkeypatch):
    kept, busy = cluster.folder / "runs" / "far" / "checkpoints", cluster.shared / "wait-one"
    busy.touch()  # this node stays in its first trial
    process = cluster.hpsearch("run", "study.yaml", "--address", ADDRESS)
    wait(lambda: max(cluster.passes("two"), default=0) >= LATE, process)
    cluster.room.kill("two")  # late in a trial
    cluster.add("three")
    wait(lambda: cluster.passes("three"), process)
    busy.unlink()
    out, error = process.communicate(timeout=HANG)
    assert process.returncode == 0, error
    assert "4 trials trained" in out and "0 failed" in out

    results, warnings = read_results(cluster.folder / "runs" / "far")
    assert not warnings and len(results) == 4
    assert len((cluster.folder / "runs" / "far" / "trials.jsonl").read_text().splitlines()) == 4
    assert not list(kept.iterdir())
    assert not {"PackWorker", "Keeper"} & set(cluster.actors())
    assert "three" in {result.host for result in results} <= {"one", "two", "three"}
    # Nothing was begun anew: what was trained twice is what came after a checkpoint, and they are half a second apart.
    assert len(cluster.passes("one", "two", "three")) < 4 * PASSES + LATE
    # And they are the trials that never stopped.
    monkeypatch.setenv("SLOW", "0")
    monkeypatch.syspath_prepend(str(cluster.folder))
    monkeypatch.chdir(cluster.folder)
    checked = check_study(*load_study("study.yaml"), cluster.folder)
    settings = checked.study.settings("sam", results[0].params)
    torch.set_num_threads(1)
    here = train(checked.task(**checked.study.task.options), settings, 0)
    assert here.metrics == results[0].metrics


@pytest.mark.slow
def test_an_interrupted_run_leaves_the_cluster_clean_and_goes_on_from_its_checkpoints(cluster):
    run = ("run", "study.yaml", "--address", ADDRESS, "--out", "cut", "--configurations", "1")
    kept, before = cluster.folder / "cut" / "checkpoints", len(cluster.passes("one", "two", "three"))
    process = cluster.hpsearch(*run)
    wait(lambda: max(cluster.passes("one", "two", "three")[before:], default=0) >= LATE, process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=HANG)
    assert process.returncode == 130, error
    assert not {"PackWorker", "Keeper"} & set(cluster.actors())
    assert len(list(kept.glob("*.pt"))) == 1 and not (cluster.folder / "cut" / "trials.jsonl").read_text()
    process = cluster.hpsearch(*run)
    out, error = process.communicate(timeout=HANG)
    assert process.returncode == 0 and "1 trials trained" in out, error
    assert len(cluster.passes("one", "two", "three")) - before < PASSES + LATE


@pytest.mark.slow
def test_a_submitted_job_joins_its_cluster(cluster, tmp_path):
    run = f"{sys.executable} -m hpsearch.cli run study.yaml --configurations 1"
    submit = ("-m", "ray.scripts.scripts", "job", "submit", "--address", DASHBOARD, "--working-dir", ".", "--")
    # The first command is refused: what it would leave is not for keeps. The second one says what becomes of the job.
    process = cluster.command(*submit, "sh", "-c", f"{run}; echo exit code $?; {run} --out {tmp_path}/out", SLOW="0")
    out, error = process.communicate(timeout=HANG)
    assert process.returncode == 0, out + error
    assert "--out: the run folder 'runs/far'" in out and "give an absolute path" in out and "exit code 2" in out, out
    assert "1 trials trained" in out
    assert set(load(tmp_path / "out")["host"]) <= {"one", "two", "three"}


def test_a_cluster_lets_nobody_in_without_its_token(cluster):
    process = cluster.hpsearch("run", "study.yaml", "--out", "none", "--address", ADDRESS, RAY_AUTH_MODE="disabled")
    _, error = process.communicate(timeout=HANG)
    assert process.returncode == 1
    assert "error: no Ray cluster at 127.0.0.1:6379: it lets nobody in without its token" in error
    assert "RAY_AUTH_MODE=token" in error and "Traceback" not in error
