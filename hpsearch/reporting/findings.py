"""The document's sentences as the page shows them: a label that leads to the picture, the sentence in its clauses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

MOST = 10  # shown at once; the rest opens at a click
QUOTA = {"safe range": 2, "importance": 4}  # of a kind among these; of other kinds one

# kind -> label, and the pictures that show it, the first one that the page has.
LABELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "arms": ("Arms", ("differences", "best", "front")),
    "safe range": ("Safe range", ()),
    "best": ("Best", ("best",)),
    "failures": ("Failures", ("safe",)),
    "importance": ("What matters", ("importances",)),
    "tuning": ("Tuning", ("importances",)),
    "equal budgets": ("Equal budgets", ("equal-budgets", "tuning")),
    "robust": ("Robust choice", ("maps",)),
    "along training": ("Along training", ("group-along",)),
    "front": ("Front", ("front",)),
    "nothing": ("Nothing", ()),
}


@dataclass(frozen=True)
class Clause:
    """arm: the one that the text begins with, empty where it begins with none; the text then is the rest."""

    arm: str
    text: str


@dataclass(frozen=True)
class Finding:
    """label: of the link to `anchor` (empty: no link). head: what the clauses are about, may be empty."""

    label: str
    anchor: str
    head: Clause
    clauses: tuple[Clause, ...]


def findings(
    document: dict[str, Any], keys: Mapping[str, str], anchors: Collection[str], arms: Collection[str]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Those that are shown at once and the rest, in the document's order: what decides first.

    keys: of each hyperparameter's sensitivity picture. anchors: ids on the page that may be linked to.
    """
    first: list[Finding] = []
    rest: list[Finding] = []
    taken: dict[str, int] = {}
    for one in document["findings"]:
        taken[one["kind"]] = taken.get(one["kind"], 0) + 1
        shown = len(first) < MOST and taken[one["kind"]] <= QUOTA.get(one["kind"], 1)
        (first if shown else rest).append(_finding(one, keys, anchors, arms))
    return tuple(first), tuple(rest)


def warnings(document: dict[str, Any], arms: Collection[str]) -> tuple[Finding, ...]:
    return tuple(Finding(_capital(one["kind"]), "", *_clauses(one["text"], arms)) for one in document["warnings"])


def _finding(one: dict[str, Any], keys: Mapping[str, str], anchors: Collection[str], arms: Collection[str]) -> Finding:
    label, targets = LABELS.get(one["kind"], (_capital(one["kind"]), ()))
    if one["parameter"]:
        targets = (keys.get(one["parameter"], ""), *targets)
    found = next((target for target in targets if target in anchors), "")
    return Finding(label, found, *_clauses(one["text"], arms))


def _clauses(text: str, arms: Collection[str]) -> tuple[Clause, tuple[Clause, ...]]:
    """`about: one; two` -> its head and what follows, clause by clause; one clause is no list."""
    parts = _split(text)
    if len(parts) == 1:
        return _clause(text, arms), ()
    head, colon, first = parts[0].partition(": ")
    listed = (first, *parts[1:]) if colon else parts
    return _clause(head if colon else "", arms), tuple(_clause(part, arms) for part in listed)


def _clause(text: str, arms: Collection[str]) -> Clause:
    word, _, rest = text.partition(" ")
    return Clause(word, rest) if word in arms else Clause("", text)


def _split(text: str) -> list[str]:
    """At semicolons outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == ";" and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
