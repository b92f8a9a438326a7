"""What is planned: configurations, the packs of trials that run together, and how many trials an arm has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpsearch.sampling import Params


@dataclass(frozen=True)
class Configuration:
    """One point of an arm's search space and where it came from."""

    arm: str
    params: Params
    configuration_id: str
    sampling: Mapping[str, Any]  # phase, index, sampler, generation, confirm


def place(phase: int, index: int, sampler: str, generation: int | None = None) -> dict[str, Any]:
    """Where a configuration comes from: its `sampling`."""
    return {"phase": phase, "index": index, "sampler": sampler, "generation": generation, "confirm": False}


@dataclass(frozen=True)
class Pack:
    """Trials that run together: seeds of one configuration that have no result yet."""

    configuration: Configuration
    seeds: Mapping[int, str]  # seed -> trial_id
    attempts: Mapping[str, int]  # trial_id -> the attempt that this is, from 1


@dataclass(frozen=True)
class Member:
    """A trial of a bundle."""

    params: Params
    seed: int
    trial_id: str


@dataclass(frozen=True)
class Bundle:
    """Packs whose trials are to be trained by one program: their networks and steps are of one shape.

    packs: what is left of them. members: all trials, in order. A bundle of which a part is done is trained whole again,
    since the last bits of a trial hang on how many are beside it.
    """

    packs: tuple[Pack, ...]
    members: tuple[Member, ...]

    @property
    def key(self) -> str:
        """The same for the same trials."""
        return key_of(member.trial_id for member in self.members)


def key_of(trial_ids: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(trial_ids).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ArmCount:
    """Trials of an arm: planned in all, and ended."""

    planned: int
    ended: int
