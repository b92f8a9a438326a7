"""One picture for each arm, the same for all: the page lays them out as a grid of cards."""

from __future__ import annotations

import re
from collections.abc import Callable

from hpsearch.analysis.writing import by_reason
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
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
    """Arm -> NAME-ARM as a key of a picture: letters, digits, dots and dashes, no two alike."""
    keys: dict[str, str] = {}
    for arm in result.arms:
        key = wanted = f"{name}-{re.sub(r'[^A-Za-z0-9.]+', '-', arm)[:40].strip('-') or 'arm'}"
        count = 1
        while key in keys.values():
            count += 1
            key = f"{wanted}-{count}"
        keys[arm] = key
    return keys
