"""Several runs -> one HTML file: does one setting do for all tasks? And each run's own findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpsearch.errors import InputError
from hpsearch.figures import format as fmt
from hpsearch.figures.across.across import compare, pictures
from hpsearch.figures.across.result import Comparison
from hpsearch.figures.result import Result
from hpsearch.reporting import findings, methods, view
from hpsearch.reporting.build import render
from hpsearch.reporting.findings import Finding
from hpsearch.reporting.page import Page
from hpsearch.reporting.sections import Group, make_group
from hpsearch.results import write_atomically


@dataclass(frozen=True)
class RunPart:
    """One run in the comparison: its name, what was run, what it found and what speaks against reading too much."""

    name: str
    run: view.Run
    findings: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def write_comparison(folders: Sequence[Path], out: Path, told: Callable[[str], None] = lambda step: None) -> Path:
    """Writes the report of several run folders and gives its path. told: called with each step's name.

    Raises InputError for fewer than two folders, one given twice, a folder without a run, or runs after different
    objectives; RunError when the file cannot be written.
    """
    if len(folders) < 2:
        raise InputError("compare needs two run folders or more; for one there is `hpsearch report`")
    places = [folder.resolve() for folder in folders]
    twice = next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"{twice}: given twice; allowed: each run folder once")
    found = compare(list(folders), told=told)
    told("drawing")
    write_atomically(out, build_comparison(found).encode("utf-8", "replace"))
    return out


def build_comparison(found: Comparison) -> str:
    """The comparison as HTML."""
    page = Page()
    group: Group = make_group(page, "across", "", "wide", pictures(found))
    goal = found.document["objective"]
    return render(
        "compare.html",
        page,
        title=", ".join(found.results),
        colours={arm: look.colour for arm, look in found.looks.items()},
        findings=found.document["findings"],
        objective_name=fmt.metric_name(goal["name"]) if goal else "",
        group_=group,
        scores=found.document["scores"],
        source=found.document["source"],
        runs=tuple(_part(name, result) for name, result in found.results.items()),
        methods=methods.methods(found.document),
        optimizers=methods.OPTIMIZERS,
    )


def _part(name: str, result: Result) -> RunPart:
    first, more = findings.findings(result.document, {}, (), result.arms)
    return RunPart(name, view.describe(result), (*first, *more), findings.warnings(result.document, result.arms))
