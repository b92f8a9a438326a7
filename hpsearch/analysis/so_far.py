"""The table as it stood at fractions of the epochs: what every trial had come to by then, from its curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.columns import NO_RESULT, NOT_TRAINED, TRAINED, numeric, plain
from hpsearch.analysis.configurations import KEYS
from hpsearch.analysis.objective import Objective
from hpsearch.errors import InputError, show

Floats = NDArray[np.float64]

FRACTIONS = (0.1, 0.25, 0.5, 1.0)
DIVERGED = "diverged"


def at_fractions(
    trials: pd.DataFrame, objective: Objective, fractions: Sequence[float] = FRACTIONS
) -> dict[float, pd.DataFrame] | str:
    """fraction -> the trials that have a curve of the objective, as they stood then; or why there is nothing to see.

    trials: as `standard` returns, with curve.*. In each table the objective's column is its value at the last recorded
    epoch <= ceil(fraction * epochs_planned), every trial by its own number of epochs, and `status` is the status then;
    `at_epoch` is that epoch. At 1 both are the final ones.

    A trial that diverged counts as trained, with its curve's value, up to the last epoch for which it has one; after
    that as diverged, with its final metric, the constant predictor's. One that collapsed is collapsed at every
    fraction. One that was stopped or failed is complete up to the epoch it reached, and has no value after it.

    Raises InputError for fractions outside (0, 1] or not in increasing order, and for a curve without one value for
    each of its epochs.
    """
    wanted = tuple(float(fraction) for fraction in fractions)
    rising = all(a < b for a, b in zip(wanted, wanted[1:], strict=False))
    if not wanted or not rising or not all(0 < fraction <= 1 for fraction in wanted):
        raise InputError(
            f"fractions: got {show(tuple(fractions))}; allowed: numbers in (0, 1], each larger than the last"
        )
    name = objective.column.split(".", 1)[-1]
    if f"curve.{name}" not in trials.columns:
        return f"no trial has a curve of {name}: it was not recorded along training"
    histories = [_History.of(row, name, final) for row, final in _rows(trials, objective)]
    planned = _planned(trials, histories)
    kept = np.array([h.known for h in histories], dtype=bool) & np.isfinite(planned)
    if not kept.any():
        return f"no trial has a curve of {name}: it was not recorded along training"
    if max(len(h.epochs) for h in histories) < 2:
        return f"{name} was recorded once a trial: there is nothing along training"
    table = trials[kept]
    known = [(history, epochs) for history, epochs, k in zip(histories, planned, kept, strict=True) if k]
    return {fraction: _table_at(table, known, objective.column, fraction) for fraction in wanted}


@dataclass(frozen=True)
class _History:
    """One trial. epochs, values (k,): those with a value, by epoch. last: the last epoch that was recorded at all.

    known: whether anything can be said of it along training.
    """

    status: str
    final: float
    epochs: Floats
    values: Floats
    last: float
    known: bool

    @classmethod
    def of(cls, row: dict[str, object], name: str, final: float) -> _History:
        status = str(row["status"])
        values, epochs = _numbers(row[f"curve.{name}"]), _numbers(row.get("curve.epoch"))
        if values is None:  # who diverges may not get as far as an evaluation
            gone = status == DIVERGED and epochs is not None and len(epochs) > 0
            return cls(status, final, np.empty(0), np.empty(0), _last(epochs), gone)
        if epochs is None:
            epochs = np.arange(1.0, len(values) + 1)
        if len(epochs) != len(values):
            raise InputError(
                f"curve.{name}: has {len(values)} values for the {len(epochs)} of curve.epoch in trial "
                f"{show(row.get('trial_id'))}; allowed: one value, or null, for each epoch"
            )
        seen = np.isfinite(values) & np.isfinite(epochs)
        order = np.argsort(epochs[seen], kind="stable")
        known = bool(seen.any()) or (status == DIVERGED and len(epochs) > 0)
        return cls(status, final, epochs[seen][order], values[seen][order], _last(epochs), known)

    def at(self, epoch: float) -> tuple[str, float]:
        """The status and the metric after this epoch of training."""
        if self.status == DIVERGED and not (len(self.epochs) and epoch <= self.epochs[-1]):
            return DIVERGED, self.final
        if self.status in NO_RESULT and epoch > self.last:
            return self.status, math.nan
        before = int(np.searchsorted(self.epochs, epoch, side="right"))
        status = TRAINED if self.status in (DIVERGED, *NO_RESULT) else self.status
        return status, float(self.values[before - 1]) if before else math.nan

    def at_end(self) -> tuple[str, float]:
        return self.status, math.nan if self.status in NO_RESULT else self.final


def _table_at(
    table: pd.DataFrame, known: Sequence[tuple[_History, float]], column: str, fraction: float
) -> pd.DataFrame:
    # What floating point adds to 0.07 * 100 is no further epoch.
    epochs = [max(1, math.ceil(fraction * planned - 1e-9)) for _, planned in known]
    found = [h.at_end() if fraction == 1 else h.at(e) for (h, _), e in zip(known, epochs, strict=True)]
    values = np.array([value for _, value in found])
    return table.assign(status=[status for status, _ in found], at_epoch=epochs, **{column: values})


def _rows(trials: pd.DataFrame, objective: Objective) -> list[tuple[dict[str, object], float]]:
    names = ["status", *(c for c in trials.columns if str(c).startswith("curve.") or c == "trial_id")]
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*(trials[n] for n in names), strict=True)]
    return list(zip(rows, numeric(trials, objective.column), strict=True))


def _planned(trials: pd.DataFrame, histories: Sequence[_History]) -> Floats:
    """How many epochs each trial was to train, (n,); NaN where nothing tells.

    Where the table does not say (an import), one that trained did so to its end. A user's own function that diverged
    has only what it reported until then: it was to go as far as the other seeds of its configuration, or of its arm.
    """
    status = trials["status"]
    last = pd.Series([h.last for h in histories], index=trials.index, dtype=float)
    own = numeric(trials, "epochs_planned")
    ended = status.isin((TRAINED, *NOT_TRAINED)) & (status != DIVERGED)
    own = own.where(~(ended & own.isna()), last)
    open_ended = own.isna() | ((status == DIVERGED) & (own <= last))
    known = own.where(ended)
    of_configuration = known.groupby([trials[k] for k in KEYS]).transform("max")
    by_arm = known.groupby(trials["arm"])
    of_arm = by_arm.transform("max").where(own.isna() | (by_arm.transform("nunique") == 1))
    told = np.fmax(own, of_configuration.fillna(of_arm))
    return np.asarray(own.where(~open_ended, told), dtype=float)


def _numbers(cell: object) -> Floats | None:
    """A list of a curve, null as NaN; None where the trial has no curve."""
    if not isinstance(cell, list | tuple | np.ndarray):
        return None
    values = [plain(value) for value in cell]
    return np.array([math.nan if v is None or isinstance(v, str) else float(v) for v in values])


def _last(epochs: Floats | None) -> float:
    return math.nan if epochs is None or not np.isfinite(epochs).any() else float(np.nanmax(epochs))
