"""What the report of several runs shows: one setting for all tasks against one for each, and task by task."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from hpsearch.analysis.across_document import SOURCE
from hpsearch.figures import format as fmt
from hpsearch.figures.across.best import BestInfo, across_best_info, draw_best, plot_across_best
from hpsearch.figures.across.confirmed import across_confirmed_info, draw_confirmed, plot_across_confirmed
from hpsearch.figures.across.result import Comparison, compare
from hpsearch.figures.across.scores import (
    LossInfo,
    across_loss_info,
    draw_loss,
    draw_plane,
    plot_across_loss,
    plot_across_plane,
)
from hpsearch.figures.picture import Missing, NothingToDraw, Picture, unique_keys

__all__ = [
    "Comparison",
    "compare",
    "pictures",
    "plot_across_best",
    "plot_across_confirmed",
    "plot_across_loss",
    "plot_across_plane",
]

LOSS = "What one setting for all tasks loses"
PLANE = "Sensitivity and tuned score"
CONFIRMED = "The best of each task, confirmed"


def pictures(comparison: Comparison) -> list[Picture | Missing]:
    """All figures across tasks, in order; Missing with the reason where these runs do not give one."""
    made: list[Picture | Missing] = []
    try:
        info = across_loss_info(comparison)
        made += [_loss(comparison, info), _plane(comparison, info)]
    except NothingToDraw as error:
        made += [Missing("across-loss", LOSS, str(error)), Missing("across-plane", PLANE, str(error))]
    made += _best(comparison)
    try:
        made.append(_confirmed(comparison))
    except NothingToDraw as error:
        made.append(Missing("across-confirmed", CONFIRMED, str(error)))
    return made


def _loss(comparison: Comparison, info: LossInfo) -> Picture:
    told = [f"{row['arm']} loses {_quoted(row, 'loss', 'low', 'high')}" for row in info.arms.to_dict("records")]
    caption = (
        "Filled marks: the mean over the tasks of the normalised score tuned for each task less that of the best "
        f"single setting for all of them, the hyperparameter sensitivity of {SOURCE}; bars: 95 % intervals. Open "
        f"marks: each task's own loss, intervals under the pointer. {fmt.sentence(comparison.document['scores'])}. "
        f"Of {_counted(len(comparison.document['tasks']), 'task')}, taken as given: nothing is said of other tasks. "
        "Beside an arm's name: the fewest of its hyperparameters that must be tuned for each task, the others at the "
        f"best single setting, to keep {100 * comparison.document['kept_from']:.0f} % of the tuned score. {_how(info)}"
        f"{_without(info)}{_left_out(comparison)}"
    )
    numbers = pd.concat([info.arms.assign(task="all tasks"), info.tasks], ignore_index=True)
    alt = f"Loss of normalised score by one setting for all tasks against tuning for each: {'; '.join(told)}."
    return Picture("across-loss", LOSS, draw_loss(info, comparison.looks), alt, caption, numbers)


def _plane(comparison: Comparison, info: LossInfo) -> Picture:
    rows = info.arms.to_dict("records")
    control = rows[0]["arm"]
    told = [
        f"{row['arm']} scores {_quoted(row, 'tuned', 'tuned_low', 'tuned_high')} tuned for each task and loses "
        f"{fmt.number(row['loss'], 2)} with one setting"
        for row in rows
    ]
    caption = (
        f"The plane of {SOURCE}: across, what one setting for all tasks loses; upwards, the mean score tuned for each. "
        f"Bars: 95 % intervals, the {_counted(len(comparison.document['tasks']), 'task')} taken as given. Solid lines "
        f"and the dashed diagonal go through {control}. Above left of it an arm is better and less sensitive, below "
        "right worse and more sensitive. Above right it is better once tuned, but loses more to one setting: above the "
        f"diagonal that setting still scores more than {control}'s, below it less. Below left it is worse once tuned, "
        "but loses less: above the diagonal its one setting for all tasks is still the better one. "
        f"{fmt.sentence(comparison.document['scores'])}. {_how(info)}{_without(info)}"
    )
    columns = ["arm", "way", "loss", "low", "high", "tuned", "tuned_low", "tuned_high", "single", "n", "why", "method"]
    alt = f"Sensitivity across tasks against tuned score: {'; '.join(told)}."
    return Picture("across-plane", PLANE, draw_plane(info, comparison.looks), alt, caption, info.arms[columns])


def _best(comparison: Comparison) -> Iterator[Picture | Missing]:
    keys = unique_keys("across-best", [(parameter,) for parameter in comparison.parameters])
    for parameter, key in zip(comparison.parameters, keys, strict=True):
        title = f"{parameter} on each task"
        try:
            info = across_best_info(comparison, parameter)
        except NothingToDraw as error:
            yield Missing(key, title, str(error))
            continue
        figure = draw_best(info, comparison.looks)
        yield Picture(key, title, figure, _best_alt(info), _best_caption(comparison, info), _best_numbers(info))


def _best_alt(info: BestInfo) -> str:
    told = []
    for arm, rows in info.rows.groupby("arm", sort=False):
        ends = [
            f"{row['task']} {fmt.parameter(row['best'])}"
            + (f" ({fmt.number(row['low'])} to {fmt.number(row['high'])})" if math.isfinite(row["low"]) else "")
            for row in rows.to_dict("records")
            if row["best"] is not None
        ]
        if ends:
            told.append(f"{arm}: {', '.join(ends)}")
    return f"Best value of {info.parameter} and its safe range on each task. {'; '.join(told)}."


def _best_caption(comparison: Comparison, info: BestInfo) -> str:
    epsilons = {
        f"{arm} on {task}": _amount(answers["epsilon"], answers["unit"])
        for arm in dict.fromkeys(info.rows["arm"])
        for task, result in comparison.results.items()
        if arm in result.arms and (answers := result.answers(arm)) is not None and answers["epsilon"] is not None
    }
    same = set(epsilons.values())
    epsilon = same.pop() if len(same) == 1 else "; ".join(f"{where} {amount}" for where, amount in epsilons.items())
    n = sorted({int(v) for v in info.rows["n"] if v})
    rests = f" Each row rests on {_range_of(n)} configurations." if n else ""
    dotted = " Dotted: the value in the arm's best single setting for all tasks."
    start = f"A row a task. ε, what counts as within the best: {epsilon or 'not known'}. "
    if info.axis.kind == "choice":
        return (
            start + "Squares: in how many per cent of the draws of the surrogate a choice is within ε of the best, the "
            "others at the arm's best setting on that task; the darker, the more; a thick edge: the best choice."
            f"{rests}{dotted if info.rows['single'].notna().any() else ''}{_row_whys(info)}"
        )
    methods = [m for m in dict.fromkeys(info.rows["method"]) if m]
    return (
        start
        + "Mark: the best value; bar: the safe range, in which the expected metric stays within ε of it; lines above "
        "and below the bar: 95 % intervals of its lower and upper end; pale: what was searched. Where the intervals of "
        "an end on two tasks do not meet, that end moves between them (not corrected for how many pairs one looks at). "
        f"{fmt.sentence('; '.join(methods))}."
        f"{rests}{dotted if info.rows['single'].notna().any() else ''}{_row_whys(info)}"
    )


def _best_numbers(info: BestInfo) -> pd.DataFrame:
    if not len(info.levels):
        return info.rows
    return info.levels.merge(info.rows[["arm", "task", "best", "single", "n", "why", "method"]], on=["arm", "task"])


def _confirmed(comparison: Comparison) -> Picture:
    info = across_confirmed_info(comparison)
    known = info.rows[info.rows["mean"].notna()]
    told = []
    for task, rows in known.groupby("task", sort=False):
        shown = [f"{row['arm']} {_metric(row)}" for row in rows.to_dict("records")]
        told.append(f"{task}: {', '.join(shown)}")
    n = sorted({int(v) for v in known["n"]})
    without = known[known["low"].isna()]
    whys = "; ".join(f"{row['arm']} on {row['task']}: {row['why']}" for row in without.to_dict("records"))
    caption = (
        "Each arm's best configuration of that task, run again on fresh seeds: mean and 95 % interval (Student's t "
        f"over {_range_of(n)} seeds). Each task has its own axis. Intervals of single arms are no test of a "
        "difference: arms of one task are compared, paired by seed, in that run's own report."
        f"{f' No interval: {whys}.' if whys else ''}"
    )
    alt = f"Confirmed means with 95 % intervals. {'; '.join(told)}."
    return Picture("across-confirmed", CONFIRMED, draw_confirmed(info, comparison.looks), alt, caption, info.rows)


def _how(info: LossInfo) -> str:
    """The methods, each once, with the arms that they are of where there are several."""
    groups = {str(method): rows for method, rows in info.arms.groupby("method", sort=False)}
    told = []
    for method, rows in groups.items():
        counts = f"{_range_of(sorted(set(rows['settings'])))} settings, {_range_of(sorted(set(rows['seeds'])))} seeds"
        name = "" if len(groups) == 1 else f"{', '.join(rows['arm'])}: "
        told.append(f"{name}{method} ({counts}).")
    return fmt.sentence(" ".join(told))


def _without(info: LossInfo) -> str:
    rows = info.arms[info.arms["why"] != ""]
    return "".join(f" No interval for {arm}: {why}." for arm, why in zip(rows["arm"], rows["why"], strict=True))


def _left_out(comparison: Comparison) -> str:
    document = comparison.document
    apart = {one["arm"]: one["held_apart"] for one in comparison.compared if one["held_apart"]}
    told = [
        f" Not compared: {name}, {why}." for name, why in {**document["left_out"], **document["runs_left_out"]}.items()
    ]
    told += [f" {arm} holds {', '.join(names)} fixed at other values on other tasks." for arm, names in apart.items()]
    return "".join(told)


def _row_whys(info: BestInfo) -> str:
    rows = info.rows[info.rows["why"] != ""]
    whys: dict[str, list[str]] = {}
    for row in rows.to_dict("records"):
        whys.setdefault(str(row["why"]), []).append(f"{row['arm']} on {row['task']}")
    return "".join(f" Without interval or range: {', '.join(names)} ({why})." for why, names in whys.items())


def _quoted(row: dict[Any, Any], value: str, low: str, high: str) -> str:
    text = fmt.number(row[value], 2)
    if not math.isfinite(row[low]):
        return f"{text}, no interval"
    return f"{text} (95 % {fmt.number(row[low], 2)} to {fmt.number(row[high], 2)})"


def _metric(row: dict[Any, Any]) -> str:
    def shown(value: float) -> str:
        return f"{100 * value:.2f} %" if row["share"] else fmt.number(value, 4)

    interval = f" ({shown(row['low'])} to {shown(row['high'])})" if math.isfinite(row["low"]) else ""
    return shown(row["mean"]) + interval


def _amount(epsilon: float, unit: str) -> str:
    return (
        f"{fmt.number(100 * epsilon)} point{'' if epsilon == 0.01 else 's'}"
        if unit == "share"
        else f"{fmt.number(epsilon)} {unit}"
    )


def _range_of(counts: list[int]) -> str:
    if not counts:
        return "no"
    return str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
