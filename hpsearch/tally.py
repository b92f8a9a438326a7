"""What a run has come to so far, kept up to date result by result: counts, compute, each arm's best configuration.

Of a run of ten thousand trials a new result costs as much as of one of ten: this is what live views read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpsearch.analysis.estimate import t_quantile
from hpsearch.results import DID_NOT_TRAIN, Result
from hpsearch.seeds import Spent
from hpsearch.study import Study

FINAL = ("complete", *DID_NOT_TRAIN)  # with the value of a whole training


@dataclass(frozen=True)
class Best:
    """A configuration's mean of the first objective over n seeds, in the objective's own unit.

    half: of the 95 % interval, None where one seed gives none. trained: False where no seed did.
    """

    params: Mapping[str, Any]
    mean: float
    half: float | None
    n: int
    trained: bool


@dataclass
class _Cell:
    """One configuration: the first objective's value and the status of each trial that ended, by id.

    first, wanted: with seeds by spread, the values of its first seeds, and how many seeds these ask for.
    """

    params: Mapping[str, Any]
    ended: dict[str, tuple[float | None, bool]] = field(default_factory=dict)  # (value, did not train)
    first: dict[int, float] = field(default_factory=dict)
    wanted: int | None = None

    @property
    def values(self) -> list[float]:
        return [value for value, _ in self.ended.values() if value is not None]

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)

    @property
    def clean(self) -> bool:
        """Whether all seeds trained: such configurations share the arm's variance."""
        return not any(untrained for _, untrained in self.ended.values())

    @property
    def squares(self) -> float:
        return math.fsum((value - self.mean) ** 2 for value in self.values)


class ArmTally:
    """Of one arm. statuses: trials by the status of their last result. samples, seconds: sums over these results."""

    def __init__(self, study: Study) -> None:
        self.statuses: Counter[str] = Counter()
        self.samples = 0.0
        self.seconds = 0.0
        self.speed: float | None = None  # samples a second through backward, of the last trial that knows both
        self._rule = study.two_stage
        self._objective, self._whole = study.objective, len(study.first_seeds)
        self._sign = 1.0 if study.objectives[study.objective] == "maximize" else -1.0
        self._last: dict[str, tuple[str, float, float]] = {}  # trial_id -> status, samples, seconds
        self._cells: dict[str, _Cell] = {}
        self._squares, self._df = 0.0, 0
        self._best: str | None = None

    def add(self, result: Result) -> None:
        self._forget(result.trial_id)
        samples, seconds = (float(result.cost.get(name) or 0.0) for name in ("backward_samples", "seconds"))
        self._last[result.trial_id] = (result.status, samples, seconds)
        self.statuses[result.status] += 1
        self.samples += samples
        self.seconds += seconds
        if samples and seconds:
            self.speed = samples / seconds
        if not result.sampling["confirm"]:
            self._weigh(result)

    def best(self) -> Best | None:
        """The best mean over all of the study's seeds; of fewer, while no configuration has them all."""
        if self._best is None:
            self._best = max(self._cells, key=self._rank, default=None)
        if self._best is None or not self._cells[self._best].values:
            return None
        cell = self._cells[self._best]
        n = len(cell.values)
        squares, df = (self._squares, self._df) if cell.clean else (cell.squares, n - 1)
        half = float(t_quantile(df)) * math.sqrt(squares / df / n) if df > 0 else None
        if self._rule is not None and cell.wanted is not None:
            half = self._rule.half(list(cell.first.values()), n)
        trained = not all(untrained for _, untrained in cell.ended.values())
        return Best(cell.params, cell.mean, half, n, trained)

    def spent(self) -> Spent | None:
        """With seeds by spread: what the configurations of which all first seeds are known come to."""
        if self._rule is None:
            return None
        return Spent.of(self._rule, (cell.wanted for cell in self._cells.values() if cell.wanted is not None))

    def _forget(self, trial_id: str) -> None:
        """The last result of an id is the one that counts."""
        if trial_id in self._last:
            status, samples, seconds = self._last.pop(trial_id)
            self.statuses[status] -= 1
            self.samples -= samples
            self.seconds -= seconds

    def _weigh(self, result: Result) -> None:
        key = result.configuration_id
        cell = self._cells.setdefault(key, _Cell(result.params))
        self._pool(cell, -1)
        cell.ended.pop(result.trial_id, None)
        if result.status in FINAL:
            value = {**result.metrics, **result.cost}.get(self._objective)
            cell.ended[result.trial_id] = (value, result.status in DID_NOT_TRAIN)
            if self._rule is not None and value is not None and result.seed < self._rule.min:
                cell.first[result.seed] = value
                full = len(cell.first) == self._rule.min
                cell.wanted = self._rule.wanted(list(cell.first.values())) if full else None
        self._pool(cell, 1)
        if key == self._best:
            self._best = None  # it may have become worse: best() looks at all again
        elif self._best is not None and self._rank(key) > self._rank(self._best):
            self._best = key

    def _pool(self, cell: _Cell, sign: int) -> None:
        n = len(cell.values)
        if n > 1 and cell.clean:
            self._squares = max(0.0, self._squares + sign * cell.squares)
            self._df += sign * (n - 1)

    def _rank(self, key: str) -> tuple[bool, bool, float]:
        """A lucky first seed is not yet the best."""
        cell = self._cells[key]
        n = len(cell.values)
        return (n > 0, n >= self._whole, self._sign * cell.mean if n else 0.0)


class Tally:
    """Of all arms of a study; results of other arms are not counted."""

    def __init__(self, study: Study, results: Iterable[Result] = ()) -> None:
        self.study = study
        self.arms = {arm: ArmTally(study) for arm in study.arms}
        self._failed: dict[str, tuple[str, str]] = {}  # trial_id -> arm, short error
        self._errors: Counter[tuple[str, str]] = Counter()
        self.add(results)

    @property
    def errors(self) -> tuple[tuple[str, str], ...]:
        """(arm, where and what) of the trials that are failed now, each different one once, in order of arrival."""
        return tuple(self._errors)

    def add(self, results: Iterable[Result]) -> None:
        for result in results:
            if result.arm in self.arms:
                self.arms[result.arm].add(result)
                self._note_error(result)

    def _note_error(self, result: Result) -> None:
        before = self._failed.pop(result.trial_id, None)
        if before is not None:
            self._errors[before] -= 1
            if not self._errors[before]:
                del self._errors[before]
        if result.status == "failed":
            self._failed[result.trial_id] = (result.arm, short_error(result.error))
            self._errors[self._failed[result.trial_id]] += 1


def short_error(error: str | None) -> str:
    """The last line of a traceback and the frame it comes from."""
    lines = (error or "not known").strip().splitlines()
    frames = [line.strip() for line in lines if line.strip().startswith('File "')]
    return f"{lines[-1]} ({frames[-1]})" if frames else lines[-1]


def describe_best(study: Study, best: Best | None) -> str:
    """For people: '95.5 ± 0.6 % (n=3)'; '' where there is none."""
    if best is None:
        return ""
    scale, unit = (100.0, " %") if study.objective.endswith("accuracy") else (1.0, "")
    interval = "" if best.half is None else f" ± {best.half * scale:.2g}"
    return f"{best.mean * scale:.4g}{interval}{unit} (n={best.n}{'' if best.trained else ', did not train'})"
