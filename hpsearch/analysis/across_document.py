"""Across -> plain Python for JSON and for figures, and the comparison in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpsearch.analysis.across import Across
from hpsearch.analysis.across_arm import KEPT, SAME, ArmAcross
from hpsearch.analysis.answer import LEVEL, Answer
from hpsearch.analysis.columns import Value
from hpsearch.analysis.document_values import Methods, clean
from hpsearch.analysis.writing import briefly, count, gap, listed, number, parameters, percent
from hpsearch.errors import one_line

SOURCE = "Adkins, Bowling and White, arXiv 2412.07165"
SCORES = (
    "normalised score: 0 is the 5th and 1 the 95th percentile, on that task, of the means over seeds of all "
    "configurations of the arms compared, without those that a sampler chose by results; not clipped; the percentiles "
    "are taken as known"
)


def across_document(found: Across) -> dict[str, Any]:
    """Every number with its n, interval, unit and method, in the form of analysis.json (`$defs/answer` of its schema).

    n of an arm's numbers counts tasks, of a task's numbers seeds; `methods` says so.
    """
    methods = Methods()
    goal = found.objective
    document = {
        "source": SOURCE,
        "scores": SCORES,
        "level": LEVEL,
        "kept_from": KEPT,
        "objective": None
        if goal is None
        else {"name": goal.name, "direction": "maximize" if goal.maximize else "minimize", "unit": goal.unit},
        "tasks": [
            {"task": s.task, "zero": s.zero, "one": s.one, "unit": s.unit, "configurations": s.n} for s in found.scales
        ],
        "reason": found.reason or None,
        "left_out": found.left_out,
        "runs_left_out": found.runs_left_out,
        "arms": [_arm(one, found.held_apart.get(one.arm, ()), methods) for one in found.arms],
        "findings": list(sentences(found)),
    }
    return dict(clean(document | {"methods": methods.entries()}))


def sentences(found: Across) -> tuple[str, ...]:
    """What was found, one sentence an arm, then what was left out and why."""
    if found.reason and not found.arms:
        return (_capital(found.reason) + ".", *_left_out(found))
    return (*(_sentence(one, found) for one in found.arms), *_left_out(found))


def _sentence(arm: ArmAcross, found: Across) -> str:
    name, loss = one_line(arm.arm, 40), arm.loss
    settings = parameters(arm.params)
    tasks = "both tasks" if len(arm.tasks) == 2 else f"all {count(len(arm.tasks), 'task')}"
    text = f"{name}: one setting for {tasks} ({settings}) scores {_score(arm.single)}, "
    if loss.why == SAME:
        text += "and is the best that was found on each, so that no loss shows"
        return f"{text}. {_capital(_kept(arm))}.{_apart(arm, found)}"
    text += f"tuned for each {_score(arm.tuned)}: "
    if loss.has_interval and loss.low <= 0:
        text += f"the loss of {_score(loss)} is not told apart from none"
    elif loss.value <= 0:
        text += f"no loss shows ({_score(loss)})"
    else:
        text += f"it loses {_score(loss)}"
    worst = max(arm.tasks, key=lambda one: one.loss.value)
    if worst.loss.value > 0:
        text += (
            f", most on {one_line(worst.task, 40)} ({number(worst.loss.value, 2)}, {_metric(worst.metric_loss, found)})"
        )
    return f"{text}. {_capital(_kept(arm))}.{_apart(arm, found)}"


def _apart(arm: ArmAcross, found: Across) -> str:
    if arm.arm in found.held_apart:
        apart = listed([one_line(n, 40) for n in found.held_apart[arm.arm]])
        return f" It holds {apart} fixed at other values on other tasks, so that is tuned for each in any case."
    return ""


def _kept(arm: ArmAcross) -> str:
    if not arm.kept:
        return f"how many hyperparameters must be tuned is not known: {arm.why_no_kept}"
    last = arm.kept[-1]
    n, of = len(last.parameters), len(arm.searched)
    kept = "all of the tuned score" if last.share.value >= 1 else f"{percent(last.share.value)} of the tuned score"
    if not last.share.has_interval:
        kept += " by the means, without interval"
    if n == 0:
        return f"no hyperparameter need be tuned for each task: one setting keeps {kept}"
    named = listed([one_line(p, 40) for p in last.parameters])
    return f"{n} of {count(of, 'hyperparameter')} must be tuned for each task ({named}) to keep {kept}"


def _left_out(found: Across) -> tuple[str, ...]:
    told = [f"{one_line(arm, 40)} is not compared: {why}." for arm, why in found.left_out.items()]
    return (
        *told,
        *(f"The run {one_line(run, 40)} is not compared: {why}." for run, why in found.runs_left_out.items()),
    )


def _score(answer: Answer) -> str:
    text = number(answer.value, 2)
    if answer.has_interval:
        return f"{text} (95 % {number(answer.low, 2)} to {number(answer.high, 2)})"
    return f"{text} (no interval: {briefly(answer.why)})"


def _metric(answer: Answer, found: Across) -> str:
    share = answer.unit == "share"
    unit = "points of" if share else "of"
    name = "" if found.objective is None else one_line(found.objective.name, 40).replace("_", " ")
    return f"{gap(answer.value, share)} {unit} {name}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _arm(arm: ArmAcross, apart: tuple[str, ...], methods: Methods) -> dict[str, Any]:
    key = f"across_{arm.way}"

    def of_tasks(answer: Answer) -> dict[str, Any] | None:
        return methods.answer(key, answer, "tasks")

    def of_seeds(answer: Answer) -> dict[str, Any] | None:
        return methods.answer(key, answer, "seeds")

    return {
        "arm": arm.arm,
        "way": arm.way,
        "searched": list(arm.searched),
        "settings": arm.settings,
        "seeds": arm.seeds,
        "single_setting": _params(arm.params),
        "tuned": of_tasks(arm.tuned),
        "single": of_tasks(arm.single),
        "loss": of_tasks(arm.loss),
        "loss_measured": None if arm.check is None else methods.answer("across_measured", arm.check, "tasks"),
        "tasks": [
            {
                "task": one.task,
                "params": _params(one.params),
                "tuned": of_seeds(one.tuned),
                "single": of_seeds(one.single),
                "loss": of_seeds(one.loss),
                "metric_loss": of_seeds(one.metric_loss),
            }
            for one in arm.tasks
        ],
        "dimensionality": arm.dimensionality,
        "kept": [{"parameters": list(k.parameters), "share": of_tasks(k.share)} for k in arm.kept],
        "why_no_dimensionality": None if arm.kept else arm.why_no_kept,
        "held_apart": list(apart),
    }


def _params(params: Mapping[str, Value]) -> dict[str, Value]:
    return dict(params)
