"""Disks that are full, or that may not be written: what is there is kept, the message names the file, and with space
again the same command ends what it began.
"""

import json
import os
import resource
import subprocess
from pathlib import Path

import pytest

from hpsearch.errors import InputError, RunError
from hpsearch.results import RunFolder, read_results
from hpsearch.study import parse_study

STUDY = """
name: full
task: {name: "gated:train"}
arms: {a: {parameters: {x: {low: 0, high: 1}}}}
sampling: [{sampler: random, configurations: 10}]
seeds: 2
objectives: {val_accuracy: maximize}
resources: {concurrent: 1}
"""
TRIALS, FREE = 20, 4  # more than fit into the last page of a file
TASK = """
import time
from pathlib import Path

def train(params, seed, report):
    with open("begun", "a") as file:
        file.write("x")
        begun = file.tell()
    while begun > FREE and not Path("go").exists():
        time.sleep(0.02)
    report(val_accuracy=params["x"])
"""
ROOM = 2_000_000  # bytes of the small disk


@pytest.fixture
def gated(place):
    """A place where the first FREE trials end, whole packs, and the others when there is a file `go`."""
    (place.folder / "gated.py").write_text(TASK.replace("FREE", str(FREE)))
    place.study(STUDY)
    return place


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, small enough to be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = mount(folder, f"size={ROOM}")
    if not mounted:
        pytest.skip("only root may mount a small disk; test_a_write_that_is_refused_… needs no right")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def mount(folder, options):
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def fill(folder):
    """Writes a file until there is no space left, to the last byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return folder / "filler"


def each_once(lines, trials):
    whole = []
    for line in lines.read_bytes().splitlines():
        try:
            whole.append(json.loads(line)["trial_id"])
        except ValueError:  # the write that was cut off
            continue
    return len(whole) == len(set(whole)) == trials


def test_a_disk_that_fills_up_ends_the_run_and_one_with_space_again_completes_it(gated, disk, gone):
    place = gated
    lines = disk / "run" / "trials.jsonl"
    options = ("run", "study.yaml", "--out", str(disk / "run"), "--no-dashboard")
    process = place.start(*options)
    place.wait_for_results(lines, process, FREE)
    filler, ours = fill(disk), process.started()
    (place.folder / "go").touch()
    out, error = process.communicate()
    assert process.returncode == 1, (out, error)
    assert f"{lines}: cannot write: No space left on device" in error and "is kept" in error
    assert "Traceback" not in error
    gone(ours)
    kept = {result.trial_id for result in read_results(disk / "run")[0]}
    assert FREE <= len(kept) < TRIALS

    _, error = place.run(*options, code=1)  # still full
    assert "cannot write: No space left on device" in error and str(disk) in error
    assert kept == {result.trial_id for result in read_results(disk / "run")[0]}

    filler.unlink()
    out, _ = place.run(*options)
    assert f"{TRIALS - len(kept)} trials trained" in out
    assert each_once(lines, TRIALS)


def test_a_write_that_is_refused_ends_the_run_at_once_and_the_next_one_completes_it(gated):
    """As above with a limit on the driver's files, which needs no right."""
    place = gated
    lines = place.folder / "runs" / "full" / "trials.jsonl"
    process = place.start("run", "study.yaml", "--no-dashboard")
    place.wait_for_results(lines, process, FREE)
    limit = lines.stat().st_size + 100
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    (place.folder / "go").touch()
    out, error = process.communicate()
    assert process.returncode == 1, (out, error)
    assert "trials.jsonl: cannot write: File too large; what is there is kept" in error and "Traceback" not in error
    kept, _ = read_results(place.folder / "runs" / "full")
    out, error = place.run("run", "study.yaml", "--no-dashboard")
    assert f"{TRIALS - len(kept)} trials trained" in out and "a write was cut off here" in error
    assert each_once(lines, TRIALS)


@pytest.mark.parametrize("what", ["disk", "folder", "trials.jsonl", "lock"])
def test_what_may_not_be_written_is_refused_before_anything_runs(gated, tmp_path_factory, what):
    folder = tmp_path_factory.mktemp("refused") / "run"
    folder.mkdir()
    target = folder if what in ("disk", "folder") else folder / what
    if target != folder:
        target.touch()
    with read_only(target, whole=what == "disk"):
        _, error = gated.run("run", "study.yaml", "--out", str(folder), code=2)
    assert f"{folder}: cannot be used as a run folder" in error
    assert target == folder or what in error


class read_only:
    """A path that this process may not write: by its mode, or for root by a mount of itself."""

    def __init__(self, path: Path, whole: bool) -> None:
        self.path, self.mounted = path, False
        if os.getuid() == 0:
            bind = ["mount", "--bind", str(path), str(path)]
            again = ["mount", "-o", "remount,ro,bind", str(path)]
            self.mounted = all(
                subprocess.run(command, capture_output=True).returncode == 0 for command in (bind, again)
            )
            if not self.mounted:
                pytest.skip("root that may not mount may write everything")
        elif whole:
            pytest.skip("only root may mount a disk that is read-only")

    def __enter__(self):
        self.mode = self.path.stat().st_mode
        if not self.mounted:
            self.path.chmod(self.mode & ~0o222)

    def __exit__(self, *error):
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.path)], check=True)
        else:
            self.path.chmod(self.mode)


def test_a_study_that_cannot_be_replaced_is_said(tmp_path):
    study = parse_study(STUDY)
    with RunFolder(tmp_path) as folder:
        folder.write_study(study)
        (tmp_path / "study.yaml").unlink()
        (tmp_path / "study.yaml").mkdir()
        (tmp_path / "study.yaml" / "x").touch()
        with pytest.raises(RunError, match="study.yaml: cannot write"):
            folder.write_study(study)
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("command", ["status", "analyze", "report", "export"])
def test_trials_that_cannot_be_read_are_one_message(place, command):
    folder = place.folder / "run"
    (folder / "trials.jsonl").mkdir(parents=True)
    recorded = "recorded: {versions: {}, task: {name: m, semantics: 1, options: {}, function: true}}\n"
    (folder / "study.yaml").write_text(STUDY + recorded)
    options = ("--format", "csv") if command == "export" else ()
    _, error = place.run(command, "run", *options, code=2)
    assert "trials.jsonl: cannot be read: Is a directory" in error
    with pytest.raises(InputError, match="cannot be used as a run folder: trials.jsonl: Is a directory"):
        RunFolder(folder)
