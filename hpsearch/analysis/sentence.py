"""One finding in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sentence:
    """kind: what it is about, one word or two. arm: the one arm that it is about, empty where it is of several.
    parameter: the one hyperparameter that it is about.
    """

    kind: str
    arm: str
    text: str
    parameter: str = ""
