"""What was run: counts by arm and status, compute, time, hardware, versions, errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hpsearch.analysis.columns import COSTS, STATUSES, numeric, plain

HARDWARE = ("host", "device", "threads", "concurrent", "together")


@dataclass(frozen=True)
class Total:
    """A cost summed over all trials, confirmation and failed ones included; `n_unknown` trials lack it."""

    amount: float
    n_known: int
    n_unknown: int


@dataclass(frozen=True)
class Overview:
    """counts: one row per arm: configurations, trials, the statuses, confirm (trials that confirm).

    totals: by cost. hardware and versions: distinct values by column, with how many trials have each.
    errors: the last line of each error text and its count, most frequent first.
    """

    n_trials: int
    seeds: tuple[int, ...]
    confirm_seeds: tuple[int, ...]
    counts: pd.DataFrame
    totals: dict[str, Total]
    started: tuple[str, str] | None
    hardware: dict[str, dict[str, int]]
    versions: dict[str, dict[str, int]]
    errors: dict[str, int]


def describe_run(table: pd.DataFrame, arms: Sequence[str]) -> Overview:
    confirm = table["sampling.confirm"]
    versions = [str(c) for c in table.columns if str(c).startswith("versions.")]
    started = sorted(_counts(table, "started"))
    return Overview(
        n_trials=len(table),
        seeds=_seeds(table[~confirm]),
        confirm_seeds=_seeds(table[confirm]),
        counts=_count_trials(table, arms),
        totals={name: total for name in COSTS if (total := _total(table, f"cost.{name}")).n_known},
        started=(started[0], started[-1]) if started else None,
        hardware={c: found for c in HARDWARE if (found := _counts(table, c))},
        versions={c.removeprefix("versions."): found for c in versions if (found := _counts(table, c))},
        errors=_errors(table),
    )


def _count_trials(table: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    rows = []
    for arm in arms:
        trials = table[table["arm"] == arm]
        by_status = trials["status"].value_counts()
        rows.append(
            {
                "arm": arm,
                "configurations": trials["configuration_id"].nunique(),
                "trials": len(trials),
                "confirm": int(trials["sampling.confirm"].sum()),
                **{status: int(by_status.get(status, 0)) for status in STATUSES},
            }
        )
    return pd.DataFrame(rows, columns=["arm", "configurations", "trials", "confirm", *STATUSES])


def _total(table: pd.DataFrame, column: str) -> Total:
    values = numeric(table, column)
    known = int(values.notna().sum())
    return Total(float(values.sum()), known, len(values) - known)


def _counts(table: pd.DataFrame, column: str) -> dict[str, int]:
    if column not in table.columns:
        return {}
    values = table[column].map(plain).dropna()
    return {_text(value): int(n) for value, n in values.value_counts().items()}


def _text(value: object) -> str:
    """Whole numbers without the .0 that a column with nulls gives them."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _seeds(table: pd.DataFrame) -> tuple[int, ...]:
    return tuple(sorted({int(s) for s in numeric(table, "seed").dropna()}))


def _errors(table: pd.DataFrame) -> dict[str, int]:
    if "error" not in table.columns:
        return {}
    texts = table["error"].map(plain).dropna().astype(str).str.strip()
    lines = texts[texts != ""].map(lambda text: text.splitlines()[-1])
    return {str(line): int(n) for line, n in lines.value_counts().items()}
