"""What the terminal shows of a run: a live line per arm, plain lines where there is no terminal, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from hpsearch.duration import format_duration
from hpsearch.planning import ArmCount, Planner
from hpsearch.results import DID_NOT_TRAIN, Result
from hpsearch.status import best_so_far
from hpsearch.study import Study

PLAIN_EVERY = 10.0  # seconds between plain lines
BEST_EVERY = 2.0  # seconds between looks for the best configuration


class Progress(Protocol):
    """Told of every result; refresh() is called often and decides itself whether there is something to show."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def add(self, results: list[Result]) -> None: ...
    def refresh(self, running: int) -> None: ...


def make_progress(study: Study, planner: Planner, known: list[Result], quiet: bool) -> Progress:
    """The display that fits: none, live on a terminal, else plain lines; all on standard error."""
    if quiet:
        return Silent()
    console = Console(stderr=True)
    state = _State(study, planner, known)
    return LiveTable(state, console) if console.is_terminal else PlainLines(state)


class Silent:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def add(self, results: list[Result]) -> None:
        return None

    def refresh(self, running: int) -> None:
        return None


class _State:
    """Counts, the best of each arm with its interval, and the time left."""

    def __init__(self, study: Study, planner: Planner, known: list[Result]) -> None:
        self.study, self.planner = study, planner
        self.started = time.monotonic()
        self.new = 0
        self.running = 0
        self._results = list(known)
        self._statuses: dict[str, Counter[str]] = {arm: Counter() for arm in study.arms}
        self._count(known)
        self._best: dict[str, str] = {}
        self._best_at = -BEST_EVERY

    def add(self, results: list[Result]) -> None:
        self._results += results
        self.new += len(results)
        self._count(results)

    def counts(self) -> dict[str, ArmCount]:
        return self.planner.counts()

    def did_not_train(self, arm: str) -> int:
        return sum(self._statuses[arm][status] for status in DID_NOT_TRAIN)

    def failed(self, arm: str) -> int:
        return self._statuses[arm]["failed"]

    def left(self) -> int:
        return sum(count.planned - count.ended for count in self.counts().values())

    def time_left(self) -> str:
        if self.new == 0:
            return "not yet known how much is left"
        return "about " + format_duration(self.left() * (time.monotonic() - self.started) / self.new) + " left"

    def look_again(self) -> None:
        """The last picture of a run shows all of it."""
        self._best_at = -BEST_EVERY

    def best(self) -> dict[str, str]:
        """arm -> its best mean of the first objective so far, with the interval over seeds."""
        if time.monotonic() - self._best_at >= BEST_EVERY:
            self._best = best_so_far(self.study, self._results)
            self._best_at = time.monotonic()
        return self._best

    def _count(self, results: list[Result]) -> None:
        for result in results:
            self._statuses[result.arm][result.status] += 1


class LiveTable:
    """A table that is drawn again in place, four times a second."""

    def __init__(self, state: _State, console: Console) -> None:
        self._state = state
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._table, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._state.running = 0
        self._state.look_again()
        self._live.stop()

    def add(self, results: list[Result]) -> None:
        self._state.add(results)

    def refresh(self, running: int) -> None:
        self._state.running = running

    def _table(self) -> Table:
        state = self._state
        elapsed = format_duration(time.monotonic() - state.started)
        times = f"{elapsed} so far, {state.time_left()}"
        title = f"{escape(state.study.name)}: {state.running} packs running, {times}"
        table = Table(title=title, title_justify="left")
        table.add_column("arm")
        for column in ("done", "left", "did not train", "failed"):
            table.add_column(column, justify="right")
        table.add_column(f"best {state.study.objective} so far, 95 % interval")
        best = state.best()
        for arm, count in state.counts().items():
            numbers = (count.ended, count.planned - count.ended, state.did_not_train(arm), state.failed(arm))
            table.add_row(escape(arm), *(str(number) for number in numbers), escape(best.get(arm, "")))
        return table


class PlainLines:
    """A line every ten seconds, for logs."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._state.look_again()
        self._print()

    def add(self, results: list[Result]) -> None:
        self._state.add(results)

    def refresh(self, running: int) -> None:
        self._state.running = running
        if time.monotonic() - self._last >= PLAIN_EVERY:
            self._print()

    def _print(self) -> None:
        self._last = time.monotonic()
        state, counts = self._state, self._state.counts()
        done, planned = (sum(getattr(count, key) for count in counts.values()) for key in ("ended", "planned"))
        bad = sum(state.did_not_train(arm) for arm in counts)
        failed = sum(state.failed(arm) for arm in counts)
        best = "; ".join(f"{arm} {value}" for arm, value in state.best().items())
        print(
            f"{time.strftime('%H:%M:%S')} {state.study.name}: {done}/{planned} trials done, {bad} did not train, "
            f"{failed} failed; {state.time_left()}; best {state.study.objective}: {best or 'none yet'}",
            file=sys.stderr,
            flush=True,
        )
