"""Sentences about compute: arms at equal budgets, the front, and when in training a hyperparameter matters."""

from __future__ import annotations

from math import isfinite

from hpsearch.analysis.answers import Answers
from hpsearch.analysis.document_arms import params_of
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.sentence import Sentence
from hpsearch.analysis.writing import BUDGETS, gap, gaps_in, metric_name, number, parameters, percent

LIKELY = 0.5  # a configuration that is more likely on the front than not
MOST_POINTS = 4


def budget_sentences(answers: Answers, judged: Objective | None) -> list[Sentence]:
    """Arms against the control when both spend the same samples, or trials where samples are not known."""
    if judged is None:
        return []
    for budget in ("backward_samples", "flops", "configurations"):
        rows = [one for one in answers.budgets if one.budget == budget and isfinite(one.low) and isfinite(one.high)]
        if rows:
            unit = gaps_in(judged.share, metric_name(judged.name))
            clauses = [
                f"{one.arm} {_signed(one.difference, judged)} (95 % {_signed(one.low, judged)} to "
                f"{_signed(one.high, judged)}, {number(one.k_arm)} against {number(one.k_control)} configurations)"
                for one in rows
            ]
            text = f"with a random search of equal {BUDGETS[budget]}, against {rows[0].control}, in {unit}: "
            return [Sentence("equal budgets", "", text + "; ".join(clauses))]
    return []


def front_sentences(answers: Answers) -> list[Sentence]:
    if not answers.fronts:
        return []
    front = answers.fronts[0]
    points = front.points[front.points["probability"] >= LIKELY].sort_values("compute", kind="stable")
    what = BUDGETS.get(front.compute, front.compute)
    if points.empty:
        text = f"no configuration is more likely than not on the front of {what}: too close, or too few seeds"
        return [Sentence("front", "", text)] if front.df > 0 else []
    shown = "; ".join(
        f"{row['arm']} {parameters(params_of(row))} ({percent(row['probability'])})"
        for row in points.head(MOST_POINTS).to_dict("records")
    )
    more = f"; {len(points) - MOST_POINTS} more" if len(points) > MOST_POINTS else ""
    return [Sentence("front", "", f"on the front of {what}, with probability: {shown}{more}")]


def training_sentences(answers: Answers) -> list[Sentence]:
    """When a hyperparameter matters most, of the arms for which that can be said."""
    told = [
        f"{one.arm}: {text}"
        for one in answers.along
        if any(len(m.importances) > 1 for m in one.moments)
        and "matters most" in (text := one.sentence())
        and not text.startswith("no hyperparameter")
    ]
    return [Sentence("along training", "", "; ".join(told))] if told else []


def _signed(value: float, judged: Objective) -> str:
    text = gap(value, judged.share)
    return f"+{text}" if value > 0 else text
