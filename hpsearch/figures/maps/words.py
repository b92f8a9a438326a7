"""What stands around a map: key, title, alternative text, caption, numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.writing import briefly, count, number
from hpsearch.figures import format as fmt
from hpsearch.figures.maps.marks import shown_points, width_marks
from hpsearch.figures.maps.numbers import Grid, MapInfo
from hpsearch.figures.result import Result


def title(info: MapInfo) -> str:
    return f"{info.arm}: {info.x.name} \N{MULTIPLICATION SIGN} {info.y.name}"


def alt(info: MapInfo) -> str:
    metric = fmt.sentence(fmt.metric_name(info.objective.name))
    text = f"{metric} of {info.arm} over {info.x.name} and {info.y.name}"
    grid, what = (info.surrogate, "expected metric") if info.surrogate is not None else (info.raw, "mean")
    if grid is None:
        return f"{text}."
    sign = info.objective.sign
    best, worst = (np.unravel_index(int(f(sign * grid.mean)), grid.mean.shape) for f in (np.nanargmax, np.nanargmin))
    told = [
        f"{name} {fmt.metric(info.objective, float(grid.mean[j, i]), 1)} at {_where(info, grid, int(i), int(j))}"
        for name, (j, i) in (("best", best), ("worst", worst))
    ]
    failed = int((info.points["n_not_trained"] > 0).sum())
    seeds = f"; in {failed} of {count(len(info.points), 'configuration')} some seed did not train" if failed else ""
    return f"{text}; {what}: {', '.join(told)}{seeds}."


def _where(info: MapInfo, grid: Grid, i: int, j: int) -> str:
    return f"{_value(info.x, float(grid.x_at[i]))} and {_value(info.y, float(grid.y_at[j]))}"


def _value(axis: Axis, at: float) -> str:
    return f"{axis.name} {fmt.parameter(axis.choices[round(at)]) if axis.kind == 'choice' else number(at)}"


def caption(result: Result, info: MapInfo) -> str:
    made = []
    if info.surrogate is not None:
        text = result.method(info.surrogate.method)["text"].split(";")[0]
        made.append(f"Colour: {text}, by the surrogate (n = {count(info.surrogate.n, 'configuration')}).")
        made.append(_uncertainty(info, info.surrogate))
    else:
        made.append(f"No surrogate: {info.why_no_surrogate}.")
    if info.raw is not None:
        start = "Raw means" if info.surrogate is not None else "Colour"
        edges = ", which reaches half way to the next value" if _by_value(info) else ""
        made.append(f"{start}: mean of the configurations' means in each cell{edges}; grey: none was tried there.")
    marked, every = len(shown_points(info)), len(info.points)
    part = f"{marked} of {every:,}" if marked < every else f"{every}"
    if info.surrogate is not None:
        made.append(f"Circles: configurations ({part}).")
    if (info.points["n_not_trained"] > 0).any():
        made.append("Crosses: configurations of which some seed did not train.")
    if info.fails is not None:
        made.append("Hatched: the part that holds all of these.")
    return " ".join(made)


def _by_value(info: MapInfo) -> bool:
    """Whether cells stand for single values of a range."""
    axes = ((info.x, "x"), (info.y, "y"))
    return any(
        a.kind != "choice" and not info.cells[name].map(lambda v: isinstance(v, tuple)).any() for a, name in axes
    )


def _uncertainty(info: MapInfo, grid: Grid) -> str:
    if not np.isfinite(grid.width).any():
        return f"No interval: {briefly(grid.why)}."
    unit = 100.0 if info.objective.share else 1.0
    low, high = (number(float(f(grid.width)) * unit, 2) for f in (np.nanmin, np.nanmax))
    told = f"{low} to {high} {'points' if info.objective.share else fmt.metric_name(info.objective.name)}"
    marks = width_marks(info, grid)
    if marks == "none":
        return f"Its 95 % interval is {told} wide."
    return f"{'Lines' if marks == 'lines' else 'Numbers with arrows'}: the width of the 95 % interval, {told}."


def numbers(info: MapInfo) -> pd.DataFrame:
    """What is drawn: arm, x_name, y_name, view, x, y (values; of bins their ends: x_to, y_to), mean, low, high, width
    (of the 95 % interval), n (configurations; of one, its trials), sd, n_not_trained, method, why_no_interval.
    """
    rows: list[dict[str, object]] = []
    if info.surrogate is not None:
        grid = info.surrogate
        xs, ys = [_cell(info.x, v) for v in grid.x_at.tolist()], [_cell(info.y, v) for v in grid.y_at.tolist()]
        told = {"n": grid.n, "method": grid.method, "why_no_interval": grid.why}
        means, widths = grid.mean.tolist(), grid.width.tolist()
        for j, y in enumerate(ys):
            for i, x in enumerate(xs):
                rows.append({"view": "surrogate", "x": x, "y": y, "mean": means[j][i], "width": widths[j][i], **told})
    for cell in info.cells.to_dict("records"):
        place: dict[str, object] = {}
        for name in ("x", "y"):
            ends = cell[name] if isinstance(cell[name], tuple) else (cell[name],)
            place |= dict(zip((name, f"{name}_to"), ends, strict=False))
        told = {"mean": cell["mean"], "n": cell["n_configurations"], "sd": cell["sd"]}
        rows.append({"view": "raw mean", **place, **told, "n_not_trained": cell["n_not_trained"]})
    for row in info.points.to_dict("records"):
        place = {"x": row[f"params.{info.x.name}"], "y": row[f"params.{info.y.name}"]}
        told = {name: row[name] for name in ("mean", "low", "high", "n", "sd", "n_not_trained")}
        rows.append({"view": "configuration", **place, **told})
    made = pd.DataFrame(rows)
    for k, (column, value) in enumerate((("arm", info.arm), ("x_name", info.x.name), ("y_name", info.y.name))):
        made.insert(k, column, value)
    return made


def _cell(axis: Axis, at: float) -> object:
    return axis.choices[round(at)] if axis.kind == "choice" else at
