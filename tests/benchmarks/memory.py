"""Peak memory of a step over the base optimizer's, in copies of the weights, and over the ideal.

The ideal: SAM one copy of the weights, F-SAM an EMA besides; over shards an accumulator more, for F-SAM two; GSAM keeps
the clean gradient. On a CPU every allocation is counted (torch.profiler), on a GPU torch's own peak.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from hpsearch.optim.methods import METHODS
from tests.benchmarks.models import Problem, small_mlp, transformer
from tests.benchmarks.step import ours
from tests.benchmarks.timing import DEVICE, Step

IDEAL = {"base": 0, "sam": 1, "asam": 1, "msam": 2, "fsam": 2, "fmsam": 4, "gsam": 2}
STEPS = 3


def main() -> None:
    for name, problem in (
        ("mlp, batch 128", small_mlp),
        ("mlp, batch 2048", lambda: small_mlp(2048)),
        ("transformer, batch 8", lambda: transformer(8)),
    ):
        weights = sum(p.numel() * p.element_size() for p in problem().model.parameters())
        peak(problem, {"rho": 0.0})  # what a device allocates once is not the base optimizer's
        alone = peak(problem, {"rho": 0.0})
        print(f"\npeak memory: {name}, weights {weights / 1e6:.2f} MB, the base optimizer's step {alone / 1e6:.2f} MB")
        print(f"{'method':<8}{'MB':>9}{'more, in copies of the weights':>33}{'ideal':>7}{'peak over the ideal':>21}")
        for method, ideal in IDEAL.items():
            found = peak(problem, {"rho": 0.05, **METHODS[method].settings})
            over = found / (alone + ideal * weights)
            print(f"{method:<8}{found / 1e6:>9.2f}{(found - alone) / weights:>33.2f}{ideal:>7}{over:>21.3f}")


def peak(problem: Callable[[], Problem], settings: dict[str, object]) -> int:
    """Bytes at the peak of a few steps, the model's own and the optimizer's state included."""
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        _run(ours(problem(), **settings))  # type: ignore[arg-type]
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        _run(ours(problem(), **settings))  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        events = json.loads(file.read_text())["traceEvents"]
    totals = [
        e["args"]["Total Allocated"]
        for e in sorted(events, key=lambda e: e.get("ts", 0))
        if e.get("name") == "[memory]"
    ]
    return int(max(totals) - totals[0])


def _run(step: Step) -> None:
    for _ in range(STEPS):
        step()


if __name__ == "__main__":
    main()
