"""The numbers of the front: every configuration's mean over its compute, and how likely each is on the front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hpsearch.analysis.columns import COSTS
from hpsearch.analysis.objective import Objective
from hpsearch.figures.picture import NothingToDraw
from hpsearch.figures.quoted import known, method_text
from hpsearch.figures.result import Result

COLUMNS = (
    "cost", "arm", "configuration_id", "compute", "mean", "on_front", "probability", "shrunk_mean", "low", "high", "n",
)  # fmt: skip


@dataclass(frozen=True)
class FrontInfo:
    """configurations: those with a mean and some cost, as Result.configurations has them. costs: those that are known
    of any. points: those on an observed front or likely to be, by cost: COLUMNS; mean in the metric's unit,
    probability of being on the front of the true means (NaN where not known), shrunk_mean with its 95 % credible
    interval low, high. computed: the costs whose front is known. error: largest Monte Carlo standard error of a
    probability. key: of the method among the document's.
    """

    objective: Objective
    arms: tuple[str, ...]
    costs: tuple[str, ...]
    configurations: pd.DataFrame
    points: pd.DataFrame
    computed: tuple[str, ...]
    draws: int
    error: float
    key: str
    method: str

    def front(self, cost: str) -> pd.DataFrame:
        """The observed front, by compute."""
        rows = self.points[(self.points["cost"] == cost) & self.points["on_front"].astype(bool)]
        return rows.sort_values(["compute", "mean"], kind="stable", ignore_index=True)


def front_info(result: Result) -> FrontInfo:
    """Raises NothingToDraw where no configuration has a mean and a cost."""
    goal, rows = result.objective, result.configurations
    if result.reason or goal is None:
        raise NothingToDraw(result.reason or "no trial has a metric")
    rows = rows[rows["mean"].notna()]
    costs = tuple(name for name in COSTS if rows[f"cost.{name}"].notna().any())
    if not costs:
        raise NothingToDraw("the compute of trials is not known: no column of samples, FLOPs or seconds has a value")
    rows = rows[rows[[f"cost.{name}" for name in costs]].notna().any(axis=1)].reset_index(drop=True)
    entries = [e for e in result.document["fronts"] if e["compute"] in costs]
    points = pd.DataFrame([_point(e["compute"], p) for e in entries for p in e["points"]], columns=list(COLUMNS))
    return FrontInfo(
        objective=goal,
        arms=tuple(arm for arm in result.arms if (rows["arm"] == arm).any()),
        costs=costs,
        configurations=rows,
        points=points,
        computed=tuple(e["compute"] for e in entries),
        draws=max((int(e["draws"]) for e in entries), default=0),
        error=max((known(e["monte_carlo_error"]) for e in entries), default=np.nan),
        key=entries[0]["method"] if entries else "",
        method=method_text(result.method(entries[0]["method"])) if entries else "",
    )


def _point(cost: str, point: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"cost": cost, "on_front": bool(point["on_observed_front"])}
    made |= {name: point[name] for name in ("arm", "configuration_id", "n")}
    return made | {name: known(point[name]) for name in COLUMNS if name not in made}
