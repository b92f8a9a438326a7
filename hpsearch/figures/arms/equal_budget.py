"""Arms against the control where both searches may spend the same, with a switch between the budgets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.columns import COSTS
from hpsearch.analysis.objective import Objective
from hpsearch.figures import format as fmt
from hpsearch.figures import sketch
from hpsearch.figures.arms.forest_marks import difference_axis, excludes_zero, mark, sides
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.quoted import answer, columns, gap, method_text, not_asked
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.row_layout import Row, centres, row_figure, row_texts
from hpsearch.figures.style import Look, buttons, safe
from hpsearch.study import Study

KEY, TITLE = "equal-budgets", "Arms against the control at equal budgets"
BUDGETS = ("configurations", *COSTS)
APART = 5.0  # pixels: a quarter's mark above the row's middle, the whole search's below


@dataclass(frozen=True)
class AtBudget:
    """One arm against the control. part: from a quarter of what both can afford, else from the whole search.
    bought: configurations that the budget buys, of the arm and of the control; spent: what those take, in the budget's
    unit. values: of the selected configuration, arm and control; difference: arm less control, in the metric's unit,
    with the reason where it has no interval.
    """

    arm: str
    part: bool
    bought: tuple[float, float]
    spent: tuple[float, float]
    values: tuple[float, float]
    seeds: int
    difference: Answer


@dataclass(frozen=True)
class EqualBudgetInfo:
    """found: by budget, in the document's order. comparisons: arms that the intervals of a budget hold for together."""

    judged: Objective
    control: str
    arms: tuple[str, ...]
    found: dict[str, tuple[AtBudget, ...]]
    comparisons: int
    methods: tuple[str, ...]


def equal_budget_info(result: Result) -> EqualBudgetInfo:
    """Raises NothingToDraw where no arm and the control can be compared at a budget."""
    entries, judged = result.document["equal_budgets"], result.judged
    if result.reason:
        raise NothingToDraw(result.reason)
    if len(result.arms) < 2:
        raise NothingToDraw("there is one arm only, so nothing to compare it with")
    if not entries or judged is None:
        raise NothingToDraw(
            not_asked(result.document) or "no arm and the control have configurations that ended on the same seeds"
        )
    found = {b: tuple(_entry(e, result) for e in entries if e["budget"] == b) for b in BUDGETS}
    return EqualBudgetInfo(
        judged=judged,
        control=entries[0]["control"],
        arms=tuple(dict.fromkeys(e["arm"] for e in entries)),
        found={budget: rows for budget, rows in found.items() if rows},
        comparisons=max(int(e["comparisons"]) for e in entries),
        methods=tuple(method_text(result.method(k)) for k in dict.fromkeys(e["difference"]["method"] for e in entries)),
    )


def plot_equal_budgets(source: Source, study: Study | None = None) -> go.Figure:
    """A forest plot for each budget: a row an arm; dots with bars are the best of a quarter of the search, upright
    strokes the best of all of it, which has no interval.
    """
    result = read_result(source, study)
    return _draw(equal_budget_info(result), result.looks).to_plotly()


def pictures(result: Result) -> list[Picture | Missing]:
    try:
        info = equal_budget_info(result)
    except NothingToDraw as why:
        return [Missing(KEY, TITLE, str(why))]
    title = f"Against {info.control} at equal budgets"
    return [Picture(KEY, title, _draw(info, result.looks), _alt(info), _caption(info), _numbers(info))]


def _entry(entry: dict[str, Any], result: Result) -> AtBudget:
    def both(key: str) -> tuple[float, float]:
        return float(entry[key]["arm"]), float(entry[key]["control"])

    difference = answer(entry["difference"])
    text = result.method(difference.method)["text"]
    if not difference.has_interval and "no interval" in text:
        # The document's reason points to its method, which has it at its end.
        difference = replace(difference, why=text.split("no interval", 1)[1].strip(": "))
    return AtBudget(
        arm=str(entry["arm"]),
        # The document has up to two rows of an arm and a budget, which only their method tells apart.
        part="all sets of k" in text,
        bought=both("configurations_bought"),
        spent=both("compute_spent"),
        values=both("value"),
        seeds=int(entry["seeds"]),
        difference=difference,
    )


def _draw(info: EqualBudgetInfo, looks: dict[str, Look]) -> sketch.Figure:
    texts = {budget: _rows(info, budget) for budget in info.found}
    first = next(iter(texts))
    axes = {b: difference_axis(info.judged, [one.difference for one in found]) for b, found in info.found.items()}
    fig = row_figure(texts[first], axes[first])
    middles = dict(zip(info.arms, centres(texts[first]), strict=True))
    owners: list[str] = []
    for budget, found in info.found.items():
        for one in found:
            y = middles[one.arm] + (-APART if one.part else APART)
            traces = mark(one.difference, y, looks[one.arm], info.judged, _hover(one, budget, info), _filled(one))
            if not one.part:
                # Symbols of lines are drawn by their outline alone.
                line = {"color": looks[one.arm].colour, "width": 3}
                traces[-1].update(marker={"symbol": "line-ns", "size": 13, "line": line})
            for trace in traces:
                fig.add_trace(trace.update(visible=budget == first))
            owners += [budget] * len(traces)
    shared = sides(info.judged, info.control, "arm")
    fig.update_layout(annotations=[*row_texts(texts[first]), *shared])
    entries: list[dict[str, object]] = [
        {
            "label": fmt.COST_LABELS.get(budget, budget),
            "method": "update",
            "args": [
                {"visible": [o == budget for o in owners]},
                {"annotations": [*row_texts(rows), *shared], "xaxis.range": axes[budget]["range"]},
            ],
        }
        for budget, rows in texts.items()
    ]
    if len(entries) > 1:
        height = sum(row.height for row in texts[first])
        fig.update_layout(updatemenus=buttons(entries, y=-64 / height))
    return fig


def _filled(one: AtBudget) -> bool:
    return excludes_zero(one.difference)


def _rows(info: EqualBudgetInfo, budget: str) -> list[Row]:
    """Of every arm, known or not, so that rows stay where they are."""
    return [
        Row(arm, asides=tuple(_text(info, budget, arm, part) for part in (True, False) if _has(info, part)))
        for arm in info.arms
    ]


def _has(info: EqualBudgetInfo, part: bool) -> bool:
    return any(one.part == part for found in info.found.values() for one in found)


def _text(info: EqualBudgetInfo, budget: str, arm: str, part: bool) -> str:
    name = "quarter" if part else "all"
    for one in info.found[budget]:
        if one.arm == arm and one.part == part:
            k = " : ".join(fmt.number(v, 2) for v in one.bought)
            return f"{name}, k {k}, {gap(one.difference, unit=False)}"
    return f"{name}: not known"


def _hover(one: AtBudget, budget: str, info: EqualBudgetInfo) -> str:
    of = "a quarter of the search" if one.part else "the whole search"
    spent = fmt.number(one.spent[0]) if budget == "configurations" else fmt.cost(budget, one.spent[0])
    k = " against ".join(fmt.number(v) for v in one.bought)
    values = " against ".join(fmt.metric(info.judged, v) for v in one.values)
    lines = [
        f"<b>{safe(one.arm)}</b> less {safe(info.control)}, {of}",
        f"difference {gap(one.difference)}",
        f"{values}, over {one.seeds} seeds",
        f"budget {spent}{'' if budget != 'configurations' else ' configurations'}: {k} configurations",
    ]
    return "<br>".join([*lines, *([] if one.difference.has_interval else [f"no interval: {one.difference.why}"])])


def _caption(info: EqualBudgetInfo) -> str:
    seeds = sorted({one.seeds for found in info.found.values() for one in found})
    parts = [
        f"What an arm's search finds less what {info.control}'s finds for the same budget, by "
        f"{fmt.metric_name(info.judged.name)}; k is the number of configurations that the budget buys, arm : "
        f"{info.control}. Dots: a quarter of what both can afford, with 95 % intervals that hold together for "
        f"{info.comparisons} arms; filled where the interval leaves out zero. Upright strokes: the whole search, "
        f"without interval. n: {' to '.join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1])))} seeds; "
        "configurations in the numbers.",
        _no_interval(info),
        *info.methods,
    ]
    return " ".join(part for part in parts if part)


def _no_interval(info: EqualBudgetInfo) -> str:
    rows = [one for found in info.found.values() for one in found if one.part and not one.difference.has_interval]
    why = "; ".join(dict.fromkeys(one.difference.why for one in rows))
    return f"Dots without bar: no interval {why}." if rows else ""


def _alt(info: EqualBudgetInfo) -> str:
    budget = "flops" if "flops" in info.found else next(iter(info.found))
    rows = [one for one in info.found[budget] if one.part] or list(info.found[budget])
    found = "; ".join(f"{one.arm} {gap(one.difference, unit=False)}" for one in rows)
    search = "with a quarter of the search" if rows[0].part else "with the whole search, no interval"
    unit = "in points of" if info.judged.share else "of"
    name = fmt.COST_LABELS.get(budget, budget)
    return (
        f"Forest plot of differences to {info.control} {unit} {fmt.metric_name(info.judged.name)} where both spend as "
        f"many {name}, {search}: {found}."
    )


def _numbers(info: EqualBudgetInfo) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "arm": one.arm,
            "control": info.control,
            "budget": budget,
            "search": "a quarter" if one.part else "all",
            "configurations_arm": one.bought[0],
            "configurations_control": one.bought[1],
            "spent": one.spent[0],
            "value_arm": one.values[0],
            "value_control": one.values[1],
            "seeds": one.seeds,
            **{("difference" if k == "value" else k): v for k, v in columns(one.difference).items()},
        }
        for budget, found in info.found.items()
        for one in found
    )
