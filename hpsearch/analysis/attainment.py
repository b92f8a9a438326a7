"""What every seed on its own reaches for its compute: attainment over seeds, and hypervolume."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.columns import COSTS, TRAINED, numeric
from hpsearch.analysis.configurations import KEYS
from hpsearch.analysis.estimate import LEVEL, Estimate, estimate
from hpsearch.analysis.objective import Objective

Floats = NDArray[np.float64]

PERCENTS = (25, 50, 75)  # of the seeds
FEWEST = 3  # seeds for an interval
MARGIN = 1.1  # the reference's compute, times the largest there is

METHOD = (
    "fronts of single seeds, empirical attainment function and hypervolume (moocore); t over the seeds, paired by seed "
    "for differences, Bonferroni over the arms"
)
ASSUMES = (
    "seeds drawn at random; every seed selects its own configurations on the runs it is judged by, so each front is "
    "optimistic; the configurations are those tried"
)


@dataclass(frozen=True)
class Attainment:
    """One arm, one way to count compute.

    curves: columns percent, compute, value: at least `percent` of the seeds have a run with this compute or less
    and this value or better (metric's unit); corners of a staircase, by percent and compute.
    hypervolume: over the seeds, the share of the box between the reference and (no compute, the best value of any arm)
    that a seed's front dominates; without an interval below three seeds. difference: to the first arm, by seed.
    reference: compute and value, the same for all arms. n_seeds: seeds used; n_configurations: those of the
    arm that trained at least once. The intervals hold together over `comparisons` arms with confidence `level`.
    """

    arm: str
    compute: str
    curves: pd.DataFrame
    hypervolume: Estimate
    difference: Estimate | None
    reference: tuple[float, float]
    n_seeds: int
    n_configurations: int
    level: float
    comparisons: int
    method: str = METHOD
    assumes: str = ASSUMES


def attainments(
    trials: pd.DataFrame,
    arms: Sequence[str],
    objective: Objective,
    level: float = LEVEL,
    reference: dict[str, tuple[float, float]] | None = None,
) -> tuple[Attainment, ...]:
    """Per cost and arm. trials: as `standard` returns. `reference`: per cost its compute and value.

    Only runs that trained enter: one that diverged ended early and looks cheap. Without a reference it is 1.1
    times the largest compute and the worst value of those runs: it moves when runs are added, so compare
    hypervolumes within one analysis only. Seeds that have less than half of an arm's configurations are left out.
    """
    found: list[Attainment] = []
    for cost in COSTS:
        runs = _runs(trials, objective, cost)
        runs = runs[runs["arm"].isin(list(arms))]
        if len(runs):
            given = (reference or {}).get(cost)
            corner = given or (MARGIN * float(runs["compute"].max()), float(objective.sign * runs["gain"].min()))
            found += _of_cost(runs, arms, objective, cost, corner, level)
    return tuple(found)


def _runs(trials: pd.DataFrame, objective: Objective, cost: str) -> pd.DataFrame:
    """Trained selection runs: arm, configuration_id, seed, compute, gain (larger is better). A repeated row is one."""
    rows = trials[~trials["sampling.confirm"] & (trials["status"] == TRAINED)]
    values = {name: rows[name] for name in KEYS}
    values["seed"] = rows["seed"] if "seed" in rows.columns else pd.Series(0, index=rows.index)
    values["compute"] = numeric(rows, f"cost.{cost}")
    values["gain"] = objective.sign * numeric(rows, objective.column)
    return pd.DataFrame(values).dropna().groupby([*KEYS, "seed"], as_index=False, sort=False).mean()


def _of_cost(
    runs: pd.DataFrame,
    arms: Sequence[str],
    objective: Objective,
    cost: str,
    reference: tuple[float, float],
    level: float,
) -> list[Attainment]:
    parts = {arm: _whole_seeds(runs[runs["arm"] == arm]) for arm in arms}
    parts = {arm: part for arm, part in parts.items() if len(part)}
    top = max(float(part["gain"].max()) for part in parts.values()) if parts else 0.0
    each = 1 - (1 - level) / max(1, len(parts))
    volumes = {arm: _hypervolumes(part, reference, objective.sign, top) for arm, part in parts.items()}
    control = volumes.get(arms[0])
    return [
        Attainment(
            arm=arm,
            compute=cost,
            curves=_curves(part, objective.sign),
            hypervolume=_estimate(volumes[arm], each),
            difference=None if arm == arms[0] or control is None else _estimate(volumes[arm] - control, each),
            reference=reference,
            n_seeds=len(volumes[arm]),
            n_configurations=int(part["configuration_id"].nunique()),
            level=level,
            comparisons=len(parts),
        )
        for arm, part in parts.items()
    ]


def _whole_seeds(part: pd.DataFrame) -> pd.DataFrame:
    counts = part["seed"].value_counts()
    return part[part["seed"].isin(counts.index[counts >= 0.5 * counts.max()])] if len(part) else part


def _curves(part: pd.DataFrame, sign: float) -> pd.DataFrame:
    points = np.column_stack([part["compute"], -part["gain"]]).astype(float)
    order = np.argsort(part["seed"].to_numpy(), kind="stable")  # moocore wants the points of a set together
    sets = pd.factorize(part["seed"].to_numpy()[order])[0] + 1
    reached = np.asarray(moocore.eaf(points[order], sets, percentiles=list(PERCENTS)), dtype=float)
    curves = pd.DataFrame({"percent": reached[:, 2], "compute": reached[:, 0], "value": -sign * reached[:, 1]})
    return curves.sort_values(["percent", "compute"], ignore_index=True)


def _hypervolumes(part: pd.DataFrame, reference: tuple[float, float], sign: float, top: float) -> pd.Series:
    """Per seed, in [0, 1]; 0 where no value is better than the reference."""
    compute, worst = reference[0], sign * reference[1]
    height = top - worst
    if not (height > 0 and compute > 0):
        return part.groupby("seed")["gain"].agg(lambda g: 0.0)
    scaled = part.assign(x=part["compute"] / compute, y=(top - part["gain"]) / height)
    volumes = {
        seed: float(moocore.hypervolume(rows[["x", "y"]].to_numpy(float), ref=[1.0, 1.0]))
        for seed, rows in scaled.groupby("seed")
    }
    return pd.Series(volumes, dtype=float)


def _estimate(values: pd.Series, level: float) -> Estimate:
    """Without an interval below three seeds."""
    made = estimate(values.dropna(), level)
    return made if made.n >= FEWEST else Estimate(made.n, made.mean, made.sd, math.nan, math.nan)
