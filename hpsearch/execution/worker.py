"""The actor: trains packs, one after another, in a process that has torch loaded already."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ray import tune

from hpsearch.training.pack import PackOrder, as_dict, run_trial

REPORT_SECONDS = 1.0  # a result waits at most this long for the pack's next one


class PackWorker(tune.Trainable):
    """Reused for pack after pack: a fresh actor costs more than a second, a reused one hundredths."""

    def setup(self, config: dict[str, Any]) -> None:
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Trains seeds until the pack is done or a second has passed, so that long trials are on disk at once."""
        started = time.monotonic()
        reports: list[dict[str, Any]] = []
        while self._left and (not reports or time.monotonic() - started < REPORT_SECONDS):
            reports.append(as_dict(run_trial(self._order, self._left.pop(0))))
        return {"done": not self._left, "reports": json.dumps(reports), "pack": 0}

    def _take(self, config: dict[str, Any]) -> None:
        order = json.loads(config["order"])
        self._order = PackOrder(**{**order, "seeds": tuple(order["seeds"]), "objectives": tuple(order["objectives"])})
        self._left = list(self._order.seeds)
        if os.path.isdir(self._order.folder):
            os.chdir(self._order.folder)  # a task's relative paths are the driver's
