"""What all figures share: typeface, colours of the arms, axes, escaping of names."""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hpsearch.analysis.axis import Axis
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, FAINT, RULE, GRID, EMPTY = "#1c2430", "#5d6673", "#c3c9d1", "#e8ebef", "#eef0f3"
GROUND = "#ffffff"

# Okabe and Ito (2008), without the yellow and the black: told apart by readers with any colour vision.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#6B5B95", "#7A7A7A")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "star", "hexagon")
# Lines are told apart in grey too: green and vermilion are equally dark.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "10px 3px 2px 3px 2px 3px", "2px 7px")

# What a page in dark colours draws instead: the same hues, light enough to be read on a dark ground.
DARK = {
    GROUND: "#151a21",
    INK: "#e6eaf0",
    FAINT: "#9aa4b2",
    GRID: "#2b323c",
    EMPTY: "#232a33",
    RULE: "#414b58",
    "#0072B2": "#3d9be0",
    "#E69F00": "#f0b030",
    "#009E73": "#1fbf91",
    "#D55E00": "#f07a2e",
    "#CC79A7": "#e08fbd",
    "#56B4E9": "#a5dcff",
    "#6B5B95": "#a594d6",
    "#7A7A7A": "#b0b0b0",
}

# Cividis (Nunez et al. 2018): even steps of lightness for readers with any colour vision.
SEQUENTIAL = (
    *("#00224e", "#123570", "#3b496c", "#575d6d", "#707173"),
    *("#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"),
)

# Plasma (van der Walt and Smith 2015) without its ends: even steps of lightness, seen on white and on black.
RAMP = ("#7a02a8", "#9511a1", "#ad2793", "#c23d80", "#d5546e", "#e56b5d", "#f2844b", "#fa9e3b")

# Marks on the cells of a map, whose colours are the same on a dark page: these are, too.
ON_MAP, AROUND_MARK = "#fefefe", "#0b1016"

LONGEST_NAME = 40  # characters of an arm, parameter or value that a picture shows


@dataclass(frozen=True)
class Look:
    """How one arm is drawn, the same in every figure."""

    colour: str
    symbol: str
    dash: str


def arm_looks(arms: Sequence[str]) -> dict[str, Look]:
    """By the arms' order; from the ninth arm on colours and symbols repeat, with another dash."""
    n = len(PALETTE)
    return {arm: Look(PALETTE[i % n], SYMBOLS[i % n], DASHES[(i + i // n) % n]) for i, arm in enumerate(arms)}


def legend_entry(arm: str, look: Look) -> sketch.Scatter:
    """An arm's entry in the legend, without data: its first mark may be a cross."""
    return sketch.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={"color": look.colour, "symbol": look.symbol, "size": 8},
        name=safe(arm),
        legendgroup=arm_group(arm),
    )


def arm_group(arm: str) -> str:
    """The legend group of an arm; the prefix keeps it apart from the figures' own groups."""
    return f"arm:{arm}"


def faded(colour: str, opacity: float) -> str:
    """#rrggbb with an opacity in [0, 1]."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def safe(text: object, longest: int = LONGEST_NAME) -> str:
    """A name for a plotly label: plotly reads a subset of HTML there, so it must be escaped, and one line of at most
    `longest` characters."""
    line = " ".join(str(text).split())
    if len(line) > longest:
        line = line[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return html.escape(line, quote=False)


def figure(height: int, **layout: Any) -> sketch.Figure:
    """An empty figure in the report's style; `height` in pixels, the width is the page's."""
    fig = sketch.Figure()
    fig.update_layout(
        height=height,
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor=GROUND,
        plot_bgcolor=GROUND,
        margin={"l": 58, "r": 16, "t": 16, "b": 48},
        hovermode="closest",
        hoverlabel={
            "bgcolor": GROUND,
            "bordercolor": FAINT,
            "align": "left",
            "font": {"family": FONT, "size": 12},
        },
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        **layout,
    )
    return fig


def axis_style(title: str, **more: object) -> dict[str, object]:
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 13}},
        "gridcolor": GRID,
        "linecolor": FAINT,
        "tickcolor": FAINT,
        "ticks": "outside",
        "ticklen": 4,
        "zeroline": False,
        "automargin": True,
        **more,
    }


def parameter_axis(axis: Axis) -> dict[str, object]:
    """The x axis of a hyperparameter: choices by name, a log axis with plain numbers."""
    title = safe(axis.name)
    if axis.kind == "choice":
        labels = [safe(fmt.parameter(c)) for c in axis.choices]
        ticks = {"tickmode": "array", "tickvals": list(range(len(labels))), "ticktext": labels}
        return axis_style(title, range=[-0.6, len(labels) - 0.4], showgrid=False, **ticks)
    low, high = axis.low or 0.0, axis.high or 0.0
    if axis.kind == "log":
        pad = 0.04 * math.log10(high / low) or 0.1
        ends = [math.log10(low) - pad, math.log10(high) + pad]
        return axis_style(f"{title} (log scale)", type="log", range=ends, **log_ticks(low, high))
    pad = 0.04 * (high - low) or 0.5
    return axis_style(title, range=[low - pad, high + pad])


def log_ticks(low: float, high: float, label: Callable[[float], str] = fmt.number) -> dict[str, Any]:
    """Ticks at 1, 2, 5 of each decade, or at the decades alone where those would be too many."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = (1, 2, 5) if math.log10(high / low) <= 3 else (1,)
    found = [s * 10.0**d for d in decades for s in steps]
    shown = [v for v in found if low / 1.12 <= v <= high * 1.12]
    return {"tickmode": "array", "tickvals": shown, "ticktext": [label(v) for v in shown]}


def scale(share: bool) -> float:
    """From the metric's own unit to the drawn one: percent for shares."""
    return 100.0 if share else 1.0


def buttons(entries: list[dict[str, object]], y: float) -> list[dict[str, object]]:
    """A row of switches under the figure, at `y` in units of its plot height."""
    return [
        {
            "type": "buttons",
            "direction": "right",
            "showactive": True,
            "x": 0,
            "xanchor": "left",
            "y": y,
            "yanchor": "top",
            "pad": {"t": 0, "r": 0},
            "bgcolor": GROUND,
            "bordercolor": RULE,
            "font": {"size": 12},
            "buttons": entries,
        }
    ]
