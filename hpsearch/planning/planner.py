"""The arms in turn: packs out, results in."""

from __future__ import annotations

from collections.abc import Iterable

from hpsearch.check import Checked
from hpsearch.planning.arm import ArmPlan
from hpsearch.planning.pack import ArmCount, Pack
from hpsearch.results import Result


class Planner:
    """next() gives packs until `finished`; between, None means: wait for a result. tell() takes the results."""

    def __init__(self, checked: Checked, results: Iterable[Result]) -> None:
        known = {result.trial_id: result for result in results}
        self._arms = [ArmPlan(checked, arm, known) for arm in checked.study.arms]
        self._turn = 0
        self._returned: list[Pack] = []

    @property
    def finished(self) -> bool:
        return not self._returned and all(arm.finished for arm in self._arms)

    @property
    def notes(self) -> list[str]:
        """What the user should know of how the plan went, e.g. that a phase ran out of new configurations."""
        return [note for arm in self._arms for note in arm.notes]

    def next(self) -> Pack | None:
        if self._returned:
            return self._returned.pop()
        for _ in self._arms:
            arm = self._arms[self._turn % len(self._arms)]
            self._turn += 1
            pack = arm.next()
            if pack is not None:
                return pack
        return None

    def put_back(self, pack: Pack | None) -> None:
        """The pack will be given again by next()."""
        if pack is not None:
            self._returned.append(pack)

    def tell(self, result: Result) -> None:
        for arm in self._arms:
            if arm.name == result.arm:
                arm.tell(result)

    def counts(self) -> dict[str, ArmCount]:
        return {arm.name: arm.count() for arm in self._arms}
