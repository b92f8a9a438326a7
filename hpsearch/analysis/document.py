"""Analysis -> analysis.json: every number with its n, interval, unit and method. schema.json says what each key is.

The same table, study and seed give the same bytes: floats are rounded, order is fixed, no times are in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch import __version__
from hpsearch.analysis import Analysis
from hpsearch.analysis.answer import LEVEL
from hpsearch.analysis.arms import ArmFacts
from hpsearch.analysis.document_arms import arm_facts, calibration_rows
from hpsearch.analysis.document_compute import front_entries, tuning_entries
from hpsearch.analysis.document_study import (
    best_entries,
    comparison_entries,
    configuration_entries,
    overview_entry,
    training_entries,
)
from hpsearch.analysis.document_values import Methods, clean
from hpsearch.analysis.findings import findings, warnings
from hpsearch.analysis.folder import VERSION
from hpsearch.analysis.objective import Objective
from hpsearch.results import write_atomically

if TYPE_CHECKING:
    from hpsearch.study import Study


def to_document(analysis: Analysis, study: Study | None = None, note: str = "", made_from: str = "") -> dict[str, Any]:
    """The document as plain Python, as JSON will hold it. note: what the reader should know about the table.
    made_from: the fingerprint of the run folder's files, by which it is known whether the document is of them.
    """
    methods = Methods()
    answers = analysis.answers
    found = {} if answers is None else {one.arm: one for one in answers.arms}
    failed = {one.arm: one for one in analysis.failures}
    judged = analysis.test or analysis.objective

    def arm_entry(arm: ArmFacts) -> dict[str, Any]:
        surfaces = [one for one in analysis.surfaces if one.arm == arm.name]
        return arm_facts(arm, failed.get(arm.name), found.get(arm.name), surfaces, methods)

    document = {
        "version": VERSION,
        "hpsearch_version": __version__,
        "study": None if study is None else study.name,
        "note": note or None,
        "made_from": made_from or None,
        "objectives": [_objective(one) for one in analysis.objectives],
        "judged_by": None if judged is None else _objective(judged),
        "guessed": analysis.guessed,
        "options": None
        if answers is None
        else {
            "epsilon": answers.options.epsilon,
            "factor": answers.options.factor,
            "seed": answers.options.seed,
            "level": LEVEL,
        },
        "findings": [vars(one) for one in findings(analysis)],
        "warnings": [vars(one) for one in warnings(analysis)],
        "overview": overview_entry(analysis),
        "arms": [arm_entry(arm) for arm in analysis.arms],
        "configurations": configuration_entries(analysis),
        "best": best_entries(analysis, methods),
        **comparison_entries(analysis, methods),
        "along_training": training_entries(analysis, methods),
        "tuning_curves": tuning_entries(analysis, methods),
        **front_entries(analysis, methods),
        "calibration": [row for one in found.values() for row in calibration_rows(one.arm, one.model.setting)],
    }
    return dict(clean(document | {"methods": methods.entries()}))


def to_json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def write_document(path: Path | str, document: dict[str, Any]) -> None:
    """Writes analysis.json; a reader never sees half a file. Raises RunError when it cannot be written."""
    write_atomically(Path(path), to_json(document))


def _objective(found: Objective) -> dict[str, Any]:
    return {
        "name": found.name,
        "direction": "maximize" if found.maximize else "minimize",
        "unit": found.unit,
    }
