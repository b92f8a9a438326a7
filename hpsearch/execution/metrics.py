"""The run as metrics of Ray's: every node of Ray exports them, and Prometheus scrapes them there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.util.metrics import Counter, Gauge

from hpsearch.monitoring import TARGETS
from hpsearch.status import ArmStatus, RunStatus
from hpsearch.tally import Tally

EVERY = 2.0  # seconds between two looks; Ray exports every ten
TARGETS_EVERY = 30.0  # seconds between two looks at which nodes there are
STATES = ("complete", "diverged", "collapsed", "stopped", "failed", "running", "waiting")
Tags = dict[str, str]


class Metrics:
    """An outlet of hpsearch.execution.progress. Prometheus sees the names with Ray's prefix: ray_hpsearch_trials.

    Few tags: study, arm, and the state of trials. A study of 20 arms has 200 series or so, whatever its trials.
    """

    def __init__(self, tally: Tally) -> None:
        """tally: what the run has come to, kept up to date by others."""
        self._tally = tally
        self._last = -EVERY
        self._counted = {name: arm.samples for name, arm in tally.arms.items()}  # of earlier runs
        by_arm = ("study", "arm")
        self._trials = Gauge("hpsearch_trials", "Trials of the study by arm and state.", (*by_arm, "state"))
        self._best = Gauge("hpsearch_best", "Best mean of the first objective over a configuration's seeds.", by_arm)
        self._age = Gauge("hpsearch_oldest_pack_seconds", "Age of the oldest pack in training; 0: none.", by_arm)
        self._speed = Gauge("hpsearch_samples_per_second", "Samples through backward a second, latest trial.", by_arm)
        self._left = Gauge("hpsearch_left_seconds", "Predicted time until the study is done.", ("study",))
        self._samples = Counter("hpsearch_backward_samples", "Samples through backward in trials that ended.", by_arm)

    def open(self) -> None:
        return None

    def show(self, status: RunStatus) -> None:
        if time.monotonic() - self._last >= EVERY:
            self.close(status)

    def close(self, status: RunStatus) -> None:
        """Ray keeps a gauge for two exports only: each is set again, changed or not."""
        self._last = time.monotonic()
        study = {"study": status.study.name}
        if status.now is not None and status.now.left_seconds is not None:
            self._left.set(status.now.left_seconds, study)
        for name, arm in status.arms.items():
            self._show_arm({**study, "arm": name}, name, arm, status)

    def _show_arm(self, tags: Tags, name: str, arm: ArmStatus, status: RunStatus) -> None:
        tally = self._tally.arms[name]
        packs = [pack for pack in (status.now.packs if status.now else ()) if pack.arm == name]
        running = sum(pack.trials for pack in packs)
        counts = {**arm.statuses, "running": running, "waiting": max(0, arm.left - running)}
        for state in STATES:
            self._trials.set(counts.get(state, 0), {**tags, "state": state})
        self._age.set(max((time.time() - pack.since for pack in packs), default=0.0), tags)
        if arm.best is not None:
            self._best.set(arm.best.mean, tags)
        if tally.speed is not None:
            self._speed.set(tally.speed, tags)
        if tally.samples > self._counted[name]:
            self._samples.inc(tally.samples - self._counted[name], tags)
            self._counted[name] = tally.samples


class Targets:
    """An outlet that tells Prometheus where Ray's nodes export their metrics: a file in the run folder.

    Ray writes such a file into its own folder, which is another one for each start.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / TARGETS
        self._last = -TARGETS_EVERY
        self._written: Any = None

    def open(self) -> None:
        return None

    def show(self, status: RunStatus) -> None:
        if time.monotonic() - self._last >= TARGETS_EVERY:
            self._last = time.monotonic()
            self._write([{"targets": sorted(_addresses(_nodes())), "labels": {"job": "ray"}}])

    def close(self, status: RunStatus) -> None:
        self._write([])  # the ports may be another program's soon

    def _write(self, groups: list[Mapping[str, Any]]) -> None:
        """A full disk is told by the next result."""
        if groups == self._written:
            return
        beside = self._path.with_suffix(".new")
        with suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            beside.write_text(json.dumps(groups))
            beside.replace(self._path)
            self._written = groups


def _nodes() -> list[dict[str, Any]]:
    return list(ray.nodes())  # type: ignore[no-untyped-call]


def _addresses(nodes: list[dict[str, Any]]) -> Iterator[str]:
    for node in nodes:
        if node["Alive"] and node["MetricsExportPort"] > 0:
            yield f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
