"""How much of a GPU each arm's packs get: a whole one until it is known how much memory they need, then a share."""

from __future__ import annotations

from hpsearch.results import Result

HEADROOM = 1.25  # over the largest peak seen: configurations differ, and allocators round up
CONTEXT = 0.75 * 2**30  # bytes that a process takes on a GPU before it computes


class Shares:
    """Shares are 1, 1/2, 1/3, ... of a GPU, by arm.

    asked: GPUs a pack, 1 while auto finds out. most: packs that may share one GPU, as there are CPUs for no more.
    """

    def __init__(self, asked: float, auto: bool, most: int) -> None:
        self._asked, self._auto, self._most = asked, auto, max(1, most)
        self._memory: int | None = None  # bytes of the smallest GPU seen
        self._peaks: dict[str, int] = {}
        self._floors: dict[str, float] = {}  # shares that were seen to be too small, doubled
        self.notes: list[str] = []

    def of(self, arm: str) -> float:
        """The part of a GPU that a pack of the arm gets now; 0 without GPUs, more than 1 where that was asked for."""
        if not self._asked or self._asked > 1:
            return self._asked
        share = self._asked
        if self._auto and self._memory is not None and arm in self._peaks:
            fit = int(self._memory / (self._peaks[arm] * HEADROOM + CONTEXT))
            share = 1 / max(1, min(fit, self._most))
        return max(share, self._floors.get(arm, 0.0))

    def learn(self, result: Result, memory: int | None) -> None:
        """memory: bytes of the GPU that the trial ran on."""
        peak = result.cost.get("peak_memory_bytes")
        if memory and peak:
            self._memory = min(memory, self._memory or memory)
            self._peaks[result.arm] = max(self._peaks.get(result.arm, 0), int(peak))

    def out_of_memory(self, arm: str, share: float) -> bool:
        """Notes that a pack's memory did not suffice; whether a larger share can be given."""
        if not 0 < share < 1:
            return False
        more = min(1.0, 2 * share)
        if more > self._floors.get(arm, 0.0):
            self._floors[arm] = more
            self.notes.append(
                f"{arm}: {share:.3g} of a GPU was too little memory; its packs get {more:.3g} from then on, and what "
                "ran out of memory was trained again"
            )
        return True
