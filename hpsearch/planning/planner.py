"""The arms in turn: packs out, results in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hpsearch.planning.arm import ArmPlan
from hpsearch.planning.pack import ArmCount, Bundle, Pack
from hpsearch.results import Result

if TYPE_CHECKING:
    from hpsearch.check import Checked


class Planner:
    """next() gives packs until `finished`; None: wait for a result or a suggestion. tell() takes the results.

    bundles: of how many trials a bundle is, of hpsearch.planning.bundles.bundle_size; next() gives no bundles where it
    is 1.
    """

    def __init__(self, checked: Checked, results: Iterable[Result], *, bundles: int = 1) -> None:
        known: dict[str, list[Result]] = {arm: [] for arm in checked.study.arms}
        for result in results:
            if result.arm in known:
                known[result.arm].append(result)
        self._arms = {arm: ArmPlan(checked, arm, mine, bundles) for arm, mine in known.items()}
        self._order = list(self._arms.values())
        self._turn = 0
        self._returned: list[Pack | Bundle] = []

    @property
    def finished(self) -> bool:
        return not self._returned and all(arm.finished for arm in self._order)

    @property
    def notes(self) -> list[str]:
        """What the user should know of how the plan went, e.g. that a phase ran out of new configurations."""
        return [note for arm in self._order for note in arm.notes]

    def ask_ahead(self) -> None:
        """Adaptive samplers are asked in threads from now on: next() never waits for one, and gives None meanwhile.

        What they suggest then depends on when results come. So not where one pack runs at a time.
        """
        for arm in self._order:
            arm.ask_ahead()

    def next(self) -> Pack | Bundle | None:
        if self._returned:
            return self._returned.pop()
        for _ in self._order:
            arm = self._order[self._turn % len(self._order)]
            self._turn += 1
            pack = arm.next()
            if pack is not None:
                return pack
        return None

    def put_back(self, pack: Pack | Bundle | None) -> None:
        """The pack will be given again by next()."""
        if pack is not None:
            self._returned.append(pack)

    def tell(self, result: Result) -> None:
        if result.arm in self._arms:
            self._arms[result.arm].tell(result)

    def refuse(self, bundle: Bundle) -> None:
        """One program is not quicker for it: its packs have been given one by one, and those of its kind will be."""
        self._arms[bundle.packs[0].configuration.arm].refuse(bundle)

    def counts(self) -> dict[str, ArmCount]:
        return {arm.name: arm.count() for arm in self._order}
