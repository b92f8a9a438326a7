"""A run folder -> its analysis.json and the sentences of it: what the command `analyze` does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpsearch.analysis import Analysis, Options, analyze
from hpsearch.analysis.document import write_document
from hpsearch.analysis.epsilon import parse_epsilon
from hpsearch.analysis.findings import findings, warnings, why_nothing
from hpsearch.analysis.sentence import Sentence
from hpsearch.errors import InputError
from hpsearch.results import load, read_run
from hpsearch.study import Study


@dataclass(frozen=True)
class Analysed:
    """path: the file written."""

    analysis: Analysis
    study: Study
    path: Path
    findings: tuple[Sentence, ...]
    warnings: tuple[Sentence, ...]


def analyze_folder(
    folder: Path, out: Path | None, epsilon: str | None, factor: float, seed: int, told: Callable[[str], None]
) -> Analysed:
    """Raises InputError for a folder without a run or without any result, and for options that make no sense;
    RunError when the file cannot be written.
    """
    within = parse_epsilon(epsilon, "--epsilon")
    if not (math.isfinite(factor) and factor > 1):
        raise InputError(f"--factor: got {factor:g}; allowed: a number > 1")
    study = read_run(folder)
    found = analyze(load(folder), study, options=Options(within, factor, seed), told=told)
    reason = why_nothing(found)
    if reason:
        raise InputError(f"{folder}: nothing to analyze: {reason}")
    path = out or folder / "analysis.json"
    told("writing analysis.json")
    write_document(path, found, study)
    return Analysed(found, study, path, findings(found), warnings(found))


def next_block(found: Analysed, n: int, seed: int, told: Callable[[str], None]) -> str:
    """What to run next, for the cost of n configurations, as keys to merge into the study file."""
    from hpsearch.analysis.enough import next_configurations
    from hpsearch.extension import to_yaml

    told("what to run next")
    arms = found.analysis.answers.arms if found.analysis.answers is not None else ()
    suggested = next_configurations(
        [arm.model for arm in arms],
        n,
        found.study,
        configurations=found.analysis.configurations,
        best=found.analysis.best,
        epsilons={arm.arm: arm.epsilon for arm in arms},
        seed=seed,
    )
    return to_yaml(suggested, found.study)
