"""Figures -> files: svg, png or pdf for papers, csv with the numbers behind each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from hpsearch.errors import InputError, RunError
from hpsearch.figures.picture import Picture
from hpsearch.figures.result import Result
from hpsearch.reporting.sections import all_pictures
from hpsearch.results import write_atomically

WIDE, CARD = 1000, 480  # pixels
SCALE = 2.0  # of png: pixels of the file by pixel of the figure


class Format(StrEnum):
    svg = "svg"
    png = "png"
    pdf = "pdf"
    csv = "csv"


def write_figures(
    result: Result, folder: Path, kind: Format = Format.svg, told: Callable[[str], None] = lambda step: None
) -> list[Path]:
    """Writes every figure of the report as folder/KEY.kind, and gives the paths; switches are as they are at first.

    csv: the numbers that are drawn, one tidy table a figure. told: called with each file's name.
    Raises InputError where the folder can't be made, or where there is no Chrome to draw with; RunError when a file
    cannot be written or drawn.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as a folder of figures: {error.strerror}") from None
    found = [one for one in all_pictures(result) if isinstance(one, Picture)]
    written = []
    with _drawer(kind) as draw:
        for one in found:
            path = folder / f"{one.key}.{kind}"
            told(path.name)
            content = one.numbers.to_csv(index=False).encode("utf-8", "replace") if draw is None else draw(one)
            write_atomically(path, content)
            written.append(path)
    return written


@contextmanager
def _drawer(kind: Format) -> Iterator[Callable[[Picture], bytes] | None]:
    """Draws one picture after the other in the same Chrome; None for csv, which needs none."""
    if kind is Format.csv:
        yield None
        return
    import kaleido
    from choreographer.errors import ChromeNotFoundError

    try:
        # Kaleido's default is to load MathJax from the network.
        kaleido.start_sync_server(mathjax=False)
    except ChromeNotFoundError:
        raise InputError(_no_chrome(kind)) from None
    try:
        yield lambda one: _image(one, kind)
    finally:
        kaleido.stop_sync_server(silence_warnings=True)


def _image(picture: Picture, kind: Format) -> bytes:
    import kaleido
    from choreographer.errors import ChromeNotFoundError

    width = CARD if picture.arm else WIDE
    options: dict[str, Any] = {"format": kind.value, "width": width, "height": int(picture.sketch.layout.height)}
    if kind is Format.png:
        options["scale"] = SCALE
    try:
        return bytes(kaleido.calc_fig_sync(for_paper(picture.figure).to_plotly_json(), opts=options))
    except ChromeNotFoundError:
        raise InputError(_no_chrome(kind)) from None
    except Exception as error:  # whatever goes wrong inside of Chrome
        raise RunError(f"{picture.key}: Chrome could not draw it: {type(error).__name__}: {error}") from error


def for_paper(figure: go.Figure) -> go.Figure:
    """Without buttons, which do nothing on paper; a map with its colour bar, which the report shows once for all."""
    made = go.Figure(figure)
    made.layout.updatemenus = ()  # an update would merge
    for trace in made.data:
        if trace.type == "heatmap" and trace.visible is not False:
            trace.update(showscale=True, colorbar={"thickness": 12, "outlinewidth": 0})
    return made


def _no_chrome(kind: Format) -> str:
    return (
        f"--format {kind}: needs Chrome or Chromium, and none was found; install one (Debian: "
        "apt-get install chromium; anywhere: kaleido_get_chrome), or set BROWSER_PATH to it; --format csv needs none"
    )
