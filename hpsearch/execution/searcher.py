"""Between the planner and Ray Tune: packs out as Tune trials, results in as lines of trials.jsonl."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ray.tune.search import Searcher

from hpsearch.display import describe_pack
from hpsearch.execution.capacity import Offer
from hpsearch.execution.exchange import Exchange, Report
from hpsearch.execution.shares import Shares
from hpsearch.execution.stopping import Stopper
from hpsearch.planning import Bundle, Pack, Planner
from hpsearch.results import Result
from hpsearch.running import RunningPack
from hpsearch.training.outcome import Progress
from hpsearch.training.pack import PackOrder

NODES = 20  # of a cluster that may die with a pack and are not counted as its failures; it may be what kills them


@dataclass
class Running:
    """What Ray Tune has as one trial: a pack, or the packs of a bundle.

    packs: with the seeds that have not ended. given, clock: time.time(), time.monotonic(). share: of a GPU. failures:
    by trial, how often it has failed in this run, with a traceback or with its worker; excused: how often for lack of
    the GPU's memory. again: trials that failed and will be given again when the pack has ended. died: workers that took
    a bundle along. progress: of those that have not ended.
    """

    packs: tuple[Pack, ...]
    bundle: Bundle | None = None
    given: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.monotonic)
    share: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    again: set[str] = field(default_factory=set)
    waiting: bool = True  # for its first report
    ended: list[Result] = field(default_factory=list)
    stopped: bool = False
    node_died: bool = False
    nodes: int = 0  # that died with it
    died: int = 0
    progress: Progress = Progress()

    @classmethod
    def of(cls, planned: Pack | Bundle) -> Running:
        return cls(planned.packs, planned) if isinstance(planned, Bundle) else cls((planned,))

    @property
    def pack(self) -> Pack:
        """The only one, or the first of a bundle, whose arm is the others', too."""
        return self.packs[0]

    def unended(self) -> dict[str, tuple[Pack, int]]:
        """Trials that have not ended -> their pack and seed."""
        return {trial_id: (pack, seed) for pack in self.packs for seed, trial_id in pack.seeds.items()}

    def trial(self, report: Report) -> str | None:
        """The trial that a report is of; None where it has ended before."""
        if self.bundle is not None:
            return self.bundle.members[report["place"]].trial_id
        return self.pack.seeds.get(report["seed"])

    def without(self, ended: Set[str]) -> tuple[Pack, ...]:
        """Its packs without these trials."""
        left = [{s: trial for s, trial in pack.seeds.items() if trial not in ended} for pack in self.packs]
        return tuple(replace(pack, seeds=seeds) for pack, seeds in zip(self.packs, left, strict=True))

    def seen(self) -> RunningPack:
        configuration = self.pack.configuration
        count = len(self.unended())
        if self.bundle is None:
            seeds, params, configurations = tuple(self.pack.seeds), configuration.params, 1
            return RunningPack(configuration.arm, params, seeds, self.given, configurations, count, self.progress)
        seeds = tuple(sorted({member.seed for member in self.bundle.members}))
        configurations = len({tuple(member.params.items()) for member in self.bundle.members})
        params = configuration.params if configurations == 1 else {}
        return RunningPack(configuration.arm, params, seeds, self.given, configurations, count, self.progress)


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
        return [running.seen() for running in self._running.values() if running.unended()]

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
        running.progress = Progress()
        self._running[trial_id] = running
        order = self._order(running)
        seen = {"study": self._exchange.study, "words": describe_pack(running.seen())}
        return {"order": json.dumps(asdict(order)), "gpus": share, **seen}

    def stops(self, trial_id: str, reported: Mapping[str, Any]) -> bool:
        """Whether a pack that waits at a milestone is stopped there."""
        milestone, running = reported.get("milestone"), self._running[trial_id]
        if milestone is None or self._stopper is None:
            return False
        self._take(running, reported)
        unended = running.unended()
        reports = json.loads(reported["waiting"])
        waiting = [report["outcome"] for report in reports if running.trial(report) in unended]
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
        refused = (result or {}).get("refused")
        if refused is not None:
            raised = (result or {})["raised"]
            self._exchange.note_refusal(running.pack.configuration.arm, refused, raised)
            if not raised and running.bundle is not None:
                self._planner.refuse(running.bundle)
            self._one_by_one(running)
            return
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
        planned = self._planner.next()
        return None if planned is None else Running.of(planned)

    def _order(self, running: Running) -> PackOrder:
        milestones = self._milestones(running.pack)  # a bundle that may be stopped is one configuration's
        if running.bundle is not None:
            return self._exchange.bundle_order(running.bundle, milestones)
        return self._exchange.order(running.pack, milestones)

    def _milestones(self, pack: Pack) -> Mapping[str, Any] | None:
        """Where the pack may be stopped early; None where it may not."""
        if self._stopper is None or not self._stopper.may_stop(pack):
            return None
        return vars(self._stopper.milestones)

    def _take(self, running: Running, reported: Mapping[str, Any]) -> None:
        """What has ended: kept, or given again when the pack has ended. Tune shows some reports twice."""
        running.progress = Progress(*reported.get("progress", ()))
        self._end(running, json.loads(reported.get("reports", "[]")))

    def _end(self, running: Running, reports: list[Report]) -> None:
        kept = []
        unended = running.unended()
        for report in reports:
            trial_id, outcome = running.trial(report), report["outcome"]
            if trial_id not in unended or trial_id in running.again:
                continue
            since = (running.given, running.clock) if running.waiting else None  # the first one waited for a worker
            running.waiting = False
            pack, _ = unended[trial_id]
            attempt = pack.attempts[trial_id] + running.failures[trial_id]
            if outcome["status"] == "failed" and self._is_given_again(running, trial_id, outcome["out_of_memory"]):
                continue
            bundle = pack.bundle if running.bundle is None else running.bundle.recorded(together=True)
            kept.append(replace(self._exchange.result(pack, report, attempt, since), bundle=bundle))
            self._shares.learn(kept[-1], report["device_memory"])
        self._tell(running, kept)

    def _is_given_again(self, running: Running, trial_id: str, out_of_memory: bool) -> bool:
        running.failures[trial_id] += 1
        if out_of_memory and self._shares.out_of_memory(running.pack.configuration.arm, running.share):
            running.excused[trial_id] += 1
        if running.failures[trial_id] - running.excused[trial_id] > self._retries:
            return False
        running.again.add(trial_id)
        return True

    def _retry(self, running: Running) -> None:
        if running.again:
            packs = running.without(running.unended().keys() - running.again)
            self._again.append(replace(running, packs=packs, again=set(), waiting=True))

    def _one_by_one(self, running: Running) -> None:
        """The packs of a bundle, each on its own; the first one next."""
        assert running.bundle is not None
        bundle = replace(running.bundle, packs=running.packs)
        self._again += [Running((pack,)) for pack in reversed(bundle.one_by_one())]

    def _lost(self, running: Running) -> None:
        """The worker died: what it had not reported is trained again, and given up after the retries."""
        given_up = []
        running.nodes += running.node_died
        excused = running.node_died and running.nodes <= NODES
        running.node_died = False
        if running.bundle is not None and running.unended():
            # Whole again, for the same bits; after the retries one by one: one of them may be the reason.
            running.died += not excused
            if running.died > self._retries:
                self._one_by_one(running)
            else:
                self._again.append(replace(running, waiting=True))
            return
        for trial_id, (pack, seed) in running.unended().items():
            if trial_id in running.again:
                continue
            attempt = pack.attempts[trial_id] + running.failures[trial_id]
            running.excused[trial_id] += excused
            if self._is_given_again(running, trial_id, out_of_memory=False):
                continue
            failures = running.failures[trial_id]
            times = f"{failures} times" if failures > 1 else "once"
            error = (
                f"the worker process died {times}, or could not report: out of memory, a crash, or a result that is "
                "no JSON"
            )
            given_up.append(self._exchange.failed(pack, seed, attempt, error))
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
        running.packs = running.without({result.trial_id for result in results})
        for result in results:
            self._planner.tell(result)
