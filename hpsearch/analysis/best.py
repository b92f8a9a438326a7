"""The best configurations of each arm, selected on the objective and estimated on confirmation runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hpsearch.analysis.axis import order_parameters
from hpsearch.analysis.columns import COSTS, NO_RESULT, NOT_TRAINED, Value, numeric, parameter_columns, plain
from hpsearch.analysis.estimate import Estimate, estimate
from hpsearch.analysis.objective import Objective


@dataclass(frozen=True)
class Confirmation:
    """Runs of a selected configuration on fresh seeds. `test` is None without a test metric."""

    objective: Estimate
    test: Estimate | None
    n_not_trained: int
    n_failed: int


@dataclass(frozen=True)
class Best:
    """One of an arm's best configurations; rank 1 has the best mean over the selection seeds.

    `selection` is optimistic: the best of many means. Only `confirmation` is an unbiased estimate.
    `params` has what was searched; beside_cliff: some of the arm's selection trials did not train; `compute` is the
    mean cost of a selection trial (samples, FLOPs, seconds).
    """

    arm: str
    rank: int
    configuration_id: str
    params: dict[str, Value]
    selection: Estimate
    n_not_trained: int
    n_configurations: int
    compute: dict[str, float]
    confirmation: Confirmation | None
    beside_cliff: bool = False

    @property
    def given_training(self) -> bool:
        """Whether the confirmed interval is of the runs that train only.

        Some of the arm's trials did not train and none of the confirming ones failed: how often a further seed would
        is not in their spread. Of all seeds the interval covered 70 % in simulated studies, of those that train 95 %.
        """
        return self.beside_cliff and self.confirmation is not None and self.confirmation.n_not_trained == 0

    @property
    def reported(self) -> Estimate | None:
        """The estimate that may be compared: of the test metric if there is one; None if never confirmed."""
        if self.confirmation is None:
            return None
        test = self.confirmation.test
        return test if test is not None and test.n else self.confirmation.objective


def best_of_arms(
    table: pd.DataFrame,
    configurations: pd.DataFrame,
    arms: Sequence[str],
    objective: Objective,
    test: Objective | None,
    seeds: int | None = None,
) -> tuple[Best, ...]:
    """Per arm the configuration with the best mean, and every other one that was confirmed, best first.

    seeds: that make a configuration whole; None for as many as any of the arm has.
    """
    confirming = table[table["sampling.confirm"]]
    found: list[Best] = []
    for arm in arms:
        rows = configurations[(configurations["arm"] == arm) & (configurations["n"] > 0)]
        # Where seeds are missing the mean is of the lucky ones: such a configuration comes after all whole ones.
        whole = (rows["n_missing"] == 0) & (rows["n_failed"] == 0) & (rows["n"] >= (seeds or rows["n"].max()))
        order = {"whole": False, "mean": not objective.maximize}
        rows = rows.assign(whole=whole).sort_values(list(order), ascending=list(order.values()), kind="stable")
        runs = dict(iter(confirming[confirming["arm"] == arm].groupby("configuration_id")))
        for rank, (_, row) in enumerate(rows.iterrows(), start=1):
            confirmed = runs.get(row["configuration_id"])
            if rank == 1 or confirmed is not None:
                confirmation = None if confirmed is None else _confirm(confirmed, objective, test)
                cliff = bool((rows["n_not_trained"] > 0).any())
                found.append(_best(row, arm, rank, len(rows), confirmation, cliff))
    return tuple(found)


def _best(
    row: pd.Series, arm: str, rank: int, n_configurations: int, confirmation: Confirmation | None, cliff: bool
) -> Best:
    names = order_parameters(c.removeprefix("params.") for c in parameter_columns(row.to_frame().T))
    values = {name: plain(row[f"params.{name}"]) for name in names}
    return Best(
        arm=arm,
        rank=rank,
        configuration_id=str(row["configuration_id"]),
        params={name: value for name, value in values.items() if value is not None},
        selection=Estimate(int(row["n"]), *(float(row[c]) for c in ("mean", "sd", "low", "high"))),
        n_not_trained=int(row["n_not_trained"]),
        n_configurations=n_configurations,
        compute={name: float(row[f"cost.{name}"]) for name in COSTS if pd.notna(row[f"cost.{name}"])},
        confirmation=confirmation,
        beside_cliff=cliff,
    )


def _confirm(runs: pd.DataFrame, objective: Objective, test: Objective | None) -> Confirmation | None:
    """None when no confirmation run ended with the objective: then nothing was confirmed."""
    ended = runs[~runs["status"].isin(NO_RESULT)]
    measured = estimate(numeric(ended, objective.column))
    if measured.n == 0:
        return None
    return Confirmation(
        objective=measured,
        test=None if test is None else estimate(numeric(ended, test.column)),
        n_not_trained=int(ended["status"].isin(NOT_TRAINED).sum()),
        n_failed=len(runs) - len(ended),
    )


def separated(best: Sequence[Best], maximize: bool) -> dict[str, tuple[str, ...]]:
    """Per arm the arms whose best configuration it beats: both confirmed, their intervals do not overlap."""
    first = {b.arm: b.reported for b in best if b.rank == 1}
    found: dict[str, tuple[str, ...]] = {}
    for arm, own in first.items():
        others = [(name, e) for name, e in first.items() if name != arm and e is not None]
        beaten = [n for n, e in others if own and not own.overlaps(e) and (own.mean > e.mean) == maximize]
        if beaten:
            found[arm] = tuple(beaten)
    return found
