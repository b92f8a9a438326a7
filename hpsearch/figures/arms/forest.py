"""Arms against the control as forest plots: each arm's best on fresh seeds, then searches at equal budgets."""

from __future__ import annotations

from hpsearch.figures.arms import difference, equal_budget
from hpsearch.figures.picture import Missing, Picture
from hpsearch.figures.result import Result


def pictures(result: Result) -> list[Picture | Missing]:
    """`differences` and `equal-budgets`."""
    return [*difference.pictures(result), *equal_budget.pictures(result)]
