"""Seconds that all questions of the analysis take, by the number of trials.

    python -m tests.benchmarks.analysis [300 10000]

Half of the arms have a cliff, which costs about three times as much as a smooth arm. Aims on two cores: 30 s for 300
trials, 120 s for 10,000.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from hpsearch.analysis import analyze
from tests.calibration.simulate import PARAMETERS, Arm, Study, Surface, design, trials


def table(n: int, arms: int = 4, seeds: int = 3) -> tuple[pd.DataFrame, Study]:
    """A study of n trials with a learning curve each, and confirmation runs of each arm's first configuration."""
    rng = np.random.default_rng(0)
    parts = []
    for i in range(arms):
        surface, name = Surface.draw(rng, cliff=i % 2 == 0), f"arm{i}"
        u = design("qmc", round(n / arms / seeds), rng)
        parts.append(trials(surface, u, seeds, rng, name))
        again = trials(surface, u[:1], 5, rng, name, first_seed=1000, confirm=True, names=[f"{name}-0"])
        parts.append(again)
    made = pd.concat(parts, ignore_index=True)
    share = np.linspace(0.1, 1.0, 10)
    made["epochs_planned"] = made["epochs"] = 10
    made["curve.epoch"] = [list(range(1, 11))] * len(made)
    made["curve.val_accuracy"] = [list(0.1 + (v - 0.1) * share) for v in made["metrics.val_accuracy"]]
    return made, Study({f"arm{i}": Arm(PARAMETERS) for i in range(arms)})


def main() -> None:
    for n in map(int, sys.argv[1:] or ("300", "10000")):
        rows, study = table(n)
        begun, last = time.perf_counter(), time.process_time()
        steps: list[tuple[str, float]] = []

        def told(step: str) -> None:
            nonlocal last
            steps.append((step, time.process_time() - last))  # noqa: B023
            last = time.process_time()

        analyze(rows, study, told=told)  # type: ignore[arg-type]
        told("end")
        print(f"{len(rows)} trials: {time.perf_counter() - begun:.1f} s")
        for (step, _), (_, seconds) in zip(steps[:-1], steps[1:], strict=True):
            print(f"    {seconds:6.1f} s of CPU  {step}")


if __name__ == "__main__":
    main()
