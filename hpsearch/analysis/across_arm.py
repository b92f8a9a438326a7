"""What one setting of an arm's hyperparameters for all tasks loses against tuning for each: the numbers of one arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.columns import Value

KEPT = 0.95  # of the tuned score: what counts as enough (Adkins et al.)
SCORE = "score"  # unit of normalised scores
SAME = "the single setting is also the one tuned for each task"


def unless_same(loss: Answer) -> Answer:
    """A loss without its interval where that has no width: it is 0 because both settings are one, which tells nothing
    of how sure the choice is.
    """
    return loss.withheld(SAME) if loss.low == loss.high else loss


@dataclass(frozen=True)
class OnTask:
    """One arm on one task. params: the best setting there. tuned, single: normalised score of that setting and of the
    one for all tasks; loss: their difference; metric_loss: the same in the metric's unit, positive where it is worse.
    n counts seeds.
    """

    task: str
    params: dict[str, Value]
    tuned: Answer
    single: Answer
    loss: Answer
    metric_loss: Answer


@dataclass(frozen=True)
class Kept:
    """The share of the tuned score that is kept when these alone are tuned for each task. n counts tasks."""

    parameters: tuple[str, ...]
    share: Answer


@dataclass(frozen=True)
class ArmAcross:
    """One arm over all tasks. Scores are normalised, n counts tasks.

    way: measured (on configurations that all runs share) or surrogate. settings: how many the best were chosen among;
    seeds: the fewest of a task. params: the best single setting. tuned: mean over tasks of the score tuned for each;
    single: of the single setting; loss: tuned less single, the hyperparameter sensitivity.
    kept: one per size of the set of hyperparameters that is tuned for each task, from none to the first that keeps
    KEPT; empty where that is not known, and why_no_kept says why. check: beside the surrogates' loss, the one measured
    on configurations that all runs share, without a model; None where they share too few.
    """

    arm: str
    way: Literal["measured", "surrogate"]
    searched: tuple[str, ...]
    settings: int
    seeds: int
    params: dict[str, Value]
    tuned: Answer
    single: Answer
    loss: Answer
    tasks: tuple[OnTask, ...]
    kept: tuple[Kept, ...]
    why_no_kept: str
    check: Answer | None = None

    @property
    def dimensionality(self) -> int | None:
        """How many hyperparameters must be tuned for each task to keep KEPT of the tuned score; None if not known."""
        return len(self.kept[-1].parameters) if self.kept else None
