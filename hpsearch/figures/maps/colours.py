"""The colours that all maps share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpsearch.figures.hatching import Box
from hpsearch.figures.maps.numbers import Grid, MapInfo

CLIPPED = 0.1  # of the cells that trained may lie beyond the bad end of the colours
FEW = 10  # cells below which nothing is clipped


@dataclass(frozen=True)
class ColourRange:
    """The means between which maps are coloured; `clipped`: some cells lie beyond the bad end."""

    low: float
    high: float
    clipped: bool


def colours_of(infos: Iterable[MapInfo]) -> ColourRange | None:
    """One range of colours for all maps; None where no cell has a mean.

    From cells in which every seed trained and from surrogates outside of where training failed: chance level would
    else take up nearly all of the scale. A tenth of these at the bad end may be clipped, too: a few learning rates that
    are far too small must not hide the rest.
    """
    everything, trained, maximize = [np.empty(0)], [np.empty(0)], True
    for info in infos:
        maximize = info.objective.maximize
        if info.surrogate is not None:
            everything.append(info.surrogate.mean.ravel())
            trained.append(info.surrogate.mean[~_inside(info.surrogate, info.fails)])
        if len(info.cells):
            means = info.cells["mean"].to_numpy(float)
            everything.append(means)
            trained.append(means[info.cells["n_not_trained"].to_numpy() == 0])
    means, clean = (found[np.isfinite(found)] for found in (np.concatenate(everything), np.concatenate(trained)))
    if means.size == 0:
        return None
    shown = clean if clean.size else means
    low, high = float(shown.min()), float(shown.max())
    if shown.size >= FEW:
        cut = float(np.quantile(shown, CLIPPED if maximize else 1 - CLIPPED))
        low, high = (cut, high) if maximize else (low, cut)
    if low == high:
        low, high = low - 0.01 * (abs(low) or 1.0), high + 0.01 * (abs(high) or 1.0)
    return ColourRange(low, high, bool((means < low).any() if maximize else (means > high).any()))


def _inside(grid: Grid, fails: Box | None) -> NDArray[np.bool_]:
    """(l, k): the cells whose middle lies where training failed."""
    if fails is None:
        return np.zeros(grid.mean.shape, dtype=bool)
    left, right, bottom, top = fails
    x, y = (grid.x_at >= left) & (grid.x_at <= right), (grid.y_at >= bottom) & (grid.y_at <= top)
    return np.asarray(y[:, None] & x[None, :])
