"""Ctrl-C, SIGTERM, a second driver."""

import os
import signal
import time

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


def wait_for_results(lines, process, count):
    while not (lines.exists() and lines.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_run_keeps_what_ended_and_says_how_to_go_on(place, number):
    place.study(SLOW if number == signal.SIGINT else SLOW_ALONE)
    process = place.start("run", "study.yaml", "--no-dashboard")
    lines = place.folder / "runs" / "slow" / "trials.jsonl"
    wait_for_results(lines, process, 4)

    if number == signal.SIGINT:  # while it runs: a second driver is refused, status answers
        _, error = place.run("run", "study.yaml", code=2)
        assert f"process {process.pid}" in error and "--out" in error
        out, _ = place.run("status", "runs/slow")
        assert "a driver is running" in out

    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal's Ctrl-C goes to the whole group, Ray's processes among them
    else:
        process.send_signal(number)
    started = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 30
    assert "are kept in runs/slow" in error and "goes on from there" in error
    assert "Traceback" not in error
    assert lines.read_bytes().endswith(b"\n")
    out, _ = place.run("status", "runs/slow")
    assert "no driver is running" in out


def test_a_budget_stops_starting_packs(place):
    place.study(SLOW_ALONE)
    for seconds in (12, 24, 48, 96):  # on a busy machine Ray may take longer to start than the first
        out, _ = place.run("run", "study.yaml", "--no-dashboard", "--budget", f"{seconds}s")
        left = int(out.split(" failed, ")[1].split(" left")[0])
        if left < 1000:
            break
    assert 0 < left < 1000
