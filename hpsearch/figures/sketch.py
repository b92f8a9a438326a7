"""Figures as plain dicts, with the few of plotly's own methods that drawing needs.

plotly's objects check every property when it is set, which takes most of the time of a report of forty figures. Here
nothing is checked before `to_plotly`, with which every public function of this package ends; a report takes the dicts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import plotly.graph_objects as go

NAMES = ("paper", "plot", "error")  # paper_bgcolor, plot_bgcolor, error_x, error_y: the underscore is part of the name


class Node(dict[str, Any]):
    """Properties, which are attributes too: figure.layout.xaxis.range. What is not set is None."""

    def __init__(self, **properties: Any) -> None:
        super().__init__()
        self.update(properties)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, other: Mapping[str, Any] | None = None, **properties: Any) -> Self:  # type: ignore[override]
        """Sets properties, and those within them one by one, as plotly does: title_font_size=13 is three levels."""
        for name, value in {**(other or {}), **properties}.items():
            first, _, rest = name.partition("_")
            if rest and first not in NAMES:
                name, value = first, {rest: value}
            if isinstance(value, Mapping):
                inner = self.get(name)
                self[name] = inner.update(value) if isinstance(inner, Node) else Node(**value)
            else:
                self[name] = value
        return self


class Trace(Node):
    kind = ""

    def __init__(self, **properties: Any) -> None:
        super().__init__(type=self.kind, **properties)


class Scatter(Trace):
    kind = "scatter"


class Bar(Trace):
    kind = "bar"


class Heatmap(Trace):
    kind = "heatmap"


class Contour(Trace):
    kind = "contour"


class Parcoords(Trace):
    kind = "parcoords"


class Figure:
    def __init__(self) -> None:
        self.data: list[Trace] = []
        self.layout = Node(annotations=[], shapes=[])

    def add_trace(self, trace: Trace) -> Self:
        self.data.append(trace)
        return self

    def add_traces(self, traces: Iterable[Trace]) -> Self:
        self.data.extend(traces)
        return self

    def add_annotation(self, other: Mapping[str, Any] | None = None, **properties: Any) -> Self:
        self.layout["annotations"] = [*self.layout["annotations"], Node(**{**(other or {}), **properties})]
        return self

    def add_shape(self, **properties: Any) -> Self:
        self.layout["shapes"] = [*self.layout["shapes"], Node(**properties)]
        return self

    def update_layout(self, other: Mapping[str, Any] | None = None, **properties: Any) -> Self:
        self.layout.update(other, **properties)
        return self

    def update_xaxes(self, **properties: Any) -> Self:
        return self._update_axes("xaxis", properties)

    def update_yaxes(self, **properties: Any) -> Self:
        return self._update_axes("yaxis", properties)

    def plain(self) -> dict[str, Any]:
        """data and layout as JSON holds them: arrays as lists, what is no number as null."""
        return {"data": plain(self.data), "layout": plain(self.layout)}

    def to_plotly(self) -> go.Figure:
        """plotly's own figure. Raises ValueError for a property that plotly does not know."""
        made = go.Figure(self.plain())
        return made.update_layout(template=go.layout.Template())  # plotly's default would add its colours

    def _update_axes(self, prefix: str, properties: Mapping[str, Any]) -> Self:
        for name in {prefix, *(key for key in self.layout if key.startswith(prefix))}:
            self.layout.update({name: properties})
        return self


def plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
