"""The one call of Ray Tune's Tuner."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from hpsearch.check import Checked
from hpsearch.errors import RunError
from hpsearch.execution.progress import Progress
from hpsearch.execution.searcher import PackSearcher
from hpsearch.execution.session import Capacity
from hpsearch.execution.worker import PackWorker
from hpsearch.planning import Planner
from hpsearch.results import Result


def fit(
    checked: Checked,
    planner: Planner,
    capacity: Capacity,
    folder: Path,
    record: Callable[[list[Result]], None],
    progress: Progress,
    deadline: float | None,
) -> None:
    """Runs packs until the planner has finished or the deadline has passed. Raises what record() raised."""
    searcher = PackSearcher(checked, planner, capacity, Path.cwd(), folder, record, deadline)
    resources = {"cpu": capacity.cpus, **({"gpu": capacity.gpus} if capacity.gpus else {})}
    tuner = tune.Tuner(
        tune.with_resources(PackWorker, resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,  # the searcher says when it has finished
            max_concurrent_trials=capacity.concurrent,
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


class _Refresh(tune.Callback):
    def __init__(self, searcher: PackSearcher, progress: Progress) -> None:
        self._searcher, self._progress = searcher, progress

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; nothing reads that."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._progress.refresh(len(self._searcher.running))
