"""The actor: trains packs, one after another, in a process that has torch loaded already."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ray import tune

from hpsearch.training.pack import PackOrder, Stage, as_dict, run_pack

REPORT_SECONDS = 1.0  # a result waits at most this long for the pack's next one


class PackWorker(tune.Trainable):
    """Reused for pack after pack: a fresh actor costs more than a second, a reused one hundredths."""

    def setup(self, config: dict[str, Any]) -> None:
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._take(new_config)
        return True

    def cleanup(self) -> None:
        self._stages.close()  # stops the pack where it has not ended

    def step(self) -> dict[str, Any]:
        """Trains until the pack is done, waits at a milestone, or a second has passed: long trials are on disk at once.

        The result's `reports` are of trials that ended; at a milestone `waiting` has what the others would come to.
        """
        started = time.monotonic()
        ended: list[dict[str, Any]] = []
        stage = Stage(())
        while self._left and stage.milestone is None and (not ended or time.monotonic() - started < REPORT_SECONDS):
            stage = next(self._stages)
            ended += map(as_dict, stage.ended)
            self._left -= len(stage.ended)
        result: dict[str, Any] = {"done": not self._left, "reports": json.dumps(ended), "pack": 0}
        if stage.milestone is not None:
            result |= {"milestone": stage.milestone, "waiting": json.dumps(list(map(as_dict, stage.waiting)))}
        return result

    def _take(self, config: dict[str, Any]) -> None:
        order = PackOrder.from_json(config["order"])
        self._stages, self._left = run_pack(order), len(order.seeds)
        if os.path.isdir(order.folder):
            os.chdir(order.folder)  # a task's relative paths are the driver's
