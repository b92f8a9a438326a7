"""A made-up study on digits with label noise, shaped like what was measured: gains, cliffs in rho, costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
import pandas as pd

from hpsearch.analysis import analyze

# Without the questions that need a model of the response: they are tested apart.
analyze_tables = partial(analyze, options=None)

STEPS = 8  # 1000 images in batches of 128
EPOCHS = 40


@dataclass(frozen=True)
class Parameter:
    """The part of hpsearch.space.Parameter that analysis reads."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    choices: tuple[object, ...] | None = None
    grid: tuple[object, ...] | None = None


@dataclass(frozen=True)
class Arm:
    parameters: dict[str, Parameter]
    fixed: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    name: str = "digits"
    options: dict[str, object] = field(default_factory=lambda: {"model": "mlp", "label_noise": 0.3})


@dataclass(frozen=True)
class Confirm:
    top: int = 2
    seeds: int = 5


@dataclass(frozen=True)
class Study:
    arms: dict[str, Arm]
    name: str = "digits-noise"
    description: str = "How far can rho be turned up on digits with 30 % wrong labels?"
    task: Task = field(default_factory=Task)
    optimizer: dict[str, object] = field(
        default_factory=lambda: {"base": "sgd", "momentum": 0.9, "schedule": "cosine", "epochs": EPOCHS}
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    two_stage: None = None
    confirm: Confirm | None = field(default_factory=Confirm)
    objectives: dict[str, str] = field(default_factory=lambda: {"val_accuracy": "maximize", "flops": "minimize"})

    @property
    def first_seeds(self) -> tuple[int, ...]:
        return self.seeds


LR = Parameter(0.02, 0.5, log=True)
RHO = Parameter(0.01, 2.0, log=True)
SHARDS = Parameter(choices=(1, 2, 4, 8, 16))
EMA = Parameter(0.5, 0.99)

STUDY = Study(
    {
        "sgd": Arm({"lr": LR}, {"epochs": EPOCHS}),
        "sgd2x": Arm({"lr": LR}, {"epochs": 2 * EPOCHS}),
        "sam": Arm({"rho": RHO, "lr": LR}, {"sigma": 0.0}),
        "msam": Arm({"rho": RHO, "num_shards": SHARDS, "lr": LR}, {"sigma": 0.0}),
        "fsam": Arm({"rho": RHO, "ema_decay": EMA, "lr": LR}, {"sigma": 1.0, "num_shards": 1}),
        "fmsam": Arm({"rho": RHO, "num_shards": SHARDS, "ema_decay": EMA}, {"sigma": 1.0, "lr": 0.1}),
    }
)


@cache
def _default_table(configurations: int) -> pd.DataFrame:
    return _make_table(STUDY, configurations)


def digits_table(configurations: int = 40) -> pd.DataFrame:
    """The table of a whole run of STUDY: random configurations, their seeds, then the confirmation runs."""
    return _default_table(configurations).copy()


def _make_table(study: Study, configurations: int) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    rows: list[dict[str, object]] = []
    for arm_name, arm in study.arms.items():
        count = configurations if len(arm.parameters) > 1 else configurations // 3
        points = [_draw(arm, rng) for _ in range(count)]
        tried = []
        for index, params in enumerate(points):
            runs = [_trial(study, arm_name, params, index, s, False, rng) for s in study.seeds]
            rows += runs
            tried.append((np.mean([float(str(r["metrics.val_accuracy"])) for r in runs]), index, params))
        if study.confirm is not None:
            for _, index, params in sorted(tried, key=lambda t: -t[0])[: study.confirm.top]:
                seeds = range(1000, 1000 + study.confirm.seeds)
                rows += [_trial(study, arm_name, params, index, s, True, rng) for s in seeds]
    table = pd.DataFrame(rows)
    return _with_failures(table)


def _draw(arm: Arm, rng: np.random.Generator) -> dict[str, float | int]:
    values: dict[str, float | int] = {}
    for name, p in arm.parameters.items():
        if p.choices is not None:
            values[name] = int(str(rng.choice(np.array(p.choices, dtype=int))))
        elif p.log:
            values[name] = math.exp(rng.uniform(math.log(p.low or 1), math.log(p.high or 1)))
        else:
            values[name] = float(rng.uniform(p.low or 0, p.high or 1))
    return values


def _trial(
    study: Study,
    arm: str,
    params: dict[str, float | int],
    index: int,
    seed: int,
    confirm: bool,
    rng: np.random.Generator,
) -> dict[str, object]:
    rho, shards = float(params.get("rho", 0.0)), float(params.get("num_shards", 1))
    lr, ema = float(params.get("lr", 0.1)), float(params.get("ema_decay", 0.9))
    filtered = arm.startswith("f")
    cliff = (1.6 if filtered else 0.75) / shards**0.25 * (0.12 / (lr + 0.02)) ** 0.15
    falls = rho > 0 and math.log(rho / cliff) + rng.normal(0, 0.12) > 0
    epochs = EPOCHS * (2 if arm == "sgd2x" else 1)
    status = "complete" if not falls else ("diverged" if rng.random() < 0.6 else "collapsed")
    gain = 5.3 * math.exp(-(math.log(max(rho, 1e-3) / (0.55 * cliff)) ** 2) / 5)
    clean = 0.895 + 0.01 * gain - 0.006 * math.log(lr / 0.1) ** 2 - 0.02 * (ema - 0.9) ** 2
    test = clean + rng.normal(0, 0.006) if status == "complete" else 0.104 + rng.normal(0, 0.003)
    ran = epochs if status != "diverged" else int(rng.integers(1, 6))
    samples = ran * STEPS * 125 * (1 if rho == 0 else 2)
    return {
        "trial_id": f"{arm}-{index}-{seed}",
        "configuration_id": f"{arm}-{index}",
        "arm": arm,
        "seed": seed,
        "status": status,
        "epochs": ran,
        "epochs_planned": epochs,
        "error": None,
        "attempt": 1,
        "host": "node-1",
        "device": "cpu",
        "threads": 1,
        "concurrent": 2,
        "started": f"2026-03-01T10:{index % 60:02d}:00+00:00",
        "seconds_waiting": 0.1,
        "sampling.phase": 0,
        "sampling.index": index,
        "sampling.sampler": "qmc",
        "sampling.generation": None,
        "sampling.confirm": confirm,
        **{f"params.{name}": value for name, value in params.items()},
        **{f"fixed.{name}": value for name, value in study.arms[arm].fixed.items()},
        "metrics.val_accuracy": test + rng.normal(0, 0.005),
        "metrics.test_accuracy": test,
        "metrics.val_loss": 2.3 - 2 * test,
        "metrics.train_loss": 2.3 - 1.8 * test,
        "cost.backward_samples": samples,
        "cost.flops": samples * 2.04e5,
        "cost.seconds": samples * 6e-6 * rng.uniform(0.9, 1.2),
        "cost.peak_memory_bytes": None,
        "versions.hpsearch": "0.1.0",
        "versions.torch": "2.10.0",
    }


def _with_failures(table: pd.DataFrame) -> pd.DataFrame:
    """Two trials that crashed and one that was stopped: no metrics, some compute."""
    table = table.astype({"error": object})
    for row, status, error in (
        (4, "failed", "Traceback (most recent call last):\n  ...\nRuntimeError: worker died"),
        (200, "failed", "Traceback (most recent call last):\n  ...\nMemoryError: out of memory"),
        (260, "stopped", None),
    ):
        if row < len(table):
            table.loc[row, "status"] = status
            table.loc[row, "error"] = error
            table.loc[row, [c for c in table.columns if c.startswith("metrics.")]] = np.nan
    return table


def trial(
    arm: str = "sam",
    configuration: str = "a",
    seed: int = 0,
    value: float | None = 0.9,
    status: str = "complete",
    confirm: bool = False,
    test: float | None = None,
    samples: float | None = 1000.0,
    **params: object,
) -> dict[str, object]:
    """One row of a small table made by hand; `value` is the validation accuracy."""
    return {
        "trial_id": f"{arm}-{configuration}-{seed}-{confirm}",
        "configuration_id": configuration,
        "arm": arm,
        "seed": seed,
        "status": status,
        "error": None,
        "sampling.confirm": confirm,
        **{f"params.{name}": value for name, value in params.items()},
        "metrics.val_accuracy": value,
        "metrics.test_accuracy": test,
        "cost.backward_samples": samples,
    }


def small_table(*trials: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(trials))
