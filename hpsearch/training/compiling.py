"""Whether a bundle's steps are compiled: where that is quicker on the machine at hand, and the study is long enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from hpsearch.optim.compiled import NotCompiled, OtherNumbers
from hpsearch.tasks.protocol import Task
from hpsearch.training.bundle import GAIN, Timing, Trials, in_turn, like
from hpsearch.training.engine import Engine
from hpsearch.training.kept import kept
from hpsearch.training.packed import PackRun

EACH = 0.06  # seconds that compiling an operation of a list takes, about, with nothing of it in the compiler's cache
BLOCKS = 15  # of steps that are timed: the two differ by less than bundles and single trials
HOPED, CALL = 0.15, 2e-6  # of a step, and seconds for each operation that is no longer called: for what it is tried


@dataclass(frozen=True)
class Compiling:
    """Seconds of compiling, and of a step of all trials by the list and compiled."""

    seconds: float
    listed: float
    compiled: float

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


def if_compiled(
    task: Task, options: Mapping[str, Any], trials: Trials, engine: Engine, timed: Timing, alike: int
) -> Timing | None:
    """What these take by one program if their steps are compiled, where that is to be done; else None.

    timed: of them. alike: trials that the study has in all of which a step may be like theirs: compiling must pay for
    itself in one study.
    """
    if timed.together is None or not timed.operations:
        return None
    before = min(timed.seconds(trials))
    hoped = _at(timed, timed.together.step * (1 - HOPED) - CALL * timed.operations)
    if _saved(before, hoped, trials, alike) < EACH * timed.operations:
        return None
    this = {**like(task, options, trials, engine), "compiled": len(trials)}
    if str(this) in _REFUSED:
        return None
    try:
        found = kept(this, Compiling, lambda: time_compiled(task, trials, engine))
        after = _at(timed, timed.together.step * found.compiled / found.listed)
        pays = _saved(before, after, trials, alike) > found.seconds
        if not pays or before < GAIN * after.seconds(trials)[1]:
            return None
        PackRun(task, trials, engine=replace(engine, compile=True)).probe()  # what is kept may be of another compiler
    except (NotCompiled, torch.OutOfMemoryError):
        _REFUSED.add(str(this))
        return None
    return after


def _at(timed: Timing, step: float) -> Timing:
    """With another step of all trials."""
    assert timed.together is not None
    return replace(timed, together=replace(timed.together, step=max(0.0, step)))


def _saved(before: float, after: Timing, trials: Trials, alike: int) -> float:
    """Seconds, of all that are alike. before: of these."""
    return (before - after.seconds(trials)[1]) * alike / len(trials)


_REFUSED: set[str] = set()  # in this process: there is no compiler, say


def time_compiled(task: Task, trials: Trials, engine: Engine) -> Compiling:
    """Raises NotCompiled; what computes other numbers takes forever."""
    listed = PackRun(task, trials, engine=engine)
    compiled = PackRun(task, trials, engine=replace(engine, compile=True))
    ways = listed.probe, compiled.probe
    try:
        for way in ways:
            way()
    except OtherNumbers:
        return Compiling(compiled.stack.lists.compiling, 1.0, math.inf)
    steps = in_turn(ways, engine, BLOCKS)
    return Compiling(compiled.stack.lists.compiling, *steps)
