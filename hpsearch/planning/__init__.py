"""Decides what to train next: arms in turn, each through its phases, then the confirmation of its best.

The planner keeps no files: given the results that are there it plans again from the start, and what is done is skipped.
The names here come when they are first used: what only counts trials loads no sampler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpsearch.planning.bundles import bundle_size, has_bundles, total_trials
    from hpsearch.planning.pack import ArmCount, Bundle, Configuration, Pack
    from hpsearch.planning.planner import Planner
    from hpsearch.planning.sizes import expected_sizes, most_trials, phase_sizes, planned_trials

__all__ = [
    "ArmCount",
    "Bundle",
    "Configuration",
    "Pack",
    "Planner",
    "bundle_size",
    "expected_sizes",
    "has_bundles",
    "most_trials",
    "phase_sizes",
    "planned_trials",
    "total_trials",
]

_HOME = {
    "ArmCount": "pack",
    "Bundle": "pack",
    "Configuration": "pack",
    "Pack": "pack",
    "Planner": "planner",
    "bundle_size": "bundles",
    "has_bundles": "bundles",
    "total_trials": "bundles",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib

        return getattr(importlib.import_module(f"hpsearch.planning.{_HOME.get(name, 'sizes')}"), name)
    raise AttributeError(f"module 'hpsearch.planning' has no attribute {name!r}")
