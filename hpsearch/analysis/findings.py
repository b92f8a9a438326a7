"""What a study found, in plain sentences: what decides first, each with its interval, and what can't be said and why.

Nothing is ranked where intervals overlap. A sentence is about all arms where these say the same kind of thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from hpsearch.analysis import Analysis
from hpsearch.analysis.answers import Answers
from hpsearch.analysis.best import Best, separated
from hpsearch.analysis.failures import Failures, Region
from hpsearch.analysis.findings_arms import importance_sentences, robust_sentences, safe_sentences
from hpsearch.analysis.findings_compute import budget_sentences, front_sentences, training_sentences
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.sentence import Sentence
from hpsearch.analysis.writing import by_reason, count, gap, gaps_in, level, listed, metric_name, number, parameters
from hpsearch.errors import one_line

__all__ = ["Sentence", "findings", "warnings", "why_nothing"]

MOST = 15  # sentences
LONGEST = 2000  # letters of one
UNEQUAL = 2.0  # times the configurations or the compute of the control: from this on there is a warning
FEW_SEEDS = 3  # below this there is a warning
MANY_LOST = 1 / 3  # of an arm's trials: above this there is a warning


def findings(analysis: Analysis) -> tuple[Sentence, ...]:
    """At most 15, what decides first. One sentence that says why where there is nothing to find."""
    reason = why_nothing(analysis)
    if reason:
        return _printable([Sentence("nothing", "", reason)])
    found = [*_arms(analysis), *_best(analysis), *_failures(analysis)]
    answers = analysis.answers
    if answers is not None:
        rest = [
            *budget_sentences(answers, analysis.test or analysis.objective),
            *robust_sentences(answers),
            *training_sentences(answers),
            *front_sentences(answers),
        ]
        safe = safe_sentences(answers)
        found = [*found[:1], *safe, *found[1:]]
        found += [*importance_sentences(answers, MOST - len(found) - len(rest)), *rest]
    return _printable(found[:MOST])


def warnings(analysis: Analysis) -> tuple[Sentence, ...]:
    """What speaks against reading too much into the findings, and what could not be found."""
    if why_nothing(analysis):
        return ()
    found = [Sentence("guessed", "", GUESSED)] if analysis.guessed else []
    if (analysis.configurations["n"] <= 1).all():
        text = "every configuration ran with one seed: what a seed adds can't be told from what hyperparameters do"
        found.append(Sentence("one seed", "", text))
    elif (few := analysis.configurations["n"].median()) < FEW_SEEDS:
        text = f"{few:g} seeds a configuration: how much seeds spread is hardly known, intervals are wide or withheld"
        found.append(Sentence("few seeds", "", text))
    lost = [
        f"{f.arm} {f.n_not_trained} of {count(f.n_ended, 'trial')}"
        for f in analysis.failures
        if f.n_not_trained > MANY_LOST * f.n_ended
    ]
    if lost:
        text = f"much did not train, so that means say where training works, more than how well: {'; '.join(lost)}"
        found.append(Sentence("did not train", "", text))
    found += _unequal(analysis)
    alone = [b.arm for b in analysis.best if b.rank == 1 and b.confirmation is None]
    if alone:
        text = f"{listed(alone)}: the best is not confirmed on fresh seeds; the mean it was selected by is optimistic"
        found.append(Sentence("not confirmed", "", text))
    if analysis.answers is None:
        return _printable(found)
    return _printable([*found, *_unanswered(analysis.answers)])


def _printable(found: Sequence[Sentence]) -> tuple[Sentence, ...]:
    """Names come from a table: no line of them may move the cursor, nor fill the screen."""
    return tuple(replace(one, text=one_line(one.text, LONGEST)) for one in found)


GUESSED = (
    "ranges, objective or its direction are guessed from the columns and values of the table: shares of variance and "
    "safe ranges are over what was tried"
)


def why_nothing(analysis: Analysis) -> str:
    """Why there is no statistic at all; empty if there is."""
    run = analysis.overview
    if run.n_trials == 0:
        return "there are no trials yet"
    if analysis.objective is None:
        return "no trial has a metric"
    if not analysis.measured:
        statuses = run.counts.drop(columns=["arm", "configurations", "trials", "confirm"]).sum()
        kinds = ", ".join(f"{int(n)} {status}" for status, n in statuses.items() if n)
        return f"no selection trial ended with a value of {metric_name(analysis.objective.name)} ({kinds})"
    return ""


def _unequal(analysis: Analysis) -> list[Sentence]:
    """Arms that are compared with the first one, but searched more, or whose best costs more, by a factor of two."""
    if not analysis.differences:
        return []
    best = {b.arm: b for b in analysis.best if b.rank == 1}
    control = best[analysis.differences[0].control]
    texts = []
    for one in analysis.differences:
        arm, parts = best[one.arm], []
        if arm.n_configurations >= UNEQUAL * control.n_configurations:
            times = number(arm.n_configurations / control.n_configurations, 2)
            parts.append(f"searched {times} times as many configurations")
        cost = arm.compute.get("backward_samples", 0.0) / (control.compute.get("backward_samples") or float("inf"))
        if cost >= UNEQUAL:
            parts.append(f"best costs {number(cost, 2)} times the samples a trial")
        if parts:
            texts.append((one.arm, " and ".join(parts)))
    if not texts:
        return []
    searched = count(control.n_configurations, "configuration")
    text = f"the arms are not at equal cost, beside {control.arm} ({searched}): {by_reason(texts)}"
    return [Sentence("unequal", "", text)]


def _unanswered(answers: Answers) -> list[Sentence]:
    """Warnings of the arms and reasons, each once with the arms that it holds for."""
    without = [(one.arm, f"no surrogate, because {one.model.reason}") for one in answers.arms if one.model.reason]
    withheld = [(one.arm, why) for one in answers.arms for item in one.importances.items[:1] if (why := item.total.why)]
    own = [(one.arm, warning) for one in answers.arms for warning in one.warnings]
    if answers.budgets and not any(isfinite(one.low) for one in answers.budgets):
        own.append(("arms at equal budgets", "no interval below 10 configurations in each arm and two seeds"))
    along = [(one.arm, one.reason) for one in answers.along if one.reason]
    made = [
        ("no surrogate", "no shares, curves or safe ranges: ", without),
        ("no interval", "shares of variance are without intervals: ", withheld),
        ("caution", "", own),
        ("along training", "nothing along training: ", along),
    ]
    return [Sentence(kind, "", start + by_reason(reasons)) for kind, start, reasons in made if reasons]


def _arms(analysis: Analysis) -> list[Sentence]:
    """Arms against the first one, paired by seed; else what the confirmed intervals say."""
    judged = analysis.test or analysis.objective
    if len(analysis.arms) < 2 or judged is None:
        return []
    if not analysis.differences:
        return [Sentence("arms", "", _unpaired(analysis, judged))]
    first = analysis.differences[0]
    told: dict[str, list[str]] = {"better": [], "worse": [], "not shown to differ": []}
    for one in analysis.differences:
        e = one.estimate
        ends = f"95 % {gap(e.low, judged.share)} to {gap(e.high, judged.share)}" if e.has_interval else "no interval"
        shown = e.has_interval and (e.low > 0 or e.high < 0)
        verdict = ("better" if (e.mean > 0) == judged.maximize else "worse") if shown else "not shown to differ"
        told[verdict].append(f"{one.arm} by {gap(e.mean, judged.share)} ({ends})")
    parts = [f"{verdict}: {', '.join(arms)}" for verdict, arms in told.items() if arms]
    seeds = sorted({one.estimate.n for one in analysis.differences})
    fresh = count(seeds[0], "fresh seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} fresh seeds"
    together = f", Bonferroni over {first.comparisons} arms" if first.comparisons > 1 else ""
    unit = gaps_in(judged.share, metric_name(judged.name))
    what = f"{unit} of {metric_name(judged.name)}" if judged.share else unit
    text = f"against {first.control}, in {what}, paired over {fresh}{together}: {'; '.join(parts)}"
    return [Sentence("arms", "", text)]


def _unpaired(analysis: Analysis, judged: Objective) -> str:
    best = [b for b in analysis.best if b.rank == 1]
    confirmed = [b for b in best if b.reported is not None and b.reported.has_interval]
    if len(confirmed) < 2:
        return "no arm is shown to be better: that needs two arms confirmed on two fresh seeds or more"
    beaten = separated(best, judged.maximize)
    if not beaten:
        return "no arm is shown to be better: the confirmed intervals overlap"
    direction = "above" if judged.maximize else "below"
    pairs = "; ".join(f"{arm} {direction} {listed(others)}" for arm, others in beaten.items())
    return f"confirmed intervals that do not overlap: {pairs}; nothing is said of other pairs"


def _best(analysis: Analysis) -> list[Sentence]:
    goal = analysis.objective
    best = [b for b in analysis.best if b.rank == 1]
    if goal is None or not best:
        return []
    judged = analysis.test or goal
    confirmed = [b for b in best if b.confirmation is not None]
    texts = []
    if confirmed:
        name = metric_name(judged.name)
        texts.append(f"confirmed {name}: " + "; ".join(_confirmed(b, goal, analysis.test) for b in confirmed))
    others = [b for b in best if b.confirmation is None]
    if others:
        means = "; ".join(f"{b.arm} {level(b.selection.mean, goal.share)}{_at(b)}" for b in others)
        texts.append(f"selected by {metric_name(goal.name)}, optimistic (no interval: not confirmed): {means}")
    return [Sentence("best", "", text) for text in texts]


def _confirmed(best: Best, goal: Objective, test: Objective | None) -> str:
    assert best.confirmation is not None and best.reported is not None
    shown = best.reported
    judged = test if test is not None and shown is best.confirmation.test else goal
    text = f"{best.arm} {level(shown.mean, judged.share)}"
    low, high = level(shown.low, judged.share), level(shown.high, judged.share)
    ends = f"95 % {low.removesuffix(' %')} to {high.removesuffix(' %')}" if shown.has_interval else "no interval"
    lost = f", {best.confirmation.n_not_trained} did not train" if best.confirmation.n_not_trained else ""
    return f"{text} ({ends}, {count(shown.n, 'fresh seed')}{lost}){_at(best)}"


def _at(best: Best) -> str:
    return f" at {parameters(best.params)}" if best.params else ""


def _failures(analysis: Analysis) -> list[Sentence]:
    failed = [f for f in analysis.failures if f.n_not_trained]
    if not failed:
        return [Sentence("failures", "", "every selection trial that ended trained")] if analysis.failures else []
    fine = [f.arm for f in analysis.failures if not f.n_not_trained]
    text = "; ".join(_failed(f) for f in failed) + (f"; every trial trained: {listed(fine)}" if fine else "")
    return [Sentence("failures", "", f"did not train: {text}")]


def _failed(found: Failures) -> str:
    if found.n_not_trained == found.n_ended:
        return f"{found.arm} all {count(found.n_ended, 'trial')}"
    text = f"{found.arm} {found.n_not_trained} of {count(found.n_ended, 'trial')}"
    where = " and at ".join(_region(region) for region in found.regions)
    return f"{text}, all at {where}" if where else f"{text}, where no single hyperparameter tells"


def _region(region: Region) -> str:
    sign = "\N{GREATER-THAN OR EQUAL TO}" if region.above else "\N{LESS-THAN OR EQUAL TO}"
    bound, clean = number(region.bound), number(region.clean)
    inside = f"{region.n_failing} of {region.n_inside} configurations"
    return f"{region.parameter} {sign} {bound} ({inside}; none at {clean})"
