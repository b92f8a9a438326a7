"""Times pieces of trials before any is trained, in as many processes at once as the run would have."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from hpsearch.errors import RunError
from hpsearch.hyperparameters import Settings
from hpsearch.study import Study
from hpsearch.training.engine import SWITCHES
from hpsearch.training.probe import Pieces

SECONDS = 12.0  # of timing; with the processes' start and bundles that were never timed 20 to 30 on a laptop
SHAPES = 8  # of an arm that are timed
PROCESSES = 16  # at most: more would say nothing new

Shape = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Timed:
    """What was timed. ready: seconds until a process had its task. pieces: by shape, seconds of a trial's pieces."""

    ready: float
    pieces: Mapping[Shape, Pieces]

    def trial(self, settings: Settings, samples: int) -> float:
        """Seconds of a trial with so many samples through backward; a shape that was not timed is like the mean one."""
        pieces = self._of(settings)
        epochs = settings.epochs * (pieces["val"] + pieces["epoch"])
        return pieces["start"] + samples * pieces["sample"] + epochs + pieces["test"]

    def together(self, settings: Settings) -> float:
        """The share of that which it takes in a bundle."""
        return self._of(settings)["together"]

    def _of(self, settings: Settings) -> Pieces:
        return self.pieces.get(settings.shape()) or mean_of(list(self.pieces.values()))


def mean_of(timed: Sequence[Pieces]) -> Pieces:
    return {name: statistics.fmean(pieces[name] for pieces in timed) for name in timed[0]}


def time_study(
    study: Study,
    arms: Mapping[str, Sequence[Settings]],
    bundles: Mapping[str, Mapping[Shape, int]],
    device: str,
    processes: int,
) -> dict[str, Timed]:
    """Of each arm, whose trials' settings are given, and how many of a shape one program may train.

    Raises RunError when a process that times ends otherwise.
    """
    shapes = {arm: _commonest(settings) for arm, settings in arms.items()}
    # Arms in turn, each one's commonest shape first: what time does not suffice for are rare shapes.
    turn = [(arm, n) for n in range(SHAPES) for arm in shapes if n < len(shapes[arm])]
    if not turn:
        return {}
    order = {
        "task": study.task.name,
        "options": study.task.options,
        "folder": os.getcwd(),
        "seed": study.first_seeds[0],
        "threads": study.resources.cpus,
        "device": device,
        "engine": {name: getattr(study.resources, name) for name in SWITCHES},
        "seconds": SECONDS,
        "settings": [asdict(shapes[arm][n]) for arm, n in turn],
        "together": [bundles.get(arm, {}).get(shapes[arm][n].shape(), 1) for arm, n in turn],
    }
    ready, answers = _ask(order, 1 if device == "cuda" else min(processes, PROCESSES))
    found: dict[str, dict[Shape, Pieces]] = {arm: {} for arm in shapes}
    for place, (arm, n) in enumerate(turn):
        timed = [pieces for answer in answers if (pieces := answer[place]) is not None]
        if timed:
            found[arm][shapes[arm][n].shape()] = mean_of(timed)
    every = {shape: pieces for timed in found.values() for shape, pieces in timed.items()}
    return {arm: Timed(ready, pieces or every) for arm, pieces in found.items()}


def _commonest(settings: Sequence[Settings]) -> list[Settings]:
    """One of each shape, those that most trials have first."""
    groups: dict[Shape, list[Settings]] = {}
    for one in settings:
        groups.setdefault(one.shape(), []).append(one)
    return [group[0] for group in sorted(groups.values(), key=len, reverse=True)[:SHAPES]]


def _ask(order: Mapping[str, Any], processes: int) -> tuple[float, list[list[Pieces | None]]]:
    """Seconds until all had the task, and what each of them timed, all at the same time."""
    command = [sys.executable, "-P", "-m", "hpsearch.training.probe"]
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:  # a pipe that nobody reads would fill
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
        running: list[Any] = [subprocess.Popen(command, **pipes) for _ in range(processes)]
        try:
            _tell(running, json.dumps(order))
            waiting = [process.stdout.readline() for process in running]
            ready = time.monotonic() - began
            _tell(running if all(waiting) else [], "go")
            ended = [process.communicate()[0] for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
        if not all(ended):
            errors.seek(0)
            raise RunError(f"timing the task failed: {errors.read().strip() or 'the process died'}")
    return ready, [json.loads(answer) for answer in ended]


def _tell(processes: Sequence[Any], line: str) -> None:
    for process in processes:
        with suppress(BrokenPipeError):  # it has ended: what it left says why
            process.stdin.write(line + "\n")
            process.stdin.flush()
