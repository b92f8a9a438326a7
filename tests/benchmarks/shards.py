"""What m shards cost: step time against SAM's, one shard after another and all in one program (vmap)."""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch

from hpsearch.optim import SharpnessAware
from tests.benchmarks.models import Problem, resnet18, small_mlp, transformer
from tests.benchmarks.step import base, floor, ours, to_device
from tests.benchmarks.timing import Step, blocks, device_name, ratio


class Case(NamedTuple):
    problem: Callable[[], Problem]
    threads: int
    blocks: int
    steps: int
    quick: bool  # enough so for the floor and vmap


CASES = {
    "mlp": Case(lambda: small_mlp(128), 1, 30, 10, True),
    "transformer": Case(lambda: transformer(128), 2, 5, 1, True),
    "resnet18": Case(lambda: resnet18(128), 2, 2, 1, False),
}


def main(names: list[str] | None = None) -> None:
    warnings.filterwarnings("ignore", "There is a performance drop")  # of vmap over attention; it is what we time
    for name in names or list(CASES):
        case = CASES[name]
        torch.set_num_threads(case.threads)
        print(f"\nshards, batch 128: {name}, {device_name()}, medians of {case.blocks} paired blocks")
        print(f"{'m':>4}{'ms a step':>11}{'over SAM':>10}{'over the floor':>16}{'vmap, ms':>11}{'over SAM':>10}   pays")
        for m in (1, 2, 4, 8, 16, 32):
            contenders = {"SAM": ours(case.problem(), rho=0.05), "m": ours(case.problem(), rho=0.05, num_shards=m)}
            pays = False
            if case.quick:
                contenders["floor"] = floor(case.problem(), 2, m)
            if case.quick and m > 1:
                contenders["vmap"], pays = vectorized(case.problem(), m)
            found = blocks(contenders, case.blocks, case.steps, warm=1)
            line = f"{m:>4}{statistics.median(found['m']) * 1e3:>11.2f}{_over(found, 'm', 'SAM'):>10.2f}"
            line += f"{_over(found, 'm', 'floor'):>16.2f}" if case.quick else ""
            if "vmap" in found:
                line += f"{statistics.median(found['vmap']) * 1e3:>11.2f}{_over(found, 'vmap', 'SAM'):>10.2f}"
                line += f"   {'yes' if pays else 'no'}"
            print(line, flush=True)


def _over(found: dict[str, list[float]], name: str, under: str) -> float:
    return ratio(found[name], found[under])[0]


def vectorized(problem: Problem, m: int) -> tuple[Step, bool]:
    problem = to_device(problem)
    optimizer = SharpnessAware(base(problem), problem.model, rho=0.05, num_shards=m)
    pays = optimizer.vectorized_pays(problem.loss, *problem.batch)
    return lambda: optimizer.step_vectorized(problem.loss, *problem.batch), pays


if __name__ == "__main__":
    main(sys.argv[1:])
