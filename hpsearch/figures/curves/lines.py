"""The lines of a picture of learning curves, as the arrays that plotly takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.figures.curves.info import CurvesInfo
from hpsearch.figures.hover import parameter_text
from hpsearch.figures.result import Result
from hpsearch.figures.style import safe

FEW = 4  # configurations that all have a band; of more, the best, the middle and the worst
Numbers = list[float | None]


@dataclass(frozen=True)
class Line:
    """One configuration's curves. at: place -> (k,). rows: metric -> (k, 4): mean, low, high, n, in drawn units, NaN
    where not known. text: its hover text. ends: epochs at which seeds ended that did not train. strong: it has a band.
    """

    at: dict[str, list[float]]
    rows: dict[str, NDArray[np.float64]]
    text: str
    ends: list[float]
    strong: bool


def read_lines(info: CurvesInfo, result: Result, shares: dict[str, bool]) -> list[Line]:
    n = len(info.configurations)
    strong = set(range(n)) if n <= FEW else {0, (n - 1) // 2, n - 1}
    curves = {key: rows for key, rows in info.curves.groupby("configuration_id", sort=False)}
    ends = info.ends.groupby("configuration_id")["epoch"].agg(list).to_dict()
    names = [name for name in result.searched(info.arm) if f"params.{name}" in info.configurations]
    made = []
    for i, row in enumerate(info.configurations.to_dict("records")):
        own = curves[row["configuration_id"]]
        places = own.groupby("epoch")["backward_samples"].mean()
        epochs = places.index.to_numpy(float)
        rows = {}
        for name, part in own.groupby("metric", sort=False):
            found = np.full((len(epochs), 4), np.nan)
            found[np.searchsorted(epochs, part["epoch"])] = part[["mean", "low", "high", "n"]].to_numpy(float)
            found[:, :3] *= 100 if shares[str(name)] else 1
            rows[str(name)] = found
        at = {"epoch": epochs.tolist(), "backward_samples": places.tolist()}
        text = [f"<b>{safe(info.arm)}</b>", parameter_text(row, names), _trained_text(row)]
        made.append(
            Line(
                at, rows, "<br>".join(part for part in text if part), ends.get(row["configuration_id"], []), i in strong
            )
        )
    return made


def _trained_text(row: dict[Any, Any]) -> str:
    return f"<b>{row['not_trained']} of {row['seeds']} seeds did not train</b>" if row["not_trained"] else ""


def is_share(info: CurvesInfo, result: Result, metric: str) -> bool:
    """Whether a metric is a share, drawn in percent: as the analysis has it of the objective, by name of another."""
    if result.objective and result.objective.name == metric:
        return result.objective.share
    found = info.curves[info.curves["metric"] == metric]
    return any(word in metric for word in ("accuracy", "error")) and bool(
        found["low"].ge(0).all() and found["high"].le(1).all()
    )


def means(line: Line, metric: str) -> Numbers:
    return rounded(line.rows[metric][:, 0]) if metric in line.rows else [None] * len(line.at["epoch"])


def spread(line: Line, metric: str) -> list[Numbers]:
    return [rounded(row[1:]) for row in line.rows[metric]] if metric in line.rows else []


def band_x(line: Line, metric: str, place: str) -> Numbers:
    if metric not in line.rows:
        return []
    known = np.isfinite(line.rows[metric][:, 0])
    x = rounded(np.array(line.at[place])[known])
    return x + x[::-1]


def band_y(line: Line, metric: str) -> Numbers:
    if metric not in line.rows:
        return []
    known = line.rows[metric][np.isfinite(line.rows[metric][:, 0])]
    return rounded(known[:, 2]) + rounded(known[::-1, 1])


def cross_x(lines: Sequence[Line], place: str) -> Numbers:
    return rounded([line.at[place][line.at["epoch"].index(end)] for line in lines for end in line.ends])


def cross_y(lines: Sequence[Line], metric: str, axis: dict[str, Any]) -> tuple[Numbers, Numbers]:
    """The last mean up to each end, for the metric itself may not have been finite any more; and for those beyond the
    axis' range how far up the picture their mark is, in [0, 1].
    """
    found: list[float] = []
    for line in lines:
        for end in line.ends:
            values = line.rows[metric][: line.at["epoch"].index(end) + 1, 0] if metric in line.rows else np.array([])
            known = values[np.isfinite(values)]
            found.append(float(known[-1]) if len(known) else math.nan)
    low, high = (10**end if axis["type"] == "log" else end for end in axis["range"])
    inside = [y if low <= y <= high else math.nan for y in found]
    beyond = [0.97 if y > high else 0.03 if y < low else math.nan for y in found]
    return rounded(inside), rounded(beyond)


def rounded(values: Sequence[float] | NDArray[np.float64]) -> Numbers:
    """To four significant digits; whole numbers as they are, what is not known as None."""
    return [
        None if not math.isfinite(v) else int(v) if float(v).is_integer() else float(f"{v:.4g}")
        for v in map(float, values)
    ]
