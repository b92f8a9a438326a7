"""Between the planner and Ray Tune: packs out as Tune trials, results in as lines of trials.jsonl."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ray.tune.search import Searcher

from hpsearch.display import describe_pack
from hpsearch.execution.capacity import Offer
from hpsearch.execution.exchange import Exchange, Report
from hpsearch.execution.shares import Shares
from hpsearch.execution.stopping import Stopper
from hpsearch.planning import Pack, Planner
from hpsearch.results import Result
from hpsearch.running import RunningPack

NODES = 20  # of a cluster that may die with a pack and are not counted as its failures; it may be what kills them


@dataclass
class Running:
    """A pack that Ray Tune has.

    pack: with the seeds that have not ended. given, clock: time.time(), time.monotonic(). share: of a GPU. failures: by
    seed, how often it has failed in this run, with a traceback or with its worker; excused: how often for lack of the
    GPU's memory. again: seeds that failed and will be given again when the pack has ended.
    """

    pack: Pack
    given: float
    clock: float = field(default_factory=time.monotonic)
    share: float = 0.0
    failures: Counter[int] = field(default_factory=Counter)
    excused: Counter[int] = field(default_factory=Counter)
    again: set[int] = field(default_factory=set)
    waiting: bool = True  # for its first report
    ended: list[Result] = field(default_factory=list)
    stopped: bool = False
    node_died: bool = False
    nodes: int = 0  # that died with it


class PackSearcher(Searcher):
    """A Searcher over the planner's ask and tell. Results are on disk when record() returns, then the planner is told.

    offer: packs that may run at once now, and GPUs that they have together. retries: of a trial that raised, or whose
    worker died. deadline: time.monotonic() after which no more packs are given.
    """

    def __init__(
        self,
        planner: Planner,
        exchange: Exchange,
        shares: Shares,
        stopper: Stopper | None,
        record: Callable[[list[Result]], None],
        offer: Callable[[], Offer],
        retries: int,
        deadline: float | None,
    ) -> None:
        super().__init__(metric="pack", mode="max")
        self._planner, self._exchange, self._shares, self._stopper = planner, exchange, shares, stopper
        self._record, self._offer, self._retries, self._deadline = record, offer, retries, deadline
        self._running: dict[str, Running] = {}
        self._again: list[Running] = []
        self.failure: BaseException | None = None  # of record(): ends the run

    def training(self) -> list[RunningPack]:
        """What trains now, for those who watch."""
        return [_seen(running) for running in self._running.values() if running.pack.seeds]

    def given(self) -> dict[str, float]:
        """Tune trials of the packs that it has -> when they were given, time.time(); the first one first."""
        return {trial_id: running.given for trial_id, running in self._running.items()}

    def suggest(self, trial_id: str) -> Any:  # a dict, Searcher.FINISHED or None; Ray declares the dict only
        over = self._deadline is not None and time.monotonic() > self._deadline
        if self.failure is not None or over:
            return None if self._running else Searcher.FINISHED
        offer = self._offer()
        if len(self._running) >= offer.packs:
            return None
        running = self._next()
        if running is None:
            return Searcher.FINISHED if self._planner.finished and not self._again else None
        share = self._shares.of(running.pack.configuration.arm)
        if share and self._running and sum(r.share for r in self._running.values()) + share > offer.gpus + 1e-9:
            self._again.append(running)  # Ray would keep it waiting, with a share that may be another by then
            return None
        running.share, running.given, running.clock = share, time.time(), time.monotonic()
        self._running[trial_id] = running
        order = self._exchange.order(running.pack, self._milestones(running.pack))
        seen = {"study": self._exchange.study, "words": describe_pack(_seen(running))}
        return {"order": json.dumps(asdict(order)), "gpus": share, **seen}

    def stops(self, trial_id: str, reported: Mapping[str, Any]) -> bool:
        """Whether a pack that waits at a milestone is stopped there."""
        milestone, running = reported.get("milestone"), self._running[trial_id]
        if milestone is None or self._stopper is None:
            return False
        self._take(running, reported)
        waiting = [report["outcome"] for report in json.loads(reported["waiting"])]
        seeds = [*(vars(result) for result in running.ended), *waiting]
        running.stopped = self._stopper.stops(running.pack.configuration, milestone, seeds)
        return running.stopped

    def node_died(self, trial_id: str) -> None:
        """Its node is why the pack's worker is about to be told as dead."""
        self._running[trial_id].node_died = True

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._take(self._running[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        running = self._running.pop(trial_id)
        if error:
            self._lost(running)
            return
        self._take(running, result or {})
        if running.stopped:
            self._end(running, json.loads((result or {})["waiting"]))
        self._retry(running)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher; nothing reads that."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the run folder is the only state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def _next(self) -> Running | None:
        if self._again:
            return self._again.pop()
        pack = self._planner.next()
        return None if pack is None else Running(pack, time.time())

    def _milestones(self, pack: Pack) -> Mapping[str, Any] | None:
        """Where the pack may be stopped early; None where it may not."""
        if self._stopper is None or not self._stopper.may_stop(pack):
            return None
        return vars(self._stopper.milestones)

    def _take(self, running: Running, reported: Mapping[str, Any]) -> None:
        """What has ended: kept, or given again when the pack has ended. Tune shows some reports twice."""
        self._end(running, json.loads(reported.get("reports", "[]")))

    def _end(self, running: Running, reports: list[Report]) -> None:
        kept = []
        for report in reports:
            seed, outcome = report["seed"], report["outcome"]
            if seed not in running.pack.seeds or seed in running.again:
                continue
            since = (running.given, running.clock) if running.waiting else None  # the first one waited for a worker
            running.waiting = False
            attempt = running.pack.attempts[running.pack.seeds[seed]] + running.failures[seed]
            if outcome["status"] == "failed" and self._is_given_again(running, seed, outcome["out_of_memory"]):
                continue
            kept.append(self._exchange.result(running.pack, report, attempt, since))
            self._shares.learn(kept[-1], report["device_memory"])
        self._tell(running, kept)

    def _is_given_again(self, running: Running, seed: int, out_of_memory: bool) -> bool:
        running.failures[seed] += 1
        if out_of_memory and self._shares.out_of_memory(running.pack.configuration.arm, running.share):
            running.excused[seed] += 1
        if running.failures[seed] - running.excused[seed] > self._retries:
            return False
        running.again.add(seed)
        return True

    def _retry(self, running: Running) -> None:
        if running.again:
            seeds = {seed: trial for seed, trial in running.pack.seeds.items() if seed in running.again}
            self._again.append(replace(running, pack=replace(running.pack, seeds=seeds), again=set(), waiting=True))

    def _lost(self, running: Running) -> None:
        """The worker died: what it had not reported is trained again, and given up after the retries."""
        given_up = []
        running.nodes += running.node_died
        excused = running.node_died and running.nodes <= NODES
        running.node_died = False
        for seed, trial_id in running.pack.seeds.items():
            if seed in running.again:
                continue
            attempt = running.pack.attempts[trial_id] + running.failures[seed]
            running.excused[seed] += excused
            if self._is_given_again(running, seed, out_of_memory=False):
                continue
            times = f"{running.failures[seed]} times" if running.failures[seed] > 1 else "once"
            error = (
                f"the worker process died {times}, or could not report: out of memory, a crash, or a result that is "
                "no JSON"
            )
            given_up.append(self._exchange.failed(running.pack, seed, attempt, error))
        self._tell(running, given_up)
        self._retry(running)

    def _tell(self, running: Running, results: list[Result]) -> None:
        if not results or self.failure is not None:
            return
        try:
            self._record(results)
        except Exception as error:  # Tune would log it and go on: nothing would be kept from here on
            self.failure = error
            return
        running.ended += results
        ended = {result.seed for result in results}
        left = {seed: trial for seed, trial in running.pack.seeds.items() if seed not in ended}
        running.pack = replace(running.pack, seeds=left)
        for result in results:
            self._planner.tell(result)


def _seen(running: Running) -> RunningPack:
    configuration = running.pack.configuration
    return RunningPack(configuration.arm, configuration.params, tuple(running.pack.seeds), running.given)
