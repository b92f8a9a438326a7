"""Which configurations' trials are trained by one program: by the plan, whatever a run that was cut off has left."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
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

    @property
    def key(self) -> str:
        return key_of(member.trial_id for member in self.members)

    def add(self, configuration: Configuration, trials: Mapping[int, str]) -> int:
        self.configurations.append(configuration)
        self.trials[configuration.configuration_id] = trials
        return len(self.members)


def has_bundles(checked: Checked) -> bool:
    """Whether phases that do not adapt are planned in bundles. Where packs may be stopped, each is judged alone."""
    study = checked.study
    return not checked.identity.function and study.resources.pack != 1 and study.stopping is None


def bundle_size(checked: Checked, before: Study | None, *, joined: bool = False) -> int:
    """Trials in a bundle, at most (the seeds of a configuration stay together); 1 where there are none.

    before: what the run folder was last run with, whose size stays: the last bits of its trials hang on it. joined: on
    a cluster, whose nodes come and go.
    """
    study = checked.study
    if not has_bundles(checked):
        return 1
    if study.resources.pack != "auto":
        return study.resources.pack
    if before is not None and before.recorded is not None and before.recorded.bundle is not None:
        return before.recorded.bundle
    trials = sum(planned_trials(study, arm) for arm in study.arms)
    return max(1, min(MOST, trials // (ROUNDS * _places(study.resources, joined))))


def _places(resources: Resources, joined: bool) -> int:
    """Bundles that can be trained at once, as far as it is known before Ray starts."""
    import torch

    if joined:
        return CLUSTER if resources.concurrent == "auto" else resources.concurrent
    fit = max(1, (os.cpu_count() or 1) // resources.cpus)
    if resources.gpus != 0 and torch.cuda.is_available():
        fit = min(fit, torch.cuda.device_count())
    return fit if resources.concurrent == "auto" else min(fit, resources.concurrent)


def chunks(
    study: Study,
    size: int,
    planned: Sequence[tuple[Configuration, Mapping[int, str]]],
    done: Set[str],
    halves: Mapping[str, str],
) -> list[Chunk]:
    """The configurations of a phase with their trials, as chunks of one shape each; those without a trial left out.

    size: trials in one, at most, but the seeds of a configuration stay together. done: trials that are not trained
    again, whatever becomes of the others. halves: done trials of bundles that a run left half written -> the bundle's
    key: where the plan has that bundle still, it is trained whole again.
    """
    open_trials = [(configuration, _without(trials, done)) for configuration, trials in planned]
    found = _chunks(study, size, open_trials)
    keys = {chunk.key for chunk in found}
    obsolete = {trial_id for trial_id, key in halves.items() if key not in keys}
    if obsolete:
        found = _chunks(
            study, size, [(configuration, _without(trials, obsolete)) for configuration, trials in open_trials]
        )
    return found


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
