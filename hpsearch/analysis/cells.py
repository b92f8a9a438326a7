"""Axis -> cells: the few values or bins in which a map and a sensitivity line take their means."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.axis import Axis, key
from hpsearch.analysis.columns import Value, plain

MOST_CELLS = 8


@dataclass(frozen=True)
class Cells:
    """The cells of an axis: one per value of `values`, or else the bins between `edges` (n + 1 of them)."""

    axis: Axis
    values: tuple[Value, ...] = ()
    edges: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.edges) - 1 if self.edges else len(self.values)

    @property
    def centers(self) -> tuple[Value, ...]:
        """The value, or the middle of the bin: geometric on a log axis; of its integers on an integer one."""
        if not self.edges:
            return self.values
        log = self.axis.kind == "log"
        last = 1 if self.axis.integer else 0
        ends = [(a, b - last) for a, b in zip(self.edges[:-1], self.edges[1:], strict=True)]
        return tuple(math.sqrt(a * b) if log else (a + b) / 2 for a, b in ends)

    def assign(self, column: pd.Series) -> NDArray[np.int64]:
        """The index of each value's cell, (n,); -1 where it is null or outside."""
        if not self.edges:
            index = {key(v): i for i, v in enumerate(self.values)}
            cleaned = [plain(v) for v in column]
            return np.array([-1 if v is None else index.get(key(v), -1) for v in cleaned], dtype=np.int64)
        x = self.axis.positions(column)
        inside = (x >= self.edges[0]) & (x <= self.edges[-1])
        found = np.searchsorted(self.edges, np.where(inside, x, self.edges[0]), side="right") - 1
        return np.where(inside, np.minimum(found, len(self) - 1), -1)


def make_cells(axis: Axis, observed: pd.Series) -> Cells:
    """A cell per value where there are at most 8 (or choices), else at most 8 bins over [low, high].

    Declared choices and grid values get their cell even where nothing was observed, so that a gap is seen.
    """
    seen = [v for v in (plain(v) for v in observed) if v is not None]
    if axis.kind == "choice":
        return Cells(axis, values=axis.choices)
    distinct = {float(v) for v in seen}
    grid = {float(v) for v in axis.grid}
    values = grid if distinct <= grid else distinct
    if len(values) <= MOST_CELLS:
        return Cells(axis, values=tuple(sorted(values)))
    low = min([v for v in (axis.low,) if v is not None] + sorted(distinct)[:1])
    high = max([v for v in (axis.high,) if v is not None] + sorted(distinct)[-1:])
    return Cells(axis, edges=_edges(axis, low, high))


def _edges(axis: Axis, low: float, high: float) -> tuple[float, ...]:
    space = np.geomspace if axis.kind == "log" else np.linspace
    if axis.integer:  # whole numbers, each bin [edge, next edge)
        return tuple(float(e) for e in np.unique(np.round(space(low, high + 1, MOST_CELLS + 1))))
    return tuple(float(e) for e in space(low, high, MOST_CELLS + 1))
