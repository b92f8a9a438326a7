"""Each arm's best configurations, of the document: what selected them, what they reach on fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.columns import COSTS, Value
from hpsearch.analysis.objective import Objective
from hpsearch.figures.picture import NothingToDraw
from hpsearch.figures.quoted import answer, known, method_text
from hpsearch.figures.result import Result


@dataclass(frozen=True)
class BestEntry:
    """One configuration. selection: by the mean that selected it, in the objective's unit. fresh: the same metric on
    fresh seeds; test: on the test set, on fresh seeds; None where not known. rank: among `tried` of its arm.
    not_trained: of the selection seeds; fresh_lost: fresh seeds that did not train, and that have no result.
    costs: per selection trial, NaN where not known.
    """

    arm: str
    rank: int
    tried: int
    configuration_id: str
    params: dict[str, Value]
    selection: Answer
    fresh: Answer | None
    test: Answer | None
    not_trained: int
    fresh_lost: tuple[int, int]
    costs: dict[str, float]

    @property
    def confirmed(self) -> Answer | None:
        """By the metric that judges."""
        return self.test if self.test is not None else self.fresh


@dataclass(frozen=True)
class BestInfo:
    """entries: by arm and rank. judged: the test set's metric, or the objective itself."""

    objective: Objective
    judged: Objective
    entries: tuple[BestEntry, ...]
    methods: tuple[str, ...]


def best_info(result: Result) -> BestInfo:
    """Raises NothingToDraw where no configuration has a result."""
    goal = result.objective
    found = sorted(result.document["best"], key=lambda e: (result.arms.index(e["arm"]), e["rank"]))
    if result.reason or goal is None or not found:
        raise NothingToDraw(result.reason or "no configuration has a result")
    entries = tuple(_entry(e) for e in found)
    numbers = [one for e in entries for one in (e.selection, e.fresh, e.test) if one is not None]
    return BestInfo(
        objective=goal,
        judged=result.judged or goal,
        entries=entries,
        methods=tuple(method_text(result.method(key)) for key in dict.fromkeys(one.method for one in numbers)),
    )


def _entry(entry: Mapping[str, Any]) -> BestEntry:
    confirmation = entry["confirmation"]
    fresh, test, lost = None, None, (0, 0)
    if confirmation is not None:
        fresh = answer(confirmation["objective"])
        test = None if confirmation["test"] is None else answer(confirmation["test"])
        lost = (int(confirmation["not_trained"]), int(confirmation["failed"]))
    return BestEntry(
        arm=entry["arm"],
        rank=int(entry["rank"]),
        tried=int(entry["configurations_tried"]),
        configuration_id=entry["configuration_id"],
        params=dict(entry["params"]),
        selection=answer(entry["selection"]),
        fresh=fresh,
        test=test,
        not_trained=int(entry["not_trained"]),
        fresh_lost=lost,
        costs={name: known(entry["mean_cost"][name]) for name in COSTS},
    )
