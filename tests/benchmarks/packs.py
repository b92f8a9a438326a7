"""Trials a second of a pack over those of the same trials one after another, start and evaluations counted.

    python -m tests.benchmarks.packs [TRIALS [EPOCHS]]

Both on one thread, in turn, so that the machine's changes of speed hit both alike. Aims: 2.2 for SAM
and F-SAM, 8 for 16 shards one after another. `memory` is what each trial of a pack adds to the process.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import torch

from hpsearch.hyperparameters import Settings
from hpsearch.optim.layers import product
from hpsearch.tasks import Task
from hpsearch.tasks.breast_cancer import BreastCancer
from hpsearch.tasks.digits import Digits
from hpsearch.training import loop
from hpsearch.training.bundle import keep_memory, time_trials
from hpsearch.training.engine import Engine
from hpsearch.training.loop import start, train
from hpsearch.training.packed import train_pack
from tests.benchmarks.timing import Step, blocks, device_name, ratio

COUNT = 8
METHODS = {
    "sgd": {},
    "sam": {"rho": 0.1},
    "fsam": {"rho": 0.1, "sigma": 1.0},
    **{f"{shards} shards": {"rho": 0.1, "num_shards": shards} for shards in (2, 4, 16, 128)},
    "16 shards, F-SAM": {"rho": 0.1, "num_shards": 16, "sigma": 1.0},
}


def main(trials: int = 15, epochs: int = 4) -> None:
    torch.set_num_threads(1)  # as a worker has
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()  # nothing is compiled yet
    atexit.register(shutil.rmtree, os.environ["TORCHINDUCTOR_CACHE_DIR"], ignore_errors=True)
    print(f"\na pack of {trials} trials, batch 128, {epochs} epochs, {device_name()}; compiled: seconds of compiling")
    print(f"{'':<20}{'':>14}{'ms a trial':>21}{'':>11}{'times as many trials a second, 95 %':>42}")
    columns = "".join(f"{name:>{width}}" for name, width in (("alone", 13), ("pack", 11), ("compiled", 11)))
    print(f"{'':<26}{columns}{'s':>11}{'pack':>22}{'compiled':>20}")
    for name, more in METHODS.items():
        _compare(f"mlp, {name}", Digits("mlp", 0.3), chosen(more, trials, epochs))
    print("shards of a trial alone one after another, as in the step that others have:")
    ghosts, loop.GHOSTS = loop.GHOSTS, sys.maxsize
    for name, more in METHODS.items():
        if more.get("num_shards", 1) >= ghosts:
            _compare(f"mlp, {name}", Digits("mlp", 0.3), chosen(more, trials, epochs))
    loop.GHOSTS = ghosts
    for name in ("sam", "16 shards"):
        _compare(f"convnet, {name}", Digits("convnet", 0.3), chosen(METHODS[name], trials, epochs))
    for name in ("sam", "16 shards"):
        each = (_peak(name, 500) - _peak(name, 250)) / 250  # fewer are below what tracing needs
        print(f"memory, mlp, {name}: {each / 2**20:.1f} MiB a trial")
    _floor(trials)
    _found()


def chosen(more: Mapping[str, float], trials: int, epochs: int = 4) -> list[tuple[Settings, int]]:
    base = {"epochs": epochs, "momentum": 0.9, "weight_decay": 5e-4}
    return [(Settings.merge({**base, **more, "lr": 0.1 / (1 + row % 5)}), row) for row in range(trials)]


def _compare(title: str, task: Task, together: list[tuple[Settings, int]]) -> None:
    trials, few = len(together), min(2, len(together))
    compiled = Engine.choose("cpu", switches={"compile": True})
    contenders: dict[str, Step] = {
        "alone": lambda: [train(task, settings, seed) for settings, seed in together[:few]],
        "pack": lambda: train_pack(task, together),
        "compiled": lambda: train_pack(task, together, engine=compiled),
    }
    for _ in range(3):  # a worker trains many: the operations of so short ones are noted down by the third
        contenders["pack"]()
    started = time.perf_counter()
    contenders["compiled"]()
    compiling = time.perf_counter() - started
    found = blocks(contenders, count=COUNT, steps=1, warm=1)
    each = {
        name: [seconds / (few if name == "alone" else trials) for seconds in times] for name, times in found.items()
    }
    line = f"{title:<26}" + "".join(f"{statistics.median(times) * 1e3:>11.1f}" for times in each.values())
    gains = [ratio(each["alone"], times) for name, times in each.items() if name != "alone"]
    texts = [f"{middle:.2f} ({low:.2f} to {high:.2f})" for middle, low, high in gains]
    print(line + f"{compiling:>11.0f}" + "".join(f"{text:>24}" for text in texts), flush=True)


def _floor(trials: int) -> None:
    """A step of SAM beside nothing but the products of its two forward and backward passes, of all trials in turn."""
    run = start(Digits("mlp", 0.3), *chosen(METHODS["sam"], 1)[0])
    run.run_epoch()
    widths = list(itertools.pairwise((64, 128, 128, 10)))
    weights = [torch.randn(trials, out, width) for width, out in widths]
    inputs = [torch.randn(trials, 128, width) for width, _ in widths]
    slopes = [torch.randn(trials, 128, out) for _, out in widths]

    def products() -> None:
        for _ in range(2):
            for x, weight, slope in zip(inputs, weights, slopes, strict=True):
                product(x, weight)
                torch.bmm(slope.mT, x)
            for weight, slope in zip(weights[1:], slopes[1:], strict=True):
                torch.bmm(slope, weight)

    found = blocks({"alone": run.probe, "products": products}, count=COUNT, steps=20)
    times = ratio([trials * seconds for seconds in found["alone"]], found["products"])
    print("a step of SAM alone, times its products in a pack: {:.2f} ({:.2f} to {:.2f})".format(*times))


def _peak(name: str, trials: int) -> int:
    """Bytes that a process of its own held at most while it trained a pack."""
    code = (
        "import resource, sys; from tests.benchmarks.packs import METHODS, chosen; "
        "from hpsearch.tasks.digits import Digits; from hpsearch.training.packed import train_pack; "
        f"train_pack(Digits('mlp', 0.3), chosen(METHODS[{name!r}], {trials})); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


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
            alike = Settings.merge({"epochs": 5, "batch_size": 64, "momentum": 0.9, **METHODS[method]})
            every = [(alike, seed) for seed in range(trials)]
            alone, together = time_trials(task, every, Engine.choose("cpu")).seconds(every)
            line += f"{alone / together:>12.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
