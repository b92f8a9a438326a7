"""What the pipeline adds to a trial, and whether that grows: 10,000 trials of a function that returns at once, three
seeds a configuration, beside the least that Ray Tune and Optuna can do: a bare Searcher over ask and tell with reused
actors, which writes nothing. `python -m tests.benchmarks.scale [TRIALS]`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

SEEDS = 3
Point = tuple[float, float, int]  # seconds, CPU seconds of all its processes, bytes of the driver's memory
AT = (1_000, 2_000, 5_000, 10_000)  # trials

FUNCTION = "def train(params, seed, report):\n    report(val_accuracy=params['x'])\n"
STUDY = """
name: trivial
task: {name: "trivial:train"}
arms: {a: {parameters: {x: {low: 0, high: 1}}}}
sampling: [{sampler: random, configurations: CONFIGURATIONS}]
seeds: 3
objectives: {val_accuracy: maximize}
"""
# Prints a line when it has started, then the number of trials that have ended, pack by pack.
BARE = """
import os, sys
from hpsearch.execution.session import ENVIRONMENT
os.environ.update(ENVIRONMENT)
import optuna, ray
from ray import tune
from ray.tune.search import Searcher

optuna.logging.set_verbosity(optuna.logging.ERROR)

class Worker(tune.Trainable):
    def setup(self, config):
        self.config = config
    def reset_config(self, new_config):
        self.config = new_config
        return True
    def step(self):
        return {"done": True, "values": [self.config["x"] for seed in range(3)], "pack": 0}

class Bare(Searcher):
    def __init__(self, packs):
        super().__init__(metric="pack", mode="max")
        self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
        self.left, self.open, self.ended = packs, {}, 0
    def suggest(self, trial_id):
        if not self.left:
            return Searcher.FINISHED
        self.left -= 1
        trial = self.open[trial_id] = self.study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        return trial.params
    def on_trial_result(self, trial_id, result):
        pass
    def on_trial_complete(self, trial_id, result=None, error=False):
        self.study.tell(self.open.pop(trial_id), sum(result["values"]) / 3)
        self.ended += 3
        print(self.ended, flush=True)
    def save(self, path): pass
    def restore(self, path): pass
    def __getstate__(self): return {}

ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
print("started", flush=True)
tune.Tuner(
    tune.with_resources(Worker, {"cpu": 1}),
    tune_config=tune.TuneConfig(
        search_alg=Bare(int(sys.argv[1])), num_samples=-1, max_concurrent_trials=os.cpu_count(), reuse_actors=True
    ),
    run_config=tune.RunConfig(name="ray", storage_path=os.getcwd(), verbose=0,
                              checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False)),
).fit()
"""


def main(trials: int = AT[-1]) -> None:
    """Prints, at each number of trials, ms a trial since the last, and the driver's memory."""
    packs = trials // SEEDS
    at = [min(n, packs * SEEDS) for n in AT if n < trials + SEEDS]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "trivial.py").write_text(FUNCTION)
        (place / "study.yaml").write_text(STUDY.replace("CONFIGURATIONS", str(packs)))
        (place / "bare.py").write_text(BARE)
        for name in ("bare", "hpsearch"):
            found[name] = _watch(name, place, packs, [SEEDS * 20, *at])
    print(
        f"{packs * SEEDS} trivial trials, {SEEDS} a pack, {os.cpu_count()} workers; ms a trial since the line before "
        "(CPU: of the driver and of all of Ray's processes), MB of the driver:"
    )
    print(f"{'':>8} {'bare':>23} {'hpsearch':>23} {'ratio':>12}")
    print(f"{'trials':>8} {'ms':>8} {'CPU ms':>8} {'MB':>5} {'ms':>8} {'CPU ms':>8} {'MB':>5} {'ms':>6} {'CPU':>5}")
    points = list(found["bare"])
    for before, n in zip(points, points[1:], strict=False):
        (bare, bare_cpu, _), (ours, cpu, _) = (_each(found[name], before, n) for name in ("bare", "hpsearch"))
        megabytes = {name: found[name][n][2] / 2**20 for name in found}
        print(
            f"{n:8} {bare:8.1f} {bare_cpu:8.1f} {megabytes['bare']:5.0f} {ours:8.1f} {cpu:8.1f} "
            f"{megabytes['hpsearch']:5.0f} {ours / bare:6.2f} {cpu / bare_cpu:5.2f}"
        )
    (bare, bare_cpu, grows), (ours, cpu, we_grow) = (
        _each(found[name], points[0], points[-1]) for name in ("bare", "hpsearch")
    )
    print(
        f"from trial {points[0]} on: {ours / bare:.2f} times the bare Searcher's time and {cpu / bare_cpu:.2f} times "
        f"its CPU time; the driver grows by {we_grow:.1f} kB a trial (bare: {grows:.1f})"
    )


def _each(points: dict[int, Point], before: int, n: int) -> tuple[float, ...]:
    """Between two points, a trial: ms, CPU ms, kB."""
    return tuple(
        (b - a) / (n - before) * 1e3 / scale for a, b, scale in zip(points[before], points[n], (1, 1, 1e6), strict=True)
    )


def _watch(name: str, place: Path, packs: int, at: list[int]) -> dict[int, Point]:
    """trials that have ended -> what was measured when at least so many had."""
    run = ["-m", "hpsearch.cli", "run", "study.yaml", "--no-dashboard", "--quiet", "--out", "run"]
    command = [sys.executable, *(["bare.py", str(packs)] if name == "bare" else run)]
    lines, out = place / "run" / "trials.jsonl", place / "bare.out"
    found: dict[int, Point] = {}
    with out.open("w") as file, subprocess.Popen(command, cwd=place, stdout=file) as process:
        driver = psutil.Process(process.pid)
        counted, size = 0, 0
        source = out if name == "bare" else lines
        while at and process.poll() is None:
            time.sleep(0.01)
            if source.exists() and source.stat().st_size > size:
                with source.open("rb") as new:
                    new.seek(size)
                    chunk = new.read()
                size += len(chunk)
                counted += chunk.count(b"\n") * (SEEDS if name == "bare" else 1)
            while at and counted >= at[0]:
                found[at.pop(0)] = (time.perf_counter(), _cpu(driver), driver.memory_info().rss)
        process.wait()
    assert process.returncode == 0 and not at, (name, process.returncode, at)
    return found


def _cpu(driver: psutil.Process) -> float:
    """CPU seconds so far of a driver and of all of Ray's processes below it."""
    total = 0.0
    for process in (driver, *driver.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:2])
    return total


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
