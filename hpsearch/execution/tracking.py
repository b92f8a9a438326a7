"""The trials of a run in TensorBoard, MLflow or Weights & Biases, by Ray's own callbacks: each is a run of theirs.

Ray would call them for what Tune calls a trial, which is a pack. Here they are called for each trial when it has ended.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import ray
from ray.tune.logger import LoggerCallback, TBXLoggerCallback

from hpsearch.results import Result
from hpsearch.study import Study

FOLDER = "tracking"  # in the run folder; may be thrown away
PATIENCE = 120.0  # seconds that a run which has ended waits, at most, for a trial to be logged


@dataclass(frozen=True, eq=False)
class TrackedTrial:
    """What Ray's callbacks ask of a trial of Tune's; of ours there is one for each result."""

    trial_id: str
    config: dict[str, Any]
    local_path: str
    experiment_dir_name: str  # the group that Weights & Biases shows it in

    @property
    def evaluated_params(self) -> dict[str, Any]:
        return self.config

    def init_local_path(self) -> None:
        os.makedirs(self.local_path, exist_ok=True)

    def __str__(self) -> str:
        return f"{self.experiment_dir_name}-{self.trial_id}"


class Tracking:
    """Follows a run in a thread of its own, in which Ray has started. A tracker's first error is told and ends it; it
    never delays or ends the run. Of results that an earlier run left nothing is logged again.
    """

    def __init__(self, folder: Path, study: Study, warn: Callable[[str], None]) -> None:
        self._folder, self._study, self._warn = folder.resolve() / FOLDER, study, warn
        self._queue: SimpleQueue[Result | None] = SimpleQueue()
        self._callbacks: dict[str, LoggerCallback] = {}
        self._logged = 0
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def __enter__(self) -> Self:
        if self._study.tracking:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """All that has ended is logged, unless the run was interrupted, or a trial takes too long."""
        self._queue.put(None)
        while kind is None and self._thread.is_alive():
            logged = self._logged
            self._thread.join(PATIENCE)
            if self._thread.is_alive() and self._logged == logged:
                self._warn(f"tracking: {self._queue.qsize()} trials were not logged: no answer in {PATIENCE:.0f} s")
                return

    def add(self, results: list[Result]) -> None:
        """Results that are on disk. Returns at once."""
        if self._thread.is_alive():
            for result in results:
                self._queue.put(result)

    def _work(self) -> None:
        for name in self._study.tracking:
            self._guard(name, lambda name=name: self._open(name))  # type: ignore[misc]
        while (result := self._queue.get()) is not None:
            for name, callback in list(self._callbacks.items()):
                trial = track(result, self._folder / name)
                self._guard(name, lambda c=callback, t=trial, r=result: log(c, t, r))  # type: ignore[misc]
            self._logged += 1

    def _open(self, name: str) -> None:
        callback = MAKERS[name](self._folder, self._study)
        callback.setup()
        self._callbacks[name] = callback

    def _guard(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._callbacks.pop(name, None)
            self._warn(f"tracking by {name} ends here, the run goes on: {type(error).__name__}: {error}")


def track(result: Result, folder: Path) -> TrackedTrial:
    """config: the hyperparameters, and what else runs are told apart by."""
    config = {"arm": result.arm, "seed": result.seed, "status": result.status, **result.fixed, **result.params}
    return TrackedTrial(result.trial_id, config, str(folder / result.arm / result.trial_id), result.arm)


def log(callback: Any, trial: TrackedTrial, result: Result) -> None:
    """callback: a ray.tune.logger.LoggerCallback, whose methods declare a whole Trial of Tune's."""
    trial.init_local_path()
    callback.log_trial_start(trial)
    futures = list(getattr(callback, "_trial_logging_futures", {}).values())
    for epoch, values in points(result):
        callback.log_trial_result(epoch, trial, {"training_iteration": epoch, **values})
    callback.log_trial_end(trial, failed=result.status == "failed")
    # Weights & Biases has a process for each of its runs, whose errors Ray's callback drops: they are raised here.
    if futures:
        ray.get(futures)
    callback.on_experiment_end([])


def points(result: Result) -> Iterator[tuple[int, dict[str, float]]]:
    """(epoch, values by name): the curves; at the last epoch the final metrics and costs, too."""
    by_epoch: dict[int, dict[str, float]] = {}
    epochs = result.curve.get("epoch", [])
    for name, values in result.curve.items():
        for epoch, value in zip(epochs, values, strict=False):
            if name != "epoch" and epoch is not None and value is not None:
                by_epoch.setdefault(int(epoch), {})[name] = value
    final = {**{f"cost/{name}": value for name, value in result.cost.items()}, **result.metrics}
    last = max([*by_epoch, result.epochs or 0, 1])
    by_epoch.setdefault(last, {}).update({name: value for name, value in final.items() if value is not None})
    yield from sorted(by_epoch.items())


def _tensorboard(folder: Path, study: Study) -> LoggerCallback:
    return TBXLoggerCallback()  # type: ignore[no-untyped-call]


def _mlflow(folder: Path, study: Study) -> LoggerCallback:
    """To MLFLOW_TRACKING_URI, where that is set."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # of making a database, on standard error
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    folder.mkdir(exist_ok=True)
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    return MLflowLoggerCallback(tracking_uri=uri, experiment_name=study.name)


def _wandb(folder: Path, study: Study) -> LoggerCallback:
    """Into files, which `wandb sync` sends; WANDB_MODE=online sends at once."""
    mode = os.environ.setdefault("WANDB_MODE", "offline")  # of this process alone: workers have their own environment
    from hpsearch.execution.wandb_runs import WholeRuns

    folder.mkdir(exist_ok=True)
    project = os.environ.get("WANDB_PROJECT", study.name)
    return WholeRuns(project=project, mode=mode, dir=str(folder))


MAKERS: Mapping[str, Callable[[Path, Study], LoggerCallback]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
