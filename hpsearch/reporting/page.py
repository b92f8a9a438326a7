"""Figures, data and scripts -> parts of an HTML file that are inert: no text begins a tag, nothing is loaded."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from hpsearch.figures.picture import Missing, Picture
from hpsearch.figures.style import DARK

DIGITS = 6  # significant, of every number of a figure: less than a pixel


@dataclass(frozen=True)
class Drawn:
    """A picture as the template places it. json: plotly's, with hover texts as numbers of `Page.texts`. thumbnail: rows
    of colours as levels 0 to 255, or null, of a picture that is a map; empty for others.
    """

    key: str
    title: str
    arm: str
    alt: str
    caption: str
    height: int
    json: Markup
    thumbnail: Markup


@dataclass
class Page:
    """Collects the pictures of a page. Hover texts, which many figures share, are held once, but where a section has to
    stand on its own (not shared).
    """

    shared: bool = True
    _texts: dict[str, int] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    def place(self, picture: Picture) -> Drawn:
        figure = picture.sketch.plain()
        for trace in figure["data"]:
            if self.shared and "hovertext" in trace:
                trace["hovertext"] = self._interned(trace["hovertext"])
        text = json.dumps(_rounded(figure), ensure_ascii=False, separators=(",", ":"))
        self.keys.add(picture.key)
        return Drawn(
            picture.key, picture.title, picture.arm, picture.alt, picture.caption,
            int(picture.sketch.layout.height), embed(text), embed(json.dumps(_levels(figure["data"]))),
        )  # fmt: skip

    def split(self, pictures: Iterable[Picture | Missing]) -> tuple[list[Drawn], list[Missing]]:
        """What is drawn, and what is not."""
        found = list(pictures)
        drawn = [self.place(one) for one in found if isinstance(one, Picture)]
        return drawn, [one for one in found if isinstance(one, Missing)]

    @property
    def texts(self) -> Markup:
        """To be read when all pictures are placed."""
        return packed(list(self._texts))

    def _interned(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._interned(one) for one in value]
        return self._texts.setdefault(value, len(self._texts)) if isinstance(value, str) else value


def embed(text: str) -> Markup:
    """JSON that is inert inside <script>: no character of it can begin a tag or a comment."""
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def packed(value: Any) -> Markup:
    """Data as base64 of gzipped JSON, which browsers unpack themselves: a fifth of the size."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=str)
    # No time in it: the same trials give the same bytes.
    return Markup(base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode())


def script(*sources: str) -> Markup:
    """Source of our own or of plotly, made unable to end its <script> early."""
    return Markup("\n".join(sources).replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def dark_colours() -> Markup:
    return embed(json.dumps({light.lower(): dark for light, dark in DARK.items()}))


def policy(scripts: Sequence[str], live: bool = False) -> str:
    """Content security policy: these scripts by their hash and nothing else; no request at all, or, live, to the page's
    own server.
    """
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"base-uri 'none'; form-action 'none'" + ("; connect-src 'self'" if live else "")
    )


def asset(name: str) -> str:
    """A file of the package's reporting/ folder."""
    return files("hpsearch.reporting").joinpath(name).read_text(encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return value


def _levels(traces: Sequence[dict[str, Any]]) -> list[list[int | None]]:
    """Of the first heatmap: its colours as levels of its scale, bottom row first."""
    for trace in traces:
        if trace["type"] == "heatmap" and isinstance(trace["z"], list) and trace.get("zmin") is not None:
            low, high = trace["zmin"], trace["zmax"]
            flip = bool(trace.get("reversescale"))
            return [[_level(z, low, high, flip) for z in row] for row in trace["z"]]
    return []


def _level(z: float | None, low: float, high: float, flip: bool) -> int | None:
    if z is None:
        return None
    share = min(1.0, max(0.0, (z - low) / ((high - low) or 1.0)))
    return round(255 * (1 - share if flip else share))
