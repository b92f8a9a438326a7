"""Early stopping: the rules are Ray Tune's, and an interrupted run goes on with the rungs that it had."""

from types import SimpleNamespace

import numpy
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

from hpsearch.execution.stopping import Asha, Median, Stopper
from hpsearch.planning import Configuration, Pack
from hpsearch.results import Result
from hpsearch.study import parse_study
from hpsearch.training.milestones import Milestones

STUDY = """
name: s
task: {name: digits, epochs: 30}
arms: {a: {parameters: {rho: {low: 0.0, high: 1.0}}}, b: {parameters: {rho: {low: 0.0, high: 1.0}}}}
sampling: [{sampler: random, configurations: 40}]
seeds: 2
objectives: {val_accuracy: maximize}
stopping: {scheduler: asha, grace: 2, reduction: 3}
"""
EPOCHS = 30


def curves(count, seed=0):
    """Noisy learning curves that cross; some have holes."""
    rng = numpy.random.default_rng(seed)
    rise = 1 - numpy.exp(-numpy.arange(1, EPOCHS + 1) * rng.uniform(0.02, 0.5, (count, 1)))
    return rng.uniform(0.3, 1, (count, 1)) * rise + 0.03 * rng.standard_normal((count, EPOCHS))


class Trial:
    def __init__(self, trial_id):
        self.trial_id = trial_id


class Tune:
    """Ray's scheduler, asked about the same configurations in the same order."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.trials = {}
        self.controller = SimpleNamespace(get_live_trials=list)

    def judge(self, key, trace):
        trial = self.trials.get(key)
        if trial is None:
            trial = self.trials[key] = Trial(key)
            self.scheduler.on_trial_add(self.controller, trial)
        given = {"epoch": len(trace), "value": float(trace[-1])}
        return self.scheduler.on_trial_result(self.controller, trial, given) == "STOP"


def decisions(judge, values, milestones, seed):
    """Advances configurations in a random order, six at once as workers would; where each was stopped."""
    rng = numpy.random.default_rng(seed)
    left, at, stopped = list(range(len(values))), {}, {}
    running = [left.pop(0) for _ in range(6)]
    while running:
        key = running[int(rng.integers(len(running)))]
        at[key] = milestones.after(at.get(key, 0))
        ends = at[key] >= EPOCHS
        if not ends and judge(key, values[key][: at[key]]):
            stopped[key] = at[key]
            ends = True
        if ends:
            running.remove(key)
            running += [left.pop(0)] if left else []
    return stopped


@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_asha_decides_as_ray_does(reduction):
    for seed in range(5):
        values, milestones = curves(60, seed), Milestones(2, reduction)
        tune = AsyncHyperBandScheduler(
            "epoch", "value", "max", max_t=EPOCHS, grace_period=2, reduction_factor=reduction
        )
        rule = Asha(reduction)
        found = decisions(lambda key, trace, rule=rule: rule.judge("a", str(key), trace), values, milestones, seed)
        assert found == decisions(Tune(tune).judge, values, milestones, seed)
        assert 10 < len(found) < 60


def test_the_median_rule_decides_as_ray_does():
    for seed in range(5):
        values, milestones = curves(40, seed), Milestones(1)  # Ray's is told of every epoch
        tune = Tune(MedianStoppingRule("epoch", "value", "max", grace_period=3, min_samples_required=3))
        rule = Median(3)

        def judge(key, trace, rule=rule):
            return len(trace) >= 3 and rule.judge("a", str(key), trace)

        found = decisions(judge, values, milestones, seed)
        assert found == decisions(tune.judge, values, milestones, seed)
        assert 5 < len(found) < 40


def configuration(number, arm="a", confirm=False):
    sampling = {"phase": 0, "index": number, "sampler": "random", "generation": None, "confirm": confirm}
    return Configuration(arm, {"rho": 0.1}, f"{arm}{number}", sampling)


def pack(number, confirm=False, seeds=(0, 1)):
    return Pack(configuration(number, confirm=confirm), {seed: f"{number}/{seed}" for seed in seeds}, {})


def seed_of(values, status="stopped", chance=0.1):
    metrics = {"val_accuracy": {"complete": values[-1], "diverged": chance}.get(status)}
    return {"status": status, "curve": {"epoch": [], "val_accuracy": list(values)}, "metrics": metrics}


def row(number, seed, values, status, arm="a", confirm=False):
    one = configuration(number, arm, confirm)
    made = seed_of(values, status)
    rule = {"scheduler": "asha", "grace": 2, "reduction": 3.0} if status == "stopped" else None
    return Result(
        f"{arm}{number}-{seed}", one.configuration_id, arm, one.params, {}, seed, one.sampling, status,
        epochs=len(values), epochs_planned=EPOCHS, metrics=made["metrics"], curve=made["curve"], stopping=rule,
    )  # fmt: skip


def stopper(results=(), text=STUDY):
    study = parse_study(text)
    return Stopper(study, study.stopping, results)


@pytest.mark.parametrize("way", ["maximize", "minimize"])
def test_the_mean_over_seeds_is_judged_within_an_arm(way):
    sign = 1 if way == "maximize" else -1
    one = stopper(text=STUDY.replace("maximize", way))

    def stops(number, *ends, arm="a"):
        return one.stops(configuration(number, arm), 2, [seed_of([0.0, sign * end]) for end in ends])

    assert not stops(0, 0.5, 0.7)
    assert not stops(1, 0.9, 0.5)  # 0.7, the best
    assert stops(2, 1.0, 0.1)  # one good seed does not carry it
    assert not stops(0, 0.0, 0.0, arm="b")  # the first of its arm


def test_a_diverged_seed_counts_at_its_chance_level_and_an_unknown_value_not_at_all():
    one = stopper()
    assert not one.stops(configuration(0), 2, [seed_of([0.3, 0.5]), seed_of([0.3, 0.5])])
    assert one.stops(configuration(1), 2, [seed_of([0.3, 0.8]), seed_of([0.3, None], "diverged")])  # mean 0.45
    assert not one.stops(configuration(2), 2, [seed_of([0.3, 0.6]), seed_of([None, None], "diverged", None)])
    assert not one.stops(configuration(3), 2, [seed_of([None, None])])


def test_what_was_decided_holds_for_seeds_that_are_added():
    rows = [row(0, seed, [0.1] * 6, "stopped") for seed in (0, 1)]
    rows += [row(1, seed, [0.5] * EPOCHS, "complete") for seed in (0, 1)]
    one = stopper(rows)
    bright = [seed_of([0.9] * EPOCHS)]
    assert not one.stops(configuration(0), 2, bright) and one.stops(configuration(0), 6, bright)
    assert one.may_stop(pack(0)) and not one.may_stop(pack(1))
    assert not one.may_stop(pack(7, confirm=True)) and one.may_stop(pack(7))
    assert not one.may_stop(pack(7, seeds=(2, 3)))  # asked for by the spread of a configuration that ran to its end


def test_a_run_that_goes_on_decides_as_the_one_that_was_not_interrupted():
    values = curves(50, seed=3)
    milestones = Milestones(2, 3)

    def pack(one, number, left=(0, 1)):
        """Those seeds that are left, side by side; the rows that they leave."""
        if not one.may_stop(Pack(configuration(number), dict.fromkeys(left, ""), {})):
            return [row(number, seed, values[number + 25 * seed], "complete") for seed in left]
        epoch = milestones.after(0)
        while epoch < EPOCHS:
            seeds = [seed_of(values[number + 25 * seed][:epoch]) for seed in left]
            if one.stops(configuration(number), epoch, seeds):
                return [row(number, seed, values[number + 25 * seed][:epoch], "stopped") for seed in left]
            epoch = milestones.after(epoch)
        return [row(number, seed, values[number + 25 * seed], "complete") for seed in left]

    whole, rows = stopper(), []
    for number in range(25):
        rows += pack(whole, number)
    assert 5 < sum(r.status == "stopped" for r in rows) / 2 < 25
    for cut in range(50):  # also in the middle of a pack
        again, more = stopper(rows[:cut]), []
        for number in range(cut // 2, 25):
            more += pack(again, number, (1,) if cut % 2 and number == cut // 2 else (0, 1))
        assert [vars(r) for r in more] == [vars(r) for r in rows[cut:]]


def test_a_seed_that_diverged_before_the_run_was_cut_off_is_judged_with_the_others():
    rows = [row(0, seed, [0.5] * EPOCHS, "complete") for seed in (0, 1)]
    one = stopper([*rows, row(1, 0, [0.2, None], "diverged")])
    assert one.stops(configuration(1), 2, [seed_of([0.2, 0.85])])  # with chance, 0.1: 0.475


def test_seeds_that_are_missing_count_once_they_are_there():
    """One that fails, and ends nowhere, or one that was added: until it comes the others stand for it."""
    complete = [row(number, 0, [value] * EPOCHS, "complete") for number, value in enumerate((0.1, 0.2, 0.3))]
    one = stopper(complete)
    assert one.stops(configuration(7), 2, [seed_of([0.12] * 2)])  # of three that are known
    assert not one.stops(configuration(0), 2, [seed_of([0.9] * 2)]) and one.may_stop(pack(0))
    assert one.stops(configuration(8), 2, [seed_of([0.25] * 2)])  # the first is 0.5 now
    assert not stopper(complete).stops(configuration(8), 2, [seed_of([0.25] * 2)])


def test_what_is_trained_again_is_judged_as_the_first_time():
    one = stopper()
    assert not one.stops(configuration(0), 2, [seed_of([0.5] * 2)])
    for number, value in enumerate((0.6, 0.7, 0.8)):
        one.stops(configuration(number + 1), 2, [seed_of([value] * 2)])
    assert not one.stops(configuration(0), 2, [seed_of([0.5] * 2)])
    assert one.stops(configuration(9), 2, [seed_of([0.5] * 2)])


def test_rungs_have_what_a_run_that_was_not_cut_off_has():
    """The value before a seed diverged, and the first seeds alone."""
    alive = [row(0, 0, [0.5] * EPOCHS, "complete"), row(0, 1, [0.7, 0.7, None], "diverged")]
    assert stopper(alive).stops(configuration(1), 2, [seed_of([0.59] * 2)])  # 0.6 at epoch 2
    assert not stopper(alive).stops(configuration(1), 2, [seed_of([0.61] * 2)])
    added = [row(0, seed, [value] * EPOCHS, "complete") for seed, value in ((0, 0.6), (1, 0.6), (2, 0.1), (3, 0.1))]
    assert stopper(added).stops(configuration(1), 2, [seed_of([0.5] * 2)])
