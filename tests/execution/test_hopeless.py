"""When a run is given up, and when never."""

import pytest

from hpsearch.errors import RunError
from hpsearch.execution.hopeless import CONFIGURATIONS, TRIALS, Hopeless
from hpsearch.results import Result

TRACE = 'Traceback (most recent call last):\n  File "mine.py", line 3, in train\n    1 / 0\nZeroDivisionError: no'


def result(arm, configuration, seed=0, status="failed", error=TRACE):
    where = {"phase": 0, "index": 0, "sampler": "random", "generation": None, "confirm": False}
    return Result(f"{arm}{configuration}{seed}", f"{arm}{configuration}", arm, {}, {}, seed, where, status, error=error)


def failing(arm, configurations, seeds=3):
    return [result(arm, c, s) for c in configurations for s in range(seeds)]


def told(hopeless, results):
    """How many were told before it gave up; None: it never did."""
    for number, one in enumerate(results, start=1):
        try:
            hopeless.add([one])
        except RunError:
            return number
    return None


def test_a_run_in_which_all_fails_is_given_up_soon_and_says_why():
    hopeless = Hopeless(["a"], [])
    with pytest.raises(RunError) as caught:
        hopeless.add(failing("a", range(4)))
    text = str(caught.value)
    assert "all 12 trials" in text and "ZeroDivisionError: no" in text and "mine.py" in text and "again" in text
    assert caught.value.exit_code == 1


def test_the_most_frequent_error_is_told():
    hopeless = Hopeless(["a"], [])
    mixed = [result("a", c, error="OSError: gone" if c % 3 else "KeyError: x") for c in range(12)]
    with pytest.raises(RunError, match="8 of them with: OSError: gone"):
        hopeless.add(mixed)


def test_it_takes_ten_trials_and_four_configurations():
    assert told(Hopeless(["a"], []), failing("a", range(100), seeds=1)) == TRIALS
    assert told(Hopeless(["a"], []), failing("a", range(100), seeds=8)) == 8 * (CONFIGURATIONS - 1) + 1
    assert told(Hopeless(["a"], []), failing("a", range(3), seeds=100)) is None


def test_one_bad_arm_never_stops_the_others():
    assert told(Hopeless(["bad", "good"], []), failing("bad", range(100))) is None
    hopeless = Hopeless(["bad", "worse"], [])
    assert told(hopeless, [*failing("bad", range(100)), result("worse", 0)]) == 301


@pytest.mark.parametrize("status", ["complete", "diverged", "collapsed", "stopped"])
def test_one_trial_that_comes_to_something_is_hope_for_good(status):
    some = result("a", 0, status=status)
    assert told(Hopeless(["a"], []), [some, *failing("a", range(1, 100))]) is None
    assert told(Hopeless(["a"], [some]), failing("a", range(1, 100))) is None


def test_a_region_of_failures_is_passed_when_the_run_is_started_again():
    known = failing("a", range(4))
    again = [*failing("a", range(4)), result("a", 4), result("a", 5), result("a", 6, status="complete")]
    assert told(Hopeless(["a"], known), [*again, *failing("a", range(7, 100))]) is None
    assert told(Hopeless(["a"], known), failing("a", range(100))) == 3 * 7 + 1


STUDY = """
name: hopeless
task: {name: "mine:bad"}
arms:
  one: {parameters: {x: {low: 0, high: 1}}, fixed: {kind: raises}}
  other: {parameters: {x: {low: 0, high: 1}}, fixed: {kind: raises}}
sampling: [{sampler: random, configurations: 200}]
seeds: 2
objectives: {val_accuracy: maximize}
resources: {concurrent: 1}
"""


def test_a_whole_run_is_given_up_and_tries_all_again_when_started_again(place):
    place.study(STUDY)
    _, error = place.run("run", "study.yaml", "--no-dashboard", code=1)
    assert "in every arm, with: RuntimeError: no such luck" in error and "mine.py" in error
    lines = (place.folder / "runs" / "hopeless" / "trials.jsonl").read_text().splitlines()
    assert TRIALS <= len(lines) < 120  # of 800
    place.study(STUDY.replace("kind: raises", "kind: fine").replace("200", "2"))
    out, _ = place.run("run", "study.yaml", "--no-dashboard")
    assert "8 trials trained" in out
