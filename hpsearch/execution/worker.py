"""The actor: trains packs, one after another, in a process that has torch loaded already."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from hpsearch.execution.keeper import Kept
from hpsearch.execution.slots import take_slot
from hpsearch.execution.voice import Voice
from hpsearch.training.pack import PackOrder, Stage, as_dict, run_pack
from hpsearch.training.store import File

REPORT_SECONDS = 1.0  # a result waits at most this long for the pack's next one
PROGRESS_SECONDS = 5.0  # without a result, between two reports of how far the pack is


class PackWorker(tune.Trainable):
    """Reused for pack after pack: a fresh actor costs more than a second, a reused one hundredths."""

    _left: int  # trials of the pack that have not ended

    def __repr__(self) -> str:
        """Its name in the dashboard's table of actors, which is read once."""
        return self._voice.name

    def setup(self, config: dict[str, Any]) -> None:
        self._home = os.getcwd()  # on a cluster: what was shipped
        self._slot = take_slot(_node_folder(), ray.get_runtime_context().get_job_id())
        self._voice = Voice(f"{config['study']} slot {self._slot.number}")
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._take(new_config)
        return True

    def cleanup(self) -> None:
        self._stages.close()  # stops the pack where it has not ended

    def step(self) -> dict[str, Any]:
        """Trains until the pack is done, waits at a milestone, or some seconds have passed: long trials are on disk at
        once.

        The result's `reports` are of trials that ended, `progress` of the others; at a milestone `waiting` has what
        these would come to; `refused` says why a bundle's packs are to be given one by one.
        """
        self._voice.title(self._words)
        started = time.monotonic()
        ended: list[dict[str, Any]] = []
        stage = Stage(())
        while self._left and stage.milestone is None:
            if time.monotonic() - started >= (REPORT_SECONDS if ended else PROGRESS_SECONDS):
                break
            stage = next(self._stages)
            ended += map(as_dict, stage.ended)
            self._left -= len(stage.ended)
            if stage.refused is not None:
                self._left = 0
            self._voice.ended(stage.ended, not self._left)
        result: dict[str, Any] = {"done": not self._left, "reports": json.dumps(ended), "pack": 0}
        result["progress"] = list(stage.progress)
        if stage.refused is not None:
            result |= {"refused": stage.refused, "raised": stage.raised}
        if stage.milestone is not None:
            result |= {"milestone": stage.milestone, "waiting": json.dumps(list(map(as_dict, stage.waiting)))}
        return result

    def _take(self, config: dict[str, Any]) -> None:
        self._words = config["words"]
        self._voice.begin(self._words)
        order = PackOrder.from_json(config["order"])
        store = File if order.folder else Kept
        order = replace(order, folder=order.folder or self._home)
        self._stages = run_pack(order, store)
        self._left = len(order.bundle or order.seeds)
        if os.path.isdir(order.folder):
            os.chdir(order.folder)  # a task's relative paths are the driver's


def _node_folder() -> Path:
    """Ray's folder for this start, on this node."""
    node = ray._private.worker.global_worker.node
    assert node is not None  # in a worker
    return Path(node.get_session_dir_path())
