"""Whether a bundle's steps are compiled: where that is quicker on the machine at hand, and the study is long enough."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from hpsearch.optim.compiled import NotCompiled
from hpsearch.tasks.protocol import Task
from hpsearch.training.bundle import GAIN, Timing, Trials, in_turn, like
from hpsearch.training.engine import Engine
from hpsearch.training.kept import kept
from hpsearch.training.packed import PackRun

EACH = 0.06  # seconds that compiling an operation of a list takes, about, with nothing of it in the compiler's cache
BLOCKS = 15  # of steps that are timed: the two differ by less than bundles and single trials
HOPED = 0.15  # of the time of steps: what compiling is tried for; 0.12 to 0.4 were seen


@dataclass(frozen=True)
class Compiling:
    """Seconds of compiling, and of a step of all trials by the list and compiled."""

    seconds: float
    listed: float
    compiled: float

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


def compiles(task: Task, options: Mapping[str, Any], trials: Trials, engine: Engine, timed: Timing, alike: int) -> bool:
    """Whether these, which one program trains, are to be compiled.

    timed: of them. alike: trials that the study has in all of which a step may be like theirs: compiling must pay for
    itself in one study.
    """
    assert timed.together is not None
    steps = timed.steps * statistics.fmean(settings.epochs for settings, _ in trials)
    seconds = steps * alike / timed.trials * timed.together.step
    if not timed.operations or HOPED * seconds < EACH * timed.operations:
        return False
    this = {**like(task, options, trials, engine), "compiled": len(trials)}
    try:
        found = kept(this, Compiling, lambda: time_compiled(task, trials, engine))
    except NotCompiled:  # no compiler, say: the list it is
        return False
    saved = steps * alike / len(trials) * (found.listed - found.compiled)
    return found.listed > GAIN * found.compiled and saved > found.seconds


def time_compiled(task: Task, trials: Trials, engine: Engine) -> Compiling:
    """Raises NotCompiled."""
    listed = PackRun(task, trials, engine=engine)
    compiled = PackRun(task, trials, engine=replace(engine, compile=True))
    ways = listed.probe, compiled.probe
    for way in ways:
        way()
    steps = in_turn(ways, engine, BLOCKS)
    return Compiling(compiled.stack.lists.compiling, *steps)
