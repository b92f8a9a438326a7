"""What is planned: configurations, the packs of trials that run together, and how many trials an arm has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
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
    """Trials that run together: seeds of one configuration that have no result yet.

    bundle: that it was planned in, where that is trained pack by pack.
    """

    configuration: Configuration
    seeds: Mapping[int, str]  # seed -> trial_id
    attempts: Mapping[str, int]  # trial_id -> the attempt that this is, from 1
    bundle: Mapping[str, Any] | None = None


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
    since the last bits of a trial hang on how many are beside it. alike: trials of which the plan may make bundles of
    this shape and size.
    """

    packs: tuple[Pack, ...]
    members: tuple[Member, ...]
    alike: int = 0

    @cached_property
    def key(self) -> str:
        """The same for the same trials."""
        return key_of(member.trial_id for member in self.members)

    def recorded(self, together: bool) -> dict[str, Any]:
        """What its trials' results say of it. together: whether one program has trained them."""
        return {"key": self.key, "trials": len(self.members), "together": together}

    def one_by_one(self) -> tuple[Pack, ...]:
        """Its packs, to be trained each on its own. They stay of the bundle: what is left of it is not bundled anew."""
        return tuple(replace(pack, bundle=self.recorded(together=False)) for pack in self.packs if pack.seeds)


def key_of(trial_ids: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(trial_ids).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ArmCount:
    """Trials of an arm: planned in all, and ended."""

    planned: int
    ended: int
