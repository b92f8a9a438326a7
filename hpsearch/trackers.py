"""Where a study's trials may be logged besides: the trackers that can be named, and the packages that they take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from hpsearch.errors import Mistake, nearest, show
from hpsearch.models import rule

# Name -> the package that is imported, and what installs it. hpsearch.execution.tracking has the rest.
TRACKERS = {
    "tensorboard": ("tensorboardX", "tensorboardX"),
    "mlflow": ("mlflow", "hpsearch[mlflow]"),
    "wandb": ("wandb", "hpsearch[wandb]"),
}


def read_trackers(value: Any) -> Any:
    """A name or a list of names, as the study file has them."""
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else None
    if names is None:
        raise rule(f"got {show(value)}", f"one or a list of {', '.join(TRACKERS)}")
    for name in names:
        if not isinstance(name, str) or name not in TRACKERS:
            raise rule(f"unknown tracker {show(name)}", ", ".join(TRACKERS), near=nearest(name, TRACKERS))
    if len(set(names)) < len(names):
        raise rule(f"got {show(value)}", "each tracker once")
    return names


def check_trackers(names: Iterable[str]) -> Iterator[Mistake]:
    """Whether their packages are installed; none is imported."""
    for name in names:
        package, install = TRACKERS[name]
        if find_spec(package) is None:
            there = [known for known, (needed, _) in TRACKERS.items() if find_spec(needed) is not None]
            text = f"{name} needs the package {package}, which is not installed: pip install '{install}'"
            yield Mistake(("tracking",), text, ", ".join(there) or "nothing, until it is")
