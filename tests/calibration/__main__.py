"""Whether 95 % intervals hold: simulated studies with known truths -> hpsearch/analysis/calibration.csv.

    python -m tests.calibration [--studies 100] [--cliffs 60] [--first 0] [--cells qmc] [--arms] [--out FILE]

Studies are numbered from --first; what the file holds already, of other numbers, is kept and counted in.

The package prints an interval only where this table says that it covers.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

OUT = Path(__file__).parents[2] / "hpsearch" / "analysis" / "calibration.csv"
KEYS = ["statistic", "surface", "sampler", "seeds", "configurations"]
CELLS = list(product(("smooth", "cliff"), ("random", "qmc", "grid"), (3, 5), (24, 64, 128)))


def measure(cell: tuple[str, str, int, int], studies: range) -> list[tuple[object, ...]]:
    """Rows (cell, statistic, share of intervals that hold, width), one per study and interval."""
    from tests.calibration.surfaces import check_study

    kind, sampler, seeds, n = cell
    return [(*cell, *row) for study in studies for row in check_study(sampler, n, seeds, kind == "cliff", study)]


def measure_arms(cell: tuple[str, str, int, int], studies: range) -> list[tuple[object, ...]]:
    """The same of what compares arms on fresh seeds: the confirmed best, and the difference of two arms' best."""
    from tests.calibration.arms import confirmed_best, difference_at_best

    kind, sampler, seeds, n = cell
    rows: list[tuple[object, ...]] = []
    for name, check in (("confirmed_best", confirmed_best), ("arm_difference", difference_at_best)):
        rng = np.random.default_rng([studies[0], n, seeds, len(sampler)])
        found = check(len(studies), rng, configurations=n, seeds=seeds, sampler=sampler, cliff=kind == "cliff")
        rows += [(*cell, name, found["coverage"], found["width"])] * int(found["n"])
    return rows


def summarized(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    """One row per cell and statistic: intervals, coverage, mean width."""
    frame = pd.DataFrame(rows, columns=[*KEYS[1:], "statistic", "held", "width", "studies"])
    table = frame.groupby(KEYS).agg(
        studies=("studies", "first"), intervals=("held", "size"), coverage=("held", "mean"), width=("width", "mean")
    )
    return table.reset_index().round(4)


def merged(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Tables of different studies as one."""
    table = pd.concat(tables, ignore_index=True)
    for column in ("coverage", "width"):
        table[column] *= table["intervals"]
    table = table.groupby(KEYS, as_index=False)[["studies", "intervals", "coverage", "width"]].sum()
    for column in ("coverage", "width"):
        table[column] = (table[column] / table["intervals"]).round(4)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100, help="studies a cell")
    parser.add_argument("--cliffs", type=int, default=60, help="studies a cell with a cliff, which take longer")
    parser.add_argument("--first", type=int, default=0, help="number of the first study")
    parser.add_argument("--cells", type=str, default="", help="only cells whose name holds this text")
    parser.add_argument("--arms", action="store_true", help="what compares arms instead, which is fast")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    before = [pd.read_csv(options.out)] if options.first and options.out.exists() else []
    begun = time.time()
    rows: list[tuple[object, ...]] = []
    cells = [cell for cell in CELLS if options.cells in "-".join(map(str, cell))]
    with ProcessPoolExecutor(options.processes) as pool:
        for cell in cells:
            studies = options.cliffs if cell[0] == "cliff" else options.studies
            parts = np.array_split(np.arange(options.first, options.first + studies), 4 * options.processes)
            jobs = [
                pool.submit(measure_arms if options.arms else measure, cell, range(p[0], p[-1] + 1))
                for p in parts
                if len(p)
            ]
            found = [row for job in jobs for row in job.result()]
            rows += [(*row, studies) for row in found]
            merged([*before, summarized(rows)]).to_csv(options.out, index=False)
            shown = summarized([(*row, studies) for row in found]).set_index("statistic")["coverage"]
            print(f"{time.time() - begun:6.0f} s", *cell, shown.round(3).to_dict(), flush=True)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
