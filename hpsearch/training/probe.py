"""Times the pieces of a trial, in a process of its own: `python -m hpsearch.training.probe`.

It reads an order, a line of JSON with task, options, folder, seed, threads, device, engine, seconds, settings, a list,
and together, how many trials of each one program may train; answers with a line when it has the task; and when it has
read another line, times. The answer, a line too, is for each of the settings the seconds of a trial's start, of a
sample through backward, of the evaluations, and of what else an epoch takes, and the share of its time that a trial
takes with others in one program; null for what time did not suffice for. Several processes that are told to go on at
once get in each other's way as workers do.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hpsearch.hyperparameters import Settings
from hpsearch.streams import GlobalGenerators
from hpsearch.tasks import Task, resolve
from hpsearch.training.bundle import keep_memory, timing
from hpsearch.training.engine import Engine
from hpsearch.training.loop import TrialRun, start

STEPS = 2  # that are timed at least
EPOCHS = 2  # likewise, where there is time for any

Pieces = dict[str, float]  # start, sample, val, test, epoch: seconds; together: a share


def time_pieces(task: Task, settings: Settings, seed: int, engine: Engine, seconds: float) -> Pieces:
    """Takes about so many seconds, or as long as a start, three steps and both evaluations take."""
    began = time.perf_counter()
    trial = start(task, settings, seed, engine=engine)
    started = time.perf_counter() - began
    trial.probe()  # kernels are chosen, memory is had
    left = seconds - (time.perf_counter() - began)
    before, since, steps = trial.meter.backward_samples, time.perf_counter(), 0
    while steps < STEPS or time.perf_counter() - since < left / 3:
        trial.probe()
        steps += 1
    _wait(engine)
    took = time.perf_counter() - since
    found = {"start": started, "sample": took / (trial.meter.backward_samples - before)}
    for split in ("val", "test"):
        since = time.perf_counter()
        trial.evaluate(split)
        _wait(engine)
        found[split] = time.perf_counter() - since
    found["epoch"] = _rest_of_epoch(trial, found, seconds - (time.perf_counter() - began))
    return found


def _rest_of_epoch(trial: TrialRun, known: Pieces, left: float) -> float:
    """What an epoch takes besides its steps and its evaluation, for which short ones are long enough to show it.

    0 where the time does not suffice for EPOCHS of them.
    """
    trial.settings = replace(trial.settings, epochs=sys.maxsize)  # it does not end
    took, epochs, before = 0.0, 0, trial.meter.backward_samples
    each = trial.batches.count * trial.batches.batch_size * (2 if trial.settings.rho else 1)
    if EPOCHS * (each * known["sample"] + known["val"]) > left:
        return 0.0
    while took < left:
        since = time.perf_counter()
        trial.run_epoch()
        _wait(trial.engine)
        took += time.perf_counter() - since
        epochs += 1
    steps = (trial.meter.backward_samples - before) * known["sample"]
    return max(0.0, (took - steps) / epochs - known["val"])


def _together(task: Task, order: Mapping[str, Any], one: Settings, trials: int, engine: Engine) -> float:
    """The share of its time that a trial takes in a bundle of so many; 1 where they are trained one after another."""
    if trials < 2:
        return 1.0
    every = [(one, order["seed"] + n) for n in range(trials)]
    try:
        timed = timing(task, order["options"], every, engine)
    except Exception:  # the run trains them one after another, too
        return 1.0
    if timed.refusal(every) is not None:
        return 1.0
    alone, together = timed.seconds(every)
    return together / alone


def _wait(engine: Engine) -> None:
    if engine.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    say = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # a task may print
        order: Mapping[str, Any] = json.loads(sys.stdin.readline())
        torch.set_num_threads(order["threads"])
        with GlobalGenerators(0).swapped():
            task: Task = resolve(order["task"], Path(order["folder"]))(**order["options"])  # type: ignore[call-arg, assignment]
        every = [Settings.merge(one) for one in order["settings"]]
        engines = [Engine.choose(order["device"], one.precision, order["engine"]) for one in every]
        start(task, every[0], order["seed"], engine=engines[0]).probe()  # what a process does once: data, FLOPs
        print("ready", file=say, flush=True)
        sys.stdin.readline()
        began, share = time.perf_counter(), order["seconds"] / len(every)
        found: list[Pieces | None] = []
        keep_memory()
        for one, engine, trials in zip(every, engines, order["together"], strict=True):
            if time.perf_counter() - began > 2 * order["seconds"]:
                found.append(None)
                continue
            pieces = time_pieces(task, one, order["seed"], engine, share)
            found.append({**pieces, "together": _together(task, order, one, trials, engine)})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
