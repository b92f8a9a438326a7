"""What m shards cost: step time against SAM's, one shard after another and all in one program, by vmap or as ghosts.

    python -m tests.benchmarks.shards [mlp gpt vit resnet transformer resnet18]

The floor is the gradient evaluations of one shard after another and the base optimizer's step. Ghosts go below it.
"""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from hpsearch.optim import SharpnessAware
from tests.benchmarks.models import Problem, gpt, resnet18, small_mlp, thin_resnet, thin_vit, transformer
from tests.benchmarks.step import base, floor, ours, to_device
from tests.benchmarks.timing import Step, blocks, device_name, ratio


class Case(NamedTuple):
    problem: Callable[[], Problem]
    threads: int
    blocks: int
    steps: int
    programs: Sequence[str] = ()  # beside one shard after another
    most: int = 128  # shards


CASES = {
    "mlp": Case(lambda: small_mlp(128), 1, 15, 3, ("floor", "vmap", "ghost")),
    "gpt": Case(lambda: gpt(128), 1, 5, 1, ("vmap", "ghost")),
    "vit": Case(lambda: thin_vit(128), 1, 5, 1, ("vmap", "ghost")),
    "resnet": Case(lambda: thin_resnet(128), 1, 5, 1, ("vmap", "ghost")),
    "transformer": Case(lambda: transformer(128), 2, 5, 1, ("floor", "vmap"), 32),
    "resnet18": Case(lambda: resnet18(128), 2, 2, 1, (), 32),
}
USUAL = ["mlp", "gpt", "vit", "resnet"]  # the others take minutes


def main(names: list[str] | None = None) -> None:
    warnings.filterwarnings("ignore", "There is a performance drop")  # of vmap over attention; it is what we time
    for name in names or USUAL:
        case = CASES[name]
        torch.set_num_threads(case.threads)
        print(f"\nshards, batch 128: {name}, {device_name()}, medians of {case.blocks} paired blocks")
        print(f"{'':>4}{'ms a step':>13}{'over SAM (95 % of the median ratio)':>46}")
        columns = ["in turn", *case.programs]
        print(f"{'m':>4}{'SAM':>9}" + "".join(f"{column:>10}" for column in columns), end="")
        print("".join(f"{column:>24}" for column in columns))
        m = 1
        while m <= case.most:
            _line(case, m)
            m *= 2


def _line(case: Case, m: int) -> None:
    contenders: dict[str, Step] = {
        "SAM": ours(case.problem(), rho=0.05),
        "in turn": ours(case.problem(), rho=0.05, num_shards=m),
    }
    for program in case.programs:
        if program == "floor":
            contenders[program] = floor(case.problem(), 2, m)
        elif m > 1:
            contenders[program] = together(case.problem(), m, program)
    found = blocks(contenders, case.blocks, case.steps, warm=1)
    columns = ["in turn", *case.programs]
    line = f"{m:>4}{statistics.median(found['SAM']) * 1e3:>9.2f}"
    for name in columns:
        line += f"{statistics.median(found[name]) * 1e3:>10.2f}" if name in found else f"{'':>10}"
    for name in columns:
        text = ""
        if name in found:
            middle, low, high = ratio(found[name], found["SAM"])
            text = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        line += f"{text:>24}"
    print(line, flush=True)


def together(problem: Problem, m: int, program: str) -> Step:
    problem = to_device(problem)
    optimizer = SharpnessAware(base(problem), problem.model, rho=0.05, num_shards=m)
    return lambda: optimizer.step_vectorized(problem.loss, *problem.batch, program=program)


if __name__ == "__main__":
    main(sys.argv[1:])
