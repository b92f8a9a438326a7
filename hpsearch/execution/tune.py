"""The one call of Ray Tune's Tuner."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from hpsearch.check import Checked
from hpsearch.errors import RunError
from hpsearch.execution.capacity import Capacity
from hpsearch.execution.exchange import Exchange
from hpsearch.execution.progress import Progress
from hpsearch.execution.searcher import PackSearcher
from hpsearch.execution.shares import Shares
from hpsearch.execution.stopping import Stopper
from hpsearch.execution.worker import PackWorker
from hpsearch.planning import Planner
from hpsearch.results import Result

MOST = 10_000  # packs at once; fewer where the searcher gives none
START = 120.0  # seconds that a new worker may take before its pack is given another one


def fit(
    checked: Checked,
    planner: Planner,
    known: list[Result],
    capacity: Capacity,
    folder: Path,
    record: Callable[[list[Result]], None],
    progress: Progress,
    deadline: float | None,
) -> list[str]:
    """Runs packs until the planner has finished or the deadline has passed; what the user should know of it.

    known: results of earlier runs. Raises what record() raised.
    """
    study = checked.study
    stopper = None if study.stopping is None else Stopper(study, study.stopping, known)
    if capacity.concurrent > 1:
        planner.ask_ahead()
    exchange = Exchange(checked, capacity, Path.cwd(), folder)
    shares = Shares(capacity.gpus, study.resources.gpus == "auto", capacity.packs_per_gpu)
    searcher = PackSearcher(
        planner, exchange, shares, stopper, record, capacity.offer, study.resources.retries, deadline
    )

    def resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        gpus = {"GPU": config["gpus"]} if config["gpus"] else {}
        return tune.PlacementGroupFactory([{"CPU": capacity.cpus, **gpus}])

    tuner = tune.Tuner(
        tune.with_resources(PackWorker, resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=_Scheduler(searcher),
            num_samples=-1,  # the searcher says when it has finished
            max_concurrent_trials=MOST,
            reuse_actors=True,
            trial_name_creator=lambda trial: f"{checked.study.name}-{trial.trial_id}",
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(folder.resolve()),
            verbose=0,
            callbacks=[_Refresh(searcher, progress)],
            failure_config=tune.FailureConfig(max_failures=0),  # the searcher trains lost packs again
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    tuner.fit()
    if searcher.failure is not None:
        raise searcher.failure
    if not planner.finished and (deadline is None or time.monotonic() < deadline):
        raise RunError("Ray Tune ended before the plan did; run the same command again to go on")
    return [*shares.notes, *exchange.notes]


class _Scheduler(FIFOScheduler):
    """Stops a pack at a milestone where the searcher says so, and tells it why a worker died."""

    def __init__(self, searcher: PackSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its scheduler; nothing reads that."""
        return {}

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The oldest pack that waits for a worker, but one for which a worker is being started comes last for a while.

        Tune would stop that worker for one that gets free: where packs take less time than a start, all would run in
        the first one, one after another.
        """
        trials = {trial.trial_id: trial for trial in tune_controller.get_live_trials()}
        given = ((trials.get(trial_id), since) for trial_id, since in self._searcher.given().items())
        waiting = [(trial, since) for trial, since in given if trial is not None and trial.status == Trial.PENDING]
        young, requested = time.time() - START, tune_controller._trial_to_actor
        ours = (trial for trial, since in waiting if trial not in requested or since < young)
        return next(ours, waiting[0][0] if waiting else None)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stops = self._searcher.stops(trial.trial_id, result)
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        if trial.error_file and "its node has died" in Path(trial.error_file).read_text():
            self._searcher.node_died(trial.trial_id)


class _Refresh(tune.Callback):
    def __init__(self, searcher: PackSearcher, progress: Progress) -> None:
        self._searcher, self._progress = searcher, progress

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; nothing reads that."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._searcher.failure is not None:
            raise self._searcher.failure  # now: what still trains could not be kept
        self._progress.refresh(self._searcher.training)
