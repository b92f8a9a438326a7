"""The sentences: what is said, in which order, and what is not said."""

import math
from dataclasses import replace

import pytest
from analysed import analysis
from synthetic import small_table, trial

from hpsearch.analysis import analyze
from hpsearch.analysis.answer import Answer
from hpsearch.analysis.findings import findings, warnings
from hpsearch.analysis.writing import by_reason, gap, interval, level, number, percent


@pytest.fixture(scope="module")
def found():
    return analysis()


def texts(sentences, kind):
    return [one.text for one in sentences if one.kind == kind]


def with_arm(found, index, **changes):
    arms = list(found.answers.arms)
    arms[index] = replace(arms[index], **changes)
    return replace(found, answers=replace(found.answers, arms=tuple(arms)))


def share(value, low=math.nan, high=math.nan, why="too few"):
    return Answer(value, low, high, 24, "share of variance", "m", "" if math.isfinite(low) else why)


def with_shares(found, shares):
    """The arm sam with these (first, total) shares, by hyperparameter; above where intervals are apart."""
    own = found.answers.arms[1].importances
    items = [replace(own.items[0], parameter=name, first=f, total=t) for name, (f, t) in shares.items()]
    above = tuple((a.parameter, (b.parameter,)) for a in items for b in items if a.total.low > b.total.high)
    return with_arm(found, 1, importances=replace(own, items=tuple(items), above=above), trained=None, box={})


def test_five_to_fifteen_what_decides_first(found):
    told = findings(found)
    assert 5 <= len(told) <= 15
    kinds = list(dict.fromkeys(one.kind for one in told))
    assert kinds[:4] == ["arms", "safe range", "best", "failures"]
    assert all(one.text and "nan" not in one.text for one in told)


def test_an_arm_is_better_only_where_the_paired_interval_leaves_out_zero(found):
    (text,) = texts(findings(found), "arms")
    e = found.differences[0].estimate
    assert text.startswith("against sgd, in points of test accuracy, paired over 5 fresh seeds: better: sam by 5.")
    assert f"(95 % {gap(e.low, True)} to {gap(e.high, True)})" in text
    (one,) = found.differences
    for low, high, verdict in ((-0.01, 0.09, "not shown to differ: sam"), (-0.09, -0.01, "worse: sam")):
        changed = replace(one, estimate=replace(e, mean=(low + high) / 2, low=low, high=high))
        (text,) = texts(findings(replace(found, differences=(changed,))), "arms")
        assert verdict in text and "better" not in text


def test_what_is_compared_at_unequal_cost_is_warned_of(found):
    """sgd has a third of sam's configurations; its best costs half as many samples."""
    (text,) = texts(warnings(found), "unequal")
    (control, arm) = (next(b for b in found.best if b.arm == name and b.rank == 1) for name in ("sgd", "sam"))
    times = number(arm.n_configurations / control.n_configurations, 2)
    cost = number(arm.compute["backward_samples"] / control.compute["backward_samples"], 2)
    assert f"sam: searched {times} times as many configurations and best costs {cost} times the samples" in text
    same = [replace(b, n_configurations=8, compute={"backward_samples": 1.0}) for b in found.best]
    assert not texts(warnings(replace(found, best=tuple(same))), "unequal")


def test_few_seeds_and_much_that_did_not_train_are_warned_of(found):
    assert not texts(warnings(found), "few seeds") and not texts(warnings(found), "did not train")
    few = found.configurations.assign(n=2)
    assert "2 seeds a configuration" in texts(warnings(replace(found, configurations=few)), "few seeds")[0]
    lost = replace(found.failures[0], n_not_trained=20, n_ended=40)
    assert f"{lost.arm} 20 of 40 trials" in texts(warnings(replace(found, failures=(lost,))), "did not train")[0]


def test_without_confirmation_no_arm_is_shown_to_be_better(found):
    best = tuple(replace(one, confirmation=None) for one in found.best)
    bare = replace(found, differences=(), best=best)
    assert texts(findings(bare), "arms") == [
        "no arm is shown to be better: that needs two arms confirmed on two fresh seeds or more"
    ]
    (text,) = texts(findings(bare), "best")
    assert "optimistic" in text and "no interval" in text
    assert any("sgd and sam: the best is not confirmed" in t for t in texts(warnings(bare), "not confirmed"))


def test_a_safe_range_has_its_factor_its_interval_and_where_the_others_are(found):
    sam = found.answers.arms[1]
    safe = next(s for s in sam.safe if s.parameter == "rho")
    safe = replace(safe, reference={**safe.reference, "rho": 0.3})
    ratio = replace(safe.ratio, value=18.0, low=11.0, high=24.0, why="", at_least=False)
    low, high = replace(safe.low, value=0.06), replace(safe.high, value=1.1)
    told = with_arm(found, 1, safe=(replace(safe, low=low, high=high, ratio=ratio),))
    (text,) = [t for t in texts(findings(told), "safe range") if t.startswith("rho")]
    assert text.startswith(
        "rho is safe within 1.00 points of the best: sam from 0.06 to 1.1 (x18, 95 % x11 to x24, at lr 0."
    )
    assert "lies outside" not in text
    elsewhere = replace(safe, low=low, high=high, ratio=ratio, reference={**safe.reference, "rho": 1.5})
    (text,) = [t for t in texts(findings(with_arm(found, 1, safe=(elsewhere,))), "safe range") if t.startswith("rho")]
    assert "; the best one tried, 1.5, lies outside: the range is a guess" in text
    at_edge = replace(safe, low=low, high=replace(high, value=2.0), ratio=replace(ratio, at_least=True))
    (text,) = [t for t in texts(findings(with_arm(found, 1, safe=(at_edge,))), "safe range") if t.startswith("rho")]
    assert "from 0.06 to at least 2 (at least x18, 95 % x11 to at least x24" in text
    none = replace(safe, ratio=replace(ratio, low=math.nan, high=math.nan, why="too few configurations"))
    (text,) = [t for t in texts(findings(with_arm(found, 1, safe=(none,))), "safe range") if t.startswith("rho")]
    assert text.endswith("(no interval: too few configurations)")


def test_importance_says_ties_and_ranks_only_where_intervals_are_apart(found):
    tied = {"rho": (share(0.74, 0.17, 1.0), share(0.95, 0.7, 1.0)), "lr": (share(0.06, 0, 0.3), share(0.26, 0, 0.83))}
    (text,) = texts(findings(with_shares(found, tied)), "importance")
    assert text == (
        "sam: rho explains 74 % (95 % 17 to 100 %) of the variance alone, 95 % (95 % 70 to 100 %) with its "
        "interactions; lr 6 % (95 % 0 to 30 %), 26 % (95 % 0 to 83 %); intervals overlap: no ranking"
    )
    apart = {**tied, "lr": (share(0.06, 0, 0.1), share(0.1, 0, 0.2))}
    (text,) = texts(findings(with_shares(found, apart)), "importance")
    assert text.endswith("; rho matters more than lr")
    bare = {name: (share(0.5), share(0.6)) for name in ("rho", "lr")}
    (text,) = texts(findings(with_shares(found, bare)), "importance")
    assert text.endswith("(no interval: too few): no ranking")


def test_nothing_is_said_of_importance_where_the_surrogate_explains_nothing(found):
    weak = with_arm(found, 1, scores=replace(found.answers.arms[1].scores, explains=False))
    assert not texts(findings(weak), "importance")


def test_where_training_fails_is_told_with_its_counts(found):
    (text,) = texts(findings(found), "failures")
    failed = found.failures[1]
    assert text.startswith(f"did not train: sam {failed.n_not_trained} of {failed.n_ended} trials, all at rho ≥ ")
    assert text.endswith("every trial trained: sgd")


def test_what_cannot_be_said_and_why():
    rows = [trial(configuration=str(i), value=0.8 + i / 100, lr=0.1 * (i + 1)) for i in range(3)]
    found = analyze(small_table(*rows))
    kinds = {one.kind: one.text for one in warnings(found)}
    assert set(kinds) >= {"guessed", "one seed", "not confirmed", "no surrogate", "along training"}
    assert "a surface needs 8" in kinds["no surrogate"]
    (nothing,) = findings(analyze(small_table(trial(status="failed", value=None))))
    assert nothing.kind == "nothing" and "no trial has a metric" in nothing.text
    assert findings(analyze(small_table()))[0].text == "there are no trials yet"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (number(0.06), "0.06"), (number(1024.0), "1024"), (number(1.2e-7), "1.2e−7"), (number(-0.5), "−0.5"),
        (number(math.nan), "not known"), (number(0), "0"), (percent(0.745), "74 %"), (level(0.9483, True), "94.8 %"),
        (level(0.12345, False), "0.1235"), (gap(-0.0001, True), "0.0"), (gap(-0.029, True), "−2.9"),
        (interval(share(0.5, 0.2, 0.9), "percent"), "50 %, 95 % 20 % to 90 %"),
        (interval(share(0.5), "percent"), "50 %, no interval"),
        (by_reason([("a", "x"), ("b", "y"), ("c", "x"), ("a", "x")]), "a and c: x; b: y"),
    ],
)  # fmt: skip
def test_numbers_in_words(made, text):
    assert made == text
