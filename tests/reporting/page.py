"""A report's HTML as a browser sees it: tags, sections, texts, and what its scripts hold."""

from __future__ import annotations

import base64
import gzip
import json
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.sections: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.scripts: list[tuple[str, str, str]] = []  # type, id, content
        self.texts: list[str] = []
        self._script: tuple[str, str] | None = None
        self._plot = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {key: value or "" for key, value in attrs}
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in named.items()]
        self.ids += [named["id"]] if "id" in named else []
        if tag == "section":
            self.sections.append(named["id"])
        if tag == "div" and named.get("class") == "plot":
            self._plot = named["id"]
        if tag == "script":
            self._script = named.get("type") or "javascript", named.get("id") or self._plot
            self._plot = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts.append((*self._script, data))
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).replace("\N{NO-BREAK SPACE}", " ").split())

    @property
    def code(self) -> list[str]:
        return [content for kind, _, content in self.scripts if kind == "javascript"]

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """Plotly's specifications by key."""
        found = {name: content for kind, name, content in self.scripts if kind == "application/json" and name}
        return {name: json.loads(content) for name, content in found.items() if '"data"' in content[:20]}

    def unpacked(self, name: str) -> Any:
        content = next(content for _, found, content in self.scripts if found == name)
        return json.loads(gzip.decompress(base64.b64decode(content)))

    @property
    def trials(self) -> dict[str, Any]:
        return dict(self.unpacked("trial-data"))
