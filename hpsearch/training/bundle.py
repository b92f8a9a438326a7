"""Trials that one program can train: whether it does, by what both ways take on the machine at hand."""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Self, TypeVar

import torch
from torch.nn.modules.dropout import _DropoutNd

from hpsearch import __version__
from hpsearch.hyperparameters import Settings
from hpsearch.tasks.protocol import Task
from hpsearch.tasks.sources import source_hash
from hpsearch.training.engine import Engine
from hpsearch.training.kept import kept
from hpsearch.training.loop import TrialRun, start
from hpsearch.training.packed import PackRun
from hpsearch.training.programs import NotStackable

GAIN = 1.1  # times as many trials a second, at least: below, what was timed may have been luck
LONGEST = 3600.0  # seconds: results of what one program trains come when all of it has ended
STEP = 0.04  # seconds of a trial's step, from which on there is no fixed cost worth sharing
DATA = 2**31  # bytes: each trial has its own, where they depend on the seed
BLOCKS, BLOCK = 5, 0.03  # that are timed of each way, in turn, and seconds of each

Trials = Sequence[tuple[Settings, int]]
Run = TypeVar("Run", TrialRun, PackRun)


@dataclass(frozen=True)
class Way:
    """Seconds of one of two ways: until the first step is done, of a step, of an evaluation; of all its trials."""

    begin: float
    step: float
    evaluation: float

    def seconds(self, steps: float, epochs: float) -> float:
        """Of whole trials; steps: of an epoch."""
        return self.begin + epochs * (steps * self.step + self.evaluation) + self.evaluation


@dataclass(frozen=True)
class Timing:
    """What was timed with so many trials: a trial alone, and all by one program; why not, where that is known before.

    data: bytes of a trial's. operations: of the lists that a step of all is made of; 0 without such.
    """

    trials: int = 1
    steps: int = 0
    data: int = 0
    alone: Way | None = None
    together: Way | None = None
    why: str | None = None
    operations: int = 0

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        ways = {name: None if data[name] is None else Way(**data[name]) for name in ("alone", "together")}
        return cls(**{**data, **ways})

    def seconds(self, trials: Trials) -> tuple[float, float]:
        """What these take one after another, and by one program."""
        assert self.alone is not None and self.together is not None
        epochs, count = statistics.fmean(settings.epochs for settings, _ in trials), len(trials)
        alone, together = (way.seconds(self.steps, epochs) for way in (self.alone, self.together))
        return count * alone, count / self.trials * together

    def refusal(self, trials: Trials) -> str | None:
        """Why these are trained one after another; None where one program is quicker."""
        if self.why is not None:
            return self.why
        if self.data * len(trials) > DATA:
            return f"their data would take {self.data * len(trials) / 2**30:.1f} GiB"
        alone, together = self.seconds(trials)
        if together * GAIN > alone:
            return f"one program takes {together / alone:.2f} of the time"
        if together > LONGEST:
            return f"one program would take {together:.0f} s, and all results come when it ends"
        return None


def timing(task: Task, options: Mapping[str, Any], trials: Trials, engine: Engine) -> Timing:
    """Of trials like these on this machine."""
    return kept(like(task, options, trials, engine), Timing, lambda: time_trials(task, trials, engine))


def like(task: Task, options: Mapping[str, Any], trials: Trials, engine: Engine) -> dict[str, Any]:
    """Whatever what is timed depends on."""
    kind = type(task)
    return {
        "task": [kind.__module__, kind.__qualname__, source_hash(kind), dict(options)],
        "shape": trials[0][0].shape(),
        "trials": len(trials).bit_length(),
        "machine": [os.uname().nodename, _device_name(engine), torch.get_num_threads()],
        "engine": [engine.recorded(), str(torch.__version__), __version__],
    }


def time_trials(task: Task, trials: Trials, engine: Engine) -> Timing:
    """Start, steps and evaluations. Steps in turn, so that a change of speed hits both ways alike."""
    start(task, *trials[0], engine=engine)  # what a process does once: data
    one, begin_alone = _begin(lambda: start(task, *trials[0], engine=engine), engine)
    if any(isinstance(module, _DropoutNd) and module.p for module in one.model.modules()):
        return Timing(why="the network draws random numbers as it trains (dropout), others in each bundle")
    states = engine.generators()
    step = min(_seconds(one.probe, 1, engine) for _ in range(3))
    if not all(map(torch.equal, states, engine.generators())):
        return Timing(why="the network draws random numbers as it trains, others in each bundle")
    if step > STEP:
        return Timing(why=f"a step takes {step:.2f} s: there is no fixed cost worth sharing")
    data = sum(tensor.nbytes for split in one.splits.values() for tensor in split)
    if data * len(trials) > DATA:
        return Timing(data=data)
    try:
        PackRun(task, trials, engine=engine).probe()  # what a process does once: the list of operations, or compiling
        pack, begin_pack = _begin(lambda: PackRun(task, trials, engine=engine), engine)
    except NotStackable as error:
        return Timing(why=str(error))
    steps = in_turn((one.probe, pack.probe), engine)
    evaluate: Sequence[Callable[[], object]] = (lambda: one.evaluate("val"), pack.evaluate)
    for way in (*evaluate, pack.evaluate):  # what a process, or a pack, does once
        way()
    evaluations = [_seconds(way, 1, engine) for way in evaluate]
    alone, together = map(Way, (begin_alone, begin_pack), steps, evaluations)
    return Timing(len(trials), pack.steps, data, alone, together, operations=pack.stack.lists.operations)


def in_turn(ways: Sequence[Callable[[], object]], engine: Engine, blocks: int = BLOCKS) -> list[float]:
    """Seconds of a call of each: medians of so many blocks."""
    counts = [max(1, round(BLOCK / _seconds(way, 1, engine))) for way in ways]
    found = [[_seconds(way, count, engine) for way, count in zip(ways, counts, strict=True)] for _ in range(blocks)]
    return [statistics.median(each) for each in zip(*found, strict=True)]


def _begin(make: Callable[[], Run], engine: Engine) -> tuple[Run, float]:
    """Seconds until the first step is done; of two times the shorter one: what disturbs makes it longer only."""
    seconds = []
    for _ in range(2):
        since = time.perf_counter()
        run = make()
        run.probe()
        seconds.append(_until_now(since, engine))
    return run, min(seconds)


def _seconds(call: Callable[[], object], count: int, engine: Engine) -> float:
    """Of one call."""
    since = time.perf_counter()
    for _ in range(count):
        call()
    return _until_now(since, engine) / count


def _until_now(since: float, engine: Engine) -> float:
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)
    return time.perf_counter() - since


def _device_name(engine: Engine) -> str:
    return torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else engine.device.type


@cache
def keep_memory() -> None:
    """glibc gives large blocks back to the system at once, and each step would fault them in again, page by page: on a
    CPU a pack takes 0.8 to 0.9 of the time without that. 512 MiB stay in the process at most.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            libc = ctypes.CDLL(None)
            libc.mallopt(ctypes.c_int(-3), ctypes.c_int(32 * 2**20))  # M_MMAP_THRESHOLD; more is refused
            libc.mallopt(ctypes.c_int(-1), ctypes.c_int(512 * 2**20))  # M_TRIM_THRESHOLD
