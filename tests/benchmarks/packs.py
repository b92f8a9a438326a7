"""Trials a second of a pack over those of the same trials one after another, start and evaluations counted.

    python -m tests.benchmarks.packs [TRIALS]

Both on one thread, in turn, so that the machine's changes of speed hit both alike. Aims: 2.2 for SAM
and F-SAM, 8 for 16 shards.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time

import torch

from hpsearch.hyperparameters import Settings
from hpsearch.tasks import Task
from hpsearch.tasks.breast_cancer import BreastCancer
from hpsearch.tasks.digits import Digits
from hpsearch.training.bundle import keep_memory, time_trials
from hpsearch.training.engine import Engine
from hpsearch.training.loop import train
from hpsearch.training.packed import train_pack
from tests.benchmarks.timing import blocks, device_name, ratio

EPOCHS, COUNT = 4, 8
METHODS = {
    "sgd": {},
    "sam": {"rho": 0.1},
    "fsam": {"rho": 0.1, "sigma": 1.0},
    **{f"{shards} shards": {"rho": 0.1, "num_shards": shards} for shards in (2, 4, 16)},
}


def main(trials: int = 15) -> None:
    torch.set_num_threads(1)  # as a worker has
    print(f"\na pack of {trials} trials, batch 128, {EPOCHS} epochs, {device_name()}; compiled: seconds of compiling")
    print(f"{'':<20}{'':>14}{'ms a trial':>21}{'':>11}{'times as many trials a second, 95 %':>42}")
    columns = "".join(f"{name:>{width}}" for name, width in (("alone", 13), ("pack", 11), ("compiled", 11)))
    print(f"{'':<20}{columns}{'s':>11}{'pack':>22}{'compiled':>20}")
    for name, more in METHODS.items():
        _compare(f"mlp, {name}", Digits("mlp", 0.3), more, trials)
    _compare("convnet, sam", Digits("convnet", 0.3), METHODS["sam"], trials)
    _found()


def _compare(title: str, task: Task, more: dict[str, float], trials: int) -> None:
    base = {"epochs": EPOCHS, "momentum": 0.9, "weight_decay": 5e-4}
    chosen = [Settings.merge({**base, **more, "lr": 0.1 / (1 + row % 5)}) for row in range(trials)]
    together, few = [(settings, seed) for seed, settings in enumerate(chosen)], min(2, trials)
    compiled = Engine.choose("cpu", switches={"compile": True})
    started = time.perf_counter()
    train_pack(task, together, engine=compiled)
    compiling = time.perf_counter() - started
    contenders = {
        "alone": lambda: [train(task, settings, seed) for settings, seed in together[:few]],
        "pack": lambda: train_pack(task, together),
        "compiled": lambda: train_pack(task, together, engine=compiled),
    }
    found = blocks(contenders, count=COUNT, steps=1, warm=1)
    each = {
        name: [seconds / (few if name == "alone" else trials) for seconds in times] for name, times in found.items()
    }
    milliseconds = [f"{statistics.median(times) * 1e3:.1f}" for times in each.values()]
    gains = []
    for name in ("pack", "compiled"):
        middle, low, high = ratio(each["alone"], each[name])
        gains.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
    numbers = f"{milliseconds[0]:>13}{milliseconds[1]:>11}{milliseconds[2]:>11}{compiling:>11.0f}"
    print(f"{title:<20}{numbers}{gains[0]:>22}{gains[1]:>20}", flush=True)


def _found() -> None:
    """What `pack: auto` finds for the small tasks that ship, and goes by."""
    keep_memory()
    print(f"\nas `pack: auto` times them: times as many trials a second as one after another, {device_name()}")
    print(f"{'':<24}{'3 trials':>12}{'24 trials':>12}")
    tasks = {
        "digits, mlp": Digits("mlp", 0.3),
        "digits, convnet": Digits("convnet", 0.3),
        "breast_cancer": BreastCancer(),
    }
    for (title, task), method in itertools.product(tasks.items(), ("sgd", "sam", "4 shards")):
        row = f"{title}, {method}"
        line = f"{row:<24}"
        for trials in (3, 24):
            chosen = Settings.merge({"epochs": 5, "batch_size": 64, "momentum": 0.9, **METHODS[method]})
            every = [(chosen, seed) for seed in range(trials)]
            alone, together = time_trials(task, every, Engine.choose("cpu")).seconds(every)
            line += f"{alone / together:>12.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
