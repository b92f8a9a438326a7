"""What `ranks` costs: SAM and F-SAM in two DistributedDataParallel processes on one machine, relative to SAM "global".

Blocks of all alternate, so that the machine's changes of speed hit all; the ratios are of paired blocks.
`python -m tests.benchmarks.ranks`
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from hpsearch.optim import SharpnessAware
from hpsearch.tasks.models import mlp

RANKS, ROWS = 2, 64  # of each rank
BLOCKS, STEPS, WARM = 40, 6, 5
SAM, FSAM = {"rho": 0.05}, {"rho": 0.05, "sigma": 1.0}
CASES: dict[str, dict[str, Any]] = {
    "SAM global": {**SAM, "ranks": "global"},
    "SAM each": {**SAM, "ranks": "each"},
    "F-SAM global": {**FSAM, "ranks": "global"},
    "F-SAM each": {**FSAM, "ranks": "each"},
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_work, (folder,), nprocs=RANKS)


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", world_size=RANKS, rank=rank)
    gradients = {name: _all_reduced(rank, settings) for name, settings in CASES.items()}
    contenders = {name: _contender(rank, settings)[0] for name, settings in CASES.items()}
    for step in contenders.values():
        _seconds(step, WARM)
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(BLOCKS):
        for name, step in contenders.items():
            times[name].append(_seconds(step, STEPS))
    if rank == 0:
        _print(times, gradients)
    dist.barrier()
    dist.destroy_process_group()


def _print(times: dict[str, list[float]], gradients: dict[str, float]) -> None:
    parameters = sum(p.numel() for p in _model().parameters())
    print(
        f"{RANKS} ranks, gloo, one thread each, {ROWS} samples a rank, MLP of {parameters / 1e6:.2f} M parameters, "
        f"torch {torch.__version__}; medians and quartiles of {BLOCKS} paired blocks of {STEPS} steps"
    )
    print(f"{'method':<14}{'ms a step':>10}  {'quartiles':<16}{'to SAM global':>13}  {'quartiles':<14}", end="")
    print("gradients all-reduced a step")
    floor, *_ = times.values()
    for name, values in times.items():
        low, middle, high = statistics.quantiles([value * 1e3 for value in values], n=4)
        ratios = statistics.quantiles([a / b for a, b in zip(values, floor, strict=True)], n=4)
        print(f"{name:<14}{middle:>10.2f}  {f'{low:.2f} to {high:.2f}':<16}{ratios[1]:>13.2f}  ", end="")
        print(f"{f'{ratios[0]:.2f} to {ratios[2]:.2f}':<14}{gradients[name]:g}")


def _model() -> nn.Module:
    torch.manual_seed(0)
    return mlp(256, (896, 896), 10)


def _contender(rank: int, settings: dict[str, Any]) -> tuple[Callable[[], object], DistributedDataParallel]:
    model = DistributedDataParallel(_model())
    base = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    optimizer = SharpnessAware(base, model, **settings)
    draws = torch.Generator().manual_seed(rank)
    inputs, targets = torch.randn(ROWS, 256, generator=draws), torch.randint(0, 10, (ROWS,), generator=draws)

    def closure(inputs: Tensor, targets: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    return lambda: optimizer.step(closure, inputs, targets), model


def _all_reduced(rank: int, settings: dict[str, Any]) -> float:
    """Elements that a step all-reduces, DDP and the optimizer together, in units of one whole gradient."""
    elements: list[int] = []
    step, model = _contender(rank, settings)
    model.register_comm_hook(dist.group.WORLD, lambda group, bucket: allreduce_hook(group, bucket))
    plain = dist.all_reduce

    def counting(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:  # the hook calls it as well
        elements.append(tensor.numel())
        return plain(tensor, *args, **kwargs)

    dist.all_reduce = counting
    try:
        for _ in range(WARM):
            step()
    finally:
        dist.all_reduce = plain
    return sum(elements) / WARM / sum(p.numel() for p in model.parameters())


def _seconds(step: Callable[[], object], steps: int) -> float:
    dist.barrier()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - started) / steps


if __name__ == "__main__":
    main()
