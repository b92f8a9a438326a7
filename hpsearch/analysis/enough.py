"""Is it enough? Which configurations, seeds or confirmation runs would shrink the widest answer most."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.best import Best
from hpsearch.analysis.columns import Value
from hpsearch.analysis.epsilon import epsilon_of
from hpsearch.analysis.estimate import t_quantile
from hpsearch.analysis.gain import Greedy, Target, predicted_width, prior_terms, terms, variance_with_seeds
from hpsearch.analysis.inputs import Inputs
from hpsearch.analysis.model import Model
from hpsearch.analysis.safe import reference_row
from hpsearch.analysis.surrogate import Surrogate
from hpsearch.analysis.untried import Params, along, frame, points_of, space, steps, untried
from hpsearch.analysis.widths import Width, best_widths, widths
from hpsearch.errors import InputError, show

if TYPE_CHECKING:
    from hpsearch.study import Study

Floats = NDArray[np.float64]

CONFIRM_SEEDS = 5
METHOD = (
    "a prediction, not a promise. Chosen one by one by how much less the surrogate's variance of that answer will be, "
    "which does not depend on what will be seen (active learning after Cohn); the width is the mean over 16 draws of "
    "the surrogate taken for the truth in turn. In simulated studies such points narrowed an end of a "
    "safe range by as much as the same number of evenly drawn ones, and not by more"
)
SPREAD = "no surface yet: configurations spread over the space, where the prior of the surrogate is left widest"


@dataclass(frozen=True)
class Suggestion:
    """One thing to run. trials: what it costs. left: predicted width of the answer after this and those before it, NaN
    where nothing can be predicted.

    configuration: `params` of `arm`, with the study's seeds. seeds: `count` more of them, for every configuration of
    the study; arm is empty. confirm: each arm's best `top` on `count` fresh seeds in all, which is for the sake of
    `arm`, whose best has `params`.
    """

    kind: Literal["configuration", "seeds", "confirm"]
    arm: str
    params: Mapping[str, Value]
    trials: int
    left: float
    count: int = 1
    top: int = 1


@dataclass(frozen=True)
class Aim:
    """An answer and what would narrow it. after: predicted width once all suggestions are run, NaN if not known.

    per_trial: the predicted share of the answer's variance that one more trial takes away, as new configurations and
    as more seeds of all that are there; None where that was not compared.
    """

    answer: Width
    after: float
    suggestions: tuple[Suggestion, ...]
    per_trial: tuple[float, float] | None
    method: str


@dataclass(frozen=True)
class Next:
    """answers: of all arms, widest first. aims: what to run for the widest, and for the next ones where that left
    something of n. seeds: of a configuration. notes: what cannot be had, and why.
    """

    n: int
    seeds: int
    answers: tuple[Width, ...]
    aims: tuple[Aim, ...]
    notes: tuple[str, ...]

    @property
    def widest(self) -> Width | None:
        return self.answers[0] if self.answers else None

    @property
    def suggestions(self) -> tuple[Suggestion, ...]:
        return tuple(s for aim in self.aims for s in aim.suggestions)

    @property
    def trials(self) -> int:
        return sum(s.trials for s in self.suggestions)


def next_configurations(
    models: Sequence[Model],
    n: int,
    study: Study | None = None,
    *,
    configurations: pd.DataFrame | None = None,
    best: Sequence[Best] = (),
    epsilons: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Next:
    """What to run next for as many trials as n new configurations take.

    The widest answer is the one whose 95 % interval is the largest share of what it may be: ends of safe ranges as a
    share of the searched range, total shares of variance as they are, marginal curves and confirmed means as a share of
    the spread between the arm's configurations. An answer that is not there at all counts as 1: an arm without a
    surface, a best configuration that was never confirmed and is not going to be.

    More seeds are suggested where these trials, spent on seeds of all configurations, would take away more.
    configurations: of `summarize`, so that none is repeated that a model leaves out. best: of `best_of_arms`; without
    it no confirmation is suggested. epsilons: of the safe ranges, by arm. Raises InputError for an n below 0.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise InputError(f"n: got {show(n)}; allowed: a whole number >= 0, the number of configurations to pay for")
    per_arm = {m.arm: widths(m, (epsilons or {}).get(m.arm, epsilon_of(m)), seed) for m in models}
    planned = study is not None and getattr(study, "confirm", None) is not None
    answers = [w for found in per_arm.values() for w in found] + list(best_widths(models, best, planned))
    answers.sort(key=lambda w: -w.width)
    known = pd.concat([m.rows for m in models]) if configurations is None and models else configurations
    seeds = _seeds(models, study)
    budget = _Budget(study, known if known is not None else pd.DataFrame(), seeds, n, seed, best, [])
    aims: list[Aim] = []
    done: set[tuple[str, bool]] = set()
    for answer in answers:
        # An arm's other answers gain from the same configurations.
        place = ("", True) if answer.what == "confirmed_best" else (answer.arm, False)
        if budget.left <= 0 or answer.width <= 0 or place in done:
            continue
        done.add(place)
        model = next(m for m in models if m.arm == answer.arm)
        aim = budget.confirm(answer) if answer.what == "confirmed_best" else budget.narrow(answer, model)
        if aim is not None:
            aims.append(aim)
            budget.left -= math.ceil(sum(s.trials for s in aim.suggestions) / seeds)
    return Next(n, seeds, tuple(answers), tuple(aims), tuple(budget.notes))


@dataclass
class _Budget:
    """What is left to spend, in configurations, and what all aims need to know."""

    study: Study | None
    known: pd.DataFrame
    seeds: int
    left: int
    seed: int
    best: Sequence[Best]
    notes: list[str]

    def narrow(self, answer: Width, model: Model) -> Aim | None:
        """New configurations of the arm, or more seeds; None where neither can be had."""
        whole, grain = space(model.arm, self.study, model.inputs), steps(model.arm, self.study)
        if not len(whole):
            self.notes.append(f"{model.arm}: nothing is searched, so there is nothing to try")
            return None
        rows = self.known[self.known["arm"] == model.arm]
        line = []
        if answer.line is not None:
            row, _ = reference_row(model)
            one = next(i for i in model.inputs.inputs if i.name == answer.parameter)
            at = answer.line[:, model.inputs.names.index(one.name)]
            line = along(whole, grain, points_of(row.to_frame().T, whole.names)[0], one.name, list(map(one.value, at)))
        points = untried(whole, grain, rows, line, self.seed)
        if not points:
            self.notes.append(f"{model.arm}: every configuration of its space was tried; only seeds can tell more")
        if model.surrogate is None or answer.target is None:
            return self._spread(answer, whole, rows, points)
        x = model.inputs.coordinates(frame(points, model.inputs.names))
        trained = model.rows.loc[model.rows["n_trained"] > 0, "n_trained"].mean()
        return self._compare(answer, model, model.surrogate, answer.target, points, x, float(trained))

    def _compare(
        self,
        answer: Width,
        model: Model,
        surrogate: Surrogate,
        target: Target,
        points: list[Params],
        x: Floats,
        trained: float,
    ) -> Aim | None:
        """New configurations against as many trials of more seeds. x: coordinates of the points."""
        of = terms(surrogate, target, x, self.seeds, trained)
        greedy = Greedy(of, target, x)
        before = greedy.variance + answer.fixed
        if not before > 0:
            return None
        chosen, left = [], []
        for index in _take(greedy, len(points), self.left):
            chosen.append(index)
            left.append((greedy.variance + answer.fixed) / before)
        # The same trials as seeds: of every configuration of the study, since a study file has one number of seeds.
        whole = max(1, len(self.known))
        more = max(1, self.left * self.seeds // whole)
        factor = (self.seeds + more) / self.seeds
        seeded = (variance_with_seeds(of, target, factor) + answer.fixed / factor) / before
        per_seed = (1 - seeded) / (more * whole)
        per_trial = ((1 - left[-1]) / (len(chosen) * self.seeds) if chosen else 0.0, per_seed)
        if more * whole <= self.left * self.seeds and seeded < min(left, default=1.0):
            known = model.inputs.coordinates(model.rows)
            after = self._after(answer, surrogate, known, more, trained, 1 / math.sqrt(factor))
            return Aim(answer, after, (Suggestion("seeds", "", {}, more * whole, after, more),), per_trial, METHOD)
        if per_seed > per_trial[0]:
            self.notes.append(
                f"{answer.arm}: per trial, seeds would tell more, but one more seed of all configurations takes "
                f"{whole} trials, and n = {self.left} pays for {self.left * self.seeds}"
            )
        if not chosen:
            return None
        after = self._after(answer, surrogate, x[chosen], self.seeds, trained, 1.0)
        shrunk = [answer.width - (answer.width - after) * (1 - v) / max(1 - left[-1], 1e-300) for v in left]
        made = [
            Suggestion("configuration", answer.arm, points[index], self.seeds, width)
            for index, width in zip(chosen, shrunk, strict=True)
        ]
        return Aim(answer, after, tuple(made), per_trial, METHOD)

    def _after(
        self, answer: Width, surrogate: Surrogate, new: Floats, seeds: int, trained: float, shift: float
    ) -> float:
        assert answer.points is not None and answer.read is not None
        now = answer.read(surrogate(answer.points))  # a share's width is read from fewer points than it was made of
        then = predicted_width(surrogate, answer.points, answer.read, new, seeds, trained, self.seed, shift)
        return answer.width * min(1.0, then / now) if now > 0 else answer.width

    def _spread(self, answer: Width, whole: Inputs, rows: pd.DataFrame, points: list[Params]) -> Aim | None:
        known = whole.coordinates(frame(points_of(rows, whole.names), whole.names)) if len(rows) else np.empty((0, 0))
        known = whole.deactivate(known.reshape(-1, len(whole)))
        x = whole.coordinates(frame(points, whole.names))
        target = Target.everywhere(whole, self.seed)
        chosen = _take(Greedy(prior_terms(whole, known, x), target, x), len(points), self.left)
        made = [Suggestion("configuration", answer.arm, points[i], self.seeds, math.nan) for i in chosen]
        return Aim(answer, math.nan, tuple(made), None, f"{SPREAD} ({answer.why})") if made else None

    def confirm(self, answer: Width) -> Aim | None:
        """Each arm's best on fresh seeds: a first time, or on twice as many."""
        one = next(b for b in self.best if b.arm == answer.arm and b.rank == 1)
        had = one.confirmation.objective.n if one.confirmation is not None else 0
        planned = getattr(self.study, "confirm", None)
        top = planned.top if planned is not None else 1
        had = planned.seeds if planned is not None else had
        count = 2 * had or CONFIRM_SEEDS
        arms = len({b.arm for b in self.best}) if self.study is not None else 1
        trials = (count - had) * top * arms
        if trials > self.left * self.seeds:
            said = f"to confirm the best on {count} seeds takes {trials} trials, and n = {self.left} pays for"
            self.notes.append(f"{answer.arm}: {said} {self.left * self.seeds}")
            return None
        left = math.nan
        if had > 1:
            shrink = t_quantile(count - 1) / t_quantile(had - 1) * math.sqrt(had / count)
            left = answer.width * float(shrink)
        suggestion = Suggestion("confirm", answer.arm, dict(one.params), trials, left, count, top)
        return Aim(answer, left, (suggestion,), None, "Student's t with the spread over seeds as it is")


def _take(greedy: Greedy, points: int, n: int) -> Iterator[int]:
    """Takes up to n of the points, giving the index of each once it is taken."""
    free = np.ones(points, dtype=bool)
    for _ in range(min(n, points)):
        index = greedy.best(free)
        free[index] = False
        greedy.take(index)
        yield index


def _seeds(models: Sequence[Model], study: Study | None) -> int:
    """Of a new configuration; with seeds by spread the fewest."""
    return len(study.first_seeds) if study is not None else max([1, *(m.setting.seeds for m in models)])
