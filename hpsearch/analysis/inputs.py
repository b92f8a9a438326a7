"""An arm's hyperparameters as the inputs of a surrogate: coordinates, and the measure over the stated ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import qmc

from hpsearch.analysis.axis import Axis, key
from hpsearch.analysis.columns import Value, plain
from hpsearch.sobol import load_direction_numbers

if TYPE_CHECKING:
    from hpsearch.study import Arm

Floats = NDArray[np.float64]

MOST_LEVELS = 32  # a whole-numbered hyperparameter with more values counts as continuous


@dataclass(frozen=True)
class Input:
    """One hyperparameter. Its coordinate lies in [0, 1]: along the range (log where the axis is), or the level's rank.

    kind: continuous, ordinal (levels in order) or nominal (levels without order). `levels` are the values of the last
    two. nodes, weights: a quadrature of the measure, which is uniform: over the range (in log on a log axis) or levels.
    """

    axis: Axis
    kind: Literal["continuous", "ordinal", "nominal"]
    levels: tuple[Value, ...] = ()
    nodes: Floats = field(default_factory=lambda: np.empty(0), compare=False)
    weights: Floats = field(default_factory=lambda: np.empty(0), compare=False)

    @property
    def name(self) -> str:
        return self.axis.name

    @classmethod
    def from_axis(cls, axis: Axis, only: Sequence[Value] | None = None) -> Input:
        """`only`: the values that can occur at all, where the space (or a grid) names them."""
        levels = axis.choices if axis.kind == "choice" else tuple(only or _whole_numbers(axis))
        if not levels:
            nodes, weights = np.polynomial.legendre.leggauss(24)
            return cls(axis, "continuous", (), (nodes + 1) / 2, weights / 2)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in levels)
        nodes = np.linspace(0.0, 1.0, len(levels)) if len(levels) > 1 else np.zeros(1)
        kind: Literal["ordinal", "nominal"] = "ordinal" if numbers else "nominal"
        return cls(axis, kind, levels, nodes, np.full(len(levels), 1 / len(levels)))

    def coordinates(self, values: pd.Series) -> Floats:
        """Values -> (n,); NaN where null or no level."""
        if self.levels:
            known = {key(v): x for v, x in zip(self.levels, self.nodes, strict=True)}
            cleaned = [plain(v) for v in values]
            return np.array([math.nan if v is None else known.get(key(v), math.nan) for v in cleaned])
        x = self.axis.positions(values)
        low, high = self.axis.low, self.axis.high
        assert low is not None and high is not None
        if high <= low:
            return np.asarray(np.where(np.isfinite(x), 0.5, np.nan))
        if self.axis.kind == "log":
            return np.asarray(np.log(np.where(x > 0, x, np.nan) / low) / math.log(high / low))
        return np.asarray((x - low) / (high - low))

    def value(self, coordinate: float) -> Value:
        """The value at a coordinate; of a level, the nearest one."""
        if self.levels:
            return self.levels[int(np.abs(self.nodes - coordinate).argmin())]
        low, high = self.axis.low, self.axis.high
        assert low is not None and high is not None
        found = low * (high / low) ** coordinate if self.axis.kind == "log" else low + (high - low) * coordinate
        return round(found) if self.axis.integer else float(found)

    def draw(self, u: Floats) -> Floats:
        """Uniform numbers -> coordinates distributed as the measure."""
        if not self.levels:
            return u
        return np.asarray(self.nodes[np.minimum((u * len(self.levels)).astype(int), len(self.levels) - 1)])

    def steps(self, n: int) -> Floats:
        """Coordinates at which a curve is drawn: the levels, or n of them from end to end."""
        return self.nodes if self.levels else np.linspace(0.0, 1.0, n)


@dataclass(frozen=True)
class Inputs:
    """The inputs of one arm, in display order, and which of them are active when."""

    inputs: tuple[Input, ...]
    when: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    fixed: Mapping[str, Value] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(i.name for i in self.inputs)

    @classmethod
    def of_arm(cls, axes: Mapping[str, Axis], arm: Arm | None, observed: pd.DataFrame) -> Inputs:
        """Inputs that vary in `observed` (the arm's configurations); the others carry no information.

        A hyperparameter that took at most 8 values where the study's sampler was a grid has these as its levels.
        """
        found, when = [], {}
        for name, axis in axes.items():
            column = f"params.{name}"
            values = [v for v in map(plain, observed[column]) if v is not None] if column in observed.columns else []
            if len({key(v) for v in values}) < 2:
                continue
            found.append(Input.from_axis(axis))
            declared = arm.parameters.get(name) if arm is not None else None
            if declared is not None and getattr(declared, "when", None):
                when[name] = dict(declared.when or {})
        fixed = {} if arm is None else {n: p for n, v in arm.fixed.items() if (p := plain(v)) is not None}
        return cls(tuple(found), when, fixed)

    def coordinates(self, configurations: pd.DataFrame) -> Floats:
        """Rows with params.* -> (n, d)."""
        columns = [i.coordinates(configurations[f"params.{i.name}"]) for i in self.inputs]
        return np.column_stack(columns) if columns else np.empty((len(configurations), 0))

    def from_uniform(self, u: Floats) -> Floats:
        """Uniform points (n, d) -> coordinates (n, d), NaN where a hyperparameter is inactive."""
        x = np.column_stack([i.draw(u[:, k]) for k, i in enumerate(self.inputs)]) if len(self) else u
        return self.deactivate(x)

    def deactivate(self, x: Floats) -> Floats:
        """NaN in the columns of hyperparameters whose condition does not hold."""
        position = {i.name: k for k, i in enumerate(self.inputs)}
        out = x.copy()
        for _ in range(len(self.when)):  # conditions may hang on conditions
            for name, conditions in self.when.items():
                if name not in position:
                    continue
                holds = np.ones(len(x), dtype=bool)
                for other, wanted in conditions.items():
                    if other in position:
                        i = self.inputs[position[other]]
                        at = i.coordinates(pd.Series([wanted], dtype=object))[0]
                        holds &= np.isclose(out[:, position[other]], at)
                    elif other in self.fixed:
                        holds &= self.fixed[other] == wanted
                out[~holds, position[name]] = np.nan
        return out

    def uniform(self, n: int, seed: int, columns: int | None = None) -> Floats:
        """n (a power of two) scrambled Sobol' points of the unit cube, (n, columns or d)."""
        load_direction_numbers()
        return np.asarray(qmc.Sobol(columns or len(self), seed=np.random.default_rng(seed)).random(n))


def _whole_numbers(axis: Axis) -> tuple[Value, ...]:
    if not axis.integer or axis.low is None or axis.high is None or axis.high - axis.low >= MOST_LEVELS:
        return ()
    return tuple(range(int(axis.low), int(axis.high) + 1))
