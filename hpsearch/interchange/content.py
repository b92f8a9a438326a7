"""What a source holds, whatever it was: trials, objectives, and what was guessed on the way."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpsearch.analysis.axis import key
from hpsearch.analysis.columns import Value
from hpsearch.errors import InputError, nearest, show
from hpsearch.hyperparameters import finite

DIRECTIONS = ("maximize", "minimize")
MINIMIZED = ("loss", "error", "err", "perplexity", "ppl", "rmse", "mse", "mae", "nll", "regret", "wer", "cer", "fid")
MINIMIZED_COSTS = ("seconds", "flops", "samples", "time", "bytes", "memory")


@dataclass(frozen=True)
class Wishes:
    """What the user said of the source; what is left empty is guessed."""

    params: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    seed: str | None = None
    arm: str | None = None
    study: str | None = None


@dataclass(frozen=True)
class Trial:
    """One trial as the source tells it.

    seed: None where the source has none; the trial is then a replicate. where: its place, for messages.
    rest: further fields of hpsearch.results.Result, e.g. its curve. ids: (trial_id, configuration_id) it came with.
    """

    arm: str
    params: Mapping[str, Value]
    seed: int | None
    status: str
    metrics: Mapping[str, float | None]
    where: str
    fixed: Mapping[str, Value] = field(default_factory=dict)
    cost: Mapping[str, float | None] = field(default_factory=dict)
    sampling: Mapping[str, Any] | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)
    ids: tuple[str, str] | None = None

    @property
    def values(self) -> dict[str, Value]:
        """All hyperparameters, whether they were searched or fixed."""
        return {**self.fixed, **self.params}


@dataclass(frozen=True)
class Content:
    """A source as read. objectives: name -> direction, the one that selects first.

    declared: arm -> hyperparameter -> its keys in a study file, where the source knows ranges.
    origin: what an exported table says of its study, else None.
    """

    source: str
    name: str
    trials: tuple[Trial, ...]
    objectives: Mapping[str, str]
    told: tuple[str, ...]
    declared: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    origin: Mapping[str, Any] | None = None


def point(params: Mapping[str, Value]) -> tuple[Any, ...]:
    """Equal for equal parameters: 4 and 4.0 are one value; 1, True and "1" are three."""
    return tuple(sorted((name, key(value)) for name, value in params.items()))


def plain(value: object) -> Value | None:
    """A foreign cell as a value that a study file can hold; None where there is none.

    What is no scalar, or no finite number, becomes text.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value if finite(value) else str(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be written


def valid_names(texts: Iterable[str], slash: str = ".") -> dict[str, str]:
    """text -> a name that a study file takes, each different: model/lr -> model.lr."""
    names: dict[str, str] = {}
    for text in texts:
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", text.replace("/", slash))
        name = re.sub(r"^[^A-Za-z0-9]+", "", name)[:60].rstrip("_") or "unnamed"
        taken, number = name, 2
        while taken in names.values():
            taken, number = f"{name}-{number}", number + 1
        names[text] = taken
    return names


def renamed(names: Mapping[str, str], what: str) -> list[str]:
    """What to tell of the names that had to change."""
    changed = [f"{show(text)} -> {name}" for text, name in names.items() if text != name]
    return [f"{what} renamed, as a study file must have it: {', '.join(changed)}"] if changed else []


def tokens(name: str) -> list[str]:
    """val/Accuracy -> ["val", "accuracy"]."""
    return [part for part in re.split(r"[^a-z0-9]+", name.lower()) if part]


def split_metric(text: str, known: Iterable[str]) -> tuple[str, str | None]:
    """loss:minimize -> ("loss", "minimize"). Raises InputError for another direction."""
    name, colon, direction = text.rpartition(":")
    if not colon or text in set(known):
        return text, None
    if direction not in DIRECTIONS:
        near = nearest(direction, DIRECTIONS)
        hint = f"; did you mean {near!r}?" if near else ""
        raise InputError(f"--metric {text}: got the direction {show(direction)}; allowed: maximize, minimize{hint}")
    return name, direction


def guess_direction(name: str) -> str:
    words = tokens(name)
    return "minimize" if any(word in MINIMIZED or word in MINIMIZED_COSTS for word in words) else "maximize"


def unknown(option: str, name: str, source: str, what: str, known: Iterable[str]) -> InputError:
    """A name that the source does not have, with those it has."""
    names = [str(each) for each in known]
    near = nearest(name, names)
    hint = f"; did you mean {near!r}?" if near else ""
    listed = ", ".join(map(show, names[:30])) + (f", … ({len(names)} in all)" if len(names) > 30 else "")
    return InputError(f"{option}: {source} has no {what} {show(name)}; allowed: {listed or 'none'}{hint}")
