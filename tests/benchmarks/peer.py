"""Against what a user writes today: Ray Tune with OptunaSearch and an eager loop, on the same trials of digits.

    python -m tests.benchmarks.peer

A trial is 280 steps of batch 128 of a 64-128-128-10 network and an evaluation each of 40 epochs. The loop is that of
public implementations (tests/benchmarks/plain.py). Seconds a trial are what more trials add to the whole command, from
its start to its end; both sample at random, report each epoch and use all cores. reused: reuse_actors=True.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = """
name: peer
task: {name: digits, model: mlp, label_noise: 0.3, batch_size: 128}
optimizer: {base: sgd, momentum: 0.9, weight_decay: 5.0e-4, schedule: constant}
arms:
  a:
    parameters:
      lr: {low: 0.01, high: 0.3, log: true}
      rho: {low: 0.02, high: 1.0, log: true}
    fixed: {epochs: 40, SETTINGS}
sampling: [{sampler: random, configurations: TRIALS}]
seeds: 1
objectives: {val_accuracy: maximize}
"""
PEER = """
import sys
import optuna
import ray
import torch
from optuna.samplers import RandomSampler
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from hpsearch.tasks.digits import Digits
from tests.benchmarks.plain import PlainLoop, sharded

REUSED, TRIALS, SIGMA, SHARDS = sys.argv[1] == "reused", int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
optuna.logging.set_verbosity(optuna.logging.ERROR)

def train(config):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = Digits("mlp", 0.3)
    data, model = task.data(0), task.model()
    base = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=0.9, weight_decay=5e-4)
    optimizer = PlainLoop(base, rho=config["rho"], sigma=SIGMA)
    inputs, targets = data.train
    for epoch in range(40):
        model.train()
        order = torch.randperm(len(inputs))
        for start in range(0, len(inputs) - 127, 128):
            rows = order[start : start + 128]
            sharded(optimizer, lambda x, y: torch.nn.functional.cross_entropy(model(x), y),
                    (inputs[rows], targets[rows]), SHARDS)
        model.eval()
        with torch.no_grad():
            accuracy = (model(data.val[0]).argmax(1) == data.val[1]).float().mean().item()
        tune.report({"val_accuracy": accuracy})

space = {"lr": tune.loguniform(0.01, 0.3), "rho": tune.loguniform(0.02, 1.0)}
ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
results = tune.Tuner(
    tune.with_resources(train, {"cpu": 1}),
    param_space=space,
    tune_config=tune.TuneConfig(
        search_alg=OptunaSearch(sampler=RandomSampler(seed=0)), metric="val_accuracy", mode="max",
        num_samples=TRIALS, reuse_actors=REUSED,
    ),
    run_config=tune.RunConfig(name="peer", storage_path=sys.argv[5], verbose=0),
).fit()
assert len(results) == TRIALS and not results.errors
print(results.get_best_result().metrics["val_accuracy"])
"""
METHODS = {"F-SAM": (1.0, 1), "16 shards": (0.0, 16)}  # sigma, shards
COUNTS = {"defaults": (4, 16), "reused": (4, 28), "hpsearch": (24, 216)}  # trials of the short and of the long study


def main() -> None:
    print("\nseconds a trial that more trials add, and the times that hpsearch is quicker")
    print(f"{'':<12}{'Ray defaults':>14}{'reused':>10}{'hpsearch':>10}{'over defaults':>16}{'over reused':>13}")
    for name, (sigma, shards) in METHODS.items():
        each = {}
        for contender, (few, many) in COUNTS.items():
            short, long = (_seconds(contender, count, sigma, shards) for count in (few, many))
            each[contender] = (long - short) / (many - few)
        numbers = f"{each['defaults']:>14.3f}{each['reused']:>10.3f}{each['hpsearch']:>10.3f}"
        over = [each[peer] / each["hpsearch"] for peer in ("defaults", "reused")]
        print(f"{name:<12}{numbers}{over[0]:>16.1f}{over[1]:>13.1f}", flush=True)


def _seconds(contender: str, trials: int, sigma: float, shards: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        settings = f"sigma: {sigma}, ema_decay: 0.9, num_shards: {shards}"
        (place / "study.yaml").write_text(STUDY.replace("SETTINGS", settings).replace("TRIALS", str(trials)))
        run = ["-m", "hpsearch.cli", "run", str(place / "study.yaml"), "--no-dashboard", "--quiet", "--out"]
        peer = ["-c", PEER, contender, str(trials), str(sigma), str(shards)]
        command = [*run, str(place / "run")] if contender == "hpsearch" else [*peer, str(place)]
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
