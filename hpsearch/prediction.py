"""What a run would cost: samples through backward, FLOPs and time, before anything is trained."""

from __future__ import annotations

import math
import os
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from hpsearch.changes import last_study
from hpsearch.check import Checked
from hpsearch.hyperparameters import Settings
from hpsearch.planning import bundle_size, expected_sizes, has_bundles, most_trials, phase_sizes, planned_trials
from hpsearch.probing import Shape, Timed, time_study
from hpsearch.results import Result, belonging, read_results
from hpsearch.sampling import ADAPTIVE, Params, Sequence, random_points
from hpsearch.study import Study
from hpsearch.tally import Tally
from hpsearch.tasks import Task
from hpsearch.training.batches import crop
from hpsearch.training.cost import flops_per_sample

SAMPLED = 64  # random points that stand for what an adaptive sampler will suggest
PACK_SECONDS = 0.06  # of Ray Tune, a pack; seen with two workers that train nothing
RAY_SECONDS = 9.0  # until Ray and a worker of it have started; seen on two cores
RAY_CORES = 0.15  # that Ray and the driver take from trials that have all cores; seen on two cores


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
    longest: float = 0.0  # seconds of the longest pack: in the mean half of it is waited for in the end
    packs: float = 0.0  # that are left
    start: float = 0.0  # seconds until the first trial starts
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Wall-clock time of the whole run."""
        known = [arm.seconds for arm in self.arms.values() if arm.seconds is not None]
        if len(known) < len(self.arms):
            return None
        idle = (self.concurrent - 1) / self.concurrent * self.longest / 2
        return self.start + (sum(known) + PACK_SECONDS * self.packs) / self.concurrent + idle if sum(known) else 0.0


def predict(checked: Checked, folder: Path) -> Prediction:
    """Exact for phases that do not adapt; for the others, the mean over random points of the arm's space.

    Seconds come from the folder's own trials; for the arms of a Task that has none, pieces of trials are timed, which
    takes 20 to 30 seconds. Raises RunError where that fails, InputError where the folder is another study's.
    """
    study = checked.study
    before = last_study(folder, study)
    results = [r for r in belonging(read_results(folder)[0], study, checked.identity) if r.done]
    device = "cuda" if torch.cuda.is_available() and study.resources.gpus != 0 else "cpu"
    torch.set_num_threads(study.resources.cpus)
    fit = max(1, (os.cpu_count() or 1) // study.resources.cpus)
    concurrent = fit if study.resources.concurrent == "auto" else min(fit, study.resources.concurrent)
    by_arm = {arm: [result for result in results if result.arm == arm] for arm in study.arms}
    size = bundle_size(checked, before)
    timed: dict[str, Timed] = {}
    if not checked.identity.function:
        unknown = [arm for arm, mine in by_arm.items() if not _rates(mine) and planned_trials(study, arm)]
        points = {arm: [study.settings(arm, point) for point, _ in _points(checked, arm)] for arm in unknown}
        timed = time_study(study, points, {arm: _bundles(checked, arm, size) for arm in unknown}, device, concurrent)
    slower = _slower(concurrent * study.resources.cpus) if device == "cpu" else 1.0
    arms, longest, packs = {}, 0.0, 0.0
    for arm, mine in by_arm.items():
        spent = Tally(study, mine).arms[arm].spent()
        trials = planned_trials(study, arm) + (0 if spent is None else spent.more)
        left = max(0, trials - len(mine))
        costs = (
            _by_results(mine)
            if checked.identity.function
            else _by_model(checked, arm, mine, timed.get(arm), device, slower)
        )
        if costs[2] is not None and left:
            seeds = max(len(study.first_seeds), study.confirm.seeds if study.confirm else 0)
            at_once = _at_once(checked, arm, timed.get(arm), size)
            longest = max(longest, costs[2] * max(at_once, seeds))
            packs += left / at_once
        arms[arm] = ArmPrediction(
            sum(expected_sizes(study, arm)),
            trials,
            len(mine),
            *(None if cost is None else cost * left for cost in costs),
        )
    start = RAY_SECONDS + max((found.ready for found in timed.values()), default=0.0)
    notes = (*checked.warm.notes, *_seeds_by_spread(study, sum(arm.trials for arm in arms.values())))
    return Prediction(arms, concurrent, device, all(by_arm.values()), longest, packs, start, notes)


def _seeds_by_spread(study: Study, least: int) -> Iterator[str]:
    if study.two_stage is not None:
        most = sum(most_trials(study, arm) for arm in study.arms)
        yield (
            f"seeds by spread: at least {least} trials, at most {most}, as each configuration's first "
            f"{study.two_stage.min} seeds ask for; costs and time are of the {least}"
        )


Costs = tuple[float | None, float | None, float | None]  # of a trial: backward samples, FLOPs, seconds


def _by_results(results: list[Result]) -> Costs:
    def mean(name: str) -> float | None:
        known = [value for result in results if (value := result.cost.get(name)) is not None]
        return statistics.fmean(known) if known else None

    return mean("backward_samples"), mean("flops"), mean("seconds")


def _slower(used: int) -> float:
    """How much longer trials take on the CPU cores that they use than they did while nothing else ran."""
    return max(1.0, used / max(0.5, (os.cpu_count() or 1) - RAY_CORES))


def _by_model(
    checked: Checked, arm: str, results: list[Result], timed: Timed | None, device: str, slower: float
) -> Costs:
    """The mean trial over the arm's configurations, from the training set's size, the model and what was timed."""
    study = checked.study
    task: Task = checked.task(**study.task.options)  # type: ignore[call-arg, assignment]
    data = task.data(study.first_seeds[0])
    train, lengths = data.train, data.lengths.get("train")
    points = _points(checked, arm)
    settings = [study.settings(arm, point) for point, _ in points]
    samples = [backward_samples(each, len(train[0])) for each in settings]
    rows = slice(0, min(settings[0].batch_size, len(train[0])))
    batch = crop(task, tuple(tensor[rows] for tensor in train), lengths, rows)
    flops = flops_per_sample(task, tuple(tensor.to(device) for tensor in batch))
    mean = statistics.fmean(samples)
    if timed is None:
        seconds = mean * statistics.fmean(_rates(results))
    else:
        whole = (
            timed.trial(each, count) * (timed.together(each) if bundled else 1.0)
            for each, count, (_, bundled) in zip(settings, samples, points, strict=True)
        )
        seconds = slower * statistics.fmean(whole)
    return mean, mean * flops, seconds


def _rates(results: list[Result]) -> list[float]:
    """Seconds a sample through backward, evaluations and all."""
    return [r.cost["seconds"] / r.cost["backward_samples"] for r in results if r.cost.get("backward_samples")]  # type: ignore[operator]


def backward_samples(settings: Settings, training_samples: int) -> int:
    """Samples through backward in a whole trial: a second pass in every interval-th step, counted from step 0."""
    batch = min(settings.batch_size, training_samples)
    steps = settings.epochs * (training_samples // batch)
    perturbed = math.ceil(steps / settings.interval) if settings.rho > 0 else 0
    return batch * (steps + perturbed)


def _points(checked: Checked, arm: str) -> list[tuple[Params, bool]]:
    """Points of each phase, and whether the phase is planned in bundles."""
    study = checked.study
    points: list[tuple[Params, bool]] = []
    for number, (phase, size) in enumerate(zip(study.phases(arm), phase_sizes(study, arm), strict=True)):
        if phase.sampler in ADAPTIVE:
            drawn = random_points(study, arm, SAMPLED)
            points += [(drawn[index % SAMPLED], False) for index in range(size)]
        else:
            bundled = has_bundles(checked) and study.stopping is None
            points += [(point, bundled) for point in islice(Sequence(study, arm, number), min(size, 10 * SAMPLED))]
    return points


def _bundles(checked: Checked, arm: str, size: int) -> dict[Shape, int]:
    """Trials of a full bundle of each shape."""
    study = checked.study
    settings = [study.settings(arm, point) for point, bundled in _points(checked, arm) if bundled]
    seeds = len(study.first_seeds)
    return {shape: min(size, count * seeds) for shape, count in Counter(one.shape() for one in settings).items()}


def _at_once(checked: Checked, arm: str, timed: Timed | None, size: int) -> float:
    """Trials that a worker is given at once, in the mean: a bundle's, or the seeds of a configuration."""
    study = checked.study
    if size == 1:
        return len(study.first_seeds)
    sizes, found = _bundles(checked, arm, size), []
    for point, bundled in _points(checked, arm):
        settings = study.settings(arm, point)
        is_quicker = bundled and (timed is None or timed.together(settings) < 1)
        found.append(sizes[settings.shape()] if is_quicker else len(study.first_seeds))
    return len(found) / sum(1 / size for size in found)
