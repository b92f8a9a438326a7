"""Which configurations' trials are trained by one program: by the plan, whatever a run that was cut off has left."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpsearch.planning.pack import Configuration, Member, key_of

if TYPE_CHECKING:
    from hpsearch.check import Checked
    from hpsearch.study import Study

MOST = 24  # trials in a bundle, unless the study says: what a network of some ten thousand weights gains most with


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


def bundle_size(study: Study) -> int:
    """Trials, at most; the seeds of a configuration stay together."""
    return MOST if study.resources.pack == "auto" else study.resources.pack


def chunks(
    study: Study,
    planned: Sequence[tuple[Configuration, Mapping[int, str]]],
    done: Set[str],
    halves: Mapping[str, str],
) -> list[Chunk]:
    """The configurations of a phase with their trials, as chunks of one shape each; those without a trial left out.

    done: trials that are not trained again, whatever becomes of the others. halves: done trials of bundles that a run
    left half written -> the bundle's key: where the plan has that bundle still, it is trained whole again.
    """
    open_trials = [(configuration, _without(trials, done)) for configuration, trials in planned]
    found = _chunks(study, open_trials)
    keys = {chunk.key for chunk in found}
    obsolete = {trial_id for trial_id, key in halves.items() if key not in keys}
    if obsolete:
        found = _chunks(study, [(configuration, _without(trials, obsolete)) for configuration, trials in open_trials])
    return found


def _chunks(study: Study, planned: Iterable[tuple[Configuration, Mapping[int, str]]]) -> list[Chunk]:
    """Each shape's configurations in order, a new chunk where one is full; in the order of their first ones.

    A whole chunk that is left out leaves the others as they are.
    """
    size = bundle_size(study)
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
