"""Which metric is judged, in which direction, and its twin on the test set."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from hpsearch.analysis.columns import NOT_TRAINED, TRAINED, numeric
from hpsearch.analysis.configurations import metric_column
from hpsearch.errors import InputError

if TYPE_CHECKING:
    from hpsearch.study import Study

MINIMIZED = ("loss", "error", "perplexity", "seconds", "flops")  # guessed from the name only without a study


@dataclass(frozen=True)
class Objective:
    """A metric and its direction. `share`: its values are shares in [0, 1], shown in percent."""

    name: str
    column: str
    maximize: bool
    share: bool

    @property
    def sign(self) -> float:
        """Times a value: larger is better."""
        return 1.0 if self.maximize else -1.0

    @property
    def unit(self) -> str:
        return "share" if self.share else self.name


def find_objectives(
    table: pd.DataFrame, study: "Study | None", objectives: dict[str, str] | None
) -> tuple[tuple[Objective, ...], bool]:
    """The objectives, of which the first selects, and whether they were guessed from the columns."""
    given = objectives if objectives is not None else dict(study.objectives) if study is not None else {}
    for name, direction in given.items():
        if direction not in ("maximize", "minimize"):
            raise InputError(f"objective {name} must be maximize or minimize, but got {direction!r}")
    if given:
        return tuple(make_objective(table, n, d == "maximize") for n, d in given.items()), False
    guess = _guess(table)
    if guess is None:
        return (), True
    return (make_objective(table, guess, not any(word in guess for word in MINIMIZED)),), True


def on_test(table: pd.DataFrame, objective: Objective) -> Objective | None:
    """The same metric on the test set, where the table has a value of it."""
    if not objective.name.startswith("val_"):
        return None
    twin = make_objective(table, "test_" + objective.name.removeprefix("val_"), objective.maximize)
    return twin if numeric(table, twin.column).notna().any() else None


def make_objective(table: pd.DataFrame, name: str, maximize: bool) -> Objective:
    column = metric_column(table, name)
    values = numeric(table, column)[table["status"].isin((TRAINED, *NOT_TRAINED))].dropna()
    named = any(word in name for word in ("accuracy", "error"))
    return Objective(name, column, maximize, share=bool(named and values.between(0, 1).all()))


def _guess(table: pd.DataFrame) -> str | None:
    names = [str(c).removeprefix("metrics.") for c in table.columns if str(c).startswith("metrics.")]
    names = [name for name in names if numeric(table, f"metrics.{name}").notna().any()]
    preferred = [name for name in ("val_accuracy", "val_loss") if name in names]
    validation = [name for name in names if name.startswith("val_")]
    return next(iter(preferred + validation + names), None)
