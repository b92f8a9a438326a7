"""What there is: how many packs run at once, and what each gets. On a cluster nodes come and go meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hpsearch.errors import InputError

REFRESH = 5.0  # seconds between looks at a cluster's nodes
PATIENCE = 60.0  # seconds for which the first node of a cluster is waited for

Node = Mapping[str, float]  # the resources of a node that is alive, by Ray's names
Look = Callable[[], Sequence[Node]]


class Offer(NamedTuple):
    """Packs that may run at once, and GPUs that they have together."""

    packs: int
    gpus: float


@dataclass(frozen=True)
class Capacity:
    """cpus, gpus: of a pack; hpsearch.execution.shares may find that less of a GPU will do. offer: what there is now.
    packs_per_gpu: that there are CPUs for. dashboard: its URL. joined: the nodes are a cluster's.
    """

    cpus: int
    gpus: float
    offer: Callable[[], Offer]
    packs_per_gpu: int = 1
    dashboard: str | None = None
    joined: bool = False

    @property
    def concurrent(self) -> int:
        return self.offer().packs


def find_capacity(
    look: Look, cpus: int, gpus: float | str, concurrent: int | str, joined: bool, dashboard: str | None
) -> Capacity:
    """cpus, gpus, concurrent: as the study's `resources` has them. look: at the nodes there are.

    On a cluster `concurrent: auto` follows its nodes; a number is taken as it is, since packs that wait for a place
    make an autoscaler add nodes. Raises InputError when a pack asks for more than any node has.
    """
    nodes = _wait(look, cpus, gpus) if joined and concurrent == "auto" else look()
    all_gpus = _all_gpus(nodes)
    # A GPU each, until it is known how much memory a pack needs.
    share = min(1.0, all_gpus) if gpus == "auto" else float(gpus)
    free = joined and isinstance(concurrent, int)
    if not free and not any(_fit(node, cpus, share) for node in nodes):
        raise InputError(_too_much(nodes, cpus, share, joined))

    def now(nodes: Sequence[Node]) -> Offer:
        if share and gpus == "auto":  # what is shared out is not known yet; the packs are bounded by their shares
            fit = sum(_fit(node, cpus, 0) for node in nodes if node.get("GPU"))
        else:
            fit = sum(_fit(node, cpus, share) for node in nodes)
        packs = fit if isinstance(concurrent, str) else concurrent if joined else min(concurrent, fit)
        return Offer(packs, _all_gpus(nodes) if not free else float("inf"))

    here = now(nodes)
    per_gpu = [int(node.get("CPU", 0) // cpus / node["GPU"]) for node in nodes if node.get("GPU")]
    most = min([*per_gpu, int(here.packs / all_gpus)]) if all_gpus else 1
    offer = _Refreshed(look, now, here) if joined else lambda: here
    return Capacity(cpus, share, offer, max(1, most), dashboard, joined)


class _Refreshed:
    """The offer of a cluster, looked at again every few seconds."""

    def __init__(self, look: Look, now: Callable[[Sequence[Node]], Offer], first: Offer) -> None:
        self._look, self._now, self._offer = look, now, first
        self._at = time.monotonic()

    def __call__(self) -> Offer:
        if time.monotonic() - self._at >= REFRESH:
            self._offer = self._now(self._look())
            self._at = time.monotonic()
        return self._offer


def _wait(look: Look, cpus: int, gpus: float | str) -> Sequence[Node]:
    """Nodes that join a new cluster may take longer than we do."""
    share = 0.0 if gpus == "auto" else float(gpus)
    until = time.monotonic() + PATIENCE
    nodes = look()
    while not any(_fit(node, cpus, share) for node in nodes) and time.monotonic() < until:
        time.sleep(0.5)
        nodes = look()
    return nodes


def _fit(node: Node, cpus: int, gpus: float) -> int:
    """Packs that fit on a node."""
    fit, whole = int(node.get("CPU", 0) // cpus), node.get("GPU", 0.0)
    if not gpus:
        return fit
    return min(fit, int(whole) * int(1 / gpus + 1e-9) if gpus <= 1 else int(whole // gpus))


def _all_gpus(nodes: Sequence[Node]) -> float:
    return float(sum(node.get("GPU", 0.0) for node in nodes))


def _too_much(nodes: Sequence[Node], cpus: int, gpus: float, joined: bool) -> str:
    key, asked, name = "cpus", float(cpus), "CPUs"
    there = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
    if cpus <= there:
        key, asked, name = "gpus", gpus, "GPUs"
        there = max((node.get("GPU", 0.0) for node in nodes if node.get("CPU", 0.0) >= cpus), default=0.0)
    text = f"resources.{key}: a pack asks for {asked:g} {name}; "
    if not joined:
        return text + f"Ray has {there:g}"
    return text + (
        f"no node of the cluster has more than {there:g}. Where nodes are added on demand, say how many packs are to "
        "run at once, resources.concurrent: 8, for example"
    )
