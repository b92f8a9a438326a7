"""Simulated studies with a known truth: random smooth surfaces and cliffs, seed noise, seeds shared by configurations.

The surfaces are no draws of the surrogate's own prior: bowls, saturating and S-shaped responses, products of two
hyperparameters, inert ones, and, for cliffs, a probability of training that falls steeply along a bent line.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import qmc

from hpsearch.space import Parameter

Floats = NDArray[np.float64]

PARAMETERS = {
    "rho": Parameter(low=0.01, high=2.0, log=True, default=0.05),
    "ema_decay": Parameter(low=0.5, high=0.99, default=0.9),
    "lr": Parameter(low=0.01, high=1.0, log=True, default=0.1),
}
CHANCE = 0.1
GRIDS = {24: (4, 3, 2), 64: (4, 4, 4), 128: (8, 4, 4)}  # levels along rho, ema_decay, lr


@dataclass(frozen=True)
class Arm:
    """What analysis reads of hpsearch.study.Arm."""

    parameters: dict[str, Parameter]
    fixed: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """What analysis reads of hpsearch.study.Study."""

    arms: dict[str, Arm]
    objectives: dict[str, str] = field(default_factory=lambda: {"val_accuracy": "maximize"})
    two_stage: None = None


@dataclass(frozen=True)
class Surface:
    """A random response over the unit cube; `cliff` adds a region where training fails."""

    optimum: Floats  # (d,)
    size: Floats  # (d,) accuracy lost at the far end; 0 is inert
    shape: NDArray[np.int64]  # (d,) 0 bowl, 1 saturating, 2 S-shaped
    product: float  # accuracy moved by rho times lr
    top: float
    noise: float  # sd over seeds where it trains
    edge: float  # where along rho training begins to fail; above 1: nowhere
    bend: float
    steepness: float

    @classmethod
    def draw(cls, rng: np.random.Generator, cliff: bool, d: int = 3) -> Surface:
        size = np.exp(rng.uniform(np.log(0.004), np.log(0.06), d))
        size[rng.random(d) < 0.25] = 0.0
        if not size.any():
            size[0] = 0.03
        return cls(
            optimum=rng.uniform(0.15, 0.85, d),
            size=size,
            shape=rng.integers(0, 3, d),
            product=float(rng.uniform(0, 0.03) if rng.random() < 0.6 and size[0] > 0 and size[2] > 0 else 0.0),
            top=float(rng.uniform(0.85, 0.95)),
            noise=float(np.exp(rng.uniform(np.log(0.002), np.log(0.008)))),
            edge=float(rng.uniform(0.5, 0.9)) if cliff else 9.0,
            bend=float(rng.uniform(-0.2, 0.2)),
            steepness=float(rng.uniform(0.01, 0.05)),
        )

    def accuracy(self, u: Floats) -> Floats:
        """Where it trains. (n, d) -> (n,)."""
        lost = np.zeros(len(u))
        for i in range(len(self.size)):
            x, o = u[:, i], self.optimum[i]
            bowl = ((x - o) / max(o, 1 - o)) ** 2
            forms = (bowl, np.exp(-3 * x), expit(-10 * (x - o)))
            lost += self.size[i] * forms[self.shape[i]]
        return self.top - lost - 4 * self.product * (u[:, 0] - 0.5) * (u[:, 2] - 0.5)

    def trains(self, u: Floats) -> Floats:
        """Probability that a seed trains. (n, d) -> (n,)."""
        return expit((self.edge - u[:, 0] - self.bend * (u[:, 2] - 0.5)) / self.steepness)

    def mean(self, u: Floats) -> Floats:
        """The estimand: the expectation over seeds. (n, d) -> (n,)."""
        p = self.trains(u)
        return p * self.accuracy(u) + (1 - p) * CHANCE


def design(sampler: str, n: int, rng: np.random.Generator, d: int = 3) -> Floats:
    """n points of the unit cube; a grid has its ends in it, as the grid sampler's has."""
    if sampler == "random":
        return rng.random((n, d))
    if sampler == "qmc":
        with np.errstate(all="ignore"):
            return qmc.Sobol(d, seed=rng).random_base2(int(np.ceil(np.log2(n))))[:n]
    axes = [np.linspace(0, 1, k) for k in GRIDS[n]]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, d)


def values(u: Floats) -> dict[str, Floats]:
    """Unit cube -> the hyperparameters' own values."""
    found = {}
    for i, (name, p) in enumerate(PARAMETERS.items()):
        assert p.low is not None and p.high is not None
        x = u[:, i]
        found[name] = p.low * (p.high / p.low) ** x if p.log else p.low + (p.high - p.low) * x
    return found


def trials(
    surface: Surface,
    u: Floats,
    seeds: int,
    rng: np.random.Generator,
    arm: str = "sam",
    sampler: str = "qmc",
    first_seed: int = 0,
    confirm: bool = False,
    shift: Floats | None = None,
    names: list[str] | None = None,
) -> pd.DataFrame:
    """The table of a study of one arm. shift (seeds,): what each seed adds everywhere, in sds of noise."""
    n = len(u)
    shift = rng.normal(size=seeds) if shift is None else shift
    own = rng.normal(size=(n, seeds))
    noise = surface.noise * (0.4 * shift + np.sqrt(1 - 0.16) * own)
    trained = rng.random((n, seeds)) < surface.trains(u)[:, None]
    failed = CHANCE + 0.002 * rng.normal(size=(n, seeds))
    metric = np.where(trained, surface.accuracy(u)[:, None] + noise, failed)
    names = names or [f"{arm}-{i}" for i in range(n)]
    columns = {name: np.repeat(x, seeds) for name, x in values(u).items()}
    return pd.DataFrame(
        {
            "trial_id": [f"{name}-{first_seed + s}" for name in names for s in range(seeds)],
            "configuration_id": np.repeat(names, seeds),
            "arm": arm,
            "seed": np.tile(np.arange(first_seed, first_seed + seeds), n),
            "status": np.where(trained, "complete", "diverged").ravel(),
            "sampling.phase": 0,
            "sampling.sampler": sampler,
            "sampling.confirm": confirm,
            **{f"params.{name}": x for name, x in columns.items()},
            "metrics.val_accuracy": metric.ravel(),
            "metrics.train_loss": np.where(trained, 0.3, 2.3).ravel(),
            "cost.backward_samples": 1000.0,
        }
    )


@dataclass(frozen=True)
class Truth:
    """Exact answers about a surface, by midpoint rules on a dense tensor grid."""

    surface: Surface
    nodes: int = 64

    def tensor(self) -> tuple[Floats, Floats]:
        """The nodes of one axis (k,) and the means on all of them (k, k, k)."""
        x = (np.arange(self.nodes) + 0.5) / self.nodes
        grid = np.stack(np.meshgrid(x, x, x, indexing="ij"), -1).reshape(-1, 3)
        return x, self.surface.mean(grid).reshape(self.nodes, self.nodes, self.nodes)

    def shares(self) -> dict[str, Floats]:
        """First-order and total shares of the variance, (d,) each."""
        _, y = self.tensor()
        total = y.var()
        axes = (0, 1, 2)
        first = [y.mean(tuple(a for a in axes if a != i)).var() / total for i in axes]
        last = [1 - y.mean(i).var() / total for i in axes]
        return {"first": np.array(first), "total": np.array(last)}

    def marginal(self, i: int) -> tuple[Floats, Floats]:
        x, y = self.tensor()
        return x, y.mean(tuple(a for a in (0, 1, 2) if a != i))
