"""One picture for each arm, the same for all: the page lays them out as a grid of cards."""

from __future__ import annotations

from collections.abc import Callable

from hpsearch.analysis.writing import by_reason
from hpsearch.figures.picture import Missing, NothingToDraw, Picture, unique_keys
from hpsearch.figures.result import Result


def cards(result: Result, name: str, title: str, make: Callable[[str, str], Picture]) -> list[Picture | Missing]:
    """The picture of every arm, made by `make(arm, key)`; the arms without one last, by reason."""
    made: list[Picture | Missing] = []
    reasons = []
    for arm, key in arm_keys(result, name).items():
        try:
            made.append(make(arm, key))
        except NothingToDraw as why:
            reasons.append((arm, str(why)))
    if not result.arms:
        return [Missing(name, title, result.reason or "the table has no arms")]
    whys = {why for _, why in reasons}
    if whys:
        made.append(Missing(name, title, by_reason(reasons) if made or len(whys) > 1 else whys.pop()))
    return made


def arm_keys(result: Result, name: str) -> dict[str, str]:
    """Arm -> the key of its picture of this kind."""
    return dict(zip(result.arms, unique_keys(name, [(arm,) for arm in result.arms]), strict=True))
