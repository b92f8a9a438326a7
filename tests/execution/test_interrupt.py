"""Ctrl-C, SIGTERM, a second driver."""

import os
import signal
import time
from contextlib import suppress

import pytest

SLOW = """
name: slow
task: {name: "mine:slow"}
arms: {a: {parameters: {x: {low: 0, high: 1}}}}
sampling: [{sampler: random, configurations: 500}]
seeds: 2
objectives: {val_accuracy: maximize}
"""
SLOW_ALONE = SLOW + "resources: {concurrent: 1}\n"  # one worker, which starts in less time


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_run_keeps_what_ended_and_says_how_to_go_on(place, gone, number):
    place.study(SLOW if number == signal.SIGINT else SLOW_ALONE)
    begun = time.monotonic()
    process = place.start("run", "study.yaml", "--no-dashboard")
    lines = place.folder / "runs" / "slow" / "trials.jsonl"
    place.wait_for_results(lines, process, 4)
    start = time.monotonic() - begun

    if number == signal.SIGINT:  # while it runs: a second driver is refused, status answers
        _, error = place.run("run", "study.yaml", code=2)
        assert f"process {process.pid}" in error and "--out" in error
        out, _ = place.run("status", "runs/slow")
        assert "a driver is running" in out

    started_here = process.started()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal's Ctrl-C goes to the whole group, Ray's processes among them
    else:
        for pid in (*started_here, process.pid):  # as SLURM sends it: to every process of the job
            with suppress(ProcessLookupError):
                os.kill(pid, number)
    signalled = time.monotonic()
    _, error = process.communicate()
    assert process.returncode == 130
    assert time.monotonic() - signalled < max(30, 2 * start)  # the latter on a machine that is slow now
    assert "are kept in runs/slow" in error and "goes on from there" in error
    assert "Traceback" not in error
    assert "aborted" not in error.lower() and "ray::" not in error
    assert lines.read_bytes().endswith(b"\n")
    assert {"raylet", "gcs_server"} <= set(started_here.values())
    gone(started_here)
    out, _ = place.run("status", "runs/slow")
    assert "no driver is running" in out


def test_a_budget_stops_starting_packs(place):
    place.study(SLOW_ALONE)
    for seconds in (12, 24, 48, 96, 192):  # on a busy machine Ray may take longer to start than the first
        out, _ = place.run("run", "study.yaml", "--no-dashboard", "--budget", f"{seconds}s")
        left = int(out.split(" failed, ")[1].split(" left")[0])
        if left < 1000:
            break
    assert 0 < left < 1000


def test_a_run_whose_raylet_dies_ends_with_a_message_and_goes_on_when_started_again(place, gone):
    """Ray would wait for ever."""
    place.study(SLOW_ALONE)
    process = place.start("run", "study.yaml", "--no-dashboard")
    place.wait_for_results(place.folder / "runs" / "slow" / "trials.jsonl", process, 4)
    started_here = process.started()
    os.kill(next(pid for pid, name in started_here.items() if name == "raylet"), signal.SIGKILL)
    _, error = process.communicate()
    assert process.returncode == 1
    assert "Ray's raylet died" in error and "goes on from there" in error
    gone(started_here)
