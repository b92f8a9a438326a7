"""hpsearch: hyperparameter sensitivity studies of sharpness-aware training.

    hpsearch.run(study)         trains what is missing; -> the run folder
    hpsearch.load(folder)       the table of trials, a DataFrame
    hpsearch.analyze(table)     -> hpsearch.analysis.Analysis
    hpsearch.report(folder)     writes report.html

Importing hpsearch imports none of torch, ray, optuna, pandas or plotly: each comes with the function that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["analyze", "load", "report", "run"]

if TYPE_CHECKING:
    from hpsearch.analysis import analyze
    from hpsearch.execution.run import run
    from hpsearch.reporting import report
    from hpsearch.results import load

_HOME = {
    "run": "hpsearch.execution.run",
    "load": "hpsearch.results",
    "analyze": "hpsearch.analysis",
    "report": "hpsearch.reporting",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hpsearch' has no attribute {name!r}")
