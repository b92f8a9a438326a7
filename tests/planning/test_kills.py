"""Random studies, results in random order, kills at random moments: every trial of the plan is run, each once."""

import random

import pytest

from hpsearch.planning import planned_trials
from tests.planning.harness import checked_of, run, wanted_trials

ARMS = {
    "range": "{parameters: {rho: {low: 0.01, high: 0.6}, lr: {low: 0.01, high: 0.1, log: true}}}",
    "choices": "{fixed: {rho: 0.1}, parameters: {num_shards: {choices: [1, 2, 4]}, interval: {choices: [1, 2]}}}",
    "conditional": "{parameters: {combine: {choices: [perturbed, gsam]}, rho: {low: 0.1, high: 0.4, step: 0.1},"
    " alpha: {low: 0.1, high: 0.2, step: 0.1, when: {combine: gsam}}}}",
    "fixed": "{fixed: {lr: 0.1}}",
}
FIXED = [
    "{sampler: random, configurations: 4}",
    "{sampler: qmc, configurations: 5}",
    "{sampler: random, configurations: 30}",
]
TPE = "{sampler: tpe, configurations: 5, options: {n_startup_trials: 2}}"
SEEDS = ["1", "3", "[4, 0, 7]", "{min: 2, max: 6, half_width: 0.01}", "{min: 3, max: 5, half_width: 0.001}"]
CONFIRM = ["null", "{top: 1, seeds: 2}", "{top: 2, seeds: 3}"]


def random_study(draw, adaptive):
    names = draw.sample(sorted(ARMS), draw.randint(1, 3))
    phases = draw.sample(FIXED, draw.randint(0 if adaptive else 1, 2))
    if adaptive:
        phases.insert(draw.randint(0, len(phases)), TPE)
    arms = "{" + ", ".join(f"{name}: {ARMS[name]}" for name in names) + "}"
    return checked_of(arms, f"[{', '.join(phases)}]", draw.choice(SEEDS), draw.choice(CONFIRM))


def ids(results):
    return [result.trial_id for result in results]


def run_with_kills(checked, draw, at_once, shuffle):
    results = []
    while True:
        new, planner = run(checked, results, at_once, shuffle, trials=draw.choice([1, 2, 3, 7, 20]))
        assert not set(ids(new)) & set(ids(results)), "a trial was run again"
        results += new
        counts = planner.counts().values()
        assert all(count.ended <= count.planned for count in counts)
        if planner.finished:
            assert sum(count.planned for count in counts) == sum(count.ended for count in counts) == len(results)
            return results


@pytest.mark.parametrize("number", range(24))
def test_without_adaptive_phases_the_trials_are_those_of_a_run_that_was_not_killed(number):
    draw = random.Random(number)
    checked = random_study(draw, adaptive=False)
    straight, _ = run(checked)
    assert len(ids(straight)) == len(set(ids(straight)))
    assert set(ids(straight)) == wanted_trials(checked, straight)
    if checked.study.two_stage is None:
        assert len(straight) == sum(planned_trials(checked.study, arm) for arm in checked.study.arms)
    killed = run_with_kills(checked, draw, at_once=draw.randint(1, 4), shuffle=draw)
    assert sorted(ids(killed)) == sorted(ids(straight))


@pytest.mark.parametrize("number", range(12))
def test_with_adaptive_phases_too_where_one_pack_runs_at_a_time(number):
    draw = random.Random(1000 + number)
    checked = random_study(draw, adaptive=True)
    straight, _ = run(checked)
    killed = run_with_kills(checked, draw, at_once=1, shuffle=None)
    assert sorted(ids(killed)) == sorted(ids(straight))
    assert set(ids(straight)) == wanted_trials(checked, straight)


@pytest.mark.parametrize("number", range(12))
def test_with_several_packs_at_a_time_each_planned_trial_is_run_once(number):
    """What an adaptive sampler suggests then depends on what came back first; that nothing is run twice does not."""
    draw = random.Random(2000 + number)
    checked = random_study(draw, adaptive=True)
    killed = run_with_kills(checked, draw, at_once=draw.randint(2, 4), shuffle=draw)
    assert len(ids(killed)) == len(set(ids(killed)))
    assert set(ids(killed)) == wanted_trials(checked, killed)
