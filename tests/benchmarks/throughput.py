"""Steps a second of K equal trials: by one program, one after another, and by processes that share the device.

    python -m tests.benchmarks.throughput [K ...]

SAM's step at batch 128, on a GPU where there is one. Processes: as many as trials, up to PROCESSES; one thread each.
What does not fit into a GPU's memory is said not to.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from hpsearch.hyperparameters import Settings
from hpsearch.tasks import Classification, Data, Task
from hpsearch.tasks.pydoc_lm import PydocLM
from hpsearch.training.bundle import keep_memory
from hpsearch.training.engine import Engine
from hpsearch.training.loop import start
from hpsearch.training.packed import PackRun
from tests.benchmarks.models import Problem, small_mlp, thin_resnet
from tests.benchmarks.timing import DEVICE, device_name

ON_GPU, ON_CPU = (1, 4, 16, 64, 256), (1, 4, 16)
PROCESSES = 16
SECONDS = 2.0  # of timing each
SETTINGS = Settings.merge({"batch_size": 128, "rho": 0.1, "lr": 0.01, "momentum": 0.9, "epochs": 100})


class Made(Classification):
    """One batch of a benchmark's problem, as a task."""

    def __init__(self, problem: Callable[[int], Problem]) -> None:
        self._problem = problem

    def data(self, seed: int) -> Data:
        batch = self._problem(SETTINGS.batch_size).batch
        return Data(batch, batch, batch)

    def model(self) -> nn.Module:
        return self._problem(1).model


TASKS: dict[str, Callable[[], Task]] = {
    "mlp": lambda: Made(small_mlp),
    "gpt": PydocLM,
    "resnet": lambda: Made(thin_resnet),
}


def main(*counts: int) -> None:
    torch.set_num_threads(1)
    keep_memory()
    print(f"\nsteps of SAM a second, all trials together, batch 128, {device_name()}")
    print(
        f"{'':<8}{'K':>5}{'one program':>14}{'after another':>16}{'processes':>12}{'of these':>10}{'MiB a trial':>13}"
    )
    for name in TASKS:
        alone = _rate(start(TASKS[name](), SETTINGS, 0, engine=_engine()).probe)
        for count in counts or (ON_GPU if DEVICE.type == "cuda" else ON_CPU):
            processes = min(count, PROCESSES)
            together, memory = _packed(name, count)
            shared = _shared(name, processes)
            line = f"{name:<8}{count:>5}{together:>14}{alone:>16.0f}{shared:>12}{processes:>10}{memory:>13}"
            print(line, flush=True)


def _engine() -> Engine:
    return Engine.choose(DEVICE.type)


def _packed(name: str, count: int) -> tuple[str, str]:
    """Trial steps a second; on a GPU the memory that each trial takes, too."""
    on_gpu = DEVICE.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        pack = PackRun(TASKS[name](), [(SETTINGS, seed) for seed in range(count)], engine=_engine())
        rate = count * _rate(pack.probe)
    except torch.OutOfMemoryError:
        return "no memory", ""
    return f"{rate:.0f}", f"{torch.cuda.max_memory_allocated() / count / 2**20:.1f}" if on_gpu else ""


def _rate(step: Callable[[], object]) -> float:
    """Calls a second."""
    for _ in range(3):
        step()
    _wait()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        step()
        calls += 1
        if calls % 8 == 0:
            _wait()
    _wait()
    return calls / (time.perf_counter() - began)


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def _shared(name: str, count: int) -> str:
    """Trial steps a second of so many processes at once; each waits until all have started."""
    command = [sys.executable, "-m", "tests.benchmarks.throughput", "process", name]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        if any(_line(process) != "ready" for process in started):
            return "one died"  # of what, it has said
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return f"{sum(float(_line(process) or 'nan') for process in started):.0f}"
    finally:
        for process in started:
            process.kill()
            process.wait()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _process(name: str) -> None:
    torch.set_num_threads(1)
    trial = start(TASKS[name](), SETTINGS, 0, engine=_engine())
    trial.probe()
    print("ready", flush=True)
    sys.stdin.readline()
    print(_rate(trial.probe), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["process"]:
        _process(sys.argv[2])
    else:
        main(*map(int, sys.argv[1:]))
