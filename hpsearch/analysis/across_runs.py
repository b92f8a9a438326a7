"""Several runs side by side: whether they can be compared, which arms they share, the scale of scores on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis import Analysis
from hpsearch.analysis.arms import ArmFacts, describe_arms
from hpsearch.analysis.calibration import EVEN
from hpsearch.analysis.columns import standard
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.model import Model, fit_model, samplers_of
from hpsearch.analysis.objective import Objective, find_objectives
from hpsearch.analysis.writing import listed
from hpsearch.errors import InputError, one_line

if TYPE_CHECKING:
    from hpsearch.study import Study

Floats = NDArray[np.float64]

PERCENTILES = (5.0, 95.0)


@dataclass(frozen=True)
class Run:
    """What was run on one task. name: of the task, as it is shown. analysis: where it is made already; its models are
    taken then. objectives (name -> direction): of a table without a study.
    """

    name: str
    trials: pd.DataFrame
    study: Study | None = None
    analysis: Analysis | None = None
    objectives: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Scale:
    """Scores of a task: 0 at `zero`, 1 at `one`, in the metric's unit. n: configurations that it was taken from."""

    task: str
    zero: float
    one: float
    unit: str
    n: int

    @property
    def width(self) -> float:
        """In the metric's unit; negative for a metric that is minimised."""
        return self.one - self.zero

    def scores(self, values: Floats) -> Floats:
        return np.asarray((values - self.zero) / self.width)


@dataclass(frozen=True)
class Task:
    """A run with what comparisons read of it."""

    run: Run
    trials: pd.DataFrame
    objective: Objective
    arms: dict[str, ArmFacts]
    configurations: pd.DataFrame

    @property
    def name(self) -> str:
        return self.run.name

    def rows(self, arm: str) -> pd.DataFrame:
        """The arm's configurations with a mean."""
        own = self.configurations[(self.configurations["arm"] == arm) & (self.configurations["n"] > 0)]
        return own.reset_index(drop=True)

    def model(self, arm: str, seed: int) -> Model:
        """The arm's model: the analysis' own, or one that is fitted now."""
        answers = None if self.run.analysis is None else self.run.analysis.answers
        for found in () if answers is None else answers.arms:
            if found.arm == arm:
                return found.model
        facts = self.arms[arm]
        return fit_model(self.trials, self.configurations, facts, self.objective, self.run.study, seed=seed)


def tasks_of(runs: Sequence[Run]) -> tuple[list[Task], dict[str, str]]:
    """The runs that have results, and why not, by name, of the others.

    Raises InputError where two are not after the same objective, or have one name.
    """
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise InputError(f"runs that are compared must have different names, but got {listed(names)}")
    found: list[Task] = []
    without: dict[str, str] = {}
    for run in runs:
        task = _task(run)
        if task is None:
            without[run.name] = "no objective was found in its trials"
        elif not (task.configurations["n"] > 0).any():
            without[run.name] = f"no trial ended with {one_line(task.objective.name, 60)}"
        else:
            found.append(task)
    goals = {(task.objective.name, task.objective.maximize) for task in found}
    if len(goals) > 1:
        told = "; ".join(
            f"{one_line(t.name)}: {'maximize' if t.objective.maximize else 'minimize'} {one_line(t.objective.name)}"
            for t in found
        )
        raise InputError(f"runs that are compared must have the same first objective and direction, but got {told}")
    return found, without


def shared_arms(tasks: Sequence[Task]) -> tuple[list[str], dict[str, str]]:
    """Names of the arms that all tasks have, with the same hyperparameters on the same scales; why not, by name, of
    the others.
    """
    names = list(dict.fromkeys(name for task in tasks for name in task.arms))
    shared, without = [], {}
    for name in names:
        why = _why_not_shared(name, tasks)
        if why:
            without[name] = why
        else:
            shared.append(name)
    return shared, without


def scale_of(task: Task, arms: Sequence[str]) -> Scale | None:
    """Percentiles 5 and 95 of the configurations' means of these arms; None where all are alike.

    Configurations that a sampler chose by results crowd where it is good, so those that none did make the scale where
    there are any.
    """
    rows = task.configurations[task.configurations["arm"].isin(list(arms)) & (task.configurations["n"] > 0)]
    drawn = samplers_of(task.trials[~task.trials["sampling.confirm"]])
    even = rows[rows["configuration_id"].astype(str).map(drawn).isin(EVEN)]
    means = task.objective.sign * (even if len(even) else rows)["mean"].to_numpy(float)
    if not len(means):
        return None
    zero, one = (float(v) for v in np.percentile(means, PERCENTILES))
    if not one - zero > 1e-12 * max(1.0, abs(one)):
        return None
    return Scale(task.name, task.objective.sign * zero, task.objective.sign * one, task.objective.unit, len(means))


def fixed_apart(arm: str, tasks: Sequence[Task]) -> list[str]:
    """What the arm holds fixed at values that differ between tasks: that much of the setting is not one for all."""
    names = dict.fromkeys(name for task in tasks for name in task.arms[arm].fixed)
    return [name for name in names if len({repr(task.arms[arm].fixed.get(name)) for task in tasks}) > 1]


def _task(run: Run) -> Task | None:
    if run.analysis is not None:
        goal, trials = run.analysis.objective, run.analysis.trials
        facts: Sequence[ArmFacts] = run.analysis.arms
        rows = run.analysis.configurations
        return None if goal is None else Task(run, trials, goal, {a.name: a for a in facts}, rows)
    trials = standard(run.trials)
    given = None if run.objectives is None else dict(run.objectives)
    goals, _ = find_objectives(trials, run.study, given)
    if not goals:
        return None
    facts = describe_arms(trials, run.study)
    rule = None if run.study is None else run.study.two_stage
    return Task(run, trials, goals[0], {a.name: a for a in facts}, summarize(trials, goals[0].column, rule))


def _why_not_shared(arm: str, tasks: Sequence[Task]) -> str:
    absent = [one_line(task.name, 40) for task in tasks if arm not in task.arms]
    if absent:
        return f"not in {listed(absent)}"
    empty = [one_line(task.name, 40) for task in tasks if not len(task.rows(arm))]
    if empty:
        return f"no result in {listed(empty)}"
    kinds = [{name: cells.axis.kind for name, cells in task.arms[arm].cells.items()} for task in tasks]
    if not kinds[0]:
        return "it searched no hyperparameter"
    names = dict.fromkeys(name for one in kinds for name in one)
    some = [name for name in names if any(name not in one for one in kinds)]
    if some:
        return f"{listed([one_line(n, 40) for n in some])} not searched in every run"
    apart = [name for name in names if len({one[name] for one in kinds}) > 1]
    return f"another scale of {listed([one_line(n, 40) for n in apart])} in some runs" if apart else ""
