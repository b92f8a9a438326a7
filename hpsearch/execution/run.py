"""Runs a study: what is missing in its folder is trained, the rest is left as it is."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hpsearch import __version__
from hpsearch.changes import describe_changes, last_study
from hpsearch.check import Checked, check_study
from hpsearch.checkpoints import checkpoint_of, remove_checkpoints
from hpsearch.errors import InputError
from hpsearch.execution.cluster import find_address, refuse_lost_folder
from hpsearch.execution.hopeless import Hopeless
from hpsearch.execution.interrupts import Interrupts
from hpsearch.execution.progress import Progress, RunningFile, terminal_outlet
from hpsearch.execution.session import agents, own_processes, ray_session
from hpsearch.execution.shipping import shipment
from hpsearch.execution.temporary import held_session
from hpsearch.interchange.mirror import Mirror
from hpsearch.planning import Planner, bundle_size, has_bundles, total_trials
from hpsearch.results import DONE, Result, RunFolder, belonging, read_results
from hpsearch.status import failures
from hpsearch.study import Bundles, Recorded, Study, build_study, later_version, load_study
from hpsearch.tasks.sources import source_hash
from hpsearch.yamlfile import Document, parse_yaml


@dataclass(frozen=True)
class RunSummary:
    """What a run came to. left: trials that are planned and not done (a budget ran out, or they failed)."""

    folder: Path
    trained: int
    already_done: int
    set_aside: int
    failed: int
    left: int
    seconds: float
    notes: tuple[str, ...]
    errors: tuple[tuple[str, str], ...]  # (arm, where and what) of trials that failed, each different one once


def run(
    study: str | Path | Study,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    budget: float | None = None,
    address: str | None = None,
    dashboard: bool = False,
    quiet: bool = False,
) -> RunSummary:
    """Trains what the study plans and its folder does not hold yet.

    study: a path, the name of a shipped study, or a Study. out: the run folder; default runs/<study name>.
    overrides: as --set takes them. budget: seconds after which no more packs are started. address: a Ray cluster; where
    it is None RAY_ADDRESS says which, if any. Raises InputError before anything runs, RunError, or Interrupted; results
    that had ended are kept in every case.
    """
    with Interrupts(leave=False) as interrupts:
        loaded, document = load_study(study, overrides) if not isinstance(study, Study) else _as_document(study)
        checked = check_study(loaded, document, Path.cwd())
        folder = Path(out) if out is not None else Path("runs") / loaded.name
        return run_checked(
            checked, folder, interrupts, budget=budget, address=address, dashboard=dashboard, quiet=quiet
        )


def run_checked(
    checked: Checked,
    folder: Path,
    interrupts: Interrupts,
    *,
    budget: float | None,
    address: str | None,
    dashboard: bool,
    quiet: bool,
) -> RunSummary:
    """As run(), for a study that has been read and checked; in a block of `interrupts`."""
    started = time.monotonic()
    cluster = find_address(address)
    refuse_lost_folder(folder)
    before = last_study(folder, checked.study)
    _refuse_own_folder(folder, checked.study)
    with RunFolder(folder) as run_folder:
        results, warnings = read_results(folder)
        known = belonging(results, checked.study, checked.identity)
        warnings += [] if before is None else _what_changed(before, checked, folder)
        warnings += checked.warm.notes
        set_aside = len(results) - len(known)
        if set_aside:
            warnings.append(
                f"{set_aside} trials in {folder} are not part of the study as it stands now: kept, set aside"
            )
        bundle = bundle_size(checked, before, joined=cluster is not None)
        recorded = _recorded(checked, bundle, before)
        run_folder.write_study(checked.study.model_copy(update={"recorded": recorded}))
        for warning in warnings:
            _warn(warning, quiet)
        # A driver may have died between a result and this. A failed trial may have been in training again since.
        remove_checkpoints(folder, [result for result in known if result.done], begins=True)
        planner = Planner(checked, known, bundles=bundle)
        progress = Progress(checked.study, planner, known, folder)
        progress.outlets += [*terminal_outlet(quiet), RunningFile(folder)]
        mirror = Mirror(folder, checked.study, known, lambda warning: _warn(warning, quiet))
        hopeless = Hopeless(checked.study.arms, known)
        written: list[Result] = []

        def record(new: list[Result]) -> None:
            with interrupts.held():
                run_folder.append(new)
                remove_checkpoints(folder, new)
                written.extend(new)
            mirror.add(new)
            progress.add(new)
            hopeless.add(new)

        interrupts.message = lambda: (
            f"interrupted: {len(written)} trials ended in this run and are kept in {folder}; "
            "the same command goes on from there"
        )
        deadline = None if budget is None else started + budget
        with mirror:
            notes = _train(
                checked, planner, known, progress, record, folder, deadline, cluster, dashboard, quiet, interrupts
            )
        counts = planner.counts().values()
        return RunSummary(
            folder=folder,
            trained=sum(result.status in DONE for result in written),
            already_done=sum(result.done for result in known),
            set_aside=set_aside,
            failed=sum(result.status == "failed" for result in written),
            left=sum(count.planned - count.ended for count in counts),
            seconds=time.monotonic() - started,
            notes=(*planner.notes, *notes),
            errors=failures(written),
        )


def _warn(warning: str, quiet: bool) -> None:
    if not quiet:
        print(f"hpsearch: {warning}", file=sys.stderr)


def _train(
    checked: Checked,
    planner: Planner,
    known: list[Result],
    progress: Progress,
    record: Any,
    folder: Path,
    deadline: float | None,
    address: str | None,
    dashboard: bool,
    quiet: bool,
    interrupts: Interrupts,
) -> list[str]:
    first = planner.next()
    if first is None and planner.finished:
        return []  # nothing is missing: Ray need not start
    planner.put_back(first)
    resources = checked.study.resources
    name, shipped = checked.study.name, shipment(checked, Path.cwd())  # made where there is a cluster
    with (
        ray_session(
            resources.cpus, resources.gpus, resources.concurrent, address, dashboard, name, shipped
        ) as capacity,
        _keeping(folder, address),
        held_session(),
    ):
        interrupts.handle()  # Ray has set handlers of its own
        from hpsearch.execution.metrics import Metrics, Targets
        from hpsearch.execution.tracking import Tracking
        from hpsearch.execution.tune import fit

        if capacity.gpus and not address and not torch.cuda.is_available():
            raise InputError(
                "Ray found a GPU that torch cannot use: install torch for CUDA, or set resources.gpus to 0"
            )
        if address and not quiet:
            print(f"hpsearch: on the Ray cluster at {address}, {capacity.concurrent} packs at once", file=sys.stderr)
        if capacity.dashboard and not quiet:
            # Ray asks for one unless told otherwise: others of this machine reach its ports, too.
            token = "; it asks for the token that `ray get-auth-token` prints" if _asks_for_token() else ""
            print(f"hpsearch: Ray dashboard at {capacity.dashboard}{token}", file=sys.stderr)
        progress.dashboard = capacity.dashboard
        progress.outlets += [Metrics(progress.tally), Targets(folder)]
        needed = own_processes()
        others = agents(needed["raylet"]) if needed else []
        tracking = Tracking(folder, checked.study, lambda warning: _warn(warning, quiet))
        progress.listeners.append(tracking.add)
        with interrupts.while_alive(needed, others), tracking, progress:
            return fit(checked, planner, known, capacity, folder, record, progress, deadline)


def _keeping(folder: Path, address: str | None) -> AbstractContextManager[None]:
    """Where a cluster's workers keep long trials; on this machine they write the run folder themselves."""
    if not address:
        return nullcontext()
    from hpsearch.execution.keeper import keeping

    return keeping(checkpoint_of(folder.resolve(), "").parent)


def _asks_for_token() -> bool:
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"  # Ray sets it when it starts


def _as_document(study: Study) -> tuple[Study, Document]:
    return build_study(parse_yaml(study.to_yaml(), f"study {study.name}"), (), [])


def _refuse_own_folder(folder: Path, study: Study) -> None:
    own = [name for name in study.warm_start if Path(name).resolve() == folder.resolve()]
    if own:
        raise InputError(f"warm_start: {own[0]} is this run's own folder: what is in it is known without; leave it out")


def _what_changed(before: Study, checked: Checked, folder: Path) -> list[str]:
    told = []
    later = later_version(before)
    if later is not None:
        told.append(f"{folder} was last run with hpsearch {later}, and this is {__version__}: what it knew is kept")
    lines = describe_changes(before, checked.study)
    if lines:
        told.append("\n  ".join([f"the study has changed since the last run in {folder}:", *lines]))
    # A user's own code enters ids by its name only: say when it is no longer what made the results.
    recorded = before.recorded
    if recorded is not None and recorded.task_source not in (None, source_hash(checked.task)):
        told.append(
            f"the source of task {checked.study.task.name!r} has changed since the last run here (its file, or what it "
            "imports from beside it); done trials are kept as they are. Raise its `semantics` number if results would "
            "differ"
        )
    return told


def _recorded(checked: Checked, bundle: int, before: Study | None) -> Recorded:
    from importlib.metadata import version

    packages = ("optuna", "pandas", "plotly", "ray")
    versions = {"hpsearch": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}
    own = ":" in checked.study.task.name
    bundles = None if before is None or before.recorded is None else before.recorded.bundles
    if has_bundles(checked) and checked.study.resources.pack == "auto":
        bundles = Bundles(size=bundle, trials=total_trials(checked.study))
    return Recorded(
        versions={**versions, **{name: version(name) for name in packages}},
        commit=_commit(),
        task={**checked.identity.task, "function": checked.identity.function},
        task_source=source_hash(checked.task) if own else None,
        bundles=bundles,
    )


def _commit() -> str | None:
    """The git commit of the working directory, '+' when files differ from it; None outside a repository."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--match="],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() or None
