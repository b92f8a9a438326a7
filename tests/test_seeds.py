"""Seeds of a study: what may be written, and Stein's two stages."""

import math

import numpy
import pytest
import scipy.stats

from hpsearch.errors import HpsearchError
from hpsearch.seeds import Spent, TwoStage, in_words, student_t
from hpsearch.study import parse_study

STUDY = """
name: s
task: {{name: digits}}
arms: {{sam: {{fixed: {{rho: 0.1}}}}}}
sampling: [{{sampler: random, configurations: 2}}]
seeds: {seeds}
confirm: {{top: 1, seeds: 2}}
objectives: {{val_accuracy: maximize}}
"""


def study_of(seeds):
    return parse_study(STUDY.format(seeds=seeds))


def test_seeds_by_spread_are_read_and_written_back():
    study = study_of("{min: 3, max: 10, half_width: 3.0e-3}")
    assert study.seeds == TwoStage(min=3, max=10, half_width=0.003) == study.two_stage
    assert study.first_seeds == (0, 1, 2) and study.all_seeds == tuple(range(10))
    assert not set(study.confirm_seeds) & set(study.all_seeds)
    assert parse_study(study.to_yaml()) == study
    assert in_words(study.seeds) == "3 to 10 seeds by spread, for intervals of ± 0.003"


def test_a_number_or_a_list_of_seeds_has_one_stage():
    for seeds, read in (("2", (0, 1)), ("[4, 1]", (4, 1))):
        study = study_of(seeds)
        assert study.first_seeds == study.all_seeds == study.seeds == read and study.two_stage is None
    assert in_words((0, 1)) == "2 seeds"


@pytest.mark.parametrize(
    ("seeds", "key", "said"),
    [
        ("{min: 3, max: 10}", "half_width", "is missing"),
        ("{min: 3, half_width: 1}", "max", "is missing"),
        ("{}", "min", "is missing"),
        ("{min: 1, max: 3, half_width: 1}", "min", "got 1; allowed: a whole number from 2 to 1000"),
        ("{min: 3, max: 3, half_width: 1}", "max", "got 3; allowed: a whole number from 4 to 1000"),
        ("{min: 3, max: 1001, half_width: 1}", "max", "got 1001; allowed: a whole number from 4 to 1000"),
        ("{min: 3.5, max: 9, half_width: 1}", "min", "got 3.5; allowed: a whole number"),
        ("{min: true, max: 9, half_width: 1}", "min", "got true; allowed: a whole number"),
        ("{min: 3, max: 9, half_width: 0}", "half_width", "got 0; allowed: a number > 0"),
        ("{min: 3, max: 9, half_width: .inf}", "half_width", "allowed: a number > 0"),
        ("{min: 3, max: 9, half_width: tiny}", "half_width", "got 'tiny'; allowed: a number > 0"),
        ("{min: 3, max: 9, half_widht: 1}", "half_widht", "did you mean 'half_width'?"),
    ],
)
def test_mistakes_name_the_key_what_is_allowed_and_the_nearest(seeds, key, said):
    with pytest.raises(HpsearchError) as error:
        study_of(seeds)
    assert f"seeds.{key}: " in str(error.value) and said in str(error.value)


def test_the_number_is_steins():
    rule = TwoStage(min=4, max=50, half_width=0.5)
    first = [1.0, 2.0, 4.0, 3.5]
    t, s = scipy.stats.t.ppf(0.975, 3), numpy.std(first, ddof=1)
    assert student_t(3) == pytest.approx(t)
    assert rule.wanted(first) == math.ceil(t**2 * s**2 / 0.5**2) > 50 == rule.number(first)
    assert rule.half(first, 30) == pytest.approx(t * s / math.sqrt(30))


@pytest.mark.parametrize(
    ("first", "number"),
    [
        ([0.5, 0.5, 0.5], 3),  # all alike, e.g. all diverged
        ([0.5, 0.5001, 0.5002], 3),  # narrow enough
        ([0.90, 0.902, 0.901], 3),
        ([0.90, 0.905, 0.91], 10),  # t = 4.303, s = 0.005: 52 are wanted
        ([0.95, 0.95, 0.10], 10),  # one seed of three did not train
        ([1e300, -1e300, 0.0], 10),
    ],
)
def test_what_three_seeds_ask_for(first, number):
    assert TwoStage(min=3, max=10, half_width=0.003).number(first) == number


def test_the_number_needs_all_first_values():
    with pytest.raises(ValueError, match="the first 3 values decide, got 2"):
        TwoStage(min=3, max=10, half_width=1).wanted([1.0, 2.0])


@pytest.mark.parametrize("most", [1000, 6])
def test_the_interval_covers_95_percent_of_normal_values_also_where_max_cuts(most):
    """20,000 configurations: the standard error of the share is 0.15 points."""
    rule, rng = TwoStage(min=3, max=most, half_width=2.0), numpy.random.default_rng(0)
    inside = 0
    for _ in range(20_000):
        first = rng.standard_normal(3)
        n = rule.number(list(first))
        mean = (first.sum() + math.sqrt(n - 3) * rng.standard_normal()) / n if n > 3 else first.mean()
        half = rule.half(list(first), n)
        assert half <= rule.half_width * (1 + 1e-9) or n == most
        inside += abs(mean) <= half
    assert abs(inside / 20_000 - 0.95) < 0.006


def test_what_was_spent_is_said():
    rule = TwoStage(min=3, max=10, half_width=0.003)
    firsts = [[0.5, 0.5, 0.5], [0.9, 0.902, 0.904], [0.9, 0.8, 0.7]]
    spent = Spent.of(rule, map(rule.wanted, firsts))
    assert (spent.numbers, spent.cut, spent.more) == ((3, 9, 10), 1, 13)
    assert str(spent) == (
        "22 seeds for 3 configurations, 3 to 10 each, 7.33 in the mean, for intervals of ± 0.003; "
        "1 would need more than 10"
    )
    assert "no configuration has its first 3 seeds yet" in str(Spent.of(rule, []))
