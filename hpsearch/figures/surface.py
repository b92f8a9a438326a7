"""The map of one arm over two hyperparameters."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.cells import Cells
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.surface import ColourRange, Surface
from hpsearch.figures import format as fmt
from hpsearch.figures.hover import cell_texts
from hpsearch.figures.style import EMPTY, SEQUENTIAL, axis_style, figure, safe, scale

CROSS = '<span style="color:#ff8a5c;font-size:13px">\N{MULTIPLICATION X}</span>'
MOST_LABELS = 9  # ticks that fit under a small map


def draw_surface(info: Surface, configurations: pd.DataFrame, objective: Objective, colours: ColourRange) -> go.Figure:
    """Colour: mean in the cell; x: some trials did not train; grey: nothing was tried there."""
    fig = figure(height=290 if len(info.y) > 3 else 200)
    shape = (len(info.y), len(info.x))
    values = np.full(shape, np.nan)
    texts = np.full(shape, "", dtype=object)
    hovers = np.full(shape, "", dtype=object)
    own = configurations[configurations["arm"] == info.arm]
    for (_, cell), hover in zip(info.cells.iterrows(), cell_texts(info.cells, own, objective), strict=True):
        at = int(cell["iy"]), int(cell["ix"])
        values[at] = cell["mean"] * scale(objective.share)
        texts[at] = cell_label(cell, objective)
        hovers[at] = hover
    fig.add_trace(
        go.Heatmap(
            z=[[None if np.isnan(v) else float(v) for v in row] for row in values],
            text=texts.tolist(),
            texttemplate="%{text}",
            textfont={"size": 10},
            hovertext=hovers.tolist(),
            hoverinfo="text",
            hoverongaps=False,
            xgap=1,
            ygap=1,
            zmin=colours.low * scale(objective.share),
            zmax=colours.high * scale(objective.share),
            colorscale=[[i / (len(SEQUENTIAL) - 1), c] for i, c in enumerate(SEQUENTIAL)],
            reversescale=not objective.maximize,
            showscale=False,
        )
    )
    fig.update_layout(
        plot_bgcolor=EMPTY,
        margin={"l": 44, "r": 18, "t": 10, "b": 40},
        xaxis=_cells_axis(info.x),
        yaxis=_cells_axis(info.y),
        font={"size": 11},
    )
    return fig


def cell_label(cell: pd.Series, objective: Objective) -> str:
    """The mean, one decimal for percent, and a cross where some trials did not train."""
    value = f"{100 * cell['mean']:.1f}" if objective.share else fmt.number(cell["mean"], 3)
    return f"{value}<br>{CROSS}" if cell["n_not_trained"] else value


def _cells_axis(cells: Cells) -> dict[str, object]:
    """Cells stand at 0, 1, 2, …; values are labelled in the middle, bins at their edges."""
    if cells.edges:
        at = [i - 0.5 for i in range(len(cells.edges))]
        labels = [fmt.number(edge, 2) for edge in cells.edges]
    else:
        at = [float(i) for i in range(len(cells.values))]
        labels = [safe(fmt.parameter(value)) for value in cells.values]
    step = -(-len(at) // MOST_LABELS)
    return axis_style(
        safe(cells.axis.name),
        tickmode="array",
        tickvals=at[::step],
        ticktext=labels[::step],
        range=[-0.5, len(cells) - 0.5],
        showgrid=False,
        fixedrange=True,
        ticklen=3,
    )
