"""What a worker says: enough to see what it does, next to nothing where trials are instant."""

import subprocess
import sys
import threading
import time

import pytest

from hpsearch.execution import voice as voice_module
from hpsearch.execution.slots import take_slot
from hpsearch.execution.voice import EVERY, Voice, describe_end
from hpsearch.training.outcome import Cost, Outcome
from hpsearch.training.pack import TrialReport


def report(seed=0, seconds=0.001, status="complete", error=None, metrics=None):
    metrics = {"val_accuracy": 0.93125} if metrics is None else metrics
    return TrialReport(
        seed, Outcome(status, 1, 1, metrics, Cost(seconds=seconds), error=error), "host", "cpu", 1, "2026-01-01", "2"
    )


@pytest.fixture
def titles(monkeypatch):
    found = []
    monkeypatch.setattr(voice_module, "setproctitle", found.append)
    return found


def test_a_long_pack_is_told_when_it_begins_and_each_trial_when_it_ends(titles):
    lines = []
    voice = Voice("study slot 0", lines.append)
    voice.begin("sam, seeds 0-1: rho=0.1")
    voice.ended([report(0, 125.0)], over=False)
    voice.ended([report(1, 3.0)], over=True)
    assert [line.split(" ", 1)[1] for line in lines] == [
        "study slot 0 begins: sam, seeds 0-1: rho=0.1",
        "study slot 0 ended: sam, seeds 0-1: rho=0.1; seed 0: complete, val_accuracy 0.9313, 2 min 05 s",
        "study slot 0 ended: sam, seeds 0-1: rho=0.1; seed 1: complete, val_accuracy 0.9313, 3 s",
    ]
    assert titles == ["ray::study slot 0 sam, seeds 0-1: rho=0.1"]


def test_ten_thousand_instant_trials_are_a_few_lines_and_all_are_counted(titles, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(voice_module.time, "monotonic", lambda: now[0])
    lines, threads = [], []
    voice = Voice("s slot 0", lines.append)
    for number in range(10_000):
        voice.begin(f"pack {number}")
        now[0] += 0.001
        voice.ended([report()], over=True)
        threads.append(threading.active_count())
    assert len(lines) <= 2 * 10  # ten seconds have passed
    told = sum("; seed" in line for line in lines)
    before = sum(int(line.split("(")[1].split()[0]) for line in lines if "(" in line)
    assert 9_000 <= told + before <= 10_000  # the rest waits for the next line
    assert max(threads) <= threads[0] + 1  # a timer at most, not one for each pack


def test_a_pack_that_lasts_after_a_quick_one_is_told_after_a_second(titles):
    lines, told = [], threading.Event()

    def say(line):
        lines.append(line)
        if "second" in line:
            told.set()

    voice = Voice("s slot 0", say)
    voice.begin("first")
    voice.ended([report()], over=True)
    voice.begin("second")
    assert told.wait(600)
    assert [("first" in line, "begins" in line) for line in lines] == [(True, True), (False, True)]


def test_a_pack_that_ended_is_not_said_to_begin(titles):
    lines = []
    voice = Voice("s slot 0", lines.append)
    voice.begin("first")
    voice.ended([report()], over=True)
    voice.begin("second")
    timer = voice._timer
    voice.ended([report()], over=True)
    timer.join(60)
    assert not timer.is_alive() and len(lines) == 1


def test_saying_nothing_costs_next_to_nothing(titles):
    voice = Voice("s slot 0", lambda line: None)
    voice.begin("first")
    started = time.process_time()
    for _ in range(10_000):
        voice.begin("pack")
        voice.ended([report()], over=True)
    assert (time.process_time() - started) / 10_000 < 0.001  # seconds; a trial through Ray takes eight times that
    assert EVERY == 1.0


def test_how_a_trial_ended_in_words():
    assert describe_end(report(3, None, "failed", "Traceback\n  x\nValueError: no")) == "seed 3: failed: ValueError: no"
    assert describe_end(report(0, 0.2, "diverged", metrics={"a": None})) == "seed 0: diverged, 0 s"


def test_a_worker_has_the_first_slot_that_no_living_worker_holds(tmp_path):
    code = (
        "import sys; from pathlib import Path; from hpsearch.execution.slots import take_slot; "
        "slot = take_slot(Path(sys.argv[1]), 'run'); print(slot.number, flush=True); sys.stdin.read()"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    slots = {int(worker.stdout.readline()): worker for worker in workers}
    assert set(slots) == {0, 1}
    slots[0].kill()
    slots[0].wait()
    taken = [take_slot(tmp_path, "run"), take_slot(tmp_path, "run"), take_slot(tmp_path, "another")]
    assert [slot.number for slot in taken] == [0, 2, 0]
    for slot in taken:
        slot.file.close()
    slots[1].kill()
    for worker in workers:
        worker.wait()
        worker.stdin.close()
        worker.stdout.close()
