"""Several runs and what their comparison found: what the figures across tasks draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hpsearch.analysis.across import Run, compare_runs
from hpsearch.analysis.across_document import across_document
from hpsearch.errors import InputError
from hpsearch.figures.result import Result, Source, read_result
from hpsearch.figures.style import Look, arm_looks


@dataclass(frozen=True)
class Comparison:
    """document: as `analysis.across_document` makes it. results: task -> its run, in the order given."""

    document: dict[str, Any]
    results: Mapping[str, Result]

    @cached_property
    def arms(self) -> list[str]:
        """Of any run, those of the first run first."""
        return list(dict.fromkeys(arm for result in self.results.values() for arm in result.arms))

    @cached_property
    def looks(self) -> dict[str, Look]:
        return arm_looks(self.arms)

    @cached_property
    def compared(self) -> list[dict[str, Any]]:
        """The document's entries of the arms that were compared."""
        return list(self.document["arms"])

    @cached_property
    def parameters(self) -> list[str]:
        return list(dict.fromkeys(name for result in self.results.values() for name in result.parameters))


Several = Comparison | Mapping[str, Source] | Sequence[Source]


def compare(sources: Several, seed: int = 0, told: Callable[[str], None] = lambda step: None) -> Comparison:
    """Reads the runs and compares them. sources: task -> run folder, table, Analysis or Result; or these alone, then
    tasks have the names of the studies, or of the folders where studies share a name. A Comparison is given back.

    Takes some seconds an arm and run, because the surrogates are fitted again; told: called with each step's name.
    Raises InputError where the runs are not after the same objective, or two have one name.
    """
    if isinstance(sources, Comparison):
        return sources
    if isinstance(sources, Mapping):
        results = {str(name): read_result(source) for name, source in sources.items()}
    else:
        read = [read_result(source) for source in sources]
        names = _names(sources, read)
        if len(set(names)) < len(names):
            raise InputError(
                f"runs that are compared need different names, but got {', '.join(names)}: name them yourself"
            )
        results = dict(zip(names, read, strict=True))
    runs = [_run(name, result) for name, result in results.items()]
    return Comparison(across_document(compare_runs(runs, seed, told)), results)


def _names(sources: Sequence[Source], results: Sequence[Result]) -> list[str]:
    studies = [str(result.document["study"] or "") for result in results]
    if all(studies) and len(set(studies)) == len(studies):
        return studies
    folders = [
        source.resolve() if isinstance(source, Path) else Path(source).resolve() if isinstance(source, str) else None
        for source in sources
    ]
    known = [folder for folder in folders if folder is not None]
    deep = max((len(folder.parts) for folder in known), default=1)
    # The shortest ends of the paths that tell them apart.
    length = next((n for n in range(1, deep) if len({f.parts[-n:] for f in known}) == len(known)), deep)
    return [
        "/".join(folder.parts[-length:]) if folder is not None else study or f"run {number}"
        for number, (folder, study) in enumerate(zip(folders, studies, strict=True), 1)
    ]


def _run(name: str, result: Result) -> Run:
    goals = {one["name"]: one["direction"] for one in result.document["objectives"]}
    return Run(name, result.trials, result.study, objectives=goals or None)
