"""Every arm's best configuration against the control's on fresh seeds: differences with simultaneous intervals."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.writing import briefly, count
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.arms.forest_marks import difference_axis, excludes_zero, mark, sides
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.quoted import answer, columns, gap, method_text, plain, without_interval
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.row_layout import Row, centres, row_figure
from hpsearch.figures.style import Look, safe
from hpsearch.study import Study

KEY, TITLE = "differences", "Each arm's best against the control"


@dataclass(frozen=True)
class DifferenceInfo:
    """differences: of each arm's best less the control's, in the metric's unit, by arm; n counts fresh seeds.
    improvements: the probability that the arm is better on a new seed, by arm, where it is known; wins, ties: the
    fresh seeds behind it. comparisons: of how many the intervals hold together.
    """

    judged: Objective
    control: str
    differences: dict[str, Answer]
    improvements: dict[str, Answer]
    wins: dict[str, tuple[int, int]]
    comparisons: int
    methods: tuple[str, ...]


def difference_info(result: Result) -> DifferenceInfo:
    """Raises NothingToDraw where no arm was confirmed on the control's fresh seeds."""
    entries, judged = result.document["differences"], result.judged
    if result.reason:
        raise NothingToDraw(result.reason)
    if len(result.arms) < 2:
        raise NothingToDraw("there is one arm only, so nothing to compare it with")
    if not entries or judged is None:
        raise NothingToDraw("no arm and the control were both confirmed on fresh seeds (`confirm` in the study)")
    better = {e["arm"]: e for e in result.document["improvements"]}
    keys = {e["difference"]["method"]: 0 for e in entries} | {e["probability"]["method"]: 0 for e in better.values()}
    return DifferenceInfo(
        judged=judged,
        control=entries[0]["control"],
        differences={e["arm"]: answer(e["difference"]) for e in entries},
        improvements={arm: answer(e["probability"]) for arm, e in better.items()},
        wins={arm: (int(e["wins"]), int(e["ties"])) for arm, e in better.items()},
        comparisons=int(entries[0]["comparisons"]),
        methods=tuple(method_text(result.method(key)) for key in keys),
    )


def plot_differences(source: Source, study: Study | None = None) -> go.Figure:
    """A forest plot: a row an arm, the difference of its best configuration to the control's as a mark with its
    simultaneous 95 % interval, filled where that leaves out zero; at the right, how likely it is better on a new seed.
    """
    result = read_result(source, study)
    return _draw(difference_info(result), result.looks).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    try:
        info = difference_info(result)
    except NothingToDraw as why:
        return [Missing(KEY, TITLE, str(why))]
    title = f"Each arm's best against {info.control}'s"
    return [Picture(KEY, title, _draw(info, result.looks), _alt(info), _caption(info), _numbers(info))]


def _draw(info: DifferenceInfo, looks: dict[str, Look]) -> sketch.Figure:
    rows = [Row(arm, gap(one, unit=False), _aside(info, arm), _why(one)) for arm, one in info.differences.items()]
    fig = row_figure(rows, difference_axis(info.judged, list(info.differences.values())))
    for (arm, found), y in zip(info.differences.items(), centres(rows), strict=True):
        fig.add_traces(mark(found, y, looks[arm], info.judged, _hover(info, arm), excludes_zero(found)))
    arms = next(iter(info.differences)) if len(rows) == 1 else "arm"
    fig.update_layout(annotations=[*fig.layout.annotations, *sides(info.judged, info.control, arms)])
    return fig


def _aside(info: DifferenceInfo, arm: str) -> tuple[str, ...]:
    better = info.improvements.get(arm)
    return () if better is None else (f"better on a new seed: P {plain(better)}",)


def _why(found: Answer) -> tuple[str, ...]:
    return () if found.has_interval else (f"no interval: {briefly(found.why)}"[:45],)


def _hover(info: DifferenceInfo, arm: str) -> str:
    found, lines = info.differences[arm], [f"<b>{safe(arm)}</b> less {safe(info.control)}"]
    lines.append(f"{gap(found)}, {count(found.n, 'fresh seed')}")
    if not found.has_interval:
        lines.append(f"no interval: {safe(briefly(found.why))}")
    if arm in info.improvements:
        wins, ties = info.wins[arm]
        tied = f", equal on {ties}" if ties else ""
        lines.append(f"better on {wins} of {info.improvements[arm].n} fresh seeds{tied}")
        lines.append(f"probability of being better on a new seed {plain(info.improvements[arm])}")
    return "<br>".join(lines)


def _caption(info: DifferenceInfo) -> str:
    metric = fmt.metric_name(info.judged.name)
    unit = "percentage points" if info.judged.share else "its own unit"
    parts = [
        f"Difference of {metric}, in {unit}, between each arm's best configuration and that of {info.control}, on the "
        f"same fresh seeds. Marks are means, bars 95 % intervals that hold together for all {info.comparisons} "
        "comparisons; a filled mark's interval leaves out zero. P: probability that the arm is better on a new "
        "seed, ties counted half, with its interval.",
        _counts(info),
        without_interval(info.differences.items()),
        *info.methods,
    ]
    return " ".join(part for part in parts if part)


def _counts(info: DifferenceInfo) -> str:
    seeds = sorted({one.n for one in info.differences.values()})
    return f"n: {seeds[0]} fresh seeds." if len(seeds) == 1 else f"n: {seeds[0]} to {seeds[-1]} fresh seeds."


def _alt(info: DifferenceInfo) -> str:
    shown = "; ".join(f"{arm} {gap(found, unit=False)}" for arm, found in info.differences.items())
    unit = "in points of" if info.judged.share else "of"
    return f"Forest plot of differences to {info.control} {unit} {fmt.metric_name(info.judged.name)}: {shown}."


def _numbers(info: DifferenceInfo) -> pd.DataFrame:
    both = [("difference", info.differences), ("probability of being better", info.improvements)]
    return pd.DataFrame(
        {"arm": arm, "control": info.control, "quantity": name, **columns(one), "comparisons": info.comparisons}
        for name, found in both
        for arm, one in found.items()
    )
