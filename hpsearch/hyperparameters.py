"""Every hyperparameter that a trial has: its type, the values it may take, its default.

One table serves the study file's checks, the trial's identity and the training loop. A default never changes without
raising the semantics number of the tasks: it is part of what a trial's id leaves unsaid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from hpsearch.errors import nearest, show

Value = float | int | bool | str
Kind = Literal["number", "whole", "switch", "choice"]

BASES = ("sgd", "adam", "adamw")
SCHEDULES = ("cosine", "linear", "constant", "step")
PRECISIONS = ("fp32", "bf16")
PERTURB = ("all", "normalization")
COMBINE = ("perturbed", "gsam")


@dataclass(frozen=True)
class Hyperparameter:
    """What values are allowed. `above`: the value must be > above; `low`: >= low; `below`: < below; `high`: <= high."""

    kind: Kind
    default: Value
    low: float | None = None
    above: float | None = None
    below: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    bases: tuple[str, ...] = BASES  # the base optimizers that have it

    def allowed(self) -> str:
        """The rule in words, for messages."""
        if self.kind == "switch":
            return "true or false"
        if self.kind == "choice":
            return ", ".join(self.choices)
        limits = [
            f"{sign} {limit:g}"
            for sign, limit in ((">=", self.low), (">", self.above), ("<", self.below), ("<=", self.high))
            if limit is not None
        ]
        noun = "a whole number" if self.kind == "whole" else "a finite number"
        return noun + (" " + " and ".join(limits) if limits else "")

    def accepts(self, value: object) -> bool:
        if self.kind == "switch":
            return isinstance(value, bool)
        if self.kind == "choice":
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not finite(value):
            return False
        if self.kind == "whole" and value != int(value):
            return False
        return (
            (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.high is None or value <= self.high)
        )

    def cast(self, value: Value) -> Value:
        """An accepted value in the type that the training loop wants: 5 -> 5.0, 4.0 -> 4."""
        if self.kind == "whole":
            return int(value)
        return float(value) if self.kind == "number" else value


HYPERPARAMETERS: Mapping[str, Hyperparameter] = {
    "base": Hyperparameter("choice", "sgd", choices=BASES),
    "lr": Hyperparameter("number", 0.1, above=0),
    "momentum": Hyperparameter("number", 0.0, low=0, below=1, bases=("sgd",)),
    "nesterov": Hyperparameter("switch", False, bases=("sgd",)),
    "beta1": Hyperparameter("number", 0.9, low=0, below=1, bases=("adam", "adamw")),
    "beta2": Hyperparameter("number", 0.999, low=0, below=1, bases=("adam", "adamw")),
    "weight_decay": Hyperparameter("number", 0.0, low=0),
    "schedule": Hyperparameter("choice", "cosine", choices=SCHEDULES),
    "warmup": Hyperparameter("number", 0.0, low=0, below=1),  # share of the steps
    "epochs": Hyperparameter("whole", 40, low=1),
    "batch_size": Hyperparameter("whole", 128, low=1),
    "precision": Hyperparameter("choice", "fp32", choices=PRECISIONS),  # bf16: autocast
    # The sharpness-aware part; rho = 0 is the base optimizer alone.
    "rho": Hyperparameter("number", 0.0, low=0),
    "num_shards": Hyperparameter("whole", 1, low=1),
    "ema_decay": Hyperparameter("number", 0.9, low=0, below=1),
    "sigma": Hyperparameter("number", 0.0),
    "adaptive": Hyperparameter("switch", False),
    "interval": Hyperparameter("whole", 1, low=1),
    "perturb": Hyperparameter("choice", "all", choices=PERTURB),
    "combine": Hyperparameter("choice", "perturbed", choices=COMBINE),
    "alpha": Hyperparameter("number", 0.4, low=0),  # of combine: gsam
}

# What differs between trials whose steps are made of the same operations, on tensors of the same shapes.
NUMBERS = ("lr", "momentum", "beta1", "beta2", "weight_decay", "rho", "sigma", "ema_decay", "alpha")
NOT_SHAPE = (*NUMBERS, "schedule", "warmup", "epochs")

# What a hyperparameter needs of others, or nothing depends on it: of one, what its value must be, in words and as such.
_PERTURBS = ("rho", "above 0", lambda rho: rho > 0)
NEEDS: Mapping[str, tuple[tuple[str, str, Callable[[Any], bool]], ...]] = {
    **dict.fromkeys(("num_shards", "sigma", "adaptive", "interval", "perturb", "combine"), (_PERTURBS,)),
    "ema_decay": (_PERTURBS, ("sigma", "other than 0 (F-SAM's is 1)", lambda sigma: sigma != 0)),
    "alpha": (_PERTURBS, ("combine", "gsam", lambda combine: combine == "gsam")),
    "nesterov": (("momentum", "above 0", lambda momentum: momentum > 0),),
}

# Names that the literature and other libraries use.
ALSO_CALLED: Mapping[str, str] = {
    "m": "num_shards",
    "shards": "num_shards",
    "lambda": "ema_decay",
    "learning_rate": "lr",
    "wd": "weight_decay",
    "bs": "batch_size",
    "optimizer": "base",
}

DEFAULTS: Mapping[str, Value] = {name: known.default for name, known in HYPERPARAMETERS.items()}


@dataclass(frozen=True)
class Settings:
    """All hyperparameters of one trial, with the types and defaults of HYPERPARAMETERS."""

    base: str
    lr: float
    momentum: float
    nesterov: bool
    beta1: float
    beta2: float
    weight_decay: float
    schedule: str
    warmup: float
    epochs: int
    batch_size: int
    precision: str
    rho: float
    num_shards: int
    ema_decay: float
    sigma: float
    adaptive: bool
    interval: int
    perturb: str
    combine: str
    alpha: float

    @classmethod
    def merge(cls, *layers: Mapping[str, Any]) -> Settings:
        """Later layers win over earlier ones, all over the defaults. Raises ValueError for a wrong name or value."""
        merged = dict(DEFAULTS)
        for layer in layers:
            for name, value in layer.items():
                problem = check(name, value)
                if problem is not None:
                    raise ValueError(f"{name}: {problem.rule}; allowed: {problem.allowed}")
                merged[name] = HYPERPARAMETERS[name].cast(value)
        merged_settings = {field.name: merged[field.name] for field in fields(cls)}
        return cls(**merged_settings)  # type: ignore[arg-type]  # cast() gave each its type

    def shape(self) -> tuple[tuple[str, Value], ...]:
        """What decides which operations a step is made of: rho and sigma only by whether they are 0."""
        rest = {name: value for name, value in vars(self).items() if name not in NOT_SHAPE}
        return tuple({**rest, "perturbs": self.rho > 0, "averages": self.sigma != 0}.items())

    def changed(self) -> dict[str, Value]:
        """The settings that differ from the defaults: what enters a trial's id."""
        return {name: value for name, value in vars(self).items() if value != DEFAULTS[name]}


@dataclass(frozen=True)
class Problem:
    rule: str
    allowed: str
    nearest: str | None = None


def check(name: str, value: object, bases: Iterable[str] = BASES) -> Problem | None:
    """What is wrong with setting hyperparameter `name` to `value`, for an arm that uses these base optimizers."""
    unknown = check_name(name, bases)
    if unknown is not None:
        return unknown
    known = HYPERPARAMETERS[name]
    if known.accepts(value):
        return None
    near = nearest(value, known.choices) if known.kind == "choice" else None
    return Problem(f"got {show(value)}", known.allowed(), near)


def check_name(name: str, bases: Iterable[str] = BASES) -> Problem | None:
    """What is wrong with the name: unknown, or not one that these base optimizers have."""
    bases = tuple(bases)
    if name in HYPERPARAMETERS and any(base in HYPERPARAMETERS[name].bases for base in bases):
        return None
    having = [known for known, rule in HYPERPARAMETERS.items() if any(base in rule.bases for base in bases)]
    what = "unknown hyperparameter" if name not in HYPERPARAMETERS else f"base {'/'.join(bases)} has no hyperparameter"
    near = ALSO_CALLED.get(str(name).lower(), nearest(name, having))
    return Problem(f"{what} {show(name)}", ", ".join(having), near if near in having else None)


def finite(value: float) -> bool:
    """Whether the number is neither NaN nor infinite, nor an integer beyond the range of floats."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
