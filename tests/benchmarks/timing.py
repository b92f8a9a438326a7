"""Paired timing: contenders take turns step by step, so that the machine's changes of speed hit all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from scipy.stats import binom

Step = Callable[[], object]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    if DEVICE.type == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"


def seconds(step: Step) -> float:
    """One step; on a GPU between two events."""
    if DEVICE.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        step()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def blocks(contenders: Mapping[str, Step], count: int, steps: int, warm: int = 3) -> dict[str, list[float]]:
    """For each contender the median step of each block, in seconds."""
    for step in contenders.values():
        for _ in range(warm):
            step()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(count):
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(steps):
            for name, step in contenders.items():
                times[name].append(seconds(step))
        for name, values in times.items():
            found[name].append(statistics.median(values))
    return found


def ratio(numerators: list[float], denominators: list[float]) -> tuple[float, float, float]:
    """The median of the paired ratios and its 95 % interval, from order statistics: no distribution is assumed."""
    ratios = sorted(a / b for a, b in zip(numerators, denominators, strict=True))
    n = len(ratios)
    rank = int(binom.ppf(0.025, n, 0.5))
    return statistics.median(ratios), ratios[max(0, rank - 1)], ratios[min(n - 1, n - rank)]
