"""What is seen of a run while it runs: pictures for the terminal or a log, running.json and metrics."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from hpsearch.display import RunView, log_line
from hpsearch.planning import Planner
from hpsearch.results import Result
from hpsearch.running import Running, RunningPack, remove_running, write_running
from hpsearch.status import ArmStatus, RunStatus
from hpsearch.study import Study
from hpsearch.tally import Tally

LOOK = 1.0  # seconds between two pictures of the run: 10 ms to draw
FILE_EVERY = 2.0  # seconds between two writings of running.json
LOG_EVERY = (10.0, 300.0)  # seconds between two lines of a log: at first, and at most
LOG_SHARE = 1 / 30  # of the time that a run has taken, a line: a week's log can still be read


class Outlet(Protocol):
    """Shows the run; it is given a picture once a second at most, and decides what of that it needs."""

    def open(self) -> None: ...
    def show(self, status: RunStatus) -> None: ...
    def close(self, status: RunStatus) -> None: ...


class Progress:
    """Told of every result; refresh() is called often, and makes a picture for the outlets when one is due.

    known: the results that were there. tally: what the run has come to. dashboard: Ray's, where there is one.
    outlets: are shown pictures. listeners: are given every result.
    """

    def __init__(self, study: Study, planner: Planner, known: Sequence[Result], folder: Path) -> None:
        self.dashboard: str | None = None
        self.outlets: list[Outlet] = []
        self.listeners: list[Callable[[list[Result]], None]] = []
        self._study, self._planner, self._folder = study, planner, folder
        self.tally = Tally(study, known)
        self._started, self._entered = time.time(), time.monotonic()
        self._seconds = 0.0  # of trials that ended in this run
        self._looked = -LOOK
        self._packs: Sequence[RunningPack] = ()

    def __enter__(self) -> Self:
        self._entered = time.monotonic()  # Ray has started: what it took says nothing about what is left
        for outlet in self.outlets:
            outlet.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = self._picture(())
        for outlet in self.outlets:
            outlet.close(status)

    def add(self, results: list[Result]) -> None:
        self.tally.add(results)
        for listener in self.listeners:
            listener(results)
        self._seconds += sum(map(_seconds_here, results))

    def refresh(self, packs: Callable[[], Sequence[RunningPack]]) -> None:
        """packs: what trains now; called when a picture is due."""
        if time.monotonic() - self._looked < LOOK:
            return
        status = self._picture(packs())
        for outlet in self.outlets:
            outlet.show(status)
        self._looked = time.monotonic()

    def _picture(self, packs: Sequence[RunningPack]) -> RunStatus:
        counts = self._planner.counts()
        arms = {}
        for name, arm in self.tally.arms.items():
            arms[name] = ArmStatus(counts[name].planned, counts[name].ended, +arm.statuses, arm.best())
        running = Running(
            process=os.getpid(),
            host=os.uname().nodename,
            started=self._started,
            written=time.time(),
            left_seconds=self._left_seconds(arms, packs),
            dashboard=self.dashboard,
            packs=tuple(sorted(packs, key=lambda pack: pack.since)),
            planned={name: arm.planned for name, arm in arms.items()},
            ended={name: arm.ended for name, arm in arms.items()},
        )
        return RunStatus(self._study, self._folder, True, arms, errors=self.tally.errors, now=running)

    def _left_seconds(self, arms: Mapping[str, ArmStatus], packs: Sequence[RunningPack]) -> float | None:
        """What the trials that are left train in all, over what this run trains in a second.

        An arm takes what its trials took so far; one without any, what the others' took; before any has ended, all the
        same. Of trials in training counts what they have behind them.
        """
        tallies = self.tally.arms
        timed = {name: sum(tally.statuses.values()) for name, tally in tallies.items() if tally.seconds}
        others = sum(tallies[name].seconds for name in timed) / sum(timed.values()) if timed else 1.0
        means = {name: tallies[name].seconds / timed[name] if name in timed else others for name in arms}
        trained = self._seconds + sum(pack.progress.here * means[pack.arm] for pack in packs)
        elapsed = time.monotonic() - self._entered
        if not trained or not elapsed:
            return None
        behind = sum(pack.progress.done * means[pack.arm] for pack in packs)
        left = sum(arm.left * means[name] for name, arm in arms.items()) - behind
        return max(0.0, left) * elapsed / trained


def _seconds_here(result: Result) -> float:
    """What it took in this run: one that goes on from a checkpoint has the seconds of earlier runs besides."""
    seconds = float(result.cost.get("seconds") or 0.0)
    if result.started is None:
        return seconds
    together = result.bundle["trials"] if result.bundle and result.bundle["together"] else 1
    since = time.time() - datetime.fromisoformat(result.started).timestamp()
    return min(seconds, max(0.0, since) / together)  # another machine's clock may be ahead


def terminal_outlet(quiet: bool) -> list[Outlet]:
    """The display that fits: none, live on a terminal, else plain lines; all on standard error."""
    if quiet:
        return []
    console = Console(stderr=True)
    return [LiveTable(console)] if console.is_terminal else [PlainLines()]


class LiveTable:
    """A view that is drawn again in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def open(self) -> None:
        self._live.start()

    def show(self, status: RunStatus) -> None:
        self._live.update(RunView(status, whole=False, own=True), refresh=True)

    def close(self, status: RunStatus) -> None:
        self._live.update(RunView(status, whole=True, own=True))  # stop() draws it
        self._live.stop()


class PlainLines:
    """A line every ten seconds at first, for logs."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()

    def open(self) -> None:
        return None

    def show(self, status: RunStatus) -> None:
        now = time.monotonic()
        least, most = LOG_EVERY
        if now - self._last >= min(most, max(least, LOG_SHARE * (now - self._started))):
            self.close(status)

    def close(self, status: RunStatus) -> None:
        self._last = time.monotonic()
        print(f"{time.strftime('%H:%M:%S')} {log_line(status)}", file=sys.stderr, flush=True)


class RunningFile:
    """running.json, for `hpsearch status` in another shell."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = -FILE_EVERY

    def open(self) -> None:
        remove_running(self._folder)  # of a driver that was killed

    def show(self, status: RunStatus) -> None:
        if status.now is not None and time.monotonic() - self._last >= FILE_EVERY:
            write_running(self._folder, status.now)
            self._last = time.monotonic()

    def close(self, status: RunStatus) -> None:
        remove_running(self._folder)
