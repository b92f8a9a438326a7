"""What of a study has changed since the run folder was written, key by key."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from hpsearch.errors import InputError, show
from hpsearch.study import Study, read_study

LINES = 10
# What these say has no part in results; the name is the folder's.
APART = ("name", "description", "resources", "recorded")


def last_study(folder: Path, study: Study) -> Study | None:
    """What the folder was last run with; raises InputError where that is another study."""
    if not (folder / "study.yaml").is_file():
        return None
    before = read_study(folder / "study.yaml")
    if before.name != study.name:
        raise InputError(f"{folder}: holds a run of study {before.name!r}, not {study.name!r}; give another --out")
    return before


def describe_changes(before: Study, now: Study) -> list[str]:
    """A line for each key that has another value: 'seeds: 0 to 2 -> 0 to 4', 'arms.sam: new'; LINES at most."""
    found = [f"{path}: {change}" for path, change in _differ(_values(before), _values(now), "")]
    more = len(found) - LINES
    return found if more <= 0 else [*found[: LINES - 1], f"and {more + 1} more"]


def _values(study: Study) -> dict[str, Any]:
    data = study.model_dump(mode="json", by_alias=True, exclude=set(APART))
    data["task"] |= data["task"].pop("options")  # as the file has them
    return data


def _differ(before: Any, now: Any, path: str) -> Iterator[tuple[str, str]]:
    if before == now and type(before) is type(now):
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            yield from _differ(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif _phases(before) and _phases(now):
        for number in range(max(len(before), len(now))):
            one, other = (phases[number] if number < len(phases) else None for phases in (before, now))
            yield from _differ(one, other, f"{path}.{number}")
    elif before is None:
        yield path, "new" if isinstance(now, (dict, list)) else f"{_text(now)}, and was not given"
    elif now is None:
        yield path, "gone" if isinstance(before, (dict, list)) else f"no longer given, and was {_text(before)}"
    else:
        yield path, f"{_text(before)} -> {_text(now)}"


def _phases(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) > 1 and all(type(part) is int for part in value):
        if all(b == a + 1 for a, b in pairwise(value)):
            return f"{value[0]} to {value[-1]}"
    return show(value) if not isinstance(value, str) else show(value).strip("'")
