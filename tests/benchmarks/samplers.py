"""What a suggestion costs: CPU time of an ask with so many configurations known, beside Optuna's own loop."""

from __future__ import annotations

import random
import statistics
import time

import optuna

from hpsearch.sampling import Adaptive
from hpsearch.study import Study, parse_study

KNOWN = {"tpe": (500, 1000, 2000), "nsga2": (500, 1000, 2000), "cmaes": (500, 1000, 2000), "gp": (50, 100, 200)}
ASKS = 7
STUDY = """
name: s
task: {name: digits}
arms: {a: {parameters: {lr: {low: 0.001, high: 1, log: true}, rho: {low: 0.01, high: 2, log: true},
                        ema_decay: {low: 0, high: 0.99}, batch_size: {low: 16, high: 512, int: true, log: true}}}}
sampling: [{sampler: random, configurations: 1}, {sampler: SAMPLER, configurations: 2000}]
seeds: 1
objectives: {loss: minimize}
"""


def main() -> None:
    """Prints the table of the README."""
    print("    CPU milliseconds of an ask, by configurations known: 4 ranges, 1 objective")
    for sampler, counts in KNOWN.items():
        ours = ", ".join(f"{count:,}: {_ours(sampler, count):.0f}" for count in counts)
        theirs = f"   (Optuna's own loop at 2,000: {_optunas():.0f})" if sampler == "tpe" else ""
        print(f"    {sampler:6} {ours}{theirs}")


def _ours(sampler: str, count: int) -> float:
    study, draw = parse_study(STUDY.replace("SAMPLER", sampler)), random.Random(0)
    adaptive = Adaptive(study, "a")
    adaptive.ask(1, 0, 0)
    for index in range(count):
        sampling = {"phase": 1, "index": index, "sampler": sampler, "generation": index // 8, "confirm": False}
        adaptive.add(_point(draw, study), (draw.random(),), sampling)
    times = []
    for index in range(ASKS):
        began = time.thread_time()
        asked = adaptive.ask(1, count + index, 0)
        times.append(1000 * (time.thread_time() - began))
        adaptive.tell(asked, (draw.random(),))
    return statistics.median(times)


def _optunas() -> float:
    draw, times = random.Random(0), []
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    space = {
        "lr": optuna.distributions.FloatDistribution(0.001, 1, log=True),
        "rho": optuna.distributions.FloatDistribution(0.01, 2, log=True),
        "ema_decay": optuna.distributions.FloatDistribution(0, 0.99),
        "batch_size": optuna.distributions.IntDistribution(16, 512, log=True),
    }
    point = parse_study(STUDY.replace("SAMPLER", "tpe"))
    for _ in range(2000):
        study.add_trial(optuna.create_trial(params=dict(_point(draw, point)), distributions=space, value=draw.random()))
    for _ in range(ASKS):
        began = time.thread_time()
        trial = study.ask()
        for name in ("lr", "rho"):
            trial.suggest_float(name, space[name].low, space[name].high, log=True)
        trial.suggest_float("ema_decay", 0, 0.99)
        trial.suggest_int("batch_size", 16, 512, log=True)
        times.append(1000 * (time.thread_time() - began))
        study.tell(trial, draw.random())
    return statistics.median(times)


def _point(draw: random.Random, study: Study) -> dict[str, float | int]:
    point: dict[str, float | int] = {}
    for name, parameter in study.arms["a"].parameters.items():
        assert parameter.low is not None and parameter.high is not None
        value = draw.uniform(parameter.low, parameter.high)
        point[name] = int(value) if parameter.integer else value
    return point


if __name__ == "__main__":
    main()
