"""Asking ahead: the sampler is asked in a thread while packs run, and nothing waits for it."""

import importlib.util
import random
import threading
import time
from pathlib import Path

import pytest

from hpsearch.planning import Planner
from hpsearch.sampling import ADAPTIVE, Adaptive

_spec = importlib.util.spec_from_file_location("resume", Path(__file__).with_name("test_resume.py"))
resume = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(resume)

LONG = 600.0  # seconds after which something hangs


def next_pack(planner):
    """The next pack, when its suggestion is there."""
    until = time.monotonic() + LONG
    while (pack := planner.next()) is None and not planner.finished:
        assert time.monotonic() < until
        time.sleep(0.001)
    return pack


def back(planner, pack):
    rows = [resume.result_of(pack, seed) for seed in pack.seeds]
    for row in rows:
        planner.tell(row)
    return rows


@pytest.mark.parametrize("sampler", ADAPTIVE)
@pytest.mark.parametrize("space", ["numbers", "few"])
def test_a_plan_ends_as_it_should_with_packs_back_in_any_order(sampler, space):
    space = resume.GP_SPACE if sampler == "gp" and space == "numbers" else space
    planner, draw = Planner(resume.checked_of(sampler, space, size=12), []), random.Random(sampler)
    planner.ask_ahead()
    waiting, rows = [], []
    until = time.monotonic() + LONG
    while not planner.finished:
        assert time.monotonic() < until
        pack = planner.next() if len(waiting) < 4 else None
        if pack is not None:
            waiting.append(pack)
        elif waiting and (len(waiting) == 4 or draw.random() < 0.01):
            rows += back(planner, waiting.pop(draw.randrange(len(waiting))))
        else:
            time.sleep(0.001)
    assert len({row.trial_id for row in rows}) == len(rows)
    if space != "few":
        assert len(rows) == 2 * 15 and planner.notes == []
    else:  # twelve different configurations in all
        assert 2 * 6 <= len(rows) <= 2 * 12 and "suggested known ones 20 times" in planner.notes[0]


class Slow:
    """An Adaptive whose asks wait until they are let go."""

    def __init__(self, monkeypatch, fail=False):
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.told, self.threads = [], []
        real = Adaptive.ask

        def ask(adaptive, phase, index, repeat):
            self.threads.append(threading.current_thread().name)
            self.told.append(len(adaptive._known))
            self.begun.release()
            assert self.go.acquire(timeout=LONG)
            if fail:
                raise ArithmeticError("no such matrix")
            return real(adaptive, phase, index, repeat)

        monkeypatch.setattr(Adaptive, "ask", ask)


def test_a_slow_sampler_delays_neither_results_nor_the_next_pack(monkeypatch):
    slow = Slow(monkeypatch)
    planner = Planner(resume.checked_of("tpe", "numbers", first=2), [])
    planner.ask_ahead()
    first, second = planner.next(), planner.next()
    assert planner.next() is None and slow.begun.acquire(timeout=LONG)  # it is being asked for the third
    back(planner, first)
    assert planner.next() is None and not planner.finished
    slow.go.release()
    third = next_pack(planner)
    assert third.configuration.sampling["sampler"] == "tpe"
    assert slow.begun.acquire(timeout=LONG)  # the fourth is being prepared while the third runs: nobody has asked
    back(planner, second), back(planner, third)
    slow.go.release()
    fourth = next_pack(planner)
    assert fourth.configuration.sampling["index"] == 1
    assert slow.begun.acquire(timeout=LONG)
    assert slow.told == [0, 1, 3]  # each ask knows what was told before it began
    assert set(slow.threads) == {"sampler"}
    for _ in range(9):
        slow.go.release()


def test_an_error_of_the_sampler_is_raised_where_its_suggestion_is_taken(monkeypatch):
    slow = Slow(monkeypatch, fail=True)
    planner = Planner(resume.checked_of("tpe", "numbers", first=0), [])
    planner.ask_ahead()
    slow.go.release()
    with pytest.raises(ArithmeticError, match="no such matrix"):
        next_pack(planner)


def test_without_asking_ahead_there_is_no_thread_and_nothing_is_prepared(monkeypatch):
    slow = Slow(monkeypatch)
    planner = Planner(resume.checked_of("tpe", "numbers", first=0), [])
    slow.go.release()
    assert planner.next() is not None
    assert slow.threads == [threading.current_thread().name]


def test_a_resumed_run_goes_on_where_the_rows_end():
    checked = resume.checked_of("tpe", "numbers", size=8)
    rows = resume.run(checked, trials=13)  # half of a pack is missing
    planner = Planner(checked, rows)
    planner.ask_ahead()
    packs = []
    while (pack := next_pack(planner)) is not None:
        packs.append(pack)
        rows += back(planner, pack)
    assert [pack.configuration.sampling["index"] for pack in packs] == [3, 4, 5, 6, 7]
    assert len({row.trial_id for row in rows}) == len(rows) == 2 * 11
