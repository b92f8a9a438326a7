"""Between the planner and Ray Tune: packs out as Tune trials, results in as lines of trials.jsonl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from hpsearch import __version__
from hpsearch.check import COSTS, Checked
from hpsearch.execution.session import Capacity
from hpsearch.planning import Pack, Planner
from hpsearch.results import Result, checkpoint_of
from hpsearch.training.engine import SWITCHES
from hpsearch.training.pack import PackOrder

LOST_RETRIES = 2  # of a pack whose worker died


@dataclass(frozen=True)
class Running:
    """A pack that Ray Tune has, since when (time.time()), and how often its worker has died before."""

    pack: Pack
    given: float
    lost: int = 0
    waiting: bool = True  # for its first result


class PackSearcher(Searcher):
    """A Searcher over the planner's ask and tell. Results are on disk when record() returns, then the planner is told.

    folder: where the user's task is found. out: the run folder. deadline: time.monotonic() after which no more packs
    are given.
    """

    def __init__(
        self,
        checked: Checked,
        planner: Planner,
        capacity: Capacity,
        folder: Path,
        out: Path,
        record: Callable[[list[Result]], None],
        deadline: float | None,
    ) -> None:
        super().__init__(metric="pack", mode="max")
        self._checked, self._planner, self._capacity = checked, planner, capacity
        self._folder, self._out, self._record, self._deadline = folder, out.resolve(), record, deadline
        self._running: dict[str, Running] = {}
        self._again: list[Running] = []
        self.failure: BaseException | None = None  # of record(): ends the run

    @property
    def running(self) -> list[Pack]:
        return [running.pack for running in self._running.values()]

    def suggest(self, trial_id: str) -> Any:  # a dict, Searcher.FINISHED or None; Ray declares the dict only
        over = self._deadline is not None and time.monotonic() > self._deadline
        if self.failure is not None or over:
            return None if self._running else Searcher.FINISHED
        if self._again:
            running: Running | None = self._again.pop()
        else:
            pack = self._planner.next()
            running = None if pack is None else Running(pack, time.time())
        if running is None:
            return Searcher.FINISHED if self._planner.finished else None
        self._running[trial_id] = running
        return {"order": json.dumps(asdict(self._order(running.pack)))}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._take(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if error:
            self._lost(self._running.pop(trial_id))
            return
        self._take(trial_id, result or {})
        self._running.pop(trial_id)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher; nothing reads that."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the run folder is the only state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def _take(self, trial_id: str, reported: dict[str, Any]) -> None:
        running = self._running[trial_id]
        reports = json.loads(reported.get("reports", "[]"))
        results = []
        for report in reports:
            if report["seed"] in running.pack.seeds:
                results.append(self._result(running, report))
                running = replace(running, waiting=False)
        self._tell(results)
        left = {s: t for s, t in running.pack.seeds.items() if s not in {report["seed"] for report in reports}}
        self._running[trial_id] = replace(running, pack=replace(running.pack, seeds=left), waiting=False)

    def _lost(self, running: Running) -> None:
        """The worker died: what it had not reported is trained again, and given up after the retries."""
        if not running.pack.seeds:
            return
        if running.lost < LOST_RETRIES:
            attempts = {trial_id: attempt + 1 for trial_id, attempt in running.pack.attempts.items()}
            self._again.append(Running(replace(running.pack, attempts=attempts), time.time(), running.lost + 1))
            return
        times = f"{running.lost + 1} times"
        error = (
            f"the worker process died {times}, or could not report: out of memory, a crash, or a result that is no JSON"
        )
        self._tell([self._failed(running.pack, seed, error) for seed in running.pack.seeds])

    def _tell(self, results: list[Result]) -> None:
        if not results or self.failure is not None:
            return
        try:
            self._record(results)
        except Exception as error:  # Tune would log it and go on: nothing would be kept from here on
            self.failure = error
            return
        for result in results:
            self._planner.tell(result)

    def _order(self, pack: Pack) -> PackOrder:
        study, configuration = self._checked.study, pack.configuration
        if self._checked.identity.function:
            params: dict[str, Any] = {**study.arms[configuration.arm].fixed, **configuration.params}
        else:
            params = vars(study.settings(configuration.arm, configuration.params))
        return PackOrder(
            task=study.task.name,
            options=study.task.options,
            folder=str(self._folder),
            params=params,
            seeds=tuple(pack.seeds),
            objectives=tuple(study.objectives),
            threads=self._capacity.cpus,
            device="cuda" if self._capacity.gpus else "cpu",
            engine={name: getattr(study.resources, name) for name in SWITCHES},
            checkpoints={str(seed): str(checkpoint_of(self._out, trial)) for seed, trial in pack.seeds.items()},
        )

    def _result(self, running: Running, report: dict[str, Any]) -> Result:
        outcome = report["outcome"]
        failed = self._failed(running.pack, report["seed"], "")
        outcome["metrics"] = outcome["metrics"] or failed.metrics  # every key, null where not known
        # The pack's first trial waited for a worker; the others had it.
        waited = datetime.fromisoformat(report["started"]).timestamp() - running.given if running.waiting else 0.0
        return replace(
            failed,
            **{
                key: outcome[key] for key in ("status", "epochs", "epochs_planned", "metrics", "cost", "curve", "error")
            },
            host=report["host"],
            device=report["device"],
            threads=report["threads"],
            engine=report["engine"],
            versions={"hpsearch": __version__, "torch": report["torch"]},
            started=report["started"],
            seconds_waiting=max(0.0, round(waited, 3)),
        )

    def _failed(self, pack: Pack, seed: int, error: str) -> Result:
        configuration, trial_id = pack.configuration, pack.seeds[seed]
        return Result(
            trial_id=trial_id,
            configuration_id=configuration.configuration_id,
            arm=configuration.arm,
            params=configuration.params,
            fixed=self._checked.study.arms[configuration.arm].fixed,
            seed=seed,
            sampling=configuration.sampling,
            status="failed",
            metrics={name: None for name in self._checked.study.objectives if name not in COSTS},
            cost=dict.fromkeys(COSTS),
            error=error,
            attempt=pack.attempts[trial_id],
            concurrent=self._capacity.concurrent,
            versions={"hpsearch": __version__},
        )
