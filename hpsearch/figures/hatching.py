"""Hatched areas. Shapes have no patterns in plotly, but filled traces have."""

from collections.abc import Iterable

from hpsearch.figures import sketch

Box = tuple[float, float, float, float]  # x from, x to, y from, y to


def hatched(boxes: Iterable[Box], colour: str, **more: object) -> sketch.Scatter:
    """Rectangles in one trace, hatched so that what lies behind is seen."""
    x: list[float | None] = []
    y: list[float | None] = []
    for left, right, bottom, top in boxes:
        x += [left, right, right, left, left, None]
        y += [bottom, bottom, top, top, bottom, None]
    pattern = {"shape": "/", "fgcolor": colour, "bgcolor": "rgba(0,0,0,0)", "size": 6, "solidity": 0.22}
    outline = {"width": 0.5, "color": colour}
    return sketch.Scatter(
        x=x, y=y, mode="lines", line=outline, fill="toself", fillpattern=pattern, hoverinfo="skip", **more
    )
