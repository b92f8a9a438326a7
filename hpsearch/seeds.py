"""Seeds of a study: a list, or as many a configuration as its spread asks for, by Stein's two stages."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hpsearch.errors import nearest, show
from hpsearch.hyperparameters import finite
from hpsearch.models import Model, rule

MAX_SEED = 2**63  # torch's generators take no more
MOST = 1000  # seeds of a configuration that are given as a number
LEVEL = 0.95


class TwoStage(Model):
    """Each configuration runs seeds 0 to min - 1, then as many more as their spread asks for, up to max in all.

    Stein (1945), Annals of Mathematical Statistics 16, 243-258: with s^2 the variance of the first objective over the
    first `min` seeds, n = max(min, ceil(t^2 s^2 / half_width^2)), t the 97.5 % quantile of Student's t with min - 1
    degrees of freedom. n is fixed once, and the interval is the mean over all n seeds -+ t s / sqrt(n): with this s and
    this t, not those of all seeds. Of normal values its coverage is exactly 95 %: the mean over n is independent of s,
    also where max cuts n, and then only wider than half_width. To look again after each seed, and stop when an
    interval happens to be narrow, covers less.
    """

    min: int
    max: int
    half_width: float  # in the objective's own unit: 0.003 is 0.3 points of accuracy

    def wanted(self, first: Sequence[float]) -> int:
        """How many seeds a configuration gets, max aside: from the values of all its first `min` seeds."""
        if len(first) != self.min:
            raise ValueError(f"the first {self.min} values decide, got {len(first)}")
        ratio = student_t(self.min - 1) * statistics.stdev(first) / self.half_width
        return max(self.min, math.ceil(min(ratio, 1e6) ** 2))

    def number(self, first: Sequence[float]) -> int:
        return min(self.max, self.wanted(first))

    def half(self, first: Sequence[float], n: int) -> float:
        """Half the width of the 95 % interval around the mean over n seeds."""
        return student_t(self.min - 1) * statistics.stdev(first) / math.sqrt(n)


Seeds = tuple[int, ...] | TwoStage


def in_words(seeds: Seeds) -> str:
    if isinstance(seeds, TwoStage):
        return f"{seeds.min} to {seeds.max} seeds by spread, for intervals of ± {seeds.half_width:g}"
    return f"{len(seeds)} seeds"


@dataclass(frozen=True)
class Spent:
    """What the two stages came to: configurations whose number is fixed, and how many of them wanted more than max."""

    rule: TwoStage
    numbers: tuple[int, ...]
    cut: int

    @classmethod
    def of(cls, rule: TwoStage, wanted: Iterable[int]) -> Spent:
        """wanted: of each configuration that has its first seeds."""
        numbers = list(wanted)
        cut = sum(number > rule.max for number in numbers)
        return cls(rule, tuple(min(number, rule.max) for number in numbers), cut)

    @property
    def more(self) -> int:
        """Seeds beyond the first ones."""
        return sum(self.numbers) - self.rule.min * len(self.numbers)

    def __str__(self) -> str:
        if not self.numbers:
            return f"no configuration has its first {self.rule.min} seeds yet"
        each = f"{min(self.numbers)} to {max(self.numbers)} each, {statistics.fmean(self.numbers):.3g} in the mean"
        more = f"; {self.cut} would need more than {self.rule.max}" if self.cut else ""
        seeds = f"{sum(self.numbers)} seeds for {len(self.numbers)} configurations"
        return f"{seeds}, {each}, for intervals of ± {self.rule.half_width:g}{more}"


def read_seeds(value: Any) -> Any:
    """3 -> (0, 1, 2); a list is taken as it is; {min, max, half_width} -> TwoStage."""
    if isinstance(value, TwoStage):
        return value
    if isinstance(value, dict):
        return _two_stage(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MOST:
            raise rule(f"got {show(value)}", f"a number of seeds from 1 to {MOST}, or a list of seeds")
        return tuple(range(value))
    listed = tuple(value) if isinstance(value, (list, tuple)) else ()
    if not listed or not all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < MAX_SEED for s in listed):
        allowed = "a number of seeds >= 1, or a list of whole numbers >= 0 and < 2**63, or {min, max, half_width}"
        raise rule(f"got {show(value)}", allowed)
    if len(set(listed)) < len(listed):
        raise rule(f"got {show(value)}", "each seed once")
    return listed


def _two_stage(given: dict[Any, Any]) -> TwoStage:
    keys = tuple(TwoStage.model_fields)
    for key, value in given.items():
        if key not in keys:
            said = f"unknown key {show(key)} (value {show(value)})"
            raise rule(said, ", ".join(keys), str(key), near=nearest(key, [k for k in keys if k not in given]))
    for key in keys:
        if key not in given:
            raise rule("is missing", "min, max and half_width: a number of seeds is fixed by all three", key)
    least = _whole(given["min"], "min", 2)  # one seed has no spread
    most = _whole(given["max"], "max", least + 1)
    half = given["half_width"]
    if isinstance(half, bool) or not isinstance(half, (int, float)) or not finite(half) or half <= 0:
        raise rule(f"got {show(half)}", "a number > 0, in the unit of the first objective", "half_width")
    return TwoStage(min=least, max=most, half_width=float(half))


def _whole(value: Any, key: str, least: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        raise rule(f"got {show(value)}", f"a whole number from {least} to {MOST}", key)
    return int(value)


@lru_cache
def student_t(df: int) -> float:
    """The quantile of Student's t that leaves 95 % between it and its negative."""
    from scipy.special import stdtrit  # loaded where it is needed: `status` has seldom need of it

    return float(stdtrit(df, (1 + LEVEL) / 2))
