"""A run folder -> its analysis.json, made or read, and the sentences of it: what the command `analyze` does.

What analyses is imported where it is needed: reading a file takes a tenth of the time.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch import __version__
from hpsearch.analysis.sentence import Sentence
from hpsearch.errors import InputError, RunError
from hpsearch.results import load, read_run
from hpsearch.study import Study

if TYPE_CHECKING:
    import pandas

    from hpsearch.analysis import Analysis, Options

VERSION = 2  # of analysis.json, as schema.json says
READ = 5  # times at most, until nothing was written while the folder was read
# Keys without which a file is none of ours, whatever else it says.
NEEDED = {
    *("made_from", "objectives", "judged_by", "findings", "warnings"),
    *("overview", "arms", "configurations", "methods"),
}


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
    from hpsearch.analysis import Options, analyze
    from hpsearch.analysis.document import to_document, write_document
    from hpsearch.analysis.epsilon import parse_epsilon
    from hpsearch.analysis.findings import findings, warnings, why_nothing

    within = parse_epsilon(epsilon, "--epsilon")
    if not (math.isfinite(factor) and factor > 1):
        raise InputError(f"--factor: got {factor:g}; allowed: a number > 1")
    study, table, made_from = _read_run(folder)
    found = analyze(table, study, options=Options(within, factor, seed), told=told)
    reason = why_nothing(found)
    if reason:
        raise InputError(f"{folder}: nothing to analyze: {reason}")
    path = out or folder / "analysis.json"
    told("writing analysis.json")
    write_document(path, to_document(found, study, made_from=made_from))
    return Analysed(found, study, path, findings(found), warnings(found))


def current_document(folder: Path, told: Callable[[str], None]) -> tuple[dict[str, Any], pandas.DataFrame, Study]:
    """The folder's analysis.json, where it is of these trials, this study and this version; else made, with the options
    of the file that is there, and written. A folder that can't be written to, or that has no result, gets no file.
    With it the table and the study that it is of: a driver may be adding to them.

    Raises InputError for a folder without a run.
    """
    study, table, made_from = _read_run(folder)
    path = folder / "analysis.json"
    found = _read(path)
    if found is not None and found.get("made_from") == made_from and found.get("hpsearch_version") == __version__:
        return found, table, study
    from hpsearch.analysis import analyze
    from hpsearch.analysis.document import to_document, write_document
    from hpsearch.analysis.findings import why_nothing

    analysis = analyze(table, study, options=_options(found), told=told)
    document = to_document(analysis, study, made_from=made_from)
    if not why_nothing(analysis):
        try:
            write_document(path, document)
        except RunError as error:
            told(f"{error.args[0]}; the analysis is not kept")
    return document, table, study


def _read_run(folder: Path) -> tuple[Study, pandas.DataFrame, str]:
    """Study, table and fingerprint that belong together; read again where a driver wrote meanwhile."""
    for _ in range(READ):
        made_from = fingerprint(folder)
        study, table = read_run(folder), load(folder)
        if fingerprint(folder) == made_from:
            break
    return study, table, made_from


def fingerprint(folder: Path) -> str:
    """Of all that an analysis of the folder reads: its trials and its study."""
    made = hashlib.sha256()
    for name in ("study.yaml", "trials.jsonl"):
        path = folder / name
        content = path.read_bytes() if path.is_file() else b""
        made.update(len(content).to_bytes(8, "big") + content)
    return made.hexdigest()


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


def _read(path: Path) -> dict[str, Any] | None:
    """A document of this version of the format, or None: what is torn or foreign is made anew."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and found.get("version") == VERSION and found.keys() >= NEEDED
    return found if whole else None


def _options(found: dict[str, Any] | None) -> Options:
    """Those of an earlier document, so that a report keeps what was asked of `analyze`."""
    from hpsearch.analysis import Options

    known = (found or {}).get("options")
    known = known if isinstance(known, dict) else {}
    epsilon, factor, seed = known.get("epsilon"), known.get("factor"), known.get("seed")
    usual = Options()
    return Options(
        epsilon if epsilon == "se" or (isinstance(epsilon, float) and epsilon > 0) else None,
        factor if isinstance(factor, float) and factor > 1 else usual.factor,
        seed if isinstance(seed, int) and seed >= 0 else usual.seed,
    )
