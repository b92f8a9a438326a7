"""Figures of rows: each row's text stands above its marks, so that names need no margin and a phone is wide enough.

The y axis is in pixels, from the top.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from hpsearch.figures import sketch
from hpsearch.figures.style import FAINT, GRID, GROUND, INK, axis_style, figure, safe

LINE, MARKS, GAP = 18, 26, 8  # pixels: a line of text, usual marks under it, the space below
PHONE = 45  # characters of a line that a narrow phone shows
ABOVE, BELOW = 60, 84  # pixels: the legend, which may wrap; the axis and the words under it


@dataclass(frozen=True)
class Row:
    """name: bold, of any length. right: at the right end of its line, or of the next where both are too long for one.
    more: lines below, which fit a phone; asides: at the right end of lines of their own. Plain text. marks: pixels.
    """

    name: str
    right: str = ""
    asides: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    marks: int = MARKS

    @property
    def wraps(self) -> bool:
        return bool(self.right) and len(safe(self.name)) + len(self.right) > PHONE

    @property
    def height(self) -> int:
        return LINE * len(self.lines) + self.marks + GAP

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What stands left and right in each; the first one's left is the name."""
        first = [(self.name, ""), ("", self.right)] if self.wraps else [(self.name, self.right)]
        return [*first, *(("", text) for text in self.asides), *((text, "") for text in self.more)]


def wrapped(text: str, lines: int = 2) -> tuple[str, ...]:
    """At most so many lines that fit a phone; what is cut off ends in an ellipsis."""
    return tuple(textwrap.wrap(text, PHONE, max_lines=lines, placeholder=" …"))


def centres(rows: Sequence[Row]) -> list[float]:
    """Where each row's marks are."""
    found, top = [], 0
    for row in rows:
        top += row.height
        found.append(top - GAP - row.marks / 2)
    return found


def row_texts(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The annotations of all rows."""
    found: list[dict[str, object]] = []
    top = 0
    for row in rows:
        for i, (left, right) in enumerate(row.lines):
            y = top + LINE * (i + 0.5)
            if left:
                text = f"<b>{safe(left)}</b>" if i == 0 else _inert(left)
                found.append(_text(text, y, 0, "left", INK if i == 0 else FAINT))
            if right:
                found.append(_text(_inert(right), y, 1, "right", FAINT if right in row.asides else INK))
        top += row.height
    return found


def row_figure(rows: Sequence[Row], x_axis: dict[str, object]) -> sketch.Figure:
    """The empty figure: texts, lines between rows, axes."""
    height = sum(row.height for row in rows)
    fig = figure(height=height + ABOVE + BELOW, annotations=row_texts(rows), shapes=_rules(rows))
    fig.update_layout(margin={"l": 12, "r": 12, "t": 14, "b": 52})
    fig.update_xaxes(**axis_style("", layer="below traces") | x_axis, title_font_size=13)
    fig.update_yaxes(range=[height, 0], visible=False, fixedrange=True)
    return fig


def side_texts(left: str, right: str) -> list[dict[str, object]]:
    """Which side of the axis is better: under its ends."""
    shared = {"yref": "paper", "y": 0, "yanchor": "top", "yshift": -24, "showarrow": False}
    font = {"size": 12, "color": INK}
    return [
        {"text": _inert(left), "xref": "paper", "x": 0, "xanchor": "left", "font": font, **shared},
        {"text": _inert(right), "xref": "paper", "x": 1, "xanchor": "right", "font": font, **shared},
    ]


def _text(text: str, y: float, x: int, anchor: str, colour: str) -> dict[str, object]:
    return {
        "text": text,
        "xref": "paper",
        "x": x,
        "xanchor": anchor,
        "yref": "y",
        "y": y,
        "yanchor": "middle",
        "showarrow": False,
        "bgcolor": GROUND,  # grid lines do not run through words
        "borderpad": 0,
        "font": {"size": 12, "color": colour},
    }


def _rules(rows: Sequence[Row]) -> list[dict[str, object]]:
    ends, top = [], 0
    for row in rows[:-1]:
        top += row.height
        ends.append(top - GAP / 2)
    line = {"color": GRID, "width": 1}
    return [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": y, "y1": y, "line": line} for y in ends
    ]


def _inert(text: str) -> str:
    return html.escape(text, quote=False)
