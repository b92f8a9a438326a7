"""table -> frozen results: what the report draws, computed from the rows of trials.jsonl and nothing live.

The names here come when they are first used: a report that draws analysis.json loads no model of the response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpsearch.analysis.answers import Options
    from hpsearch.analysis.whole import Analysis, analyze

__all__ = ["Analysis", "Options", "analyze"]

_HOME = {
    "Analysis": "hpsearch.analysis.whole",
    "Options": "hpsearch.analysis.answers",
    "analyze": "hpsearch.analysis.whole",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hpsearch.analysis' has no attribute {name!r}")
