"""Seeds by spread, from the planner's side: first seeds, then as many more as their results ask for."""

import random
from collections import Counter

import pytest

import hpsearch.planning.suggestions
from hpsearch.planning import Planner, most_trials, planned_trials
from hpsearch.sampling import Adaptive
from tests.planning.harness import accuracy, checked_of, result_of, run, wanted_trials

RHO = "{sam: {parameters: {rho: {low: 0.01, high: 0.6}}}}"
SEEDS = "{min: 3, max: 8, half_width: 0.005}"
TPE = "{sampler: tpe, configurations: 6, options: {n_startup_trials: 2}}"


def seeds_of(results):
    return Counter(result.configuration_id for result in results if not result.sampling["confirm"])


def test_each_configuration_gets_the_seeds_that_its_first_ones_ask_for():
    checked = checked_of(RHO, "[{sampler: random, configurations: 30}]", SEEDS)
    results, planner = run(checked)
    assert {result.trial_id for result in results} == wanted_trials(checked, results)
    numbers = seeds_of(results)
    assert len(numbers) == 30 and min(numbers.values()) == 3 and max(numbers.values()) == 8
    assert len(set(numbers.values())) > 3  # the example has some of each
    found = {key: sorted(r.seed for r in results if r.configuration_id == key) for key in numbers}
    assert all(seeds == list(range(numbers[key])) for key, seeds in found.items())
    (note,) = planner.notes
    assert note.startswith(f"sam: {len(results)} seeds for 30 configurations, 3 to 8 each")


def test_first_seeds_of_all_configurations_come_before_more_seeds_of_one():
    checked = checked_of(RHO, "[{sampler: random, configurations: 9}]", SEEDS)
    results, _ = run(checked)
    assert all(result.seed < 3 for result in results[:27]) and all(result.seed >= 3 for result in results[27:])


def test_counts_grow_as_numbers_are_fixed_and_end_at_what_was_run():
    checked = checked_of(RHO, "[{sampler: random, configurations: 9}]", SEEDS, confirm="{top: 1, seeds: 2}")
    assert planned_trials(checked.study, "sam") == 29 and most_trials(checked.study, "sam") == 74
    assert Planner(checked, []).counts()["sam"].planned == 29
    results, planner = run(checked)
    assert planner.counts()["sam"].planned == planner.counts()["sam"].ended == len(results) > 29
    part, planner = run(checked, trials=27)
    count = planner.counts()["sam"]
    assert (count.planned, count.ended) == (len(results), 27)  # by then every number is fixed


def test_seeds_that_are_alike_ask_for_no_more():
    checked = checked_of(RHO, "[{sampler: random, configurations: 4}]", SEEDS)
    results, _ = run(checked, value=lambda params, seed: 0.1)
    assert len(results) == 12


def test_where_some_seeds_did_not_train_the_spread_is_large_and_more_run():
    checked = checked_of(RHO, "[{sampler: random, configurations: 1}]", SEEDS)
    results, _ = run(checked, value=lambda params, seed: 0.1 if seed == 1 else 0.95)
    assert len(results) == 8


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_while_a_first_seed_has_no_value_the_number_is_not_fixed(status):
    """A failed seed is tried again by the next run; a function that gives no value where it diverged never will."""
    checked = checked_of(RHO, "[{sampler: random, configurations: 1}]", SEEDS)
    planner = Planner(checked, [])
    pack = planner.next()
    known = [result_of(pack, seed) for seed in (0, 1)]
    known.append(result_of(pack, 2, lambda params, seed: None, status))
    for result in known:
        planner.tell(result)
    assert planner.next() is None and planner.finished
    again = Planner(checked, known).next()
    assert again is None if status == "diverged" else list(again.seeds) == [2]


def test_a_failed_seed_that_then_ends_fixes_the_number_in_the_next_run():
    checked = checked_of(RHO, "[{sampler: random, configurations: 1}]", SEEDS)
    pack = Planner(checked, []).next()
    known = [result_of(pack, 0), result_of(pack, 1), result_of(pack, 2, status="failed")]
    wide = lambda params, seed: 0.5 + 0.1 * seed  # noqa: E731
    results, _ = run(checked, [*(result_of(pack, seed, wide) for seed in (0, 1)), known[2]], value=wide)
    assert [result.seed for result in results] == list(range(2, 8))


def test_the_sampler_is_told_the_mean_of_the_first_seeds_once(monkeypatch):
    told = []

    class Spied(Adaptive):
        def tell(self, asked, values):
            told.append(values)
            super().tell(asked, values)

    monkeypatch.setattr(hpsearch.planning.suggestions, "Adaptive", Spied)
    checked = checked_of(RHO, f"[{TPE}]", SEEDS)
    results, _ = run(checked)
    assert len(results) > 18
    first = {}
    for result in results:
        if result.seed < 3:
            first.setdefault(result.configuration_id, []).append(result.metrics["val_accuracy"])
    means = sorted(sum(values) / 3 for values in first.values())
    assert sorted(value for (value,) in told) == pytest.approx(means)


def test_confirm_waits_for_more_seeds_and_takes_the_best_means_over_all_of_them():
    checked = checked_of(RHO, "[{sampler: random, configurations: 12}]", SEEDS, confirm="{top: 3, seeds: 4}")
    results, _ = run(checked, at_once=3, shuffle=random.Random(5))
    assert {result.trial_id for result in results} == wanted_trials(checked, results)
    confirming = [result.sampling["confirm"] for result in results]
    assert confirming == sorted(confirming) and sum(confirming) == 12


def test_from_a_number_of_seeds_to_a_number_by_spread_and_back_keeps_what_is_there():
    sampling = "[{sampler: random, configurations: 8}]"
    before, _ = run(checked_of(RHO, sampling, 3))
    checked = checked_of(RHO, sampling, SEEDS)
    more, _ = run(checked, before)
    assert {r.trial_id for r in before} | {r.trial_id for r in more} == wanted_trials(checked, [*before, *more])
    assert all(result.seed >= 3 for result in more)
    assert run(checked_of(RHO, sampling, 3), [*before, *more])[0] == []
    narrower, _ = run(checked_of(RHO, sampling, SEEDS.replace("5}", "4}")), [*before, *more])
    assert not {r.trial_id for r in narrower} & {r.trial_id for r in (*before, *more)}


def test_the_number_does_not_depend_on_the_order_of_results():
    checked = checked_of(RHO, "[{sampler: random, configurations: 8}]", SEEDS)
    straight = {result.trial_id for result in run(checked)[0]}
    for order in range(4):
        assert {r.trial_id for r in run(checked, at_once=3, shuffle=random.Random(order))[0]} == straight
    assert accuracy({"rho": 0.2}, 1) == accuracy({"rho": 0.2}, 1)
