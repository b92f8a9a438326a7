"""What was run, as text: the table of arms, and the facts of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.columns import STATUSES
from hpsearch.analysis.overview import Overview, describe_run
from hpsearch.figures import format as fmt
from hpsearch.figures.result import Result
from hpsearch.seeds import in_words
from hpsearch.study import Study

HARDWARE = {
    "host": "Host",
    "device": "Device",
    "threads": "Threads",
    "concurrent": "Packs at once",
    "together": "Trials in one program",
}


@dataclass(frozen=True)
class ArmRow:
    """One row of the table of arms; `counts` by column, in the order of `count_columns`."""

    name: str
    searched: tuple[str, ...]
    fixed: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """facts: name and value. errors: the last line of each kind, and how many trials ended so. summary: one line."""

    summary: str
    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    arms: tuple[ArmRow, ...]
    errors: tuple[tuple[str, int], ...]


def describe(result: Result) -> Run:
    run = describe_run(result.trials, result.arms)
    columns = _count_columns(result)
    return Run(_summary(result), _facts(result, run), columns, _arm_rows(result, columns), tuple(run.errors.items()))


def range_text(axis: Axis) -> str:
    """0.01 – 2 (log), or {1, 2, 4}."""
    if axis.kind == "choice":
        return "{" + ", ".join(fmt.parameter(c) for c in axis.choices) + "}"
    assert axis.low is not None and axis.high is not None
    return f"{fmt.number(axis.low)} – {fmt.number(axis.high)}" + (" (log)" if axis.kind == "log" else "")


def plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _summary(result: Result) -> str:
    run = result.document["overview"]
    parts = [
        plural(run["trials"], "trial"),
        plural(len(result.configurations), "configuration"),
        plural(len(result.arms), "arm"),
    ]
    if run["seeds"]:
        parts.append(plural(len(run["seeds"]), "seed"))
    if run["confirmation_seeds"]:
        parts.append(plural(len(run["confirmation_seeds"]), "fresh seed") + " to confirm")
    if result.objective is not None:
        better = "higher" if result.objective.maximize else "lower"
        parts.append(f"selected on {fmt.metric_name(result.objective.name)} ({better} is better)")
    return ", ".join(parts)


def _facts(result: Result, run: Overview) -> tuple[tuple[str, str], ...]:
    """Facts that are not known are left out."""
    study, totals = result.study, result.document["overview"]["total_cost"]
    rows = [
        ("Task", _task(result)),
        ("Shared settings", fmt.settings(study.optimizer) if study is not None else ""),
        ("Selected on", _objectives(result)),
        ("Seeds", _numbers(run.seeds)),
        ("Seeds a configuration", _seeds_each(result)),
        ("Confirmation seeds", _numbers(run.confirm_seeds)),
        ("Compute", ", ".join(_total(name, totals[name]) for name in totals if name != "seconds")),
        ("Time in trials", _total("seconds", totals["seconds"]) if "seconds" in totals else ""),
        ("Trials started", " to ".join(dict.fromkeys(map(fmt.moment, run.started))) if run.started else ""),
        *((HARDWARE[name], _distinct(values, run.n_trials)) for name, values in run.hardware.items()),
        ("Versions", "; ".join(f"{n} {_distinct(v, run.n_trials)}" for n, v in run.versions.items())),
        ("Commit", _commit(study)),
        ("Analysed by", f"hpsearch {result.document['hpsearch_version']}"),
    ]
    return tuple((name, value) for name, value in rows if value)


def _seeds_each(result: Result) -> str:
    """With seeds by spread: the rule, and what it came to."""
    study = result.study
    if study is None or study.two_stage is None:
        return ""
    numbers = [entry["n"] for entry in result.document["configurations"] if entry["n"]]
    spent = f": {fmt.number(sum(numbers) / len(numbers))} in the mean" if numbers else ""
    return f"{in_words(study.seeds)}, fixed by the first {study.two_stage.min} (Stein 1945){spent}"


def _commit(study: Study | None) -> str:
    return study.recorded.commit or "" if study is not None and study.recorded is not None else ""


def _count_columns(result: Result) -> tuple[str, ...]:
    """The columns of counts: statuses that never happened are left out, except complete."""
    rows = result.document["overview"]["arms"]
    happened = [s for s in STATUSES if s == "complete" or any(row["by_status"][s] for row in rows)]
    confirmed = any(row["confirmation_trials"] for row in rows)
    return ("configurations", "trials", *happened, *(["confirm"] if confirmed else []))


def _arm_rows(result: Result, columns: Sequence[str]) -> tuple[ArmRow, ...]:
    counts = {row["arm"]: row for row in result.document["overview"]["arms"]}

    def cells(row: dict[str, Any]) -> tuple[int, ...]:
        known = {**row, **row["by_status"], "confirm": row["confirmation_trials"]}
        return tuple(int(known[column]) for column in columns)

    return tuple(
        ArmRow(
            name=arm,
            searched=tuple(f"{name} {range_text(result.axis(name, arm))}" for name in result.searched(arm)),
            fixed=fmt.parameters(result.arm(arm)["fixed"]),
            counts=cells(counts[arm]),
        )
        for arm in result.arms
    )


def _task(result: Result) -> str:
    if result.study is None:
        return ""
    task = result.study.task
    options = fmt.settings({**task.options, "epochs": task.epochs, "batch_size": task.batch_size})
    return f"{task.name} ({options})" if options else task.name


def _objectives(result: Result) -> str:
    better = {"maximize": "higher is better", "minimize": "lower is better"}
    found = result.document["objectives"]
    shown = [f"{fmt.metric_name(one['name'])} ({better[one['direction']]})" for one in found]
    guessed = " – guessed from the columns of the table" if result.document["guessed"] and shown else ""
    return "; then ".join(shown) + guessed


def _total(name: str, total: dict[str, Any]) -> str:
    missing = f" ({total['trials_unknown']} trials unknown)" if total["trials_unknown"] else ""
    return fmt.cost(name, total["amount"]) + missing


def _distinct(values: dict[str, int], n_trials: int) -> str:
    """One value as it is; several with the number of trials that had each."""
    if len(values) == 1 and next(iter(values.values())) == n_trials:
        return next(iter(values))
    return ", ".join(f"{value} ({plural(n, 'trial')})" for value, n in values.items())


def _numbers(values: Sequence[int]) -> str:
    """0, 1, 2 or 0 – 9 where they follow each other."""
    if len(values) > 3 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} – {values[-1]} ({len(values)})"
    return ", ".join(map(str, values))
