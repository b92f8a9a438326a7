"""running.json: what the driver trains now, for other processes to read. Derived, and gone with the run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpsearch.training.outcome import Progress


@dataclass(frozen=True)
class RunningPack:
    """A pack in training. seeds: those without a result yet. since: seconds since 1970. configurations:
    how many one program trains; where there are several, params are of none and seeds of all. trials: without a result
    yet, and progress: how many trials' worth of epochs these have behind them.
    """

    arm: str
    params: Mapping[str, Any]
    seeds: tuple[int, ...]
    since: float
    configurations: int = 1
    trials: int = 0
    progress: Progress = Progress()

    @property
    def share(self) -> float:
        """Of what is to be trained, behind it."""
        return self.progress.done / self.trials if self.trials else 0.0


@dataclass(frozen=True)
class Running:
    """What one driver does. started, written: seconds since 1970. left_seconds: None while nothing is known yet.

    packs: oldest first. planned, ended: trials by arm, as the planner counts them.
    """

    process: int
    host: str
    started: float
    written: float
    left_seconds: float | None
    dashboard: str | None
    packs: tuple[RunningPack, ...]
    planned: Mapping[str, int]
    ended: Mapping[str, int]


def write_running(folder: Path, running: Running) -> None:
    """Replaces the file. A disk that refuses is told by the next result, which matters; this file does not."""
    path = folder / "running.json"
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):
        beside.write_text(json.dumps(asdict(running)))
        beside.replace(path)


def remove_running(folder: Path) -> None:
    for path in (folder / "running.json", *folder.glob(".running.json.*")):  # of drivers that were killed, too
        with suppress(OSError):
            path.unlink()


def read_running(folder: Path) -> Running | None:
    """None where there is no such file, or one that is not ours. It may be of a driver that was killed since."""
    try:
        data = json.loads((folder / "running.json").read_text())
        packs = tuple(map(_pack, data["packs"]))
        return Running(
            process=int(data["process"]),
            host=str(data["host"]),
            started=float(data["started"]),
            written=float(data["written"]),
            left_seconds=None if data["left_seconds"] is None else float(data["left_seconds"]),
            dashboard=None if data["dashboard"] is None else str(data["dashboard"]),
            packs=packs,
            planned={str(arm): int(number) for arm, number in data["planned"].items()},
            ended={str(arm): int(number) for arm, number in data["ended"].items()},
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _pack(data: Mapping[str, Any]) -> RunningPack:
    return RunningPack(
        arm=str(data["arm"]),
        params=dict(data["params"]),
        seeds=tuple(int(seed) for seed in data["seeds"]),
        since=float(data["since"]),
        configurations=int(data["configurations"]),
        trials=int(data["trials"]),
        progress=Progress(*map(float, data["progress"])),
    )
