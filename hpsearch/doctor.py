"""Looks at the machine: what works, and what to do where something does not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from hpsearch import __version__
from hpsearch.errors import HpsearchError


@dataclass(frozen=True)
class Finding:
    """remedy: what to do, empty when all is well. needed: without it no study runs."""

    subject: str
    found: str
    remedy: str = ""
    needed: bool = True


def examine() -> list[Finding]:
    """One finding a subject. A check that breaks is a finding too."""
    checks: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "packages": _packages,
        "torch": _torch,
        "ray": _ray,
        "disk": _disk,
        "shared memory": _shared_memory,
        "browser": _browser,
    }
    findings = []
    for subject, check in checks.items():
        try:
            findings.append(check())
        except Exception as error:  # whatever is wrong with the machine is what we are here to tell
            findings.append(Finding(subject, f"the check failed: {type(error).__name__}: {error}", "see the message"))
    return findings


def _python() -> Finding:
    found = f"{platform.python_version()} ({sys.executable}), hpsearch {__version__}, {os.cpu_count()} CPUs"
    remedy = "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer"
    return Finding("python", found, remedy)


def _packages() -> Finding:
    found, missing = [], []
    for name in ("torch", "ray", "optuna", "pandas", "plotly", "typer", "scikit-learn"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return Finding("packages", ", ".join(found), f"pip install {' '.join(missing)}" if missing else "")


def _torch() -> Finding:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    x = torch.ones(8, requires_grad=True)
    (x * x).sum().backward()  # type: ignore[no-untyped-call]
    works = x.grad is not None and bool((x.grad == 2).all())
    devices = ", ".join(gpus) if gpus else "no GPU: trials run on the CPU"
    return Finding("torch", devices, "" if works else "reinstall torch: a gradient came out wrong")


def _ray() -> Finding:
    from hpsearch.execution.session import ray_session

    started = time.monotonic()
    try:
        with ray_session(1, 0, "auto", None, dashboard=False) as capacity:
            seconds = time.monotonic() - started
            return Finding("ray", f"starts in {seconds:.1f} s; {capacity.concurrent} packs of one CPU at once")
    except HpsearchError as error:
        return Finding("ray", str(error), "look into the newest folder of logs under Ray's session folder in /tmp")


def _disk() -> Finding:
    free = shutil.disk_usage(os.getcwd()).free / 2**30
    remedy = "free some space: a full disk ends a run (what is done is kept)" if free < 1 else ""
    return Finding("disk", f"{free:.1f} GiB free here", remedy)


def _shared_memory() -> Finding:
    if not os.path.isdir("/dev/shm"):
        return Finding("shared memory", "no /dev/shm: Ray uses the disk, which is slower", needed=False)
    free = shutil.disk_usage("/dev/shm").free / 2**30
    remedy = "give the container more, e.g. docker run --shm-size=2g" if free < 0.5 else ""
    return Finding("shared memory", f"{free:.1f} GiB free in /dev/shm", remedy, needed=False)


def _browser() -> Finding:
    found = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
    remedy = "" if found else "any browser opens report.html; none was found on this machine's path"
    return Finding("browser", found or "none found", remedy, needed=False)
