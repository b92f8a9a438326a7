"""Maps: one arm's metric over two hyperparameters, all with the same colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from hpsearch.figures import format as fmt
from hpsearch.figures.maps import words
from hpsearch.figures.maps.colours import ColourRange, colours_of
from hpsearch.figures.maps.drawing import draw_map
from hpsearch.figures.maps.numbers import MapInfo, map_info, pairs_of
from hpsearch.figures.picture import Missing, NothingToDraw, Picture, unique_keys
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.style import SEQUENTIAL

if TYPE_CHECKING:
    from hpsearch.study import Study

__all__ = ["ColourBar", "MapGroup", "colour_bar", "colour_range", "map_groups", "map_info", "pictures", "plot_map"]


@dataclass(frozen=True)
class MapGroup:
    """The maps of all arms that have one over x and y, in the study's order."""

    x: str
    y: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class ColourBar:
    """The legend of all maps: a CSS gradient from left to right and the labels of its ends."""

    gradient: str
    low: str
    high: str


def plot_map(source: Source, arm: str, x: str, y: str, study: Study | None = None) -> go.Figure:
    """One arm over two hyperparameters.

    Colour: the expected metric by the arm's surrogate, the others averaged over their ranges; lines: width of its 95 %
    interval; circles: configurations, crosses where a seed did not train; hatched: where training failed. A switch
    shows the configurations' raw means instead. Colours are those of all maps of the source.
    source: a run folder, a table of trials, an Analysis or a Result; study: of a table.
    Raises NothingToDraw where the arm has no map over these two.
    """
    result = read_result(source, study)
    info = map_info(result, arm, x, y)
    return draw_map(info, colour_range(result) or ColourRange(0.0, 1.0, False)).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    """The maps of all pairs and arms, group by group."""
    made = [picture for group in map_groups(result) for picture in group.pictures]
    if made:
        return [*made]
    why = result.reason or "no arm has trials over two hyperparameters that varied"
    return [Missing("map", "Maps", why)]


def map_groups(result: Result) -> list[MapGroup]:
    """Pairs by the largest share of the variance that their interaction has in any arm, then those without one."""
    infos = list(_infos(result))
    colours = colours_of(infos)
    if colours is None:
        return []
    by_pair: dict[tuple[str, str], list[Picture]] = {}
    names = unique_keys("map", [(info.arm, info.x.name, info.y.name) for info in infos])
    for info, key in zip(infos, names, strict=True):
        made = Picture(
            key, words.title(info), draw_map(info, colours), words.alt(info), words.caption(result, info),
            words.numbers(info), info.arm,
        )  # fmt: skip
        by_pair.setdefault((info.x.name, info.y.name), []).append(made)
    share = _interactions(result)
    order = sorted(by_pair, key=lambda pair: -share.get(frozenset(pair), -1.0))
    return [MapGroup(*pair, tuple(by_pair[pair])) for pair in order]


def colour_range(result: Result) -> ColourRange | None:
    """In the metric's unit, the same for all maps; None where there is none."""
    return colours_of(_infos(result))


def colour_bar(result: Result) -> ColourBar | None:
    """Of all maps; None where there is none."""
    goal, found = result.objective, colour_range(result)
    if goal is None or found is None:
        return None
    low, high = fmt.metric(goal, found.low, 1), fmt.metric(goal, found.high, 1)
    if found.clipped:
        low, high = (
            (f"\N{LESS-THAN OR EQUAL TO} {low}", high)
            if goal.maximize
            else (low, f"\N{GREATER-THAN OR EQUAL TO} {high}")
        )
    return ColourBar(", ".join(SEQUENTIAL if goal.maximize else SEQUENTIAL[::-1]), low, high)


def _infos(result: Result) -> Iterator[MapInfo]:
    for arm in result.arms:
        for x, y in pairs_of(result, arm):
            try:
                yield map_info(result, arm, x, y)
            except NothingToDraw:  # no configuration over these two has a mean
                continue


def _interactions(result: Result) -> dict[frozenset[str], float]:
    found: dict[frozenset[str], float] = {}
    for arm in result.arms:
        for one in ((result.answers(arm) or {}).get("importances") or {"interactions": ()})["interactions"]:
            pair, value = frozenset((one["x"], one["y"])), one["share"]["value"]
            found[pair] = max(found.get(pair, -1.0), -1.0 if value is None else value)
    return found
