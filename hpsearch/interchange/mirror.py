"""The Optuna mirror of a run: optuna.log in its folder, which optuna-dashboard opens while the run goes on.

Written, never read back but to see whether it is right: trials.jsonl is the one truth.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from hpsearch.interchange.journal import Configuration, Journal, attributes
from hpsearch.planning.means import mean_of, value_of
from hpsearch.results import Result, write_atomically
from hpsearch.study import Study

FILE = "optuna.log"
CURVE_POINTS = 50  # of a configuration's curve at most
CLOSE_SECONDS = 10.0  # that a finished run waits for its mirror


class Mirror:
    """Follows a run in a thread of its own. Its first error is told and ends it; it never delays or ends the run."""

    def __init__(self, folder: Path, study: Study, known: Iterable[Result], warn: Callable[[str], None]) -> None:
        """known: the results that the run begins with, in the order in which they came."""
        self._path, self._study, self._known, self._warn = folder / FILE, study, list(known), warn
        self._queue: SimpleQueue[list[Result] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join(CLOSE_SECONDS if kind is None else CLOSE_SECONDS / 10)

    def add(self, results: list[Result]) -> None:
        """Results that are on disk. Returns at once."""
        if self._thread.is_alive():
            self._queue.put(list(results))

    def _work(self) -> None:
        try:
            self._follow()
        except Exception as error:
            why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            self._warn(
                f"{self._path}: cannot be written ({why}); the run goes on without its mirror for optuna-dashboard"
            )

    def _follow(self) -> None:
        """The first result, or the end, is waited for: what is known already must not delay the first trial."""
        results = self._queue.get()
        content = _Content(self._study)
        content.add(self._known)
        self._known = []
        _replace_unless_right(self._path, content.take())
        while results is not None:
            content.add(results)
            lines = content.take()
            if lines:
                with self._path.open("ab") as file:
                    file.write(lines)
            results = self._queue.get()


def _replace_unless_right(path: Path, content: bytes) -> None:
    """A file that is as it should be is left alone, so that a dashboard that has it open can go on."""
    try:
        there = path.read_bytes()
    except FileNotFoundError:
        there = b""
    if there != content:
        if content.startswith(there):
            with path.open("ab") as file:
                file.write(content[len(there) :])
        else:
            write_atomically(path, content)


@dataclass
class _Content:
    """The journal of a study: a trial for each configuration whose first seeds are all back, in that order.

    Its value is what the sampler is told: the mean over the first seeds. So a line that is written stays right.
    """

    study: Study
    _back: dict[str, dict[int, Result]] = field(default_factory=dict)  # configuration_id -> seed -> result
    _written: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._journal = Journal(self.study)

    def add(self, results: Iterable[Result]) -> None:
        first = self.study.first_seeds
        for result in results:
            key = result.configuration_id
            if key in self._written or result.seed not in first or result.sampling["confirm"]:
                continue
            back = self._back.setdefault(key, {})
            back[result.seed] = result
            if len(back) == len(first):
                self._written.add(key)
                del self._back[key]
                self._journal.add(result.arm, _configuration(self.study, [back[seed] for seed in first]))

    def take(self) -> bytes:
        return self._journal.take()


def _configuration(study: Study, results: list[Result]) -> Configuration:
    done = [result for result in results if result.done]
    stopped = any(result.status == "stopped" for result in results)
    means = [mean_of(done, name) for name in study.objectives] if not stopped else []
    known = [mean for mean in means if mean is not None]
    curve = _curve(done, study.objective) if len(study.objectives) == 1 else {}  # Optuna has none with several
    times = [time for result in results for time in _times(result)]
    seen = {name: {result.trial_id: value_of(result, name) for result in results} for name in study.objectives}
    where = {key: results[0].sampling[key] for key in ("phase", "sampler", "generation")}
    return Configuration(
        params=results[0].params,
        values=tuple(known) if known and len(known) == len(means) else None,
        attributes={**attributes(results, seen), **where},
        curve=curve,
        stopped=stopped,
        started=min(times, default=None),
        ended=max(times, default=None),
    )


def _curve(results: list[Result], objective: str) -> dict[int, float]:
    """epoch -> the mean over seeds, where all have a value."""
    curves = [_points(result, objective) for result in results]
    epochs = sorted(set.intersection(*map(set, curves))) if curves else []
    every = -(-len(epochs) // CURVE_POINTS) or 1
    chosen = epochs[::-1][::every][::-1]  # the last one in any case
    return {epoch: sum(one[epoch] for one in curves) / len(curves) for epoch in chosen}


def _points(result: Result, objective: str) -> dict[int, float]:
    pairs = zip(result.curve.get("epoch", []), result.curve.get(objective, []), strict=False)
    return {int(epoch): value for epoch, value in pairs if epoch is not None and value is not None}


def _times(result: Result) -> Iterator[datetime]:
    """When it began and ended, as far as it is known."""
    if result.started is not None:
        started = datetime.fromisoformat(result.started)
        yield started
        yield started + timedelta(seconds=result.cost.get("seconds") or 0.0)
