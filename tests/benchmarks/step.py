"""Step time of the optimizer over the floor: its gradient evaluations and the base optimizer's own step.

Blocks of both alternate, so that the machine's changes of speed hit both; the ratio is of paired blocks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from hpsearch.optim import SharpnessAware
from hpsearch.tasks.models import mlp

BLOCKS = 15
SECONDS = 0.05  # about, of one block
CASES = {
    "sgd (rho 0)": {"rho": 0.0},
    "SAM": {"rho": 0.05},
    "ASAM": {"rho": 1.0, "adaptive": True},
    "F-SAM": {"rho": 0.05, "sigma": 1.0},
    "mSAM, 4 shards": {"rho": 0.05, "num_shards": 4},
    "mSAM, 16 shards": {"rho": 0.05, "num_shards": 16},
    "F-SAM, 4 shards": {"rho": 0.05, "sigma": 1.0, "num_shards": 4},
}


def main() -> None:
    torch.set_num_threads(1)
    print(f"step time over the floor, MLP 64-128-128-10, batch 128, one thread, torch {torch.__version__}")
    print(f"{'method':<18}{'ms a step':>11}{'floor':>9}{'ratio':>8}   quartiles of {BLOCKS} paired blocks")
    for name, settings in CASES.items():
        ours, floor = _ours(settings), _floor(settings)
        steps = max(1, round(SECONDS / _seconds(ours, 5)))
        pairs = [(_seconds(ours, steps), _seconds(floor, steps)) for _ in range(BLOCKS)]
        ratios = [a / b for a, b in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4)
        a, b = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
        print(f"{name:<18}{a:>11.3f}{b:>9.3f}{middle:>8.2f}   {low:.2f} to {high:.2f}")


def _problem() -> tuple[nn.Module, torch.optim.Optimizer, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = mlp(64, (128, 128), 10)
    base = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, foreach=True)
    return model, base, torch.randn(128, 64), torch.randint(0, 10, (128,))


def _ours(settings: dict[str, float]) -> Callable[[], None]:
    model, base, inputs, targets = _problem()
    optimizer = SharpnessAware(base, model, **settings)  # type: ignore[arg-type]

    def closure(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    return lambda: optimizer.step(closure, inputs, targets) and None


def _floor(settings: dict[str, float]) -> Callable[[], None]:
    model, base, inputs, targets = _problem()
    shards = int(settings.get("num_shards", 1))
    parameters = list(model.parameters())
    parts = list(zip(inputs.chunk(shards), targets.chunk(shards), strict=True)) * (2 if settings["rho"] else 1)

    def step() -> None:
        for part_inputs, part_targets in parts:
            for parameter in parameters:
                parameter.grad = None
            nn.functional.cross_entropy(model(part_inputs), part_targets).backward()
        base.step()

    return step


def _seconds(step: Callable[[], None], steps: int) -> float:
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - started) / steps
