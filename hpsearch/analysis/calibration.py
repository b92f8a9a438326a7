"""Which intervals hold at which size of study: the table that `python -m tests.calibration` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pandas as pd

from hpsearch.analysis.answer import Answer

LEAST = 0.92  # of nominal 95 % intervals that must have held the truth
INPUTS = 3  # hyperparameters of the simulated studies
EVEN = ("random", "qmc", "grid")


@dataclass(frozen=True)
class Setting:
    """What decides which row of the table applies to an arm.

    surface: "cliff" where some trials did not train, else "smooth". samplers: those that drew the configurations.
    seeds: the usual number of a configuration.
    """

    surface: str
    samplers: tuple[str, ...]
    seeds: int
    configurations: int
    inputs: int

    def gate(self, answer: Answer, statistic: str) -> Answer:
        """The answer as it is, or without its interval and why: nobody has seen that interval hold at this size."""
        why = self.why_not(statistic)
        return answer.withheld(why) if why else answer

    def why_not(self, statistic: str) -> str:
        """Empty if intervals of the statistic were seen to hold in simulated studies no larger than this one."""
        other = [s for s in self.samplers if s not in EVEN]
        if other or not self.samplers:
            return f"drawn by {', '.join(other) or 'nobody knows what'}: intervals were checked for {', '.join(EVEN)}"
        # More hyperparameters than were simulated need more configurations; in proportion is a guess, and said.
        n = self.configurations * min(1.0, INPUTS / max(1, self.inputs))
        found = [self.row(statistic, sampler, n) for sampler in self.samplers]
        if any(row is None for row in found):
            needs = "24 configurations and 3 seeds" + (f" for each {INPUTS} hyperparameters" if self.inputs > 3 else "")
            return f"too few configurations ({self.configurations}, {self.seeds} seeds): checked from {needs} on"
        worst = min(float(row["coverage"]) for row in found if row is not None)
        if worst < LEAST:
            return (
                f"too few configurations ({self.configurations}): at this size 95 % intervals held {100 * worst:.0f} %"
            )
        return ""

    def row(self, statistic: str, sampler: str, n: float) -> pd.Series | None:
        """The row of the largest simulated study with no more configurations than n and no more seeds than this."""
        table = read_table()
        rows = table[
            (table["statistic"] == statistic)
            & (table["surface"] == self.surface)
            & (table["sampler"] == sampler)
            & (table["configurations"] <= n)
            & (table["seeds"] <= self.seeds)
        ]
        return None if rows.empty else rows.sort_values(["configurations", "seeds"]).iloc[-1]


@cache
def read_table() -> pd.DataFrame:
    """statistic, surface, sampler, seeds, configurations, studies, intervals, coverage, width."""
    with files("hpsearch.analysis").joinpath("calibration.csv").open() as file:
        return pd.read_csv(file)
