"""What goes to the workers and what comes back: packs as orders, reports as lines of trials.jsonl."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from hpsearch import __version__
from hpsearch.check import COSTS, Checked
from hpsearch.checkpoints import checkpoint_of
from hpsearch.execution.capacity import Capacity
from hpsearch.planning import Bundle, Pack
from hpsearch.results import Result
from hpsearch.sampling import Params
from hpsearch.training.engine import SWITCHES
from hpsearch.training.pack import PackOrder

Report = Mapping[str, Any]  # hpsearch.training.pack.TrialReport as a dict


class Exchange:
    """folder: where the user's task is found. out: the run folder."""

    def __init__(self, checked: Checked, capacity: Capacity, folder: Path, out: Path) -> None:
        self._checked, self._capacity = checked, capacity
        self._folder, self._out = folder, out.resolve()
        self._torches = {str(torch.__version__)}
        self.notes: list[str] = []

    @property
    def study(self) -> str:
        return self._checked.study.name

    def order(self, pack: Pack, milestones: Mapping[str, Any] | None) -> PackOrder:
        """milestones: where the pack may be stopped early; None where it may not."""
        configuration = pack.configuration
        return replace(
            self._blank,
            params=self._params(configuration.arm, configuration.params),
            seeds=tuple(pack.seeds),
            checkpoints={str(seed): str(checkpoint_of(self._out, trial)) for seed, trial in pack.seeds.items()},
            milestones=milestones,
        )

    def bundle_order(self, bundle: Bundle, milestones: Mapping[str, Any] | None) -> PackOrder:
        arm = bundle.packs[0].configuration.arm
        members = tuple((self._params(arm, member.params), member.seed) for member in bundle.members)
        checkpoint = str(checkpoint_of(self._out, bundle.key))
        return replace(self._blank, bundle=members, checkpoint=checkpoint, alike=bundle.alike, milestones=milestones)

    @cached_property
    def _blank(self) -> PackOrder:
        """What all packs of the run have in common."""
        study = self._checked.study
        return PackOrder(
            task=study.task.name,
            options=study.task.options,
            folder="" if self._capacity.joined else str(self._folder),
            params={},
            seeds=(),
            objectives=tuple(study.objectives),
            threads=self._capacity.cpus,
            device="cuda" if self._capacity.gpus else "cpu",
            engine={name: getattr(study.resources, name) for name in SWITCHES},
            pack=study.resources.pack,
        )

    def _params(self, arm: str, params: Params) -> Mapping[str, Any]:
        study = self._checked.study
        if self._checked.identity.function:
            return {**study.arms[arm].fixed, **params}
        return vars(study.settings(arm, params))

    def result(self, pack: Pack, report: Report, attempt: int, since: tuple[float, float] | None) -> Result:
        """The line for a trial that ended. since: time.time() and time.monotonic() of when it was given; None if it did
        not wait.
        """
        outcome, study = report["outcome"], self._checked.study
        self._note_torch(report)
        failed = self.failed(pack, report["seed"], attempt, "")
        started = datetime.fromisoformat(report["started"]).timestamp()
        # Two clocks of one machine or of two, that may be set meanwhile: never longer than the driver has waited.
        waited = 0.0 if since is None else min(started - since[0], time.monotonic() - since[1])
        same = ("status", "epochs", "epochs_planned", "cost", "curve", "error")
        return replace(
            failed,
            **{key: outcome[key] for key in same},
            metrics=outcome["metrics"] or failed.metrics,  # every key, null where not known
            stopping=vars(study.stopping) if study.stopping and outcome["status"] == "stopped" else None,
            **{key: report[key] for key in ("host", "device", "threads", "engine", "started")},
            versions={"hpsearch": __version__, "torch": report["torch"]},
            seconds_waiting=max(0.0, round(waited, 3)),
        )

    def note_refusal(self, arm: str, why: str, raised: bool) -> None:
        """That a bundle is trained pack by pack; where that is `auto`'s own choice, nobody needs to be told."""
        note = f"{arm}: trials that were to be trained together are trained one after another: {why}"
        if (raised or self._checked.study.resources.pack != "auto") and note not in self.notes:
            self.notes.append(note)

    def _note_torch(self, report: Report) -> None:
        """Other builds of torch are on other machines only; what they computed is told apart by the row's versions."""
        if report["torch"] not in self._torches:
            self._torches.add(report["torch"])
            self.notes.append(
                f"{report['host']} has torch {report['torch']}, here is {torch.__version__}: results may differ in bits"
            )

    def failed(self, pack: Pack, seed: int, attempt: int, error: str) -> Result:
        """The line for a trial of which nothing came back."""
        configuration = pack.configuration
        return Result(
            trial_id=pack.seeds[seed],
            configuration_id=configuration.configuration_id,
            arm=configuration.arm,
            params=configuration.params,
            fixed=self._checked.study.arms[configuration.arm].fixed,
            seed=seed,
            sampling=configuration.sampling,
            status="failed",
            metrics={name: None for name in self._checked.study.objectives if name not in COSTS},
            cost=dict.fromkeys(COSTS),
            error=error,
            attempt=attempt,
            concurrent=self._capacity.concurrent,
            versions={"hpsearch": __version__},
        )
