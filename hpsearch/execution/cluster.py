"""A running Ray cluster: which one is meant, and why it may not be joined."""

from __future__ import annotations

import os
import re
import socket
import traceback
from pathlib import Path

from hpsearch.errors import InputError, RunError

VARIABLE = "RAY_ADDRESS"  # Ray's own: set in a job that was submitted to a cluster
SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set in such a job only


def find_address(asked: str | None) -> str | None:
    """The cluster to join, as host:port or "auto"; None: Ray is started here, for this run alone.

    asked: --address; else the variable RAY_ADDRESS counts, unless it is the address of a dashboard, which is meant for
    `ray job`. "local" asks for Ray here whatever the variable says. Raises InputError for what is no cluster's address.
    """
    given = os.environ.get(VARIABLE, "") if asked is None else asked
    label = VARIABLE if asked is None else "--address"
    dashboard = given.startswith(("http://", "https://"))
    if given == "local" or (asked is None and (dashboard or not given)):
        return None
    allowed = "allowed: host:port, auto, or local for Ray on this machine alone"
    if dashboard:
        hint = f"is the address of a dashboard: `ray job submit --address {given} -- hpsearch run ...` takes that"
        raise InputError(f"{label}: {given!r} {hint}; {allowed}")
    if given.startswith("ray://"):
        raise InputError(
            f"{label}: {given!r} is Ray Client, with which the run folder would be on no machine of the cluster; run "
            f"on one of its nodes, or with `ray job submit`; {allowed}"
        )
    if given != "auto" and not re.fullmatch(r"[^\s/]+:[0-9]{1,5}", given):
        near = f"; did you mean '{given}:6379'?" if re.fullmatch(r"[\w.-]+", given) else ""
        raise InputError(f"{label}: got {given!r}; {allowed}{near}")
    return given


def refuse_lost_folder(folder: Path) -> None:
    """Raises InputError for a run folder that would be deleted with the job that was submitted to a cluster."""
    if SUBMITTED in os.environ and not folder.is_absolute():
        raise InputError(
            f"--out: the run folder {str(folder)!r} lies in the working directory of a submitted job, which Ray "
            "deletes some time after its end; give an absolute path"
        )


def refuse_nobody(address: str) -> None:
    """Raises RunError where nothing answers at host:port, which Ray would take a minute to say."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise RunError(f"no Ray cluster at {address}: {why}; `ray start --head` starts one") from None


def why_not(error: BaseException) -> str:
    """What Ray meant when it did not join a cluster, and what to do."""
    said = "".join(traceback.format_exception(error))
    if "InvalidAuthToken" in said or "uthentication" in said:
        return (
            "it lets nobody in without its token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or "
            "~/.ray/auth_token as on its nodes"
        )
    if "No node info found" in said or "resolve node to connect to" in said:
        return "this machine is none of its nodes; `ray start --address=...` makes it one (--num-cpus=0: no worker)"
    told = [str(error), *([str(error.__cause__)] if error.__cause__ else [])]
    return " ".join(": ".join(told).split())[:500]
