"""What a worker says of what it trains: its process title, and lines in its log: few where trials are short."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from threading import Lock, Timer

from ray._raylet import setproctitle  # type: ignore[attr-defined]  # compiled

from hpsearch.duration import format_duration
from hpsearch.training.pack import TrialReport

EVERY = 1.0  # seconds between two lines about what begins, and between two about what ended quickly


class Voice:
    """Of one worker. name: the study and the worker's slot. say: what writes a line."""

    def __init__(self, name: str, say: Callable[[str], None] | None = None) -> None:
        self.name = name
        self._say = say or _print
        self._lock = Lock()  # the timer has a thread of its own
        self._pack, self._begun = "", 0.0
        self._said = -EVERY
        self._timer: Timer | None = None
        self._unsaid = 0  # trials that ended without a line

    def begin(self, pack: str) -> None:
        """pack: in words. A pack that lasts is told at the latest after a second."""
        self.title(pack)
        with self._lock:
            self._pack, self._begun = pack, time.monotonic()
            if self._timer is not None:
                return
            if self._begun - self._said >= EVERY:
                self._line(f"begins: {pack}")
            else:
                self._timer = Timer(EVERY, self._late)
                self._timer.daemon = True
                self._timer.start()

    def title(self, pack: str) -> None:
        """Ray sets the title at each call, and finds its processes by its first letters."""
        setproctitle(f"ray::{self.name} {pack}")

    def ended(self, reports: Iterable[TrialReport], over: bool) -> None:
        """over: the pack has ended, too."""
        with self._lock:
            self._begun = -math.inf if over else self._begun
            for report in reports:
                if (report.outcome.cost.seconds or 0.0) < EVERY and time.monotonic() - self._said < EVERY:
                    self._unsaid += 1
                    continue
                self._line(f"ended: {self._pack}; {describe_end(report)}")

    def _late(self) -> None:
        with self._lock:
            self._timer = None
            if self._said < self._begun:
                self._line(f"begins: {self._pack}")

    def _line(self, text: str) -> None:
        before = f" ({self._unsaid} short trials ended before)" if self._unsaid else ""
        self._unsaid = 0
        self._said = time.monotonic()
        self._say(f"{time.strftime('%H:%M:%S')} {self.name} {text}{before}")


def describe_end(report: TrialReport) -> str:
    """'seed 0: complete, val_accuracy 0.9312, 12 s'; of a trial that failed, the last line of why."""
    outcome = report.outcome
    if outcome.error:
        return f"seed {report.seed}: {outcome.status}: {outcome.error.strip().splitlines()[-1]}"
    name, value = next(((n, v) for n, v in outcome.metrics.items() if v is not None), ("", None))
    metric = "" if value is None else f", {name} {value:.4g}"
    return f"seed {report.seed}: {outcome.status}{metric}, {format_duration(outcome.cost.seconds or 0.0)}"


def _print(line: str) -> None:
    """To standard error: that is what the dashboard's link to an actor's log opens."""
    print(line, file=sys.stderr, flush=True)
