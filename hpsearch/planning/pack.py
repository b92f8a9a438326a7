"""What is planned: configurations, the packs of trials that run together, and how many trials an arm has."""

from __future__ import annotations

from collections.abc import Mapping
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
class ArmCount:
    """Trials of an arm: planned in all, and ended."""

    planned: int
    ended: int
