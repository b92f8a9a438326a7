"""Sensitivity across tasks: what one setting for all loses against tuning for each, and how much must be tuned.

After Adkins, Bowling and White, A Method for Evaluating Hyperparameter Sensitivity in Reinforcement Learning
(arXiv 2412.07165). Scores are normalised on each task, so that tasks weigh alike: 0 is the 5th and 1 the 95th
percentile of the means of all settings of all arms compared. They are not clipped: a setting that does not train has
the score of what it reached, however far below 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hpsearch.analysis.across_arm import SAME, ArmAcross
from hpsearch.analysis.across_measured import measure
from hpsearch.analysis.across_runs import Run, Scale, Task, fixed_apart, scale_of, shared_arms, tasks_of
from hpsearch.analysis.across_surrogate import kept_beside, predict
from hpsearch.analysis.objective import Objective

__all__ = ["Across", "ArmAcross", "Run", "Scale", "compare_runs"]

Told = Callable[[str], None]


@dataclass(frozen=True)
class Across:
    """Several runs, one per task. tasks: names of those compared. scales: of their scores. arms: those compared, in the
    first run's order. left_out: arm -> why; runs_left_out: run -> why. held_apart: arm -> what it holds fixed at other
    values on other tasks. reason: why nothing is compared; empty where something is.
    """

    objective: Objective | None
    tasks: tuple[str, ...]
    scales: tuple[Scale, ...]
    arms: tuple[ArmAcross, ...]
    left_out: dict[str, str]
    runs_left_out: dict[str, str]
    held_apart: dict[str, tuple[str, ...]]
    reason: str = ""


def compare_runs(runs: Sequence[Run], seed: int = 0, told: Told = lambda step: None) -> Across:
    """Arms are matched by name, hyperparameters by name and scale, configurations by their values.

    An arm is read off the runs' surrogates where their intervals may be given: in simulated comparisons these held,
    and on smooth responses were a third as wide as what shared configurations alone give. Where they may not, an arm
    of which the runs share at least half of the configurations, each with two seeds or more, is measured on these,
    without a model. Else it has the surrogates' numbers without intervals. Surrogates take some seconds an arm and run
    unless `Run.analysis` has them. told: called with each step's name.
    Raises InputError where the runs' first objectives differ, or two runs have one name.
    """
    tasks, runs_left_out = tasks_of(runs)
    shared, left_out = shared_arms(tasks)
    scales = [scale_of(task, shared) for task in tasks]
    for task, scale in zip(tasks, scales, strict=True):
        if scale is None and shared:
            runs_left_out[task.name] = "all settings score the same there"
    usable = [(task, scale) for task, scale in zip(tasks, scales, strict=True) if scale is not None]
    goal = tasks[0].objective if tasks else None
    reason = _why_nothing(len(runs), len(usable), shared, runs_left_out)
    if reason:
        return Across(goal, tuple(t.name for t, _ in usable), (), (), left_out, runs_left_out, {}, reason)
    found: list[ArmAcross] = []
    for arm in shared:
        told(f"{arm} on {len(usable)} tasks")
        made = _arm(arm, [t for t, _ in usable], [s for _, s in usable], seed)
        if isinstance(made, str):
            left_out[arm] = made
        else:
            found.append(made)
    apart = {one.arm: tuple(fixed_apart(one.arm, [t for t, _ in usable])) for one in found}
    return Across(
        objective=goal,
        tasks=tuple(task.name for task, _ in usable),
        scales=tuple(scale for _, scale in usable),
        arms=tuple(found),
        left_out=left_out,
        runs_left_out=runs_left_out,
        held_apart={arm: names for arm, names in apart.items() if names},
        reason="" if found else "no arm can be compared: see why each is left out",
    )


def _arm(arm: str, tasks: Sequence[Task], scales: Sequence[Scale], seed: int) -> ArmAcross | str:
    measured = measure(arm, tasks, scales)
    models = [task.model(arm, seed) for task in tasks]
    predicted = predict(arm, tasks, scales, models, seed)
    if isinstance(measured, str):
        return f"{measured}; {predicted}" if isinstance(predicted, str) else predicted
    if not isinstance(predicted, str) and (predicted.loss.has_interval or predicted.loss.why == SAME):
        return replace(predicted, check=measured.loss)
    if measured.kept:
        return measured
    kept, why = kept_beside(measured.params, tasks, scales, models, seed)
    return replace(measured, kept=kept, why_no_kept=f"{measured.why_no_kept}; {why}" if why else "")


def _why_nothing(given: int, usable: int, shared: Sequence[str], without: dict[str, str]) -> str:
    if given < 2:
        return "one run: a comparison across tasks needs two"
    if usable >= 2 and shared:
        return ""
    if not shared and not without:
        return "the runs have no arm in common that searched the same hyperparameters"
    told = "; ".join(f"{name}: {why}" for name, why in without.items())
    return f"fewer than two runs can be compared: {told}" if told else "the runs have no arm in common"
