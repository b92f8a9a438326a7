"""Runs the trials of a pack in this process, one after another, whatever becomes of each."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from hpsearch.hyperparameters import Settings
from hpsearch.streams import GlobalGenerators
from hpsearch.tasks import Task, TrainFunction, is_task_class, resolve
from hpsearch.training.engine import Engine
from hpsearch.training.function import run_function
from hpsearch.training.loop import train
from hpsearch.training.outcome import Cost, Outcome

ERROR_LINES = 12  # of a traceback that are kept


@dataclass(frozen=True)
class PackOrder:
    """What a worker needs to train a pack; plain values, so that it travels as JSON.

    params: all settings of a Task's trial (hpsearch.hyperparameters.Settings), or what a training function is given.
    folder: where the user's own task is found. objectives: what a training function must report. engine: of
    hpsearch.training.engine.SWITCHES. checkpoints: by seed, the file that a long trial is kept in.
    """

    task: str
    options: Mapping[str, Any]
    folder: str
    params: Mapping[str, Any]
    seeds: tuple[int, ...]
    objectives: tuple[str, ...]
    threads: int
    device: str
    engine: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialReport:
    """One trial's outcome, and where and when it ran."""

    seed: int
    outcome: Outcome
    host: str
    device: str
    threads: int
    started: str  # ISO 8601, UTC
    torch: str
    engine: Mapping[str, bool] = field(default_factory=dict)  # the switches that were on or off


def run_trial(order: PackOrder, seed: int) -> TrialReport:
    """Trains one trial of the pack. An exception becomes a `failed` outcome that holds the traceback's last lines."""
    torch.set_num_threads(order.threads)  # threads change bits: always set
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        outcome = _run(order, seed)
    except Exception as error:  # one bad trial never stops a study
        planned = order.params.get("epochs")  # a training function's may be anything
        planned = planned if isinstance(planned, int) else 0
        outcome = Outcome("failed", 0, planned, {}, Cost(), error=_last_lines(error))
    device = torch.cuda.get_device_name() if order.device == "cuda" and torch.cuda.is_available() else order.device
    task = is_task_class(_resolve(order.task, order.folder)) if outcome.status != "failed" else False
    engine = Engine.choose(order.device, switches=order.engine).recorded() if task else {}  # a function has its own
    host, version = os.uname().nodename, str(torch.__version__)
    return TrialReport(seed, outcome, host, device, order.threads, started, version, engine)


def as_dict(report: TrialReport) -> dict[str, Any]:
    return asdict(report)


def _run(order: PackOrder, seed: int) -> Outcome:
    found = _resolve(order.task, order.folder)
    if not is_task_class(found):
        return run_function(found, order.params, seed, order.objectives, order.device)
    task = _task(order.task, order.folder, json.dumps(dict(order.options), sort_keys=True))
    settings = Settings.merge(order.params)
    engine = Engine.choose(order.device, settings.precision, order.engine)
    checkpoint = order.checkpoints.get(str(seed))
    return train(task, settings, seed, order.device, engine, None if checkpoint is None else Path(checkpoint))


@lru_cache(maxsize=8)
def _resolve(name: str, folder: str) -> type[Task] | TrainFunction:
    return resolve(name, Path(folder))


@lru_cache(maxsize=8)
def _task(name: str, folder: str, options: str) -> Task:
    """One task object for a process: what it has read is read once."""
    with GlobalGenerators(0).swapped():  # what a constructor draws is the same in every process
        return _resolve(name, folder)(**json.loads(options))  # type: ignore[return-value, call-arg]


def _last_lines(error: BaseException) -> str:
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    sys.stderr.write("\n".join(lines) + "\n")
    return "\n".join(lines[-ERROR_LINES:])
