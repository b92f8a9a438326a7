"""Trials that a map of two hyperparameters costs: the error of the pair map, by how it was planned and computed.

The map of rho x lr, averaged over the third hyperparameter, from n configurations of three seeds each, against the
exact one, on random surfaces (tests/calibration/simulate.py). Error: root mean square over the map, relative to the
spread of the exact map. Ours is a qmc plan and the surrogate's map, the mean over its draws. Peers:

- a grid with its ends in it; the mean of every cell, elsewhere the nearest cell, as a heatmap shows it. Beside it the
  same means with bilinear interpolation;
- random search with the rule of Optuna's contour plot: of trials at the same coordinates (here: seeds) the best one,
  linear interpolation between the coordinates, the third hyperparameter ignored. Plotly fills the gaps when it draws;
  here scipy's griddata does, with the nearest point outside of the hull. Beside it the same rule told means over seeds.

What the seeds have in common moves every map alike; it is set to zero. Surfaces on which neither of the two acts are
drawn again. `python -m tests.benchmarks.efficiency [studies] [smooth cliff]`
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator, griddata

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.decomposition import SIDE, decompose, planes
from hpsearch.analysis.inputs import Input, Inputs
from hpsearch.analysis.seeds import seed_effect
from hpsearch.analysis.surrogate import fit_surrogate
from tests.calibration.simulate import CHANCE, PARAMETERS, Surface, Truth, design, trials

Floats = NDArray[np.float64]

SEEDS = 3
OURS = (32, 64, 128, 256)
PEERS = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # cheap to compute, and it takes them more trials
GRIDS = {  # levels along rho, lr, ema_decay
    32: (4, 4, 2),
    64: (4, 4, 4),
    128: (8, 4, 4),
    256: (8, 8, 4),
    512: (8, 8, 8),
    1024: (16, 8, 8),
    2048: (16, 16, 8),
    4096: (16, 16, 16),
}
INPUTS = Inputs(tuple(Input.from_axis(Axis.from_parameter(n, p)) for n, p in PARAMETERS.items()))
MIDDLES = (np.arange(SIDE) + 0.5) / SIDE
POINTS = np.stack(np.meshgrid(MIDDLES, MIDDLES, indexing="ij"), -1).reshape(-1, 2)  # (SIDE * SIDE, 2)

Method = Callable[[Surface, int, int], Floats]


def main(studies: int = 20, kinds: tuple[str, ...] = ("smooth", "cliff")) -> None:
    for kind in kinds:
        found = {name: errors_of(name, kind == "cliff", studies) for name in METHODS}
        print(f"\nerror of the pair map over its spread: {kind} surfaces, {studies} studies, {SEEDS} seeds")
        for k, what in enumerate(("map", "shape alone: each map less its mean")):
            print(f"{what:<40}" + "".join(f"{f'n = {n}':>20}" for n in OURS) + "   trials for our error, over ours")
            part = {name: {n: e[:, k] for n, e in errors.items()} for name, errors in found.items()}
            for name, errors in part.items():
                line = f"  {name:<38}" + "".join(f"{_quartiles(errors[n]):>20}" for n in OURS)
                if name != "ours":
                    line += "   " + ", ".join(ratio(part["ours"], errors, n) for n in OURS)
                print(line, flush=True)
    print("medians (quartiles); ratios from the medians, log-linear between the peer's n; aim: 2 or more")


def errors_of(name: str, cliff: bool, studies: int) -> dict[int, Floats]:
    """n -> the relative errors of the studies, of the map and of its shape, (studies, 2)."""
    out: dict[int, list[tuple[float, float]]] = {n: [] for n in (OURS if name == "ours" else PEERS)}
    for study in range(studies):
        surface, exact = drawn(cliff, study)
        for n, found in out.items():
            difference = METHODS[name](surface, n, study) - exact
            root = float(np.sqrt((difference**2).mean()))
            found.append((root / exact.std(), difference.std() / exact.std()))
    return {n: np.array(found) for n, found in out.items()}


def _quartiles(errors: Floats) -> str:
    low, middle, high = np.quantile(errors, (0.25, 0.5, 0.75))
    return f"{middle:.3f} ({low:.2f}-{high:.2f})"


def drawn(cliff: bool, study: int) -> tuple[Surface, Floats]:
    """A surface and its exact map at the middles, (SIDE, SIDE)."""
    rng = np.random.default_rng([study, int(cliff)])
    while True:
        surface = Surface.draw(rng, cliff)
        _, cube = Truth(surface, 5 * SIDE).tensor()  # every fifth of its midpoints is one of the map's
        exact = cube.mean(2)[2::5, 2::5]
        if exact.std() > 1e-6:
            return surface, exact


def observed(surface: Surface, u: Floats, n: int, study: int, sampler: str) -> pd.DataFrame:
    rng = np.random.default_rng([study, n, 1])
    return trials(surface, u, SEEDS, rng, sampler=sampler, shift=np.zeros(SEEDS))


def ours(surface: Surface, n: int, study: int) -> Floats:
    table = observed(surface, design("qmc", n, np.random.default_rng([study, n])), n, study, "qmc")
    effect = seed_effect(table, "metrics.val_accuracy")
    surrogate = fit_surrogate(summarize(table, "val_accuracy"), INPUTS, effect, CHANCE, study)
    if isinstance(surrogate, str):
        raise RuntimeError(surrogate)
    plane = planes(surrogate, decompose(surrogate, study), study)[0, 1]
    assert np.allclose(plane.x, MIDDLES)
    return plane.maps.mean(0)


def grid_nearest(surface: Surface, n: int, study: int) -> Floats:
    return _grid(surface, n, study, "nearest")


def grid_bilinear(surface: Surface, n: int, study: int) -> Floats:
    return _grid(surface, n, study, "linear")


def _grid(surface: Surface, n: int, study: int, method: str) -> Floats:
    axes = [np.linspace(0, 1, k) for k in GRIDS[n]]
    u = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    cells = _values(observed(surface, u, n, study, "grid")).reshape(*GRIDS[n], SEEDS).mean((2, 3))
    return RegularGridInterpolator(axes[:2], cells, method)(POINTS).reshape(SIDE, SIDE)


def contour_best(surface: Surface, n: int, study: int) -> Floats:
    return _contour(surface, n, study, lambda values: values.max(1))


def contour_means(surface: Surface, n: int, study: int) -> Floats:
    return _contour(surface, n, study, lambda values: values.mean(1))


def _contour(surface: Surface, n: int, study: int, of_seeds: Callable[[Floats], Floats]) -> Floats:
    u = design("random", n, np.random.default_rng([study, n]))
    y = of_seeds(_values(observed(surface, u, n, study, "random")))
    inside = griddata(u[:, :2], y, POINTS, method="linear")
    nearest = griddata(u[:, :2], y, POINTS, method="nearest")
    return np.where(np.isfinite(inside), inside, nearest).reshape(SIDE, SIDE)


def _values(table: pd.DataFrame) -> Floats:
    """(configurations, seeds)"""
    return table["metrics.val_accuracy"].to_numpy(float).reshape(-1, SEEDS)


METHODS: dict[str, Method] = {
    "ours": ours,
    "grid, nearest cell": grid_nearest,
    "grid, bilinear": grid_bilinear,
    "random, Optuna's contour": contour_best,
    "random, contour of means": contour_means,
}


def ratio(mine: dict[int, Floats], peer: dict[int, Floats], n: int) -> str:
    """How many times our n the peer needs for our median error at n."""
    wanted = np.log(np.median(mine[n]))
    sizes = np.log(list(peer))
    errors = np.minimum.accumulate(np.log([np.median(e) for e in peer.values()]))  # more trials are never worse
    if wanted < errors[-1]:
        return f">{max(peer) / n:.0f}"
    if wanted >= errors[0]:
        return f"<={min(peer) / n:.2g}"
    return f"{np.exp(np.interp(-wanted, -errors, sizes)) / n:.1f}"


if __name__ == "__main__":
    counts = [int(a) for a in sys.argv[1:] if a.isdigit()]
    named = tuple(a for a in sys.argv[1:] if not a.isdigit())
    main(*(counts or [20]), *([named] if named else []))
