"""A figure with what stands around it: its name, what it shows in words, and the numbers behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import plotly.graph_objects as go

from hpsearch.errors import InputError
from hpsearch.figures.sketch import Figure as Sketch

OTHER = re.compile(r"[^A-Za-z0-9.]+")
LONGEST = 40  # letters of a name in a key


@dataclass(frozen=True)
class Picture:
    """key: of files and of links to it, e.g. sensitivity-rho; letters, digits, dots and dashes, unique in a report.
    title: short, no sentence. alt: what is seen, with its main numbers, for who can't see it.
    caption: what marks, lines, bands and n are. numbers: what is drawn, a tidy table.
    arm: the one arm that it is about, empty where it is of several.
    """

    key: str
    title: str
    sketch: Sketch
    alt: str
    caption: str
    numbers: pd.DataFrame
    arm: str = ""

    @cached_property
    def figure(self) -> go.Figure:
        """As plotly's own, with every property checked."""
        return self.sketch.to_plotly()


@dataclass(frozen=True)
class Missing:
    """A picture that these data do not give, and why."""

    key: str
    title: str
    reason: str


def unique_keys(start: str, names: Iterable[Sequence[str]]) -> list[str]:
    """START-NAME-NAME … of each tuple of names, as keys of pictures: letters, digits, dots and dashes, no two alike."""
    made: list[str] = []
    for parts in names:
        key = wanted = "-".join([start, *(OTHER.sub("-", name)[:LONGEST].strip("-") or "name" for name in parts)])
        count = 1
        while key in made:
            count += 1
            key = f"{wanted}-{count}"
        made.append(key)
    return made


class NothingToDraw(InputError):
    """These data do not give this figure; the message says why."""
