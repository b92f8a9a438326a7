"""A table of trials -> all statistics of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd

from hpsearch.analysis.answers import Answers, Options, Told, answer
from hpsearch.analysis.arms import ArmFacts, describe_arms
from hpsearch.analysis.best import Best, best_of_arms
from hpsearch.analysis.columns import standard
from hpsearch.analysis.compare import Difference, differences
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.decomposition import LEADING
from hpsearch.analysis.failures import Failures, failures
from hpsearch.analysis.objective import Objective, find_objectives, on_test
from hpsearch.analysis.overview import Overview, describe_run
from hpsearch.analysis.pareto import Front, fronts
from hpsearch.analysis.surface import Surface, surface

if TYPE_CHECKING:
    from hpsearch.study import Study

EVEN = ("grid", "random", "qmc")  # samplers that do not look at results


@dataclass(frozen=True)
class Analysis:
    """Everything that a report shows.

    trials: the table with all standard columns. objectives: the first one selects; empty if none was found.
    guessed: objectives and axes come from the columns and the observed values, not from a study.
    configurations: the rows of `summarize` for the first objective. answers: what needs a model of the response; None
    where that was not asked or no trial has the objective.
    """

    trials: pd.DataFrame
    objectives: tuple[Objective, ...]
    test: Objective | None
    guessed: bool
    arms: tuple[ArmFacts, ...]
    overview: Overview
    configurations: pd.DataFrame
    best: tuple[Best, ...]
    differences: tuple[Difference, ...]
    fronts: tuple[Front, ...]
    surfaces: tuple[Surface, ...]
    failures: tuple[Failures, ...]
    answers: Answers | None = None

    @property
    def objective(self) -> Objective | None:
        return self.objectives[0] if self.objectives else None

    @property
    def adaptive(self) -> tuple[int, int]:
        """Configurations that an adaptive sampler chose, and all of them; confirmation runs are neither."""
        selection = self.trials[~self.trials["sampling.confirm"]]
        if "sampling.sampler" not in selection.columns:
            return 0, selection["configuration_id"].nunique()
        chosen = selection["sampling.sampler"].notna() & ~selection["sampling.sampler"].isin(EVEN)
        return selection.loc[chosen, "configuration_id"].nunique(), selection["configuration_id"].nunique()

    @property
    def measured(self) -> bool:
        """Whether any configuration has a mean of the objective."""
        return bool((self.configurations["n"] > 0).any())


def analyze(
    table: pd.DataFrame,
    study: "Study | None" = None,
    objectives: dict[str, str] | None = None,
    options: Options | None = Options(),  # noqa: B008 - frozen
    told: Told = lambda step: None,
) -> Analysis:
    """All statistics of a table like `hpsearch.load`'s.

    study: gives ranges, defaults and objectives; without one they are taken from the observed values, and `guessed`
    says so. objectives (name -> maximize or minimize) overrules the study's. options: of the questions that need a
    model; None leaves these out, which takes a second instead of some ten. told: called with each step's name.
    Raises InputError for a table without the needed columns.
    """
    base = _tables(table, study, objectives)
    goal = base.objective
    if options is None or goal is None or not base.measured:
        return base
    made = answer(
        base.trials, base.configurations, base.arms, base.best, base.fronts, base.failures, goal, base.test or goal,
        study, options, told,
    )  # fmt: skip
    pairs = {arm.arm: tuple(arm.maps) for arm in made.arms if arm.maps}
    return replace(base, answers=made, surfaces=_surfaces(base.configurations, base.arms, pairs))


def _tables(table: pd.DataFrame, study: "Study | None", objectives: dict[str, str] | None) -> Analysis:
    trials = standard(table)
    goals, objectives_guessed = find_objectives(trials, study, objectives)
    arms = describe_arms(trials, study)
    names = [arm.name for arm in arms]
    metric = goals[0].column if goals else "val_accuracy"
    configurations = summarize(trials, metric, None if study is None else study.two_stage)
    test = on_test(trials, goals[0]) if goals else None
    best = best_of_arms(trials, configurations, names, goals[0], test, _seeds(study)) if goals else ()
    return Analysis(
        trials=trials,
        objectives=goals,
        test=test,
        guessed=objectives_guessed or study is None,
        arms=arms,
        overview=describe_run(trials, names),
        configurations=configurations,
        best=best,
        differences=differences(trials, names, best, test or goals[0]) if goals else (),
        fronts=fronts(configurations, goals) if goals else (),
        surfaces=_surfaces(configurations, arms, {}),
        failures=failures(configurations, arms),
    )


def _seeds(study: "Study | None") -> int | None:
    """How many each configuration has at least, where they differ in that by plan."""
    return None if study is None or study.two_stage is None else study.two_stage.min


def _surfaces(
    configurations: pd.DataFrame, arms: tuple[ArmFacts, ...], pairs: Mapping[str, Sequence[tuple[str, str]]]
) -> tuple[Surface, ...]:
    """A map per arm and pair of searched hyperparameters that has at least one measured cell.

    pairs: of the arms that have a surrogate, those that it was drawn over. Of the other arms the first eight
    hyperparameters: of twenty there would be 190 pairs.
    """
    made = []
    for arm in arms:
        for x, y in pairs.get(arm.name) or combinations(list(arm.cells)[:LEADING], 2):
            if {f"params.{x}", f"params.{y}"} <= set(configurations.columns):
                made.append(surface(configurations, arm.name, arm.cells[x], arm.cells[y]))
    return tuple(s for s in made if len(s.cells))
