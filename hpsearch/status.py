"""What a run folder holds, read without disturbing the run; read again, only what was appended since."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpsearch.errors import InputError
from hpsearch.identity import Identity
from hpsearch.line import TORN
from hpsearch.planning import planned_trials
from hpsearch.results import DONE, Result, belonging, is_running, read_run
from hpsearch.running import Running, read_running
from hpsearch.seeds import Spent
from hpsearch.study import Study
from hpsearch.tally import Best, Tally, short_error


@dataclass(frozen=True)
class ArmStatus:
    """Trials: by status, how many the study plans in all, how many of these have ended."""

    planned: int
    ended: int
    statuses: Mapping[str, int]
    best: Best | None
    spent: Spent | None = None  # with seeds by spread

    @property
    def left(self) -> int:
        return max(0, self.planned - self.ended)


@dataclass(frozen=True)
class RunStatus:
    """running: whether a driver holds the folder. now: what it trains, where that is known.

    last_result: when trials.jsonl last grew, seconds since 1970; None without a result.
    """

    study: Study
    folder: Path
    running: bool
    arms: Mapping[str, ArmStatus]
    set_aside: int = 0
    errors: tuple[tuple[str, str], ...] = ()  # (arm, where and what), each different one once
    warnings: tuple[str, ...] = ()
    now: Running | None = None
    last_result: float | None = None

    @property
    def planned(self) -> int:
        return sum(arm.planned for arm in self.arms.values())

    @property
    def ended(self) -> int:
        return sum(arm.ended for arm in self.arms.values())


def read_status(folder: Path) -> RunStatus:
    """Raises InputError where there is no run."""
    return Follower(folder).look()


def failures(results: list[Result]) -> tuple[tuple[str, str], ...]:
    """(arm, last frame and last line of the traceback) of failed trials, each different one once."""
    return tuple(
        dict.fromkeys((result.arm, short_error(result.error)) for result in results if result.status == "failed")
    )


class Follower:
    """Looks at a run folder again and again. Raises InputError where there is no run."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / "trials.jsonl"
        self._begin()

    def look(self) -> RunStatus:
        running = is_running(self._folder)  # before reading: a run that ends meanwhile is looked at once more
        self._read()
        now = read_running(self._folder) if running else None
        arms = {arm: self._arm(arm, now) for arm in self._study.arms}
        torn = self._torn and not running  # of a driver that runs, the line is being written
        return RunStatus(
            study=self._study,
            folder=self._folder,
            running=running,
            arms=arms,
            set_aside=len(self._aside),
            errors=self._tally.errors,
            warnings=(*self._warnings, self._not_taken(self._lines + 1, TORN)) if torn else tuple(self._warnings),
            now=now,
            last_result=self._file.stat().st_mtime if self._lines else None,
        )

    def _begin(self) -> None:
        self._source = (self._folder / "study.yaml").read_bytes() if (self._folder / "study.yaml").is_file() else b""
        self._study = read_run(self._folder)
        self._identity = Identity.recorded(self._study)
        self._tally = Tally(self._study)
        self._planned = {arm: planned_trials(self._study, arm) for arm in self._study.arms}
        self._aside: set[str] = set()
        self._warnings: list[str] = []
        self._offset = self._lines = 0
        self._inode: int | None = None
        self._torn = False

    def _read(self) -> None:
        if (self._folder / "study.yaml").read_bytes() != self._source:
            self._begin()  # another study: other trials belong to it
        try:
            with self._file.open("rb") as file:
                found = os.fstat(file.fileno())
                if self._inode not in (None, found.st_ino) or found.st_size < self._offset:
                    self._begin()  # another file
                self._inode = found.st_ino
                file.seek(self._offset)
                whole, newline, rest = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{self._file}: cannot be read: {error.strerror}") from None
        self._torn = bool(rest.strip())
        if newline:
            self._offset += len(whole) + 1
            self._take(whole.split(b"\n"))

    def _take(self, lines: list[bytes]) -> None:
        latest: dict[str, Result] = {}
        for line in lines:
            self._lines += 1
            if not line.strip():
                continue
            try:
                result = Result.from_line(line)
            except ValueError as error:
                self._warnings.append(self._not_taken(self._lines, error))
                continue
            latest.pop(result.trial_id, None)
            latest[result.trial_id] = result
        mine = belonging(latest.values(), self._study, self._identity)
        self._aside |= latest.keys() - {result.trial_id for result in mine}
        self._tally.add(mine)

    def _not_taken(self, line: int, why: object) -> str:
        return f"{self._file}:{line}: {why}; that trial counts as not run"

    def _arm(self, arm: str, now: Running | None) -> ArmStatus:
        tally = self._tally.arms[arm]
        spent = tally.spent()
        # The driver's plan is exact; without one, a configuration without its first seeds is taken to need no more.
        planned = self._planned[arm] + (0 if spent is None else spent.more)
        planned = planned if now is None else now.planned.get(arm, planned)
        ended = min(planned, sum(tally.statuses[status] for status in DONE))
        return ArmStatus(planned, ended, +tally.statuses, tally.best(), spent)
