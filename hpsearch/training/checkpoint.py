"""Checkpoints of trials in training, by time. The trial that goes on from one is the trial that never stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from hpsearch.hyperparameters import Settings
from hpsearch.tasks.protocol import Task
from hpsearch.tasks.sources import source_hash
from hpsearch.training.engine import Engine
from hpsearch.training.store import File, Store

FIRST = 60.0  # seconds of training before the first checkpoint: shorter trials are trained again
SHARE = 0.02  # of the trial's time that writing may take


def identity(task: Task, trials: Iterable[tuple[Settings, int]], engine: Engine) -> dict[str, Any]:
    """Whatever the trials' bits depend on: half a trial computed another way is neither trial."""
    computed = {"device": str(engine.device), "threads": torch.get_num_threads(), "torch": str(torch.__version__)}
    made = {"trials": [[dict(vars(settings)), seed] for settings, seed in trials], "source": source_hash(type(task))}
    return {**made, **computed, **engine.recorded()}


class Checkpoint:
    """The newest state of a trial, or of trials that one program trains.

    identity: what the state belongs to; another one's is not read. place: a store, or the file that is one. Nothing but
    tensors and plain values is written, and read with torch's restricted loader.
    """

    def __init__(self, place: Path | Store, identity: Mapping[str, Any], first: float | None = None) -> None:
        self.store: Store = File(place) if isinstance(place, Path) else place
        self.identity, self.first = dict(identity), FIRST if first is None else first
        self._since = time.monotonic()
        self._took = 0.0

    def due(self) -> bool:
        return time.monotonic() - self._since >= max(self.first, self._took / SHARE)

    def save(self, state: Mapping[str, Any]) -> None:
        """Raises OSError when the store refuses; what it had is kept then."""
        started = time.monotonic()

        def dump(file: BinaryIO) -> None:
            try:
                torch.save({"identity": self.identity, "state": dict(state)}, file)
            except RuntimeError as error:  # what torch makes of a disk that is full in the middle
                raise OSError(str(error)) from None

        try:
            self.store.write(dump)
        finally:
            self._since = time.monotonic()
            self._took = self._since - started

    def load(self) -> dict[str, Any] | None:
        """The state, its tensors on the CPU; None where there is none, or none that can be used."""
        file = self.store.read()
        if file is None:
            return None
        with file:
            try:
                found = torch.load(file, map_location="cpu", weights_only=True)
            except Exception:  # torn, or not a checkpoint: torch raises many kinds
                return None
        if not isinstance(found, dict) or found.get("identity") != self.identity:
            return None
        return dict(found["state"])
