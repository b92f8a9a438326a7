"""The numbers of a map: one arm's metric over two hyperparameters, as its surrogate has it and as raw means.

Positions are where something stands on an axis: values, or indices of choices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.columns import Value
from hpsearch.analysis.objective import Objective
from hpsearch.figures.hatching import Box
from hpsearch.figures.picture import NothingToDraw
from hpsearch.figures.result import Result

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Cells. x_at (k,), y_at (l,): positions; x_edges (k + 1,), y_edges (l + 1,). mean (l, k): in the metric's unit,
    NaN where there is none. width (l, k): of the 95 % interval, NaN where none may be given. n: configurations.
    """

    x_at: Floats
    y_at: Floats
    x_edges: Floats
    y_edges: Floats
    mean: Floats
    width: Floats
    n: int
    method: str = ""
    why: str = ""


@dataclass(frozen=True)
class MapInfo:
    """One arm over x and y. surrogate: its expected metric, the others averaged; None where it has none, and
    why_no_surrogate says why. raw: means of the configurations in each cell. cells: a row for each cell of raw in which
    a configuration ended, with the columns of the document's cell_maps, its row and column in raw, and x, y (values, or
    the ends of bins).
    points: the configurations, the columns of Result.configurations and x_at, y_at. fails: the box that holds all
    configurations of which a seed did not train; None where there is no such box.
    """

    arm: str
    x: Axis
    y: Axis
    objective: Objective
    surrogate: Grid | None
    why_no_surrogate: str
    raw: Grid | None
    cells: pd.DataFrame
    points: pd.DataFrame
    fails: Box | None


def map_info(result: Result, arm: str, x: str, y: str) -> MapInfo:
    """Raises NothingToDraw where there is neither a surrogate's map nor a mean over these two."""
    if arm not in result.arms:
        raise NothingToDraw(f"there is no arm {arm}; arms are: {', '.join(result.arms) or 'none'}")
    if result.objective is None:
        raise NothingToDraw(result.reason or "no trial has a metric")
    answers = result.answers(arm) or {"pair_maps": (), "why_no_surrogate": "no surrogate was asked for"}
    modelled, raw = _entry(answers["pair_maps"], x, y), _entry(result.arm(arm)["cell_maps"], x, y)
    if modelled is None and raw is None:
        pairs = ", ".join(f"{a} and {b}" for a, b in pairs_of(result, arm)) or "none"
        raise NothingToDraw(f"{arm} has no map over {x} and {y}; there are: {pairs}")
    arms = result.arms_that_searched(x, y)
    axes = _axis(result, arm, x, arms), _axis(result, arm, y, arms)
    cells, means = (pd.DataFrame(), None) if raw is None else _raw(raw, *axes)
    info = MapInfo(
        arm, *axes, result.objective,
        None if modelled is None else _surrogate(modelled, *axes),
        "" if modelled is not None else answers["why_no_surrogate"] or "none over these two",
        means, cells, _points(result, arm, *axes), _fails(result, arm, *axes),
    )  # fmt: skip
    if not any(np.isfinite(grid.mean).any() for grid in (info.surrogate, info.raw) if grid is not None):
        raise NothingToDraw(f"no configuration of {arm} has a mean")
    return info


def pairs_of(result: Result, arm: str) -> list[tuple[str, str]]:
    """The pairs of an arm that have a map, in the order of the report's axes: the same for every arm."""
    entries = [*(result.answers(arm) or {"pair_maps": ()})["pair_maps"], *result.arm(arm)["cell_maps"]]
    rank = {name: i for i, name in enumerate(result.parameters)}
    found = [sorted((e["x"], e["y"]), key=lambda name: rank.get(name, len(rank))) for e in entries]
    return list(dict.fromkeys((x, y) for x, y in found))


def _entry(entries: Sequence[dict[str, Any]], x: str, y: str) -> dict[str, Any] | None:
    """The entry of a pair, turned where it has x along y."""
    for entry in entries:
        if (entry["x"], entry["y"]) == (x, y):
            return entry
        if (entry["x"], entry["y"]) == (y, x):
            other = {"x": "y", "y": "x", "ix": "iy", "iy": "ix"}
            turned = {other.get(k[0], k[0]) + k[1:] if k[:2] in ("x_", "y_") else k: v for k, v in entry.items()}
            if "cells" in entry:
                return turned | {"cells": {other.get(name, name): column for name, column in entry["cells"].items()}}
            widths = entry["interval_width"]
            mean, width = (
                np.array(entry["mean"], dtype=float).T,
                None if widths is None else np.array(widths, dtype=float).T,
            )
            return turned | {"mean": mean, "interval_width": width}
    return None


def _axis(result: Result, arm: str, name: str, arms: Sequence[str]) -> Axis:
    """The axis of all arms that stand beside each other, where the arm's own fits on it."""
    own = result.axis(name, arm)
    if len(arms) < 2:
        return own
    common = Axis.merged([result.axis(name, other) for other in arms])
    return own if common.kind == "choice" and own.kind != "choice" else common


def _surrogate(entry: dict[str, Any], x: Axis, y: Axis) -> Grid:
    (x_at, x_edges, i), (y_at, y_edges, j) = _laid_out(x, entry["x_values"]), _laid_out(y, entry["y_values"])
    mean, width = (np.full((len(y_at), len(x_at)), np.nan) for _ in range(2))
    mean[np.ix_(j, i)] = np.array(entry["mean"], dtype=float).T
    if entry["interval_width"] is not None:
        width[np.ix_(j, i)] = np.array(entry["interval_width"], dtype=float).T
    why = entry["why_no_interval"] or ""
    return Grid(x_at, y_at, x_edges, y_edges, mean, width, entry["n"], entry["method"], why)


def _raw(entry: dict[str, Any], x: Axis, y: Axis) -> tuple[pd.DataFrame, Grid]:
    (x_at, x_edges, i), (y_at, y_edges, j) = (
        _laid_out(axis, entry[f"{name}_values"], entry[f"{name}_edges"]) for name, axis in (("x", x), ("y", y))
    )
    cells = pd.DataFrame(entry["cells"]).astype({"mean": float, "sd": float})
    cells["row"], cells["column"] = j[cells["iy"]], i[cells["ix"]]
    for name in ("x", "y"):
        values, edges = entry[f"{name}_values"], entry[f"{name}_edges"]
        names = list(values) if edges is None else [tuple(edges[k : k + 2]) for k in range(len(edges) - 1)]
        cells[name] = pd.Series([names[k] for k in cells[f"i{name}"]], dtype=object)
    mean = np.full((len(y_at), len(x_at)), np.nan)
    mean[cells["row"], cells["column"]] = cells["mean"]
    none = np.full_like(mean, np.nan)
    return cells, Grid(x_at, y_at, x_edges, y_edges, mean, none, int(cells["n_configurations"].sum()))


def _laid_out(
    axis: Axis, values: Sequence[Value] | None, edges: Sequence[float] | None = None
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Positions of cells, their edges, and for each of `values` the index of its cell. Every choice has a cell."""
    if edges is not None:
        ends = np.array(edges, dtype=float)
        log = axis.kind == "log"
        middle = np.sqrt(ends[:-1] * ends[1:]) if log else (ends[:-1] + ends[1:]) / 2
        return np.asarray(middle), np.asarray(ends), np.arange(len(middle), dtype=np.int64)
    at = axis.positions(values or ())
    if axis.kind == "choice":
        every = np.arange(len(axis.choices) + 1, dtype=float)
        return np.asarray(every[:-1]), np.asarray(every - 0.5), at.astype(np.int64)
    places = np.unique(at)  # whole numbers near the low end of a log axis repeat
    return np.asarray(places), _between(places, axis), np.searchsorted(places, at).astype(np.int64)


def _between(at: Floats, axis: Axis) -> Floats:
    """Edges half way between positions; the outer cells as wide outwards as inwards."""
    log = axis.kind == "log"
    place = np.log(at) if log else at
    if len(place) == 1:
        half = 0.5 * (math.log((axis.high or 1.0) / (axis.low or 1.0)) if log else (axis.high or 0) - (axis.low or 0))
        edges = place[0] + np.array([-1.0, 1.0]) * (half or 0.5)
    else:
        middle = (place[1:] + place[:-1]) / 2
        edges = np.concatenate([[2 * place[0] - middle[0]], middle, [2 * place[-1] - middle[-1]]])
    return np.asarray(np.exp(edges) if log else edges)


def _points(result: Result, arm: str, x: Axis, y: Axis) -> pd.DataFrame:
    rows = result.configurations
    rows = rows[(rows["arm"] == arm) & (rows["n_trained"] + rows["n_not_trained"] > 0)]
    places = {f"{name}_at": axis.positions(rows[f"params.{axis.name}"]) for name, axis in (("x", x), ("y", y))}
    rows = rows.assign(**places, hover=result.hovers.loc[rows.index])
    return rows.dropna(subset=["x_at", "y_at"]).reset_index(drop=True)


def _fails(result: Result, arm: str, x: Axis, y: Axis) -> Box | None:
    """Each region holds all that failed, and so does what they have in common."""
    regions = (result.arm(arm)["failures"] or {"regions": []})["regions"]
    ends = {axis.name: [-math.inf, math.inf] for axis in (x, y)}
    for region in regions:
        axis = next((axis for axis in (x, y) if axis.name == region["parameter"]), None)
        bound = math.nan if axis is None else float(axis.positions([region["bound"]])[0])
        if axis is None or math.isnan(bound):
            continue
        half = 0.5 if axis.kind == "choice" else 0.0
        above = region["side"] == "above"
        ends[axis.name][0 if above else 1] = bound - half if above else bound + half
    left, right, bottom, top = (*ends[x.name], *ends[y.name])
    return None if all(map(math.isinf, (left, right, bottom, top))) else (left, right, bottom, top)
