"""Trials that one program can train: whether it does, by what both ways take on the machine at hand."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import torch

from hpsearch.hyperparameters import Settings
from hpsearch.tasks.data.cache import cache_folder
from hpsearch.tasks.protocol import Task
from hpsearch.tasks.registry import source_hash
from hpsearch.training.engine import Engine
from hpsearch.training.loop import start
from hpsearch.training.packed import PackRun

GAIN = 1.1  # times as many trials a second, at least: below, what was timed may have been luck
LONGEST = 600.0  # seconds: what one program trains is kept when all of it has ended
STEP = 0.04  # seconds of a trial's step, from which on there is no fixed cost worth sharing
DATA = 2**31  # bytes: each trial has its own, where they depend on the seed
BLOCKS, BLOCK = 5, 0.03  # that are timed of either way, in turn, and seconds of each

Trials = Sequence[tuple[Settings, int]]


@dataclass(frozen=True)
class Timing:
    """Seconds that the trials take one after another (alone) and by one program (together); why they were not timed."""

    alone: float = 0.0
    together: float = 0.0
    why: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why they are trained one after another; None where one program is quicker."""
        if self.why is not None:
            return self.why
        if self.together * GAIN > self.alone:
            return f"one program takes {self.together / self.alone:.2f} of the time"
        if self.together > LONGEST:
            return f"one program would take {self.together:.0f} s, and be kept only when it ends"
        return None


def timing(task: Task, options: Mapping[str, Any], trials: Trials, engine: Engine) -> Timing:
    """What was timed on this machine before, in this process or another one, for trials like these; else what is now.

    Kept, so that a run which goes on, or is made again, computes what it computed. Raises NotStackable.
    """
    like = {
        "task": [source_hash(type(task)), dict(options)],
        "shape": trials[0][0].shape(),
        "trials": len(trials).bit_length(),
        "machine": [os.uname().nodename, _device_name(engine), torch.get_num_threads()],
        "engine": [engine.recorded(), str(torch.__version__)],
    }
    key = hashlib.sha256(json.dumps(like, sort_keys=True, default=str).encode()).hexdigest()[:32]
    return _kept(cache_folder() / "bundles" / f"{key}.json", lambda: time_trials(task, trials, engine))


_IN_PROCESS: dict[Path, Timing] = {}


def _kept(path: Path, measure: Callable[[], Timing]) -> Timing:
    """Of processes that time at once, the first one's counts for all. Kept in the process where the disk refuses."""
    if path not in _IN_PROCESS:
        found = _read(path)
        if found is None:
            found = measure()
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as file:
                    json.dump(asdict(found), file)
                    file.flush()
                    os.link(file.name, path)
            found = _read(path) or found
        _IN_PROCESS[path] = found
    return _IN_PROCESS[path]


def _read(path: Path) -> Timing | None:
    try:
        data = json.loads(path.read_text())
        return Timing(float(data["alone"]), float(data["together"]), data["why"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def time_trials(task: Task, trials: Trials, engine: Engine) -> Timing:
    """Of whole trials: start, steps and evaluations. Steps in turn, so that a change of speed hits both ways alike."""
    start(task, *trials[0], engine=engine)  # what a process does once: data
    since = time.perf_counter()
    one = start(task, *trials[0], engine=engine)
    one.probe()
    begin_alone = _until_now(since, engine)
    step = _seconds(one.probe, 1, engine)
    if step > STEP:
        return Timing(why=f"a step takes {step:.2f} s: there is no fixed cost worth sharing")
    data = len(trials) * sum(tensor.nbytes for split in one.splits.values() for tensor in split)
    if data > DATA:
        return Timing(why=f"their data would take {data / 2**30:.1f} GiB")
    since = time.perf_counter()
    pack = PackRun(task, trials, engine=engine)
    pack.probe()
    begin_pack = _until_now(since, engine)
    ways: Sequence[Callable[[], object]] = (one.probe, pack.probe)
    counts = [max(1, round(BLOCK / _seconds(way, 1, engine))) for way in ways]
    blocks = [[_seconds(way, count, engine) for way, count in zip(ways, counts, strict=True)] for _ in range(BLOCKS)]
    steps = [statistics.median(each) for each in zip(*blocks, strict=True)]
    evaluations = [_seconds(lambda: one.evaluate("val"), 1, engine), _seconds(pack.evaluate, 1, engine)]
    epochs = statistics.fmean(settings.epochs for settings, _ in trials)
    alone, together = (
        begin + epochs * (pack.steps * each + evaluation) + evaluation
        for begin, each, evaluation in zip((begin_alone, begin_pack), steps, evaluations, strict=True)
    )
    return Timing(len(trials) * alone, together)


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
