"""Sentences that rest on the surrogates: safe ranges, importance, what tuning and a wrong value cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose, isfinite

from hpsearch.analysis.answer import Answer
from hpsearch.analysis.answers import Answers, ArmAnswers
from hpsearch.analysis.axis import order_parameters
from hpsearch.analysis.importance import Importance, Importances
from hpsearch.analysis.safe import SafeRange
from hpsearch.analysis.sentence import Sentence
from hpsearch.analysis.writing import (
    briefly,
    by_reason,
    gap,
    gap_unit,
    gaps_in,
    interval,
    listed,
    metric_name,
    number,
    parameter,
    parameters,
    percent,
)

MOST_SAFE = 4  # hyperparameters that get a sentence on their safe range


def safe_sentences(answers: Answers) -> list[Sentence]:
    """One a hyperparameter, over all arms that searched it, the one that matters most somewhere first."""
    matters: dict[str, float] = {}
    for one in answers.arms:
        for item in one.importances.items:
            matters[item.parameter] = max(matters.get(item.parameter, 0.0), item.total.value)
    ranges = [(one, found) for one in answers.arms for found in one.safe]
    names = order_parameters(found.parameter for _, found in ranges)
    names = sorted(names, key=lambda name: -round(matters.get(name, 0.0), 6))
    made = [_safe(name, [(one, f) for one, f in ranges if f.parameter == name]) for name in names]
    sentences = [s for s in made if s is not None]
    if len(sentences) > MOST_SAFE:
        left = f"safe ranges of {listed(names[MOST_SAFE - 1 :])}: in analysis.json"
        sentences = [*sentences[: MOST_SAFE - 1], Sentence("safe range", "", left)]
    return sentences


def _safe(name: str, found: Sequence[tuple[ArmAnswers, SafeRange]]) -> Sentence | None:
    clauses, reasons = [], []
    for one, safe in found:
        if safe.levels:
            why = one.model.setting.why_not("safe_ratio")
            levels = sorted(safe.levels, key=lambda pair: -pair[1])
            shown = ", ".join(f"{percent(share)} at {parameter(value)}" for value, share in levels[:4])
            clauses.append(f"{one.arm} with probability {shown}")
        else:
            clause, why = _range(one, safe)
            clauses.append(clause)
        reasons.append((one.arm, why))
    within = _within(found)
    text = f"{name} is safe within {within} of the best: {'; '.join(clauses)}"
    text += _withheld(reasons)
    return Sentence("safe range", found[0][0].arm if len(found) == 1 else "", text, name)


def _range(one: ArmAnswers, safe: SafeRange) -> tuple[str, str]:
    """The clause of one arm, and why it has no interval."""
    assert safe.low is not None and safe.high is not None and safe.ratio is not None
    axis = next(i.axis for i in one.model.inputs.inputs if i.name == safe.parameter)
    bottom, top = (_same(safe.low.value, axis.low), _same(safe.high.value, axis.high))
    ends = f"{one.arm} from {'at most ' if bottom else ''}{number(safe.low.value)} "
    ends += f"to {'at least ' if top else ''}{number(safe.high.value)}"
    log = safe.ratio.unit == "times"
    width = _plain(safe.ratio, "times" if log else "percent")
    least = "at least " if log and (bottom or top) else ""
    text = f"{ends} ({least}{width}{'' if log else ' of the range'}{_others(safe)}{_outside(safe)}{_trains(safe)})"
    return text, "" if safe.ratio.has_interval else safe.ratio.why


def _outside(safe: SafeRange) -> str:
    """Where the range leaves out the value of the configuration that it goes through, which is the best one tried: the
    surrogate expects more where nothing was tried.
    """
    assert safe.low is not None and safe.high is not None
    tried = float(safe.reference[safe.parameter])
    within = safe.low.value <= tried <= safe.high.value
    near = isclose(tried, safe.low.value, rel_tol=0.01) or isclose(tried, safe.high.value, rel_tol=0.01)
    return "" if within or near else f"; the best one tried, {number(tried)}, lies outside: the range is a guess"


def _trains(safe: SafeRange) -> str:
    """Where half of the seeds stop to train, on the sides where they do."""
    ends = (("from", safe.trains_from), ("up to", safe.trains_to))
    told = [f"{word} {number(end.value)}" for word, end in ends if end is not None]
    return f"; half of the seeds train {' and '.join(told)}" if told else ""


def _same(end: float, edge: float | None) -> bool:
    """Whether an end is the edge of the searched range: the safe range may go on beyond it."""
    return edge is not None and isclose(end, edge, rel_tol=1e-9, abs_tol=1e-12)


def _others(safe: SafeRange) -> str:
    held = {name: value for name, value in safe.reference.items() if name != safe.parameter}
    return f", at {parameters(held)}" if 0 < len(held) <= 4 else ""


def _within(found: Sequence[tuple[ArmAnswers, SafeRange]]) -> str:
    """1.0 points, or the one of each arm where these differ."""
    share, metric = found[0][0].model.objective.share, metric_name(found[0][0].model.objective.name)
    texts = {one.arm: gap(safe.epsilon, share) if not share else f"{100 * safe.epsilon:.2f}" for one, safe in found}
    unit = gap_unit(share, metric)
    if len(set(texts.values())) == 1:
        return f"{next(iter(texts.values()))} {unit}"
    return ", ".join(f"{text} ({arm})" for arm, text in texts.items()) + f" {unit}"


def importance_sentences(answers: Answers, room: int) -> list[Sentence]:
    """One an arm with two hyperparameters or more and a surrogate that explains something; at most `room`."""
    told = [one for one in answers.arms if len(one.importances.items) > 1 and _explains(one)]
    shown = told if len(told) <= room else told[: max(0, room - 1)]
    made = [Sentence("importance", one.arm, _importance(one)) for one in shown]
    if len(told) > len(shown):
        left = listed([one.arm for one in told[len(shown) :]])
        made.append(Sentence("importance", "", f"importances in {left}: in analysis.json"))
    return made


def _explains(one: ArmAnswers) -> bool:
    return not isinstance(one.scores, str) and one.scores.explains


def _importance(one: ArmAnswers) -> str:
    found = one.importances
    first, *rest = found.items[:4]
    text = f"{one.arm}: {first.parameter} explains {_alone(first)} of the variance alone, {_total(first)} with its "
    text += "interactions; " + "; ".join(f"{item.parameter} {_alone(item)}, {_total(item)}" for item in rest)
    if len(found.items) > 4:
        text += f"; {len(found.items) - 4} more"
    text += _order(found)
    if one.trained is not None and one.trained.items and one.box:
        leading = one.trained.items[0]
        where = listed([f"{name} {number(low)} to {number(high)}" for name, (low, high) in one.box.items()])
        why = "" if leading.total.has_interval else f" (no interval: {briefly(leading.total.why)})"
        text += f"; where it trains ({where}): {leading.parameter} {_total(leading)} with its interactions{why}"
    return text


def _alone(item: Importance) -> str:
    return f"{percent(item.first.value)}{_ends(item, 'first')}"


def _total(item: Importance) -> str:
    return f"{percent(item.total.value)}{_ends(item, 'total')}"


def _ends(item: Importance, which: str) -> str:
    answer = item.first if which == "first" else item.total
    return f" (95 % {percent(answer.low).removesuffix(' %')} to {percent(answer.high)})" if answer.has_interval else ""


def _order(found: Importances) -> str:
    if found.above:
        return "; " + "; ".join(f"{name} matters more than {listed(others)}" for name, others in found.above)
    why = found.items[0].total.why
    return f" (no interval: {briefly(why)}): no ranking" if why else "; intervals overlap: no ranking"


def robust_sentences(answers: Answers) -> list[Sentence]:
    """What tuning gains over the defaults, and how much the robust optimum keeps when everything is off."""
    return [s for s in (_gains(answers), _robust(answers)) if s is not None]


def _gains(answers: Answers) -> Sentence | None:
    gains = [(one, t.gain) for one in answers.arms for t in one.tunability if t.parameter is None]
    if not gains:
        return None
    share, metric = gains[0][0].model.objective.share, gains[0][0].model.objective.name
    shown = "points" if share else "number"
    clauses = [f"{one.arm} {_plain(gain, shown)}" for one, gain in gains]
    text = f"tuning gains over the defaults, in {gaps_in(share, metric_name(metric))}: {'; '.join(clauses)}"
    return Sentence("tuning", "", text + _withheld([(one.arm, gain.why) for one, gain in gains]))


def _robust(answers: Answers) -> Sentence | None:
    found = [(one, one.robust) for one in answers.arms if one.robust is not None and isfinite(one.robust.worst.value)]
    if not found:
        return None
    first = found[0][1]
    shown = "level" if found[0][0].model.objective.share else "number"
    clauses = [f"{one.arm} {_plain(r.worst, shown)} at {parameters(r.params)}" for one, r in found]
    text = f"worst case with every hyperparameter off by a factor {number(first.factor)}, at the most robust "
    text += f"configuration: {'; '.join(clauses)}"
    return Sentence("robust", "", text + _withheld([(one.arm, r.worst.why) for one, r in found]))


def _withheld(reasons: Sequence[tuple[str, str]]) -> str:
    told = {arm: briefly(why) for arm, why in reasons if why}
    if len(told) == len({arm for arm, _ in reasons}) and len(set(told.values())) == 1:
        return f" (no interval: {next(iter(told.values()))})"
    return f" (no interval: {by_reason(told.items())})" if told else ""


def _plain(answer: Answer, shown: str) -> str:
    """With its interval; why there is none is told once, at the end of the sentence."""
    return interval(answer, shown).removesuffix(", no interval")
