"""What figures across tasks share: names above their rows, which fit any screen, and numbers for plotly."""

import math
from collections.abc import Iterable

from hpsearch.figures.style import INK

ROW_LABEL = 0.24  # of a row: how far above its marks a name begins


def heading(text: str, y: float, size: int = 12, colour: str = INK, yref: str = "y") -> dict[str, object]:
    """An annotation at the left edge; text: markup of plotly, names in it escaped already."""
    return {
        "text": text, "xref": "paper", "yref": yref, "x": 0, "y": y, "xanchor": "left", "yanchor": "bottom",
        "align": "left", "showarrow": False, "borderpad": 0, "font": {"size": size, "color": colour},
    }  # fmt: skip


def known(value: float | int | None) -> float:
    """A number of the document: NaN where it is null."""
    return math.nan if value is None else float(value)


def rounded(values: Iterable[float | None]) -> list[float | None]:
    """Five significant digits; None where there is no number."""
    return [float(f"{v:.5g}") if v is not None and math.isfinite(v) else None for v in values]
