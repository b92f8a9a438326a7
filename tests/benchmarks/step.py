"""Step time of the optimizer over its floor: the gradient evaluations it needs and the base optimizer's own step.

Beside it a plain loop over parameters. `python -m tests.benchmarks.step [mlp transformer resnet18-32 resnet18-128]`
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch

from hpsearch.optim import SharpnessAware
from tests.benchmarks.models import Problem, resnet18, small_mlp, transformer
from tests.benchmarks.plain import PlainLoop
from tests.benchmarks.timing import DEVICE, Step, blocks, device_name, ratio


class Case(NamedTuple):
    problem: Callable[[], Problem]
    threads: int
    blocks: int
    steps: int  # in a block
    beside: bool = True  # time SGD and plain loops too


CASES = {
    "mlp": Case(lambda: small_mlp(128), 1, 40, 40),
    "transformer": Case(lambda: transformer(32), 2, 30, 2),
    "resnet18-32": Case(lambda: resnet18(32), 2, 30, 1),
    "resnet18-128": Case(lambda: resnet18(128), 2, 30, 1, beside=False),  # minutes as it is
}
METHODS: dict[str, dict[str, float]] = {
    "SGD (rho 0)": {"rho": 0.0},
    "SAM": {"rho": 0.05},
    "F-SAM": {"rho": 0.05, "sigma": 1.0},
}


def main(names: list[str] | None = None) -> None:
    for name in names or list(CASES):
        case = CASES[name]
        torch.set_num_threads(case.threads)
        methods = {m: settings for m, settings in METHODS.items() if case.beside or settings["rho"]}
        contenders = {method: ours(case.problem(), **settings) for method, settings in methods.items()}
        contenders["floor 2"] = floor(case.problem(), 2)
        if case.beside:
            contenders["floor 1"] = floor(case.problem(), 1)
            contenders |= {f"plain {m}": plain(case.problem(), **METHODS[m]) for m in ("SAM", "F-SAM")}
        found = blocks(contenders, case.blocks, case.steps)
        print(f"\nstep time over the floor: {name}, {device_name()}, torch {torch.__version__}")
        print(
            f"{'method':<12}{'ms a step':>11}{'floor':>10}{'over it':>9}   95 %             plain loop, over the floor"
        )
        for method in methods:
            under = found["floor 1" if method.startswith("SGD") else "floor 2"]
            middle, low, high = ratio(found[method], under)
            line = f"{method:<12}{statistics.median(found[method]) * 1e3:>11.3f}{statistics.median(under) * 1e3:>10.3f}"
            line += f"{middle:>9.3f}   {low:.3f} to {high:.3f}"
            if f"plain {method}" in found:
                other, low, high = ratio(found[f"plain {method}"], under)
                line += f"   {other:.3f}, {low:.3f} to {high:.3f}"
            print(line)
        print(
            f"medians of {case.blocks} paired blocks of {case.steps}; the interval is of the median ratio", flush=True
        )


def base(problem: Problem) -> torch.optim.Optimizer:
    return torch.optim.SGD(problem.model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, foreach=True)


def to_device(problem: Problem) -> Problem:
    inputs, targets = problem.batch
    return problem._replace(model=problem.model.to(DEVICE), batch=(inputs.to(DEVICE), targets.to(DEVICE)))


def ours(problem: Problem, **settings: float) -> Step:
    problem = to_device(problem)
    optimizer = SharpnessAware(base(problem), problem.model, **settings)  # type: ignore[arg-type]

    def closure(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = problem.loss(problem.model, inputs, targets)
        loss.backward()
        return loss

    return lambda: optimizer.step(closure, *problem.batch)


def floor(problem: Problem, evaluations: int, num_shards: int = 1) -> Step:
    """`evaluations` gradient evaluations of each shard, and the base optimizer's step."""
    problem = to_device(problem)
    optimizer, parameters = base(problem), list(problem.model.parameters())
    parts = list(zip(*(part.chunk(num_shards) for part in problem.batch), strict=True)) * evaluations

    def step() -> None:
        for part in parts:
            for parameter in parameters:
                parameter.grad = None
            problem.loss(problem.model, *part).backward()
        optimizer.step()

    return step


def plain(problem: Problem, rho: float, sigma: float = 0.0) -> Step:
    problem = to_device(problem)
    optimizer = PlainLoop(base(problem), rho, sigma)

    def closure() -> torch.Tensor:
        loss = problem.loss(problem.model, *problem.batch)
        loss.backward()
        return loss

    return lambda: optimizer.step(closure)


if __name__ == "__main__":
    main(sys.argv[1:])
