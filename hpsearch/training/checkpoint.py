"""Checkpoints of one trial in training, by time. The trial that goes on from one is the trial that never stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

FIRST = 60.0  # seconds of training before the first checkpoint: shorter trials are trained again
SHARE = 0.02  # of the trial's time that writing may take


class Checkpoint:
    """A file that holds the newest state. identity: what the state belongs to; another one's file is not read.

    Nothing but tensors and plain values is written, and read with torch's restricted loader.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], first: float | None = None) -> None:
        self.path, self.identity, self.first = path, dict(identity), FIRST if first is None else first
        self._since = time.monotonic()
        self._took = 0.0

    def due(self) -> bool:
        return time.monotonic() - self._since >= max(self.first, self._took / SHARE)

    def save(self, state: Mapping[str, Any]) -> None:
        """The file is the old one or the new one, whatever happens between. Raises OSError when the disk refuses."""
        started = time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with beside.open("wb") as file:
                try:
                    torch.save({"identity": self.identity, "state": dict(state)}, file)
                except RuntimeError as error:  # what torch makes of a disk that is full in the middle
                    raise OSError(str(error)) from None
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        finally:
            beside.unlink(missing_ok=True)
            self._since = time.monotonic()
            self._took = self._since - started

    def load(self) -> dict[str, Any] | None:
        """The state, its tensors on the CPU; None where there is no file, or none that can be used."""
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception:  # torn, or not a checkpoint: torch raises many kinds
            return None
        if not isinstance(found, dict) or found.get("identity") != self.identity:
            return None
        return dict(found["state"])
