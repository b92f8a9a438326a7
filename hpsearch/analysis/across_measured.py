"""One setting for all tasks against one for each, on configurations that all runs share: no model.

The best of many on the seeds that chose it is optimistic, for the single setting as for the tuned ones. So the seeds
are split: settings are chosen on all seeds of a task but one, and scored on the one left out, in turn.

In simulated comparisons (2 and 4 tasks, 24 and 96 configurations, 200 of each) the 95 % interval of the loss held the
sensitivity of the definition in 94 to 100 % with 3 and 4 seeds, 93 to 99 % with 5, 89 to 97 % with 8: the lower ones
beside a cliff.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from hpsearch.analysis.across_arm import KEPT, SCORE, ArmAcross, Kept, OnTask, unless_same
from hpsearch.analysis.across_runs import Scale, Task
from hpsearch.analysis.answer import TAILS, Answer
from hpsearch.analysis.axis import key
from hpsearch.analysis.columns import NO_RESULT, Value, numeric, plain
from hpsearch.analysis.two_stage import same_seeds

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST_SHARE = 0.5  # of every run's configurations that must be in all runs
METHOD = (
    "chosen on all seeds of a task but one, scored on the one left out, in turn; mean over seeds, then over tasks; "
    "Student's t over the seeds left out, the variance corrected after Nadeau and Bengio (2003) because the choices "
    "share seeds, reaching at least to what the means over all seeds give; the tasks taken as given"
)


@dataclass(frozen=True)
class Shared:
    """Settings that all runs have. scores: per task (settings, seeds), normalised."""

    params: list[dict[str, Value]]
    scores: list[Floats]


@dataclass(frozen=True)
class HeldOut:
    """Scores on seeds left out, (tasks, folds): of what was chosen for each task, and for all."""

    tuned: Floats
    single: Floats


def measure(arm: str, tasks: Sequence[Task], scales: Sequence[Scale]) -> ArmAcross | str:
    """The arm's numbers, or why its configurations do not give them."""
    shared = shared_settings(arm, tasks, scales)
    if isinstance(shared, str):
        return shared
    found = leave_seeds_out(shared.scores)
    means = np.stack([y.mean(1) for y in shared.scores])  # (tasks, settings)
    common, own = int(means.mean(0).argmax()), means.argmax(1)
    best, there = means.max(1), means[:, common]  # (tasks,): the seeds choose and judge, so too good
    names = tuple(tasks[0].arms[arm].cells)
    kept, why = _kept(shared, names, found)
    return ArmAcross(
        arm=arm,
        way="measured",
        searched=names,
        settings=len(shared.params),
        seeds=found.tuned.shape[1],
        params=shared.params[common],
        tuned=answer_of(found.tuned, best),
        single=answer_of(found.single, there),
        loss=unless_same(answer_of(found.tuned - found.single, best - there)),
        tasks=tuple(
            _on_task(task.name, shared.params[int(own[t])], found, t, float(best[t]), float(there[t]), scale)
            for t, (task, scale) in enumerate(zip(tasks, scales, strict=True))
        ),
        kept=kept,
        why_no_kept=why,
    )


def shared_settings(arm: str, tasks: Sequence[Task], scales: Sequence[Scale]) -> Shared | str:
    """The settings of which all seeds ended in every run, matched by their values."""
    names = list(tasks[0].arms[arm].cells)
    tables = [_values(task, arm, names) for task in tasks]
    common = [same for same in tables[0] if all(same in other for other in tables[1:])]
    most = max(len(task.rows(arm)) for task in tasks)
    if len(common) < max(2, LEAST_SHARE * most):
        return f"the runs share {len(common)} of up to {most} configurations"
    if min(y.shape[1] for y in (np.stack([t[s][1] for s in common]) for t in tables)) < 2:
        return "one seed: nothing is left out to score a choice on"
    scores = [scale.scores(np.stack([t[s][1] for s in common])) for scale, t in zip(scales, tables, strict=True)]
    return Shared([tables[0][same][0] for same in common], scores)


def leave_seeds_out(scores: Sequence[Floats], alike: Mask | None = None) -> HeldOut:
    """scores: per task (settings, seeds). alike (settings, settings): which settings a task may choose, given the
    single one; all where None. A task with more seeds than another leaves out several at a time.
    """
    folds = min(y.shape[1] for y in scores)
    tuned, single = np.empty((len(scores), folds)), np.empty((len(scores), folds))
    for fold in range(folds):
        out = [np.arange(y.shape[1]) % folds == fold for y in scores]
        chosen_on = np.stack([y[:, ~left].mean(1) for y, left in zip(scores, out, strict=True)])  # (tasks, settings)
        common = int(chosen_on.mean(0).argmax())
        free = np.ones(chosen_on.shape[1], dtype=bool) if alike is None else alike[common]
        for t, (y, left) in enumerate(zip(scores, out, strict=True)):
            own = int(np.where(free, chosen_on[t], -np.inf).argmax())
            tuned[t, fold], single[t, fold] = y[own, left].mean(), y[common, left].mean()
    return HeldOut(tuned, single)


def interval(values: Floats) -> tuple[float, float, float]:
    """Mean of values (tasks, folds) and its 95 % interval; the degrees of freedom after Welch and Satterthwaite.

    Folds share the seeds that they choose on: 1 / folds becomes 1 / folds + held out / chosen on (Nadeau and Bengio).
    """
    n_tasks, folds = values.shape
    parts = values.var(1, ddof=1) * (1 / folds + 1 / (folds - 1)) / n_tasks**2
    variance = float(parts.sum())
    centre = float(values.mean())
    if variance == 0:
        return centre, centre, centre
    df = variance**2 / float((parts**2).sum() / (folds - 1))
    half = float(stdtrit(df, TAILS[1])) * math.sqrt(variance)
    return centre, centre - half, centre + half


def _values(task: Task, arm: str, names: Sequence[str]) -> dict[str, tuple[dict[str, Value], Floats]]:
    """A setting's text -> its values and its metric with every usual seed, (seeds,)."""
    trials = same_seeds(task.trials, task.run.study)
    own = trials[(trials["arm"] == arm) & ~trials["sampling.confirm"] & ~trials["status"].isin(NO_RESULT)]
    columns = [f"params.{name}" for name in names]
    records = own.reindex(columns=columns).astype(object).to_dict("records")
    params = [
        {n: v for n, c in zip(names, columns, strict=True) if (v := plain(row[c])) is not None} for row in records
    ]
    wide = pd.DataFrame(
        {
            "s": [_text(p) for p in params],
            "seed": numeric(own, "seed").to_numpy(),
            "v": numeric(own, task.objective.column).to_numpy(),
        }
    ).pivot_table(index="s", columns="seed", values="v", aggfunc="mean", sort=False)
    usual = wide.columns[wide.notna().mean() > 0.5]
    whole = wide[usual].dropna()
    known = {_text(p): p for p in params}
    return {str(s): (known[str(s)], y) for s, y in zip(whole.index, whole.to_numpy(float), strict=True)}


def _text(params: dict[str, Value]) -> str:
    """The same for values that are the same but for the last digits of a table's text."""
    shown = ((n, f"{v:.10g}" if isinstance(v, float) else v) for n, v in params.items())
    return repr([(n, key(v)) for n, v in shown])


def _kept(shared: Shared, names: tuple[str, ...], whole: HeldOut) -> tuple[tuple[Kept, ...], str]:
    """What tuning some hyperparameters alone keeps, of a grid without holes: scattered settings have no such sets."""
    same = {n: _equal([p.get(n) for p in shared.params]) for n in names}
    sizes = math.prod(len({repr(p.get(n)) for p in shared.params}) for n in names)
    if sizes != len(shared.params):
        return (), "the shared configurations are no whole grid"
    tuned = float(whole.tuned.mean())
    if not tuned > 0:
        return (), "tuned for each task it scores no better than the worst settings"
    found: list[Kept] = []
    for size in range(len(names) + 1):
        best: Kept | None = None
        for part in combinations(names, size):
            alike = np.logical_and.reduce([np.ones_like(same[names[0]]), *(same[n] for n in names if n not in part)])
            scored = leave_seeds_out(shared.scores, alike).tuned
            _, low, high = interval(scored - whole.tuned)
            share = Answer(
                float(scored.mean()) / tuned, 1 + low / tuned, 1 + high / tuned, len(shared.scores), "share", METHOD
            )
            if best is None or share.value > best.share.value:
                best = Kept(part, share)
        assert best is not None
        found.append(best)
        if best.share.value >= KEPT:
            break
    return tuple(found), ""


def _equal(values: list[Value | None]) -> Mask:
    texts = np.array([repr(v) for v in values])
    return np.asarray(texts[:, None] == texts[None, :])


def _on_task(
    name: str, params: dict[str, Value], found: HeldOut, t: int, best: float, there: float, scale: Scale
) -> OnTask:
    tuned, single = found.tuned[[t]], found.single[[t]]
    loss, width, gap = tuned - single, abs(scale.width), np.array([best - there])
    return OnTask(
        name,
        params,
        answer_of(tuned, np.array([best])),
        answer_of(single, np.array([there])),
        unless_same(answer_of(loss, gap)),
        unless_same(answer_of(width * loss, width * gap, scale.unit)),
    )


def answer_of(values: Floats, optimistic: Floats, unit: str = SCORE) -> Answer:
    """Of values (tasks, folds). optimistic (tasks,): what the seeds that chose say, where the truth may well lie,
    because a choice on fewer seeds is a worse one. n: tasks, or the seeds of the one task.
    """
    centre, low, high = interval(values)
    n = len(values) if len(values) > 1 else values.shape[1]
    return Answer(centre, low, max(high, float(optimistic.mean())), n, unit, METHOD)
