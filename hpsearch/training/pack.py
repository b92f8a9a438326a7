"""Runs the trials of a pack in this process, whatever becomes of each."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import torch

from hpsearch.hyperparameters import Settings
from hpsearch.streams import GlobalGenerators
from hpsearch.tasks import Task, TrainFunction, is_task_class, resolve
from hpsearch.training.bundle import Trials, keep_memory, timing
from hpsearch.training.checkpoint import Checkpoint, identity
from hpsearch.training.compiling import if_compiled
from hpsearch.training.engine import Engine
from hpsearch.training.function import run_function
from hpsearch.training.function_run import FunctionRun
from hpsearch.training.lockstep import Run, lockstep
from hpsearch.training.loop import start
from hpsearch.training.milestones import Milestones
from hpsearch.training.outcome import Cost, Outcome, Progress
from hpsearch.training.packed import PackRun
from hpsearch.training.programs import NotStackable
from hpsearch.training.store import File, Store

ERROR_LINES = 12  # of a traceback that are kept

MakeStore = Callable[[Path], Store]  # of a file in the run folder


@dataclass(frozen=True)
class PackOrder:
    """What a worker needs to train a pack; plain values, so that it travels as JSON.

    params: all settings of a Task's trial (hpsearch.hyperparameters.Settings), or what a training function is given.
    folder: where the user's own task is found; empty on a cluster, for where the worker was started. objectives: what a
    training function must report. engine: of hpsearch.training.engine.SWITCHES. checkpoints: by seed, the file that a
    long trial is kept in. milestones: of hpsearch.training.milestones.Milestones, where the pack may be stopped early;
    None where it may not. bundle: where several packs are to be trained by one program, (params, seed) of each trial;
    params, seeds and checkpoints are empty then, and checkpoint is its file. alike: trials of which the plan may make
    bundles like this one. pack: resources.pack.
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
    milestones: Mapping[str, Any] | None = None
    bundle: tuple[tuple[Mapping[str, Any], int], ...] = ()
    checkpoint: str = ""
    alike: int = 0
    pack: str | int = "auto"

    @classmethod
    def from_json(cls, text: str) -> Self:
        data = json.loads(text)
        bundle = tuple((params, seed) for params, seed in data["bundle"])
        return cls(**{**data, "seeds": tuple(data["seeds"]), "objectives": tuple(data["objectives"]), "bundle": bundle})


@dataclass(frozen=True)
class TrialReport:
    """One trial's outcome, and where and when it ran. place: in the order's bundle, where it has one."""

    seed: int
    outcome: Outcome
    host: str
    device: str
    threads: int
    started: str  # ISO 8601, UTC
    torch: str
    engine: Mapping[str, bool] = field(default_factory=dict)  # the switches that were on or off
    device_memory: int | None = None  # bytes of the GPU
    place: int = 0


@dataclass(frozen=True)
class Stage:
    """A piece of a pack. ended: trials that ended in it. milestone: the epoch at which the others wait, and waiting:
    what each would come to if it were stopped there; None and empty where nothing waits. progress: of the trials that
    are not told as ended. refused: why a bundle's packs are to be trained one by one; raised: it was an exception.
    """

    ended: tuple[TrialReport, ...]
    milestone: int | None = None
    waiting: tuple[TrialReport, ...] = ()
    progress: Progress = Progress()
    refused: str | None = None
    raised: bool = False


def run_pack(order: PackOrder, store: MakeStore = File) -> Generator[Stage]:
    """Trains the pack's trials one after another, or side by side where the pack may be stopped early; a bundle by one
    program, or not at all.

    A stage that has neither reports nor a milestone is an epoch. store: where long trials are kept. Who closes the
    iterator at a milestone stops the pack.
    """
    if order.bundle:
        yield from run_bundle(order, store)
        return
    if order.milestones is None:
        for seed in order.seeds:
            yield from _train(order, seed, store)
        return
    torch.set_num_threads(order.threads)
    started = _now()
    stages = lockstep(
        order.seeds,
        lambda seed: _begin(order, seed, store),
        lambda error: _failed(order, error),
        Milestones(**order.milestones),
    )
    try:
        for milestone, ended, waiting, progress in stages:
            both = [
                tuple(_report(order, s, outcome, started) for s, outcome in part.items()) for part in (ended, waiting)
            ]
            yield Stage(both[0], milestone, both[1], progress)
    finally:
        stages.close()  # the function threads end now, not when memory is collected


def run_bundle(order: PackOrder, store: MakeStore = File) -> Generator[Stage]:
    """All trials when the last one has ended: what is cut off is trained whole again, or goes on from its checkpoint,
    so that it has the same bits. At a milestone those that have ended wait with the others.
    """
    torch.set_num_threads(order.threads)
    started = _now()
    try:
        pack = _begin_bundle(order, store)
        for milestone, outcomes, progress in _stages(pack, order.milestones):
            if not outcomes:
                yield Stage((), progress=progress)
                continue
            reports = tuple(
                replace(_report(order, seed, outcome, started), place=place, engine=pack.engine.recorded())
                for place, ((_, seed), outcome) in enumerate(zip(order.bundle, outcomes, strict=True))
            )
            yield Stage(reports) if milestone is None else Stage((), milestone, reports, progress)
    except NotStackable as error:
        yield Stage((), refused=str(error))
    except Exception as error:  # which of its trials it is that cannot be trained shows when each is alone
        lines = _last_lines(error)
        _forget(error)
        yield Stage((), refused=lines.splitlines()[-1], raised=True)


def _begin_bundle(order: PackOrder, store: MakeStore) -> PackRun:
    """Raises NotStackable also where one after another the trials take less time."""
    task = _task(order.task, order.folder, json.dumps(dict(order.options), sort_keys=True))
    trials = [(Settings.merge(params), seed) for params, seed in order.bundle]
    engine = Engine.choose(order.device, trials[0][0].precision, order.engine)
    keep_memory()
    decides = order.pack == "auto" and order.engine.get("compile", "auto") == "auto"
    engines = [engine, replace(engine, compile=True)] if decides else [engine]
    begun = [each for each in engines if (keep := _keep(order, store, task, trials, each)) and keep.load() is not None]
    if begun:  # it goes on as it began
        engine = begun[0]
    elif order.pack == "auto":
        timed = timing(task, order.options, trials, engine)
        compiled = if_compiled(task, order.options, trials, engine, timed, order.alike) if decides else None
        refusal = (compiled or timed).refusal(trials)
        if refusal is not None:
            raise NotStackable(refusal)
        engine = engine if compiled is None else engines[1]
    return PackRun(task, trials, order.device, engine, _keep(order, store, task, trials, engine))


def _keep(order: PackOrder, store: MakeStore, task: Task, trials: Trials, engine: Engine) -> Checkpoint | None:
    return Checkpoint(store(Path(order.checkpoint)), identity(task, trials, engine)) if order.checkpoint else None


def _stages(pack: PackRun, given: Mapping[str, Any] | None) -> Generator[tuple[int | None, list[Outcome], Progress]]:
    """At each milestone it, and what the trials would come to there; in the end None, and their outcomes. Between
    these, after each epoch, None and nothing. And how far they are.
    """
    milestones = None if given is None else Milestones(**given)
    milestone: int | None = 0
    while True:
        # All of them, also those before a checkpoint: whoever decides may have begun anew.
        milestone = None if milestones is None or milestone is None else milestones.after(milestone)
        while not pack.done and (milestone is None or pack.epoch < milestone):
            pack.run_epoch()
            yield None, [], pack.progress
        if milestone is None or pack.done:
            yield None, pack.outcomes(), Progress()
            return
        yield milestone, pack.stopped(milestone), pack.progress


def run_trial(order: PackOrder, seed: int, store: MakeStore = File) -> TrialReport:
    """Trains one trial of the pack. An exception becomes a `failed` outcome that holds the traceback's last lines."""
    *_, last = _train(order, seed, store)
    return last.ended[0]


def _train(order: PackOrder, seed: int, store: MakeStore) -> Generator[Stage]:
    torch.set_num_threads(order.threads)  # threads change bits: always set
    started = _now()
    try:
        found = _resolve(order.task, order.folder)
        if is_task_class(found):
            trial = _begin(order, seed, store)
            while not trial.done:
                trial.run_epoch()
                yield Stage((), progress=trial.progress)
            outcome = trial.outcome()
        else:
            outcome = run_function(found, order.params, seed, order.objectives, order.device)
    except Exception as error:  # one bad trial never stops a study
        outcome = _failed(order, error)
    yield Stage((_report(order, seed, outcome, started),))


def _report(order: PackOrder, seed: int, outcome: Outcome, started: str) -> TrialReport:
    on_gpu = order.device == "cuda" and torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_gpu else order.device
    memory = int(torch.cuda.get_device_properties().total_memory) if on_gpu else None
    task = is_task_class(_resolve(order.task, order.folder)) if outcome.status != "failed" else False
    engine = Engine.choose(order.device, switches=order.engine).recorded() if task else {}  # a function has its own
    host, version = os.uname().nodename, str(torch.__version__)
    return TrialReport(seed, outcome, host, device, order.threads, started, version, engine, memory)


def _failed(order: PackOrder, error: BaseException) -> Outcome:
    planned = order.params.get("epochs")  # a training function's may be anything
    lines, out_of_memory = _last_lines(error), isinstance(error, torch.OutOfMemoryError)
    _forget(error)
    planned = planned if isinstance(planned, int) else 0
    return Outcome("failed", 0, planned, {}, Cost(), error=lines, out_of_memory=out_of_memory)


def _forget(error: BaseException) -> None:
    """Frees what did not fit."""
    if isinstance(error, torch.OutOfMemoryError):
        error.__traceback__ = None  # its frames hold the tensors
        torch.cuda.empty_cache()


def as_dict(report: TrialReport) -> dict[str, Any]:
    """As plain values, for JSON; shares the outcome's own lists (dataclasses.asdict would copy all of a curve)."""
    outcome = vars(report.outcome)
    return {**vars(report), "outcome": {**outcome, "cost": vars(report.outcome.cost)}}


def _begin(order: PackOrder, seed: int, store: MakeStore) -> Run:
    found = _resolve(order.task, order.folder)
    if not is_task_class(found):
        return FunctionRun(found, order.params, seed, order.objectives, order.device)
    task = _task(order.task, order.folder, json.dumps(dict(order.options), sort_keys=True))
    settings = Settings.merge(order.params)
    engine = Engine.choose(order.device, settings.precision, order.engine)
    checkpoint = order.checkpoints.get(str(seed))
    return start(task, settings, seed, order.device, engine, None if checkpoint is None else store(Path(checkpoint)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


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
