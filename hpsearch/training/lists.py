"""The lists of operations of one stack of networks: whether there are any, compiled ones, and who shares them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable

from torch import nn

from hpsearch.optim.compiled import Compiled
from hpsearch.optim.known import known, structure
from hpsearch.optim.traced import Compute, Graphs, Traced
from hpsearch.tasks.protocol import Task
from hpsearch.training.engine import Engine

ROUNDING = {"bf16": 2**-8}  # of precisions that tensors' own kinds do not tell


class Lists:
    """What a stack of so many trials computes, as lists of operations (hpsearch.optim.traced).

    any: whether there are lists, which takes code that is known. ahead: steps that will follow with as many trials.
    """

    def __init__(self, task: Task, network: nn.Module, engine: Engine, trials: int) -> None:
        self._watched = known(network, task)
        self.any = self._watched is not None
        self.ahead = 0
        self._structure = structure(network) if self.any else None
        self._task, self._engine, self._trials = task, engine, trials
        self._graphs = _shared(task)
        self._made: list[Traced] = []
        self._compiled: list[Compiled] = []

    @property
    def operations(self) -> int:
        """Of all lists that steps have run."""
        return sum(traced.operations for traced in self._made)

    @property
    def compiling(self) -> float:
        """Seconds that it has taken so far."""
        return sum(compiled.seconds for compiled in self._compiled)

    def learned(self, what: Hashable) -> frozenset[str] | None:
        """What was noted of a stack whose networks are alike."""
        return None if self._structure is None else self._graphs.learned.get(self._key(what))

    def note_learned(self, what: Hashable, found: frozenset[str]) -> None:
        if self._structure is not None:
            self._graphs.learned[self._key(what)] = found

    def _key(self, what: Hashable) -> Hashable:
        return what, self._structure, self._engine.precision

    def of_steps(self, compute: Compute, kind: Hashable, network: nn.Module) -> Compute:
        """compute(*tensors), called at each step, the stack's weights first: as a list where there are any. It is
        compiled where that is asked for, as long as all trials are in the stack: for fewer, all would be compiled anew.
        """
        traced = self._list(compute, kind, network, lambda: self.ahead)
        if traced is None:
            return compute
        self._made.append(traced)
        if not self._engine.compile:
            return traced
        compiled = Compiled(traced, ROUNDING.get(self._engine.precision, 0.0))
        self._compiled.append(compiled)
        return lambda *tensors: (compiled if len(tensors[0]) == self._trials else traced)(*tensors)

    def of(self, compute: Compute, kind: Hashable, network: nn.Module, ahead: Callable[[], int]) -> Compute:
        """Of anything else. ahead: calls that will follow."""
        return self._list(compute, kind, network, ahead) or compute

    def _list(self, compute: Compute, kind: Hashable, network: nn.Module, ahead: Callable[[], int]) -> Traced | None:
        if self._watched is None:
            return None
        key = self._key((kind, type(network)))
        held = [self._task, network]
        return Traced(
            compute, held, self._graphs, key, alike=self._structure is not None, ahead=ahead, watched=self._watched
        )


_SHARED: list[tuple[Callable[[], object], Graphs]] = []  # of the task that was stacked last


def _shared(task: Task) -> Graphs:
    """By the task's stacks."""
    for last, graphs in _SHARED:
        if last() is task:
            return graphs
    try:
        _SHARED[:] = [(weakref.ref(task), Graphs())]
    except TypeError:  # it has __slots__
        return Graphs()
    return _SHARED[0][1]
