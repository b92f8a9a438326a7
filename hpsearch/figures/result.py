"""What figures draw: the document of analysis.json and the trials behind it. Figures compute nothing of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from hpsearch.analysis.axis import Axis, order_parameters
from hpsearch.analysis.columns import COSTS, standard
from hpsearch.analysis.configurations import metric_column
from hpsearch.analysis.objective import Objective
from hpsearch.errors import InputError, nearest, show
from hpsearch.figures.hover import configuration_texts
from hpsearch.figures.style import Look, arm_looks

if TYPE_CHECKING:
    from hpsearch.analysis import Analysis
    from hpsearch.study import Study


@dataclass(frozen=True)
class Result:
    """document: as in analysis.json (analysis/schema.json says what each key is). trials: a row a trial, the columns of
    hpsearch.load. study: where it is known.
    """

    document: dict[str, Any]
    trials: pd.DataFrame
    study: Study | None = None

    @cached_property
    def arms(self) -> list[str]:
        """Names, in the study's order."""
        return [entry["arm"] for entry in self.document["arms"]]

    @cached_property
    def looks(self) -> dict[str, Look]:
        """How each arm is drawn, in every figure."""
        return arm_looks(self.arms)

    @cached_property
    def objective(self) -> Objective | None:
        """The metric that selects."""
        found = self.document["objectives"]
        return self._objective(found[0]) if found else None

    @cached_property
    def judged(self) -> Objective | None:
        """The metric by which confirmed configurations are judged: the objective on the test set where it is known."""
        found = self.document["judged_by"]
        return None if found is None else self._objective(found)

    @cached_property
    def reason(self) -> str:
        """Why there is nothing to draw at all; empty where there is something."""
        kinds = [one for one in self.document["findings"] if one["kind"] == "nothing"]
        return str(kinds[0]["text"]) if kinds else ""

    def arm(self, name: str) -> dict[str, Any]:
        """An arm's entry of the document. Raises InputError for a name that is none."""
        return dict(self._entry(name))

    def _entry(self, name: str) -> dict[str, Any]:
        if name not in self._arms:
            near = nearest(name, self.arms)
            hint = f"; did you mean {near!r}?" if near else ""
            raise InputError(f"arm {show(name)}: there is none of that name; allowed: {', '.join(self.arms)}{hint}")
        return self._arms[name]

    def answers(self, arm: str) -> dict[str, Any] | None:
        """An arm's answers, which need a surrogate or at least were asked for; None where no question was asked."""
        return self._entry(arm)["answers"]  # type: ignore[no-any-return]

    def searched(self, arm: str) -> list[str]:
        """The hyperparameters that an arm searched, in display order."""
        return [entry["parameter"] for entry in self._entry(arm)["searched"]]

    def arms_that_searched(self, *parameters: str) -> list[str]:
        return [arm for arm in self.arms if set(parameters) <= set(self.searched(arm))]

    @cached_property
    def parameters(self) -> list[str]:
        """What any arm searched, in display order."""
        return order_parameters(name for arm in self.arms for name in self.searched(arm))

    def axis(self, parameter: str, arm: str | None = None) -> Axis:
        """The axis of one arm's hyperparameter, or one on which all arms that searched it can be overlaid."""
        arms = self.arms_that_searched(parameter) if arm is None else [arm]
        found = [_axis(e) for name in arms for e in self._arms[name]["searched"] if e["parameter"] == parameter]
        return found[0] if len(found) == 1 else Axis.merged(found)

    @cached_property
    def configurations(self) -> pd.DataFrame:
        """One row each: arm, configuration_id, params.* (None where it has none), mean, low, high, interval, sd, n,
        mean_trained, n_trained, n_not_trained, n_failed, n_missing, cost.* (means per trial; NaN where unknown).
        """
        rows = []
        for entry in self.document["configurations"]:
            row = {key: value for key, value in entry.items() if key not in ("params", "mean_cost")}
            row |= {f"params.{name}": value for name, value in entry["params"].items()}
            rows.append(row | {f"cost.{name}": value for name, value in entry["mean_cost"].items()})
        numbers = ("mean", "low", "high", "sd", "n", "mean_trained", "n_trained", "n_not_trained", "n_failed")
        made = pd.DataFrame(rows)
        for column in ("arm", "configuration_id", "interval"):
            made[column] = made[column] if column in made else pd.Series(dtype=object)
        for column in (*numbers, "n_missing", *(f"cost.{name}" for name in COSTS)):
            made[column] = pd.to_numeric(made[column]) if column in made else pd.Series(dtype=float)
        return made

    @cached_property
    def hovers(self) -> pd.Series:
        """What stands under the pointer at each configuration; the index is that of `configurations`."""
        rows = self.configurations
        texts = [] if self.objective is None else configuration_texts(rows, self.objective)
        return pd.Series(texts, index=rows.index[: len(texts)], dtype=object)

    def method(self, key: str) -> dict[str, Any]:
        """The text of a method that a number names, what its n counts, what it assumes."""
        return dict(self.document["methods"][key])

    @cached_property
    def _arms(self) -> dict[str, dict[str, Any]]:
        return {entry["arm"]: entry for entry in self.document["arms"]}

    def _objective(self, entry: dict[str, Any]) -> Objective:
        name = str(entry["name"])
        column = metric_column(self.trials, name)
        return Objective(name, column, entry["direction"] == "maximize", share=entry["unit"] == "share")


Source: TypeAlias = "Result | Analysis | pd.DataFrame | str | Path"


def read_result(source: Source, study: Study | None = None, told: Callable[[str], None] = lambda step: None) -> Result:
    """What figures draw, of a run folder, a table like hpsearch.load's, an Analysis, or a Result, which is given back.

    A folder's analysis.json is read where it is of these trials and this study; else the analysis is made, which takes
    some 10 s for 300 trials, and written there. study: of a table; without one, ranges are those of the values.
    told: called with each step's name.
    Raises InputError for a folder without a run or a table without the needed columns.
    """
    if isinstance(source, Result):
        return source
    if isinstance(source, str | Path):
        from hpsearch.analysis.folder import current_document

        document, table, found = current_document(Path(source), told)
        return Result(document, standard(table), found)
    from hpsearch.analysis import analyze
    from hpsearch.analysis.document import to_document

    if isinstance(source, pd.DataFrame):
        source = analyze(source, study, told=told)
    return Result(to_document(source, study), source.trials, study)


def _axis(entry: dict[str, Any]) -> Axis:
    return Axis(
        entry["parameter"], entry["scale"], entry["low"], entry["high"], tuple(entry["choices"]), tuple(entry["grid"]),
        entry["whole_numbers"],
    )  # fmt: skip
