"""Trains the seeds of a pack side by side from milestone to milestone, so that all can be stopped at one epoch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from hpsearch.training.milestones import Milestones
from hpsearch.training.outcome import Outcome, Progress


class Run(Protocol):
    """A trial that is trained epoch by epoch: hpsearch.training.loop.TrialRun, or FunctionRun.

    ahead: epochs that it must go beyond a milestone to know that it had not ended there.
    """

    ahead: int

    @property
    def done(self) -> bool: ...
    @property
    def epoch(self) -> int: ...
    @property
    def progress(self) -> Progress: ...
    def run_epoch(self) -> None: ...
    def outcome(self) -> Outcome: ...
    def stopped(self, epoch: int) -> Outcome: ...
    def close(self) -> None: ...


Stage = tuple[int | None, dict[int, Outcome], dict[int, Outcome], Progress]


def lockstep(
    seeds: Sequence[int],
    begin: Callable[[int], Run],
    failed: Callable[[BaseException], Outcome],
    milestones: Milestones,
) -> Generator[Stage]:
    """Yields (milestone, what has ended since the last one, what each other seed would come to if it ended here, how
    far these are), and between milestones, after each epoch, (None, {}, {}, how far all are).

    The milestone is None when no seed is left, too. Whoever closes the iterator stops the seeds that are left. All
    seeds are in memory at once.
    """
    runs: dict[int, Run] = {}
    ended: dict[int, Outcome] = {}
    over = Progress()  # of those
    epoch = 0
    try:
        for seed in seeds:
            try:
                runs[seed] = begin(seed)
            except Exception as error:
                ended[seed] = failed(error)
        while True:
            epoch = milestones.after(epoch)
            for seed, run in list(runs.items()):
                try:
                    while not run.done and run.epoch < epoch + run.ahead:
                        run.run_epoch()
                        if run.progress.done and not run.done:
                            yield None, {}, {}, Progress.of([over, *(each.progress for each in runs.values())])
                    if run.done:
                        ended[seed] = run.outcome()
                except Exception as error:
                    ended[seed] = failed(error)
                if seed in ended:
                    over = Progress.of([over, run.progress])
                    runs.pop(seed).close()
            if not runs:
                yield None, ended, {}, Progress()
                return
            progress = Progress.of(run.progress for run in runs.values())
            yield epoch, ended, {seed: run.stopped(epoch) for seed, run in runs.items()}, progress
            ended, over = {}, Progress()
    finally:
        for run in runs.values():
            run.close()
