"""The cost meter: samples through backward (exact), FLOPs, seconds, peak memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hpsearch.streams import GlobalGenerators
from hpsearch.tasks.protocol import Batch, Task, as_it_is
from hpsearch.training.outcome import Cost

_FLOPS: dict[tuple[int, tuple[torch.Size, ...]], tuple[Task, float]] = {}


class CostMeter:
    """Counts one trial. Seconds run only between resume() and pause(), so trials may take turns."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self.backward_samples = 0
        self.flops = 0.0
        self.seconds = 0.0
        self._task = task
        self._device = device
        self._since = 0.0
        self._peak: int | None = None
        self._was_reset = False

    def count(self, batch: Batch, passes: int = 1) -> None:
        """Forward and backward passes over the batch."""
        self.backward_samples += passes * len(batch[0])
        self.flops += flops_per_sample(self._task, batch) * passes * len(batch[0])

    def add(self, seconds: float, peak: int | None) -> None:
        """What was measured elsewhere: the trial's share of a time, and bytes that its process held at most."""
        self.seconds += seconds
        if peak is not None:
            self._peak = max(self._peak or 0, peak)

    def resume(self) -> None:
        self._was_reset = reset_peak_memory(self._device)
        self._since = time.perf_counter()

    def pause(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds += time.perf_counter() - self._since
        peak = peak_memory(self._device, self._was_reset)
        if peak is not None:
            self._peak = max(self._peak or 0, peak)

    def read(self) -> Cost:
        return Cost(self.backward_samples, self.flops, self.seconds, self._peak)

    def state(self) -> dict[str, float | int | None]:
        names = ("backward_samples", "flops", "seconds")
        return {**{name: getattr(self, name) for name in names}, "peak": self._peak}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.backward_samples, self.flops = int(state["backward_samples"]), float(state["flops"])
        self.seconds, self._peak = float(state["seconds"]), state["peak"]


def flops_per_sample(task: Task, batch: Batch) -> float:
    """FLOPs of one sample's forward and backward pass, counted by torch on the task's model, once per sample shape.

    Only matrix products, convolutions and attention count (torch.utils.flop_counter); all are linear in the batch.
    Counted on shapes alone where the model allows it.
    """
    key = (id(task), tuple(tensor.shape[1:] for tensor in batch))  # by identity: a task need not be hashable
    if key not in _FLOPS:
        two = tuple(tensor[:2] for tensor in batch)
        with GlobalGenerators(0).swapped():  # on a network of its own: the trial's bits do not depend on the count
            try:
                flops = _count(task, tuple(tensor.to("meta") for tensor in two), "meta")
            except Exception:  # what looks at values, or draws on a device of its own
                flops = _count(task, two, batch[0].device)
        _FLOPS[key] = (task, flops / len(two[0]))  # the task is kept, and with it its identity
    return _FLOPS[key][1]


def _count(task: Task, batch: Batch, device: torch.device | str) -> float:
    task = as_it_is(task)  # what it keeps of this is nothing of the trial's
    model = task.model().to(device).train()
    # The fused attention kernels of a CPU count as nothing; written out, attention counts the same everywhere.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task.measure(model, *batch)["loss"].backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops())


def reset_peak_memory(device: torch.device) -> bool:
    """Whether it could be reset; where not (not Linux, or not allowed), the peak since then cannot be told."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory(device: torch.device, was_reset: bool) -> int | None:
    """Bytes: allocated on the GPU, or resident in this process since the reset; None where neither can be told."""
    if not was_reset:
        return None
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    peak = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak[0].split()[1]) * 1024 if peak else None
