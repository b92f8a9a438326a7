"""How many configurations and trials a study asks for, before anything is planned."""

from __future__ import annotations

from hpsearch.sampling import grid_size
from hpsearch.study import Study


def phase_sizes(study: Study, arm: str) -> list[int]:
    """Configurations in each phase of an arm, after the cut to study.configurations.

    An arm that searches nothing has one.
    """
    left = study.configurations
    searched, fixed = study.arms[arm].parameters, study.arms[arm].fixed
    if not searched:
        left = 1
    sizes = []
    for phase in study.phases(arm):
        size = phase.configurations
        if phase.sampler == "grid":
            cells = grid_size(searched, fixed)
            size = cells if size is None else min(size, cells)
        elif phase.sampler == "points" and "points" in phase.options:  # an imported study does not know them
            listed = len(phase.options["points"])
            size = listed if size is None else min(size, listed)
        assert size is not None  # hpsearch.check has seen to it
        if left is not None:
            size = min(size, left)
            left -= size
        sizes.append(size)
    return sizes


def planned_trials(study: Study, arm: str) -> int:
    """Trials of an arm if every phase finds as many configurations as it was asked for."""
    return trials_of(study, sum(phase_sizes(study, arm)))


def trials_of(study: Study, configurations: int) -> int:
    confirm = min(study.confirm.top, configurations) * study.confirm.seeds if study.confirm else 0
    return configurations * len(study.seeds) + confirm
