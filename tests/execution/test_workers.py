"""How many workers a run has."""

import os
import signal
import time

import pytest

SHORT = """
import os, time
from pathlib import Path

def short(params, seed, report):
    here = Path("workers")
    here.mkdir(exist_ok=True)
    (here / str(os.getpid())).touch()
    if len(list(here.iterdir())) < 2:
        time.sleep(0.2)
    report(val_accuracy=params["x"])
"""
STUDY = """
name: short
task: {name: "brief:short"}
arms: {a: {parameters: {x: {low: 0, high: 1}}}}
sampling: [{sampler: random, configurations: 1500}]
seeds: 1
objectives: {val_accuracy: maximize}
resources: {concurrent: 2}
"""


@pytest.mark.skipif(os.cpu_count() == 1, reason="one CPU has one worker")
def test_packs_that_are_shorter_than_a_workers_start_have_all_workers(place):
    """The first worker is not given every pack while the second one starts: that would stop it, again and again."""
    (place.folder / "brief.py").write_text(SHORT)
    place.study(STUDY)
    process, workers = place.start("run", "study.yaml", "--no-dashboard", "--quiet"), place.folder / "workers"
    lines = place.folder / "runs" / "short" / "trials.jsonl"
    while process.poll() is None and not (workers.exists() and len(list(workers.iterdir())) == 2):
        time.sleep(0.05)
    place.wait_for_results(lines, process, lines.read_bytes().count(b"\n") + 50)  # and it stays at two
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert len(list(workers.iterdir())) == 2, error
