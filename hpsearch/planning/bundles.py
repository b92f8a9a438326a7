"""Which configurations' trials are trained by one program: by the plan, whatever a run that was cut off has left."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from hpsearch.planning.pack import Configuration, Member, key_of
from hpsearch.planning.sizes import planned_trials

if TYPE_CHECKING:
    from hpsearch.check import Checked
    from hpsearch.study import Resources, Study

MOST = 24  # trials in a bundle, unless the study says: networks of some ten thousand weights gain little more beyond
ROUNDS = 4  # bundles for each place at least: in the end the longest one is waited for
CLUSTER = 32  # places that a cluster is taken to have


@dataclass
class Chunk:
    """Configurations of a bundle, in order, and the trials of each that belong to it: seed -> trial_id."""

    configurations: list[Configuration] = field(default_factory=list)
    trials: dict[str, Mapping[int, str]] = field(default_factory=dict)

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(
            Member(configuration.params, seed, trial_id)
            for configuration in self.configurations
            for seed, trial_id in self.trials[configuration.configuration_id].items()
        )

    @cached_property
    def key(self) -> str:
        """Of the whole chunk: asked for when it is made."""
        return key_of(member.trial_id for member in self.members)

    def add(self, configuration: Configuration, trials: Mapping[int, str]) -> int:
        self.configurations.append(configuration)
        self.trials[configuration.configuration_id] = trials
        return sum(map(len, self.trials.values()))


def has_bundles(checked: Checked) -> bool:
    """Whether anything is planned in bundles."""
    study = checked.study
    shared = {"seconds", "peak_memory_bytes"} & study.objectives.keys()  # in a bundle they are not a trial's own
    return not checked.identity.function and study.resources.pack != 1 and not shared


def bundle_size(checked: Checked, before: Study | None, *, joined: bool = False) -> int:
    """Trials with which a bundle is full (the seeds of a configuration stay together); 1 where there are none.

    before: what the run folder was last run with. As long as the number of trials is the same, its size stays: their
    last bits hang on it. joined: on a cluster, whose nodes come and go.
    """
    study = checked.study
    if not has_bundles(checked):
        return 1
    if study.resources.pack != "auto":
        return study.resources.pack
    trials = total_trials(study)
    recorded = before.recorded.bundles if before is not None and before.recorded is not None else None
    if recorded is not None and recorded.trials == trials:
        return recorded.size
    return max(1, min(MOST, trials // (ROUNDS * _places(study.resources, joined))))


def total_trials(study: Study) -> int:
    return sum(planned_trials(study, arm) for arm in study.arms)


def _places(resources: Resources, joined: bool) -> int:
    """Bundles that the machine can train at once: whatever `concurrent` is, so that the table does not hang on it."""
    import torch

    if joined:
        return CLUSTER
    fit = max(1, (os.cpu_count() or 1) // resources.cpus)
    if resources.gpus != 0 and torch.cuda.is_available():
        share = 1.0 if resources.gpus == "auto" else float(resources.gpus)
        fit = max(1, min(fit, int(torch.cuda.device_count() / share)))
    return fit


def chunks(
    study: Study,
    size: int,
    planned: Sequence[tuple[Configuration, Mapping[int, str]]],
    done: Set[str],
    halves: Mapping[str, str],
) -> list[Chunk]:
    """The configurations of a phase with their trials, as chunks of one shape each; those without a trial left out.

    size: of trials, with which a chunk is full; the seeds of a configuration stay together. done: trials that are not
    trained again, whatever becomes of the others. halves: done trials of bundles that a run left half written -> the
    bundle's key, in the order of arrival: where the plan has that bundle still, it is trained whole again.
    """
    age = {key: index for index, key in reversed(list(enumerate(halves.values())))}
    left_out = set(done)
    while True:
        found = _chunks(study, size, [(configuration, _without(trials, left_out)) for configuration, trials in planned])
        foreign = (
            {key for m in chunk.members if (key := halves.get(m.trial_id, chunk.key)) != chunk.key} for chunk in found
        )
        # The plan has changed since: what was left of the oldest of these is done, as other plans' trials are.
        mixed = next(filter(None, foreign), None)
        if mixed is None:
            return found
        oldest = min(mixed, key=age.__getitem__)
        left_out |= {trial_id for trial_id, key in halves.items() if key == oldest}


def _chunks(study: Study, size: int, planned: Iterable[tuple[Configuration, Mapping[int, str]]]) -> list[Chunk]:
    """Each shape's configurations in order, a new chunk where one is full; in the order of their first ones.

    A whole chunk that is left out leaves the others as they are.
    """
    found: list[Chunk] = []
    unfilled: dict[Hashable, Chunk] = {}
    for configuration, trials in planned:
        if not trials:
            continue
        settings = study.settings(configuration.arm, configuration.params)
        shape = settings.shape()
        chunk = unfilled.get(shape)
        if chunk is None:
            chunk = unfilled[shape] = Chunk()
            found.append(chunk)
        if chunk.add(configuration, trials) >= size:
            del unfilled[shape]
    return found


def _without(trials: Mapping[int, str], left_out: Set[str]) -> dict[int, str]:
    return {seed: trial_id for seed, trial_id in trials.items() if trial_id not in left_out}
