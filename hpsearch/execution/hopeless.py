"""When a run is given up: every trial of it has failed, in every arm. One bad arm, or one bad region, stops nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hpsearch.errors import RunError
from hpsearch.results import Result
from hpsearch.tally import short_error

TRIALS = 10
CONFIGURATIONS = 4


class Hopeless:
    """Told of every result. add() raises RunError when TRIALS trials of CONFIGURATIONS configurations have ended, in
    every arm at least one, and all of them failed; never once a trial of the folder has come to anything else.

    arms: of the study. known: the results that were there: a configuration that failed before is tried again first, and
    does not count again. So a run that was given up for a region of failures gets past it when it is started again.
    """

    def __init__(self, arms: Iterable[str], known: Iterable[Result]) -> None:
        self._arms = frozenset(arms)
        before = list(known)
        self._hope = any(result.status != "failed" for result in before)
        self._before = {(result.arm, result.configuration_id) for result in before}
        self._failed: list[Result] = []

    def add(self, results: Iterable[Result]) -> None:
        for result in results:
            self._hope = self._hope or result.status != "failed"
            if not self._hope:
                self._failed.append(result)
        if self._hope or not self._enough():
            return
        errors = Counter(short_error(result.error) for result in self._failed)
        error, count = errors.most_common(1)[0]
        often = "with" if len(errors) == 1 else f"{count} of them with"
        raise RunError(
            f"all {len(self._failed)} trials so far have failed, in every arm, {often}: {error}\n"
            "The run is given up: it would not come to anything else. Whole tracebacks are in trials.jsonl; the same "
            "command tries all of it again"
        )

    def _enough(self) -> bool:
        if len(self._failed) < TRIALS or {result.arm for result in self._failed} != self._arms:
            return False
        new = {(result.arm, result.configuration_id) for result in self._failed} - self._before
        return len(new) >= CONFIGURATIONS
