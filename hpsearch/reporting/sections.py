"""The report's sections of pictures, in reading order: which figures, how they are laid out, what stands for those
that these data do not give.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hpsearch.figures import parallel
from hpsearch.figures.arms import best, forest, front, tuning
from hpsearch.figures.curves import curves
from hpsearch.figures.maps import maps
from hpsearch.figures.maps.maps import ColourBar, MapGroup
from hpsearch.figures.matters import along, importances, interactions
from hpsearch.figures.picture import Missing, Picture
from hpsearch.figures.result import Result
from hpsearch.figures.safe import ranges as safe_ranges
from hpsearch.reporting.page import Drawn, Page

SENTENCE = re.compile(r"(?<=[.]) (?=[A-Z])")
Layout = Literal["wide", "cards", "small"]


@dataclass(frozen=True)
class Group:
    """Pictures below each other (wide) or beside each other (cards, small), under one title. caption: what the captions
    of cards have in common; what is left stands under each. why_not: reason by reason, which pictures are not there.
    """

    key: str
    title: str
    layout: Layout
    pictures: tuple[Drawn, ...]
    caption: str
    why_not: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MapRow:
    """The maps of one pair of hyperparameters, an arm each. caption: as a Group's."""

    key: str
    x: str
    y: str
    pictures: tuple[Drawn, ...]
    caption: str


@dataclass(frozen=True)
class Sections:
    arms: tuple[Group, ...]
    matters: tuple[Group, ...]
    safe: tuple[Group, ...]
    maps: tuple[MapRow, ...]
    maps_missing: tuple[tuple[str, str], ...]
    colour_bar: ColourBar | None
    curves: tuple[Group, ...]
    parallel: Group


def all_pictures(result: Result) -> Iterator[Picture | Missing]:
    """Every picture of the report, in its order, and what stands for those that the data do not give."""
    for module in (
        front, best, forest, tuning, importances, interactions, along, safe_ranges, maps, curves, parallel,
    ):  # fmt: skip
        yield from module.pictures(result)


def make_sections(result: Result, page: Page) -> Sections:
    """Every picture of the report, placed on the page."""
    groups = maps.map_groups(result)
    rows = tuple(_map_row(page, f"maps-{i}", one) for i, one in enumerate(groups))
    return Sections(
        arms=(
            make_group(page, "front", "", "wide", front.pictures(result)),
            make_group(page, "best", "", "wide", best.pictures(result)),
            make_group(page, "differences", "", "wide", forest.pictures(result)),
            make_group(page, "tuning", "", "wide", tuning.pictures(result)),
        ),
        matters=(
            make_group(page, "importances", "", "wide", importances.pictures(result)),
            make_group(page, "interactions", "Interactions", "small", interactions.pictures(result)),
            make_group(page, "along", "Along training", "cards", along.pictures(result)),
        ),
        safe=(make_group(page, "sensitivity", "", "wide", safe_ranges.pictures(result)),),
        maps=rows,
        maps_missing=_reasons(one for one in maps.pictures(result) if isinstance(one, Missing)) if not rows else (),
        colour_bar=maps.colour_bar(result) if rows else None,
        curves=(make_group(page, "curves", "", "cards", curves.pictures(result)),),
        parallel=make_group(page, "parallel", "", "wide", parallel.pictures(result)),
    )


def _map_row(page: Page, key: str, found: MapGroup) -> MapRow:
    group = make_group(page, key, "", "cards", found.pictures)
    return MapRow(key, found.x, found.y, group.pictures, group.caption)


def make_group(page: Page, key: str, title: str, layout: Layout, pictures: Sequence[Picture | Missing]) -> Group:
    """The pictures, placed on the page."""
    drawn, missing = page.split(pictures)
    # Methods that differ in one sentence tell the others twice.
    drawn = [replace(one, caption=" ".join(dict.fromkeys(SENTENCE.split(one.caption)))) for one in drawn]
    shared = ""
    if layout != "wide":
        shared, rest = common([one.caption for one in drawn])
        drawn = [replace(one, caption=caption) for one, caption in zip(drawn, rest, strict=True)]
    return Group(f"group-{key}", title, layout, tuple(drawn), shared, _reasons(missing))


def common(captions: Sequence[str]) -> tuple[str, list[str]]:
    """The sentences that all captions have, and what is left of each."""
    split = [[part.strip() for part in SENTENCE.split(caption) if part.strip()] for caption in captions]
    shared = [part for part in (split[0] if split else []) if all(part in other for other in split)]
    return " ".join(shared), [" ".join(part for part in parts if part not in shared) for parts in split]


def _reasons(missing: Iterable[Missing]) -> tuple[tuple[str, str], ...]:
    """(titles, reason), a reason that several share once."""
    found: dict[str, list[str]] = {}
    for one in missing:
        found.setdefault(one.reason, []).append(one.title)
    return tuple((", ".join(dict.fromkeys(titles)), reason) for reason, titles in found.items())
