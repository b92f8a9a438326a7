"""What the commands print: results on standard output, as tables that fit a terminal and read well in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hpsearch.duration import format_duration
from hpsearch.seeds import in_words

# Only names of types: what prints a line must not load what trains.
if TYPE_CHECKING:
    from hpsearch.analysis.sentence import Sentence
    from hpsearch.doctor import Finding
    from hpsearch.execution.run import RunSummary
    from hpsearch.prediction import Prediction
    from hpsearch.study import Study

Row = Sequence[object]


def print_summary(summary: RunSummary) -> None:
    aside = f", {summary.set_aside} set aside" if summary.set_aside else ""
    _print(
        f"{summary.trained} trials trained in {format_duration(summary.seconds)}, {summary.already_done} were done "
        f"before{aside}, {summary.failed} failed, {summary.left} left; results in {summary.folder}"
    )
    for note in summary.notes:
        _print(f"note: {note}")
    if summary.failed:
        for arm, error in summary.errors:
            _print(f"failed in {arm}: {error}")
        _print("whole tracebacks are in trials.jsonl; running again tries failed trials again")
    if summary.trained or summary.already_done:
        _print(f"next: hpsearch report {summary.folder}")


def print_plan(study: Study, prediction: Prediction, folder: Path, budget: float | None) -> None:
    rows: list[Row] = []
    for name, arm in prediction.arms.items():
        searched = ", ".join(study.arms[name].parameters) or "nothing"
        costs = (count(arm.backward_samples), count(arm.flops), seconds(arm.seconds))
        rows.append((name, searched, arm.configurations, arm.trials, arm.done, max(0, arm.trials - arm.done), *costs))
    arms = prediction.arms.values()
    totals = [sum(getattr(arm, key) for arm in arms) for key in ("configurations", "trials", "done")]
    rows.append(("total", "", *totals, sum(max(0, arm.trials - arm.done) for arm in arms), "", "", ""))
    header = ("arm", "searched", "configurations", "trials", "done", "left", "samples", "FLOPs", "time")
    phases = ", then ".join(f"{phase.sampler} ({phase.configurations or 'all cells'})" for phase in study.sampling)
    _table(f"{study.name}: task {study.task.name}, {in_words(study.seeds)}, {phases}", header, rows)
    source = "from trials in this folder" if prediction.measured else "from a few timed steps"
    total = prediction.seconds
    _print(
        f"{prediction.concurrent} packs at once on {prediction.device}: "
        + (
            f"about {format_duration(total)} ({source})"
            if total is not None
            else "time not known before the first trial"
        )
    )
    if budget is not None and total is not None and total > budget:
        _print(f"the budget, {format_duration(budget)}, ends before the plan: about {budget / total:.0%} would run")
    for note in prediction.notes:
        _print(note)
    _print(f"run folder: {folder}")


def print_findings(findings: Sequence[Finding]) -> None:
    rows = [
        ("ok" if not finding.remedy else "!!", finding.subject, finding.found, finding.remedy) for finding in findings
    ]
    _table("", ("", "subject", "found", "what to do"), rows)


def print_sentences(findings: Sequence[Sentence], warnings: Sequence[Sentence], path: Path) -> None:
    _table("", ("about", "finding"), [(one.kind, one.text) for one in findings])
    for one in warnings:
        _print(f"{one.kind}: {one.text}")
    _print(f"analysis: {path}")


@contextmanager
def steps(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Takes the name of each step and shows it on standard error while it lasts; nothing where that is no terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda step: None
        return
    with console.status("reading the run") as status:
        yield lambda step: status.update(escape(step))


def count(value: float | None) -> str:
    """1234567 -> '1.23 M'."""
    if value is None:
        return "?"
    for unit, factor in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g}"


def seconds(value: float | None) -> str:
    return "?" if value is None else format_duration(value)


def _table(title: str, header: Sequence[str], rows: Sequence[Row]) -> None:
    table = Table(title=escape(title) or None, title_justify="left", box=box.SIMPLE_HEAD)
    for number, name in enumerate(header):
        numeric = bool(rows) and all(isinstance(row[number], int) for row in rows)
        table.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    make_console().print(table)


def _print(text: str) -> None:
    make_console().print(text, markup=False, highlight=False, soft_wrap=True)


def make_console() -> Console:
    """Of standard output."""
    console = Console()
    # In a pipe or a file rich would cut lines at 80 columns.
    return console if console.is_terminal else Console(width=160)
