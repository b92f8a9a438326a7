"""What a run would cost: samples through backward, FLOPs and time, before anything is trained."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from hpsearch.check import Checked
from hpsearch.hyperparameters import Settings
from hpsearch.planning import phase_sizes, planned_trials
from hpsearch.results import Result, belonging, read_results
from hpsearch.sampling import ADAPTIVE, Params, Sequence, random_points
from hpsearch.tasks import Task
from hpsearch.training.batches import crop
from hpsearch.training.cost import flops_per_sample
from hpsearch.training.engine import SWITCHES, Engine
from hpsearch.training.loop import TrialRun

SAMPLED = 64  # random points that stand for what an adaptive sampler will suggest
PROBES = 4  # configurations an arm that are timed, where no trial of it has been run yet
PROBE_SECONDS = 0.5


@dataclass(frozen=True)
class ArmPrediction:
    """Costs are of the trials that are left; None where nothing is known (a training function never run here)."""

    configurations: int
    trials: int
    done: int
    backward_samples: float | None
    flops: float | None
    seconds: float | None  # of one device's time; divide by the packs that run at once


@dataclass(frozen=True)
class Prediction:
    arms: Mapping[str, ArmPrediction]
    concurrent: int
    device: str
    measured: bool  # seconds come from trials of this run folder, in every arm that has a figure

    @property
    def seconds(self) -> float | None:
        """Wall-clock time of the whole run."""
        known = [arm.seconds for arm in self.arms.values() if arm.seconds is not None]
        return sum(known) / self.concurrent if len(known) == len(self.arms) else None


def predict(checked: Checked, folder: Path) -> Prediction:
    """Exact for phases that do not adapt; for the others, the mean over random points of the arm's space."""
    study = checked.study
    results = [r for r in belonging(read_results(folder)[0], study, checked.identity) if r.done]
    device = "cuda" if torch.cuda.is_available() and study.resources.gpus != 0 else "cpu"
    torch.set_num_threads(study.resources.cpus)
    estimator = _by_results if checked.identity.function else _by_model
    arms = {}
    for arm in study.arms:
        mine = [result for result in results if result.arm == arm]
        trials = planned_trials(study, arm)
        left = max(0, trials - len(mine))
        costs = estimator(checked, arm, mine, device)
        arms[arm] = ArmPrediction(
            sum(phase_sizes(study, arm)), trials, len(mine), *(None if cost is None else cost * left for cost in costs)
        )
    fit = max(1, (os.cpu_count() or 1) // study.resources.cpus)
    concurrent = fit if study.resources.concurrent == "auto" else min(fit, study.resources.concurrent)
    seen = {result.arm for result in results}
    return Prediction(arms, concurrent, device, all(arm in seen for arm in study.arms))


Costs = tuple[float | None, float | None, float | None]  # of a trial: backward samples, FLOPs, seconds


def _by_results(checked: Checked, arm: str, results: list[Result], device: str) -> Costs:
    def mean(name: str) -> float | None:
        known = [value for result in results if (value := result.cost.get(name)) is not None]
        return statistics.fmean(known) if known else None

    return mean("backward_samples"), mean("flops"), mean("seconds")


def _by_model(checked: Checked, arm: str, results: list[Result], device: str) -> Costs:
    """The mean trial over the arm's configurations, from the training set's size, the model and a short timing."""
    study = checked.study
    task: Task = checked.task(**study.task.options)  # type: ignore[call-arg, assignment]
    data = task.data(study.seeds[0])
    train, lengths = data.train, data.lengths.get("train")
    points = _points(checked, arm)
    settings = [study.settings(arm, point) for point in points]
    samples = [backward_samples(each, len(train[0])) for each in settings]
    rows = slice(0, min(settings[0].batch_size, len(train[0])))
    batch = crop(task, tuple(tensor[rows] for tensor in train), lengths, rows)
    flops = flops_per_sample(task, tuple(tensor.to(device) for tensor in batch))
    rates = [r.cost["seconds"] / r.cost["backward_samples"] for r in results if r.cost.get("backward_samples")]  # type: ignore[operator]
    if not rates:
        spread = [settings[i * len(settings) // PROBES] for i in range(min(PROBES, len(settings)))]
        switches = {name: getattr(study.resources, name) for name in SWITCHES}
        engines = [Engine.choose(device, each.precision, switches) for each in spread]
        rates = [_seconds_per_sample(task, *pair, study.seeds[0]) for pair in zip(spread, engines, strict=True)]
    mean = statistics.fmean(samples)
    return mean, mean * flops, mean * statistics.fmean(rates)


def backward_samples(settings: Settings, training_samples: int) -> int:
    """Samples through backward in a whole trial: a second pass in every interval-th step, counted from step 0."""
    batch = min(settings.batch_size, training_samples)
    steps = settings.epochs * (training_samples // batch)
    perturbed = math.ceil(steps / settings.interval) if settings.rho > 0 else 0
    return batch * (steps + perturbed)


def _points(checked: Checked, arm: str) -> list[Params]:
    study = checked.study
    points: list[Params] = []
    for number, (phase, size) in enumerate(zip(study.phases(arm), phase_sizes(study, arm), strict=True)):
        if phase.sampler in ADAPTIVE:
            drawn = random_points(study, arm, SAMPLED)
            points += [drawn[index % SAMPLED] for index in range(size)]
        else:
            points += islice(Sequence(study, arm, number), min(size, 10 * SAMPLED))
    return points


def _seconds_per_sample(task: Task, settings: Settings, engine: Engine, seed: int) -> float:
    """Seconds a sample through backward: some steps of a real trial, the first of which is not timed."""
    trial = TrialRun(task, settings, seed, engine=engine)
    trial.probe()
    before, started = trial.meter.backward_samples, time.perf_counter()
    while time.perf_counter() - started < PROBE_SECONDS:
        trial.probe()
    return (time.perf_counter() - started) / (trial.meter.backward_samples - before)
