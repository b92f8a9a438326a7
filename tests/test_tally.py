"""The running tally against the statistics of the whole table, which are its slow and obvious twin."""

import random

import pytest

from hpsearch.analysis.configurations import summarize
from hpsearch.results import Result, to_table
from hpsearch.study import parse_study
from hpsearch.tally import Tally, describe_best

STUDY = """
name: tallied
task: {name: digits}
arms:
  sam: {parameters: {rho: {low: 0.01, high: 2.0, log: true}}}
  fsam: {parameters: {rho: {low: 0.01, high: 2.0, log: true}}}
sampling: [{sampler: random, configurations: 20}]
seeds: 3
objectives: {OBJECTIVE}
"""


def study_of(objective):
    return parse_study(STUDY.replace("OBJECTIVE", objective))


def result(arm, configuration, seed, status, value, *, confirm=False, error=None):
    return Result(
        trial_id=f"{arm}-{configuration}-{seed}",
        configuration_id=f"{arm}-{configuration}",
        arm=arm,
        params={"rho": 0.01 + configuration / 100},
        fixed={},
        seed=seed,
        sampling={"phase": 0, "index": configuration, "sampler": "random", "generation": None, "confirm": confirm},
        status=status,
        metrics={"val_accuracy": value, "train_loss": value},
        cost={"backward_samples": 1000, "flops": None, "seconds": 2.0, "peak_memory_bytes": None},
        error=error,
    )


def some_results(rng, count):
    """In any order, some of them again with another end, as running again after a failure leaves them."""
    for _ in range(count):
        status = rng.choices(["complete", "diverged", "collapsed", "failed", "stopped"], weights=[14, 1, 1, 1, 1])[0]
        value = None if status == "failed" or rng.random() < 0.03 else rng.gauss(0.9, 0.02)
        seed = rng.choice([0, 1, 2, 10000])
        arm = rng.choice(["sam", "fsam"])
        yield result(arm, rng.randrange(20), seed, status, value, confirm=seed == 10000, error="Traceback\nOops")


def slow_best(study, results):
    """Each arm's best by the statistics that reports are made with: mean, half of the interval, n."""
    ended = [r for r in results if r.status not in ("failed", "stopped") and not r.sampling["confirm"]]
    table = summarize(to_table(ended), metric=study.objective).dropna(subset=["mean"])
    found = {}
    for arm, rows in table.groupby("arm"):
        whole = rows[rows["n"] >= len(study.first_seeds)]
        rows = whole if len(whole) else rows
        up = study.objectives[study.objective] == "maximize"
        row = rows.loc[rows["mean"].idxmax() if up else rows["mean"].idxmin()]
        half = (row["high"] - row["low"]) / 2
        found[arm] = (row["mean"], None if half != half else half, row["n"], row["share_not_trained"] < 1)
    return found


@pytest.mark.parametrize("objective", ["val_accuracy: maximize", "train_loss: minimize"])
def test_after_every_result_the_tally_agrees_with_the_whole_table(objective):
    rng, study = random.Random(7), study_of(objective)
    tally, last = Tally(study), {}
    for number, new in enumerate(some_results(rng, 400)):
        tally.add([new])
        last.pop(new.trial_id, None)
        last[new.trial_id] = new
        for arm, counts in tally.arms.items():
            mine = [r for r in last.values() if r.arm == arm]
            assert +counts.statuses == {
                s: n for s in {r.status for r in mine} if (n := sum(r.status == s for r in mine))
            }
            assert counts.samples == 1000 * len(mine) and counts.seconds == 2.0 * len(mine)
        if number % 20 == 0:
            expected = slow_best(study, list(last.values()))
            for arm, counts in tally.arms.items():
                best = counts.best()
                assert (best is None) == (arm not in expected)
                if best is not None:
                    mean, half, n, trained = expected[arm]
                    assert (best.n, best.trained) == (n, trained)
                    assert best.mean == pytest.approx(mean, rel=1e-12)
                    assert best.half == (None if half is None else pytest.approx(half, rel=1e-9))
    assert len(last) < 400  # some were replaced


def test_a_trial_that_failed_and_then_did_not_is_no_error_any_more():
    tally = Tally(study_of("val_accuracy: maximize"))
    trace = 'Traceback\n  File "mine.py", line 3, in train\nValueError: no such luck'
    tally.add([result("sam", 0, seed, "failed", None, error=trace) for seed in (0, 1)])
    assert tally.errors == (("sam", 'ValueError: no such luck (File "mine.py", line 3, in train)'),)
    tally.add([result("sam", 0, 0, "complete", 0.9)])
    assert len(tally.errors) == 1
    tally.add([result("sam", 0, 1, "complete", 0.9)])
    assert tally.errors == ()


def test_the_best_in_words():
    study = study_of("val_accuracy: maximize")
    tally = Tally(study, [result("sam", 0, seed, "complete", 0.95 + seed / 100) for seed in (0, 1)])
    assert describe_best(study, tally.arms["sam"].best()) == "95.5 ± 6.4 % (n=2)"
    assert describe_best(study, tally.arms["fsam"].best()) == ""
    tally = Tally(study, [result("sam", 0, 0, "diverged", 0.1)])
    assert describe_best(study, tally.arms["sam"].best()) == "10 % (n=1, did not train)"
    study = study_of("train_loss: minimize")
    tally = Tally(study, [result("sam", number, 0, "complete", 0.5 + number) for number in (0, 1)])
    assert describe_best(study, tally.arms["sam"].best()) == "0.5 (n=1)"
