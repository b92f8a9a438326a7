"""Ray, started quietly and on this machine's loopback only, and stopped again."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hpsearch.errors import InputError, RunError

# Read by Ray when it is imported or started, in this process and its children.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # at 0, gcs, raylet and workers listen on loopback only
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing phones home
    LOOPBACK: "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # trials.jsonl is the one record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's own takes 12 s to stop
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),  # a run is never restored from Tune's state
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}


@dataclass(frozen=True)
class Capacity:
    """What the cluster offers, and what a pack gets of it. gpus: of a pack, until hpsearch.execution.shares knows more;
    packs_per_gpu: that there are CPUs for.
    """

    concurrent: int
    cpus: int
    gpus: float
    dashboard: str | None  # its URL
    all_gpus: float = 0.0
    packs_per_gpu: int = 1


@contextmanager
def ray_session(
    cpus: int, gpus: float | str, concurrent: int | str, address: str | None, dashboard: bool, job: str = "hpsearch"
) -> Iterator[Capacity]:
    """Ray for the time of the block: a private one on this machine, or the running cluster at `address`.

    job: what the dashboard calls it. Raises RunError when Ray does not start, InputError when a pack asks for more than
    there is.
    """
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in os.environ})
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a lost worker is told by the run itself
    from ray._private import ray_constants
    from ray.job_config import JobConfig

    if not address and ray_constants.ENABLE_RAY_CLUSTER and os.environ[LOOPBACK] == ENVIRONMENT[LOOPBACK]:
        raise InputError(
            f"ray was imported before hpsearch set {LOOPBACK}=0, so its ports would be open to the network; "
            "set it in the environment before ray is imported (to 1, if open ports are wanted)"
        )
    own: dict[str, Any] = {} if address else {"_node_ip_address": "127.0.0.1", "_temp_dir": _temp_dir()}
    try:
        with _any_agent_port():
            context = ray.init(
                address=address or "local",
                include_dashboard=None if address else dashboard,
                dashboard_host="127.0.0.1",
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                job_config=JobConfig(metadata={"job_name": job}),
                **own,
            )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        why = str(error).strip().splitlines()[0]
        if address:
            hint = "a cluster with token authentication needs RAY_AUTH_MODE=token and its ~/.ray/auth_token"
            raise RunError(f"no Ray cluster at {address}: {why}; {hint}") from error
        raise RunError(f"Ray could not be started on this machine: {why}; `hpsearch doctor` looks further") from error
    try:
        found = ray.cluster_resources()  # type: ignore[no-untyped-call]
        yield _capacity(found, cpus, gpus, concurrent, getattr(context, "dashboard_url", None))
    finally:
        ray.shutdown()


@contextmanager
def _any_agent_port() -> Iterator[None]:
    """Ray's agent listens on one fixed port, and gives up after four seconds where another study's Ray has it: then the
    dashboard has no logs. ray.init() has no parameter for it; `ray start` does, and 0 there is any free one.
    """
    from ray._private import parameter

    own = parameter.RayParams
    parameter.RayParams = partial(own, dashboard_agent_listen_port=0)  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        parameter.RayParams = own  # type: ignore[misc]


def own_processes() -> dict[str, int]:
    """Process ids of what this process has started of Ray and cannot go on without; empty for a running cluster."""
    from ray._private.worker import global_worker

    node = global_worker.node
    started = node.all_processes if node is not None else {}
    return {name: started[name][0].process.pid for name in ("raylet", "gcs_server") if name in started}


def agents(raylet: int) -> list[int]:
    """Process ids of a raylet's children; where the system does not tell them, none."""
    try:
        return [int(pid) for pid in Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()]
    except OSError:
        return []


def _capacity(
    found: dict[str, float], cpus: int, gpus: float | str, concurrent: int | str, dashboard: str | None
) -> Capacity:
    all_cpus, all_gpus = int(found.get("CPU", 0)), float(found.get("GPU", 0))
    if cpus > all_cpus:
        raise InputError(f"resources.cpus: a pack asks for {cpus} CPUs; Ray has {all_cpus}")
    fit = all_cpus // cpus
    wanted = fit if concurrent == "auto" else min(int(concurrent), fit)
    # A GPU each, until it is known how much memory a pack needs.
    share = min(1.0, all_gpus) if gpus == "auto" else float(gpus)
    if share > all_gpus:
        raise InputError(f"resources.gpus: a pack asks for {share:g} GPUs; Ray has {all_gpus:g}")
    per_gpu = max(1, int(wanted / all_gpus)) if all_gpus else 1
    if share and gpus != "auto":  # what auto shares out is not known yet
        wanted = min(wanted, int(all_gpus) * int(1 / share) if share <= 1 else int(all_gpus / share))
    return Capacity(wanted, cpus, share, f"http://{dashboard}" if dashboard else None, all_gpus, per_gpu)


def _temp_dir() -> str:
    """Where Ray keeps its session: a short path, since its sockets' names may have 107 bytes at most."""
    return os.path.join(tempfile.gettempdir(), f"ray-{os.getuid()}")
