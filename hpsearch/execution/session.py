"""Ray, started quietly and on this machine's loopback only, and stopped again; or a running cluster, joined."""

from __future__ import annotations

import logging
import os
import random
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from inspect import signature
from pathlib import Path
from typing import Any

from hpsearch.errors import InputError, RunError
from hpsearch.execution.capacity import Capacity, find_capacity
from hpsearch.execution.cluster import refuse_nobody, why_not
from hpsearch.execution.temporary import make_temp_dir

# Read by Ray when it is imported or started, in this process and its children.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # at 0, gcs, raylet and workers listen on loopback only
# Seconds (ms) for which Ray waits for processes that it starts: its own 30 or 60 are too few on a busy machine. A
# cluster that does not let us in would be asked for as long.
PATIENCE = {
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
    "RAY_agent_register_timeout_ms": "300000",
    # Else ray.init() waits for workers that are started beforehand, for ever where one of them dies meanwhile.
    "RAY_prestart_worker_first_driver": "0",
}
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing phones home
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    LOOPBACK: "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # trials.jsonl is the one record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's own takes 12 s to stop
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),  # a run is never restored from Tune's state
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
    **PATIENCE,
}
PORTS = (20_000, 32_000)  # from which ports are taken that a private Ray is told
PRIVATE = (LOOPBACK, *PATIENCE)  # not for a cluster that is joined
JOINING = {
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",  # in a submitted job too, workers get what the study needs
    "RAY_NUM_REDIS_GET_RETRIES": "3",  # seconds for which a cluster is asked that does not let us in
}
HANDED_ON = ("HPSEARCH_CACHE",)  # variables that workers of a cluster get from the driver


@contextmanager
def ray_session(
    cpus: int,
    gpus: float | str,
    concurrent: int | str,
    address: str | None,
    dashboard: bool,
    job: str = "hpsearch",
    shipped: AbstractContextManager[Path | None] = nullcontext(),  # noqa: B008  # has no state
) -> Iterator[Capacity]:
    """Ray for the time of the block: a private one on this machine, or the running cluster at `address`.

    job: what the dashboard calls it. shipped: makes the directory that a cluster's workers get
    (hpsearch.execution.shipping). Raises RunError when Ray does not start or the cluster does not let us in, InputError
    when a pack asks for more than there is.
    """
    names = ENVIRONMENT if not address else {name: ENVIRONMENT[name] for name in ENVIRONMENT if name not in PRIVATE}
    os.environ.update({key: value for key, value in names.items() if key not in os.environ})
    if address:
        os.environ.update({key: value for key, value in JOINING.items() if key not in os.environ})
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a lost worker is told by the run itself
    try:
        context = _join(address, job, shipped) if address else _start(dashboard, job)
        url = getattr(context, "dashboard_url", None)
        yield find_capacity(_nodes, cpus, gpus, concurrent, bool(address), f"http://{url}" if url else None)
    finally:
        ray.shutdown()


def _start(dashboard: bool, job: str) -> Any:
    import ray
    from ray._private import ray_constants
    from ray.job_config import JobConfig

    if ray_constants.ENABLE_RAY_CLUSTER and os.environ[LOOPBACK] == ENVIRONMENT[LOOPBACK]:
        raise InputError(
            f"ray was imported before hpsearch set {LOOPBACK}=0, so its ports would be open to the network; "
            "set it in the environment before ray is imported (to 1, if open ports are wanted)"
        )
    folder = make_temp_dir()
    try:
        with _agents_ports():
            return ray.init(
                address="local",
                include_dashboard=dashboard,
                dashboard_host="127.0.0.1",
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                job_config=JobConfig(metadata={"job_name": job}),
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
            )
    except Exception as error:  # Ray raises many kinds, a bare Exception where a part of it does not come up
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(f"Ray could not be started on this machine: {why}; `hpsearch doctor` looks further") from error


def _join(address: str, job: str, shipped: AbstractContextManager[Path | None]) -> Any:
    import ray
    from ray._private import ray_constants
    from ray.job_config import JobConfig

    if not ray_constants.ENABLE_RAY_CLUSTER:
        raise InputError(
            f"--address: with {LOOPBACK}=0, or after a run without --address in the same process, Ray listens on "
            "this machine's loopback only, where a cluster's nodes cannot answer; start a fresh process without it"
        )
    refuse_nobody(address)
    variables = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    try:
        with shipped as folder:  # Ray sends it now
            return ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                job_config=JobConfig(metadata={"job_name": job}),
                runtime_env={"env_vars": variables, **({"working_dir": str(folder)} if folder else {})},
            )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise RunError(f"no Ray cluster at {address}: {why_not(error)}") from error


def _nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


@contextmanager
def _agents_ports() -> Iterator[None]:
    """Ray's agents listen on free ports which its raylet is told.

    Else it waits for files in which its agents, processes of Python, write the ones they have found, and dies where
    that takes longer than 15 seconds, as it does on a busy machine. And one of them would be a fixed port, which
    another study's Ray may have: then the dashboard has no logs. ray.init() has no parameters for these ports, and the
    raylet takes the agent's HTTP port from its file only.
    """
    from ray._private import services
    from ray._raylet import DASHBOARD_AGENT_LISTEN_PORT_NAME, persist_port  # type: ignore[attr-defined]  # compiled

    own = services.start_raylet
    names = ("dashboard_agent_listen_port", "metrics_agent_port", "metrics_export_port", "runtime_env_agent_port")
    ports = dict(zip(names, _free_ports(len(names)), strict=True))

    def start_raylet(*arguments: Any, **named: Any) -> Any:
        given = signature(own).bind(*arguments, **named).arguments
        http = ports["dashboard_agent_listen_port"]
        persist_port(given["session_dir"], given["node_id"], DASHBOARD_AGENT_LISTEN_PORT_NAME, http)
        return own(*arguments, **{**named, **ports})

    services.start_raylet = start_raylet
    try:
        yield
    finally:
        services.start_raylet = own


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback that nothing listens on, below those that systems give out on their own: nobody is given
    one before Ray's agents, which start for seconds, listen on it.
    """
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            one = stack.enter_context(socket.socket())
            with suppress(OSError):  # it is taken
                one.bind(("127.0.0.1", random.SystemRandom().randrange(*PORTS)))
                found.append(one.getsockname()[1])
        return found


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
