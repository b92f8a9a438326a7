"""Learning curves: how configurations get to their values, by arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from hpsearch.analysis.writing import count, listed, metric_name
from hpsearch.errors import InputError, one_line
from hpsearch.figures import format as fmt
from hpsearch.figures.cards import cards
from hpsearch.figures.curves.drawing import draw_curves
from hpsearch.figures.curves.info import CurvesInfo, curves_info
from hpsearch.figures.curves.lines import FEW
from hpsearch.figures.picture import Missing, Picture
from hpsearch.figures.result import Result, Source, read_result

if TYPE_CHECKING:
    from hpsearch.study import Study

__all__ = ["CurvesInfo", "curves_info", "pictures", "plot_curves"]

TITLE = "Learning curves"


def plot_curves(source: Source, arm: str, colour_by: str | None = None, study: Study | None = None) -> go.Figure:
    """A line per configuration: the mean over its seeds at each epoch, coloured by the value of a hyperparameter
    (`colour_by`, else the first); x: a seed that did not train ended there. The best, the middle and the worst
    configuration have thick lines and a band from their lowest to their highest seed.
    """
    result = read_result(source, study)
    if colour_by is not None and colour_by not in result.searched(arm):
        raise InputError(f"colour_by must be one of {listed(result.searched(arm))}, but got {colour_by!r}")
    return draw_curves(curves_info(result, arm), result, colour_by).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    def make(arm: str, key: str) -> Picture:
        info = curves_info(result, arm)
        title = f"{TITLE}: {one_line(arm, 40)}"
        numbers = info.curves.assign(interval="lowest to highest seed")
        return Picture(key, title, draw_curves(info, result), _alt(info, result), _caption(info), numbers, arm)

    return cards(result, "curves", TITLE, make)


def _alt(info: CurvesInfo, result: Result) -> str:
    final = info.configurations["final"].dropna()
    metric = result.objective
    parts = [f"{TITLE} of {count(len(info.configurations), 'configuration')} of {one_line(info.arm, 40)}."]
    if metric is not None and len(final):
        ends = (fmt.metric(metric, float(end), 1) for end in (final.iloc[0], final.iloc[-1]))
        parts.append(f"Final {metric_name(metric.name)} from {' (worst) to '.join(ends)} (best).")
    failed = int((info.configurations["not_trained"] > 0).sum())
    parts.append(f"{count(failed, 'configuration')} had seeds that did not train." if failed else "All trained.")
    return " ".join(parts)


def _caption(info: CurvesInfo) -> str:
    n, seeds = len(info.configurations), info.configurations["seeds"]
    of = f"{n} of {info.configurations_found:,} configurations, evenly over the ranking by final value" if (
        n < info.configurations_found
    ) else count(n, "configuration")  # fmt: skip
    few = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    bands = "Bands" if n <= FEW else "Thick lines: the best, the middle and the worst; their bands"
    parts = [
        f"Mean over the seeds at each epoch of {of} ({few} seeds each, without confirmation runs and crashed trials). "
        f"{bands} reach from the lowest to the highest seed and are no intervals."
    ]
    if len(info.ends):
        parts.append(
            "Crosses: a seed that diverged or collapsed ended there (at the edge of the picture: beyond it); behind "
            "one the mean is of the seeds that went on."
        )
    if info.stopped:
        parts.append(f"{count(info.stopped, 'trial')} stopped early: behind an end the mean is of the other seeds.")
    if info.metrics_found > len(info.metrics):
        parts.append(f"{len(info.metrics)} of {info.metrics_found} recorded metrics.")
    return " ".join(parts)
