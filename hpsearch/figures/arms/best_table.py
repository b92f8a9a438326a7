"""The table of each arm's best configurations, as text."""

from __future__ import annotations

from dataclasses import dataclass

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.objective import Objective
from hpsearch.figures import format as fmt
from hpsearch.figures.arms.best_info import BestEntry, BestInfo, best_info
from hpsearch.figures.picture import NothingToDraw
from hpsearch.figures.quoted import level
from hpsearch.figures.result import Result


@dataclass(frozen=True)
class BestRow:
    """One row, plain text. test: empty where there is no test metric. compute: per trial, in the order of COSTS."""

    arm: str
    rank: str
    params: str
    selection: str
    confirmed: str
    test: str
    compute: tuple[str, ...]


def best_rows(result: Result) -> tuple[BestRow, ...]:
    """Empty where no configuration has a result."""
    try:
        info = best_info(result)
    except NothingToDraw:
        return ()
    return tuple(_row(info, one) for one in info.entries)


def _row(info: BestInfo, one: BestEntry) -> BestRow:
    confirmed = "selected, optimistic" if one.tried > 1 else "not confirmed"
    if one.fresh is not None:
        not_trained, failed = one.fresh_lost
        lost = [f"{not_trained} did not train"] if not_trained else []
        lost += [f"{failed} failed or stopped, not counted"] if failed else []
        confirmed = _estimate(info.objective, one.fresh, lost)
    selected = [f"{one.not_trained} did not train"] if one.not_trained else []
    return BestRow(
        arm=one.arm,
        rank=f"{one.rank} of {one.tried}",
        params=fmt.parameters(one.params) or "nothing searched",
        selection=f"{fmt.metric(info.objective, one.selection.value)}{_note(one.selection, selected)}",
        confirmed=confirmed,
        test="" if one.test is None else _estimate(info.judged, one.test, []),
        compute=tuple(fmt.cost(name, value) for name, value in one.costs.items()),
    )


def _estimate(goal: Objective, found: Answer, lost: list[str]) -> str:
    return level(goal, found) + _note(found, lost if found.has_interval else ["no interval", *lost])


def _note(found: Answer, more: list[str]) -> str:
    return f", {', '.join([f'n{fmt.EQUALS}{found.n}', *more])}"
