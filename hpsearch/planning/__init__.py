"""Decides what to train next: arms in turn, each through its phases, then the confirmation of its best.

The planner keeps no files: given the results that are there it plans again from the start, and what is done is skipped.
"""

from hpsearch.planning.pack import ArmCount, Configuration, Pack
from hpsearch.planning.planner import Planner
from hpsearch.planning.sizes import expected_sizes, most_trials, phase_sizes, planned_trials

__all__ = [
    "ArmCount",
    "Configuration",
    "Pack",
    "Planner",
    "expected_sizes",
    "most_trials",
    "phase_sizes",
    "planned_trials",
]
