"""The planner, driven by hand: made-up results, no training, no Ray."""

import math
from collections import Counter

import pytest

import hpsearch.planning.suggestions
from hpsearch.check import Checked
from hpsearch.identity import Identity
from hpsearch.planning import ArmCount, Planner, phase_sizes, planned_trials
from hpsearch.results import Result
from hpsearch.sampling import Adaptive
from hpsearch.study import parse_study
from hpsearch.tasks.digits import Digits

RHO = "{parameters: {rho: {low: 0.01, high: 2.0, log: true, grid: [0.02, 0.2, 2.0]}}}"
TPE = "{sampler: tpe, configurations: 6, options: {n_startup_trials: 2}}"


def checked_of(arms="{sam: " + RHO + "}", sampling="[{sampler: qmc, configurations: 4}]", seeds=2, **more):
    objectives = more.pop("objectives", "{val_accuracy: maximize}")
    rest = "".join(f"\n{key}: {value}" for key, value in more.items())
    study = parse_study(f"""
name: s
task: {{name: digits}}
arms: {arms}
sampling: {sampling}
seeds: {seeds}
objectives: {objectives}{rest}
""")
    return Checked(study, Digits, Identity(study, {"name": "digits", "semantics": 1, "options": {}}, False))


def score(params, seed):
    """Best at rho 0.2; the seeds differ."""
    return -abs(math.log(params.get("rho", 0.05) / 0.2)) + 0.01 * seed


def results_of(pack, metrics=None, status="complete"):
    configuration = pack.configuration
    return [
        Result(
            trial_id,
            configuration.configuration_id,
            configuration.arm,
            configuration.params,
            {},
            seed,
            configuration.sampling,
            status,
            metrics=metrics(configuration.params, seed)
            if metrics
            else {"val_accuracy": score(configuration.params, seed)},
            attempt=pack.attempts[trial_id],
        )
        for seed, trial_id in pack.seeds.items()
    ]


def drive(planner, at_once=1, packs=None, metrics=None):
    """Runs the plan, `at_once` packs at a time, oldest back first, to its end or until so many packs are back."""
    started, waiting, results = [], [], []
    while packs is None or len(started) - len(waiting) < packs:
        while len(waiting) < at_once and (pack := planner.next()) is not None:
            started.append(pack)
            waiting.append(pack)
        if not waiting:
            assert planner.next() is None and planner.finished
            break
        assert not planner.finished
        for result in results_of(waiting.pop(0), metrics):
            planner.tell(result)
            results.append(result)
    return started, results


def ids(packs):
    return [pack.configuration.configuration_id for pack in packs]


def trials(packs):
    return [trial_id for pack in packs for trial_id in pack.seeds.values()]


class Spied(Adaptive):
    """What the sampler was told: params and values, by add() and by tell()."""

    told: list

    def tell(self, asked, values):
        self.told.append((asked.params, values))
        super().tell(asked, values)

    def add(self, params, values, sampling=None):
        self.told.append((params, values))
        super().add(params, values, sampling)


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(Spied, "told", [], raising=False)
    monkeypatch.setattr(hpsearch.planning.suggestions, "Adaptive", Spied)
    return Spied.told


# What is planned ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["grid", "random", "qmc"])
def test_a_plan_that_does_not_adapt_is_the_same_whatever_the_results(sampler):
    checked = checked_of(sampling=f"[{{sampler: {sampler}, configurations: 3}}]")
    first, _ = drive(Planner(checked, []))
    second, _ = drive(Planner(checked, []), at_once=3, metrics=lambda params, seed: {"val_accuracy": -params["rho"]})
    assert ids(first) == ids(second) and len(set(ids(first))) == 3
    assert [pack.configuration.sampling["index"] for pack in first] == [0, 1, 2]


def test_a_pack_holds_every_seed_of_a_configuration():
    checked = checked_of(seeds="[3, 5, 8]")
    started, results = drive(Planner(checked, []))
    assert [list(pack.seeds) for pack in started] == [[3, 5, 8]] * 4
    assert len(set(trials(started))) == 12 == len(results)
    for pack in started:
        params = pack.configuration.params
        assert pack.seeds == {seed: checked.identity.trial_id("sam", params, seed) for seed in (3, 5, 8)}
        assert pack.configuration.configuration_id == checked.identity.configuration_id("sam", params)
        assert set(pack.attempts.values()) == {1}


def test_phases_come_in_order_and_arms_take_turns():
    arms = "{sam: " + RHO + ", sgd: {fixed: {lr: 0.1}}, fsam: " + RHO + "}"
    checked = checked_of(arms, "[{sampler: random, configurations: 2}, {sampler: grid}]")
    started, _ = drive(Planner(checked, []))
    assert [pack.configuration.arm for pack in started[:3]] == ["sam", "sgd", "fsam"]
    assert [pack.configuration.arm for pack in started[3:]] == ["sam", "fsam"] * 4
    places = [
        (p.configuration.sampling["phase"], p.configuration.sampling["index"])
        for p in started
        if p.configuration.arm == "sam"
    ]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("cut", "sizes"), [(None, [2, 3, 4]), (1, [1, 0, 0]), (4, [2, 2, 0]), (7, [2, 3, 2]), (99, [2, 3, 4])]
)
def test_configurations_cuts_the_phases_in_order(cut, sizes):
    sampling = "[{sampler: random, configurations: 2}, {sampler: grid}, {sampler: qmc, configurations: 4}]"
    more = {} if cut is None else {"configurations": cut}
    checked = checked_of(sampling=sampling, confirm="{top: 2, seeds: 3}", **more)
    assert phase_sizes(checked.study, "sam") == sizes
    assert planned_trials(checked.study, "sam") == sum(sizes) * 2 + 3 * min(2, sum(sizes))
    started, results = drive(Planner(checked, []))
    assert len(results) == planned_trials(checked.study, "sam")
    found = Counter(p.configuration.sampling["phase"] for p in started if not p.configuration.sampling["confirm"])
    assert [found[phase] for phase in range(3)] == sizes


def test_a_phase_skips_what_an_earlier_one_planned():
    checked = checked_of(sampling="[{sampler: grid, configurations: 2}, {sampler: grid}]")
    planner = Planner(checked, [])
    started, _ = drive(planner)
    assert len(set(ids(started))) == 3
    assert planner.notes == ["sam: phase 1 (grid) found 1 different configurations, not 3"]


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe"])
def test_a_phase_of_few_choices_ends_with_a_note(sampler):
    arms = "{msam: {fixed: {rho: 0.1}, parameters: {num_shards: {choices: [1, 2, 4]}}}}"
    checked = checked_of(arms, f"[{{sampler: {sampler}, configurations: 9}}]")
    planner = Planner(checked, [])
    started, _ = drive(planner, at_once=2)
    assert sorted(pack.configuration.params["num_shards"] for pack in started) == [1, 2, 4]
    assert len(planner.notes) == 1
    assert f"msam: phase 0 ({sampler}) found 3 different configurations, not 9" in planner.notes[0]
    assert planner.counts() == {"msam": ArmCount(6, 6)}


def test_an_arm_without_parameters_has_one_configuration():
    for sampler in ("grid", "random", "qmc", "tpe"):
        checked = checked_of("{sgd: {fixed: {lr: 0.1}}}", f"[{{sampler: {sampler}, configurations: 2}}]")
        started, results = drive(Planner(checked, []))
        assert [pack.configuration.params for pack in started] == [{}] and len(results) == 2


# Extension and resumption -------------------------------------------------------------------------------------------

SAMPLINGS = {
    "plain": "[{sampler: qmc, configurations: 4}, {sampler: grid}]",
    "tpe": "[{sampler: qmc, configurations: 2}, " + TPE + "]",
}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_a_finished_study_plans_nothing(sampling):
    checked = checked_of(sampling=sampling, confirm="{top: 1, seeds: 2}")
    _, results = drive(Planner(checked, []))
    planner = Planner(checked, results)
    assert drive(planner) == ([], [])
    assert planner.counts() == {"sam": ArmCount(len(results), len(results))}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_more_seeds_train_the_new_seeds_only(sampling):
    _, results = drive(Planner(checked_of(sampling=sampling), []))
    started, new = drive(Planner(checked_of(sampling=sampling, seeds=4), results))
    assert [list(pack.seeds) for pack in started] == [[2, 3]] * (len(results) // 2)
    assert {result.configuration_id for result in new} == {result.configuration_id for result in results}


def test_more_configurations_train_the_new_ones_only():
    _, results = drive(Planner(checked_of(), []))
    started, _ = drive(Planner(checked_of(sampling="[{sampler: qmc, configurations: 7}]"), results))
    assert [pack.configuration.sampling["index"] for pack in started] == [4, 5, 6]
    whole, _ = drive(Planner(checked_of(sampling="[{sampler: qmc, configurations: 7}]"), []))
    assert ids(whole)[4:] == ids(started)


def test_more_configurations_of_tpe_keep_what_it_found():
    _, results = drive(Planner(checked_of(sampling=f"[{TPE}]"), []))
    started, _ = drive(Planner(checked_of(sampling=f"[{TPE.replace('6', '9')}]"), results))
    assert [pack.configuration.sampling["index"] for pack in started] == [6, 7, 8]
    assert not set(ids(started)) & {result.configuration_id for result in results}


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("killed_after", [1, 3, 5])
def test_a_killed_run_resumes_without_suggesting_anything_twice(at_once, killed_after):
    checked = checked_of(sampling="[{sampler: qmc, configurations: 2}, " + TPE + "]")
    _, before = drive(Planner(checked, []), at_once, packs=killed_after)
    started, after = drive(Planner(checked, before), at_once)
    everything = [result.trial_id for result in (*before, *after)]
    assert len(everything) == len(set(everything)) == 2 * 8
    # a rebuilt sampler may repeat its first suggestions: nearly the same point is as bad as the same
    rhos = sorted({result.params["rho"] for result in (*before, *after)})
    assert len(rhos) == 8 and min(b / a for a, b in zip(rhos, rhos[1:], strict=False)) > 1 + 1e-6


def test_a_run_killed_within_a_pack_trains_the_missing_seeds_only():
    checked = checked_of(seeds=3)
    planner = Planner(checked, [])
    first, *_ = results_of(planner.next())
    pack = Planner(checked, [first]).next()
    assert pack.configuration.configuration_id == first.configuration_id
    assert list(pack.seeds) == [1, 2]


def test_failed_trials_are_planned_again_with_the_next_attempt():
    checked = checked_of()
    planner = Planner(checked, [])
    pack = planner.next()
    failed = [*results_of(pack, lambda params, seed: {}, "failed")]
    for _ in range(2):
        pack = Planner(checked, failed).next()
        assert set(pack.seeds.values()) == {result.trial_id for result in failed}
        assert set(pack.attempts.values()) == {failed[0].attempt + 1}
        failed = [*results_of(pack, lambda params, seed: {}, "failed")]
    assert failed[0].attempt == 3
    good, bad = results_of(pack)[0], failed[1]
    assert list(Planner(checked, [good, bad]).next().seeds) == [bad.seed]


@pytest.mark.parametrize(
    ("status", "again"), [("complete", 0), ("diverged", 0), ("collapsed", 0), ("stopped", 0), ("failed", 1)]
)
def test_what_counts_as_done(status, again):
    checked = checked_of(sampling="[{sampler: qmc, configurations: 1}]")
    results = results_of(Planner(checked, []).next(), status=status)
    planner = Planner(checked, results)
    assert len(drive(planner)[0]) == again


def test_a_failed_trial_does_not_stop_the_plan():
    checked = checked_of(sampling=f"[{TPE}]", confirm="{top: 1, seeds: 2}")
    planner, seen = Planner(checked, []), []
    while not planner.finished:
        pack = planner.next()
        if pack is None:
            continue
        seen.append(pack)
        bad = pack.configuration.sampling["index"] == 2 and not pack.configuration.sampling["confirm"]
        for result in results_of(pack, (lambda params, seed: {}) if bad else None, "failed" if bad else "complete"):
            planner.tell(result)
    assert len(seen) == 7 and planner.counts() == {"sam": ArmCount(14, 12)}


# What the adaptive sampler is told ------------------------------------------------------------------------------------


def mean_of(params, seeds):
    return (pytest.approx(sum(score(params, seed) for seed in seeds) / len(seeds)),)


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_sampler_is_told_the_mean_over_seeds_of_each_configuration_once(told, at_once):
    checked = checked_of(sampling="[{sampler: qmc, configurations: 3}, " + TPE + "]", seeds=3)
    started, _ = drive(Planner(checked, []), at_once)
    assert len(started) == 9 == len(told)
    assert sorted(params["rho"] for params, _ in told) == sorted(p.configuration.params["rho"] for p in started)
    assert all(values == mean_of(params, (0, 1, 2)) for params, values in told)


def test_the_sampler_is_told_when_the_last_seed_is_back(told):
    planner = Planner(checked_of(sampling=f"[{TPE}]", seeds=3), [])
    *early, last = results_of(planner.next())
    for result in early:
        planner.tell(result)
        assert told == []
    planner.tell(last)
    assert len(told) == 1


def test_a_rebuilt_sampler_is_told_what_is_known(told):
    checked = checked_of(sampling="[{sampler: qmc, configurations: 3}, " + TPE + "]")
    _, before = drive(Planner(checked, []), packs=6)
    told.clear()
    Planner(checked, before).next()
    assert {params["rho"] for params, _ in told} == {result.params["rho"] for result in before}
    assert all(values == mean_of(params, (0, 1)) for params, values in told)


def test_the_sampler_is_told_of_new_seeds_of_a_later_phase_too(told):
    """When it is built, the later phase's configurations lack a seed; it must hear of them when that is back."""
    _, before = drive(Planner(checked_of(sampling="[{sampler: grid}]", seeds=1), []))
    drive(Planner(checked_of(sampling="[{sampler: tpe, configurations: 2}, {sampler: grid}]", seeds=2), before))
    assert len(told) == 5
    assert all(values == mean_of(params, (0, 1)) for params, values in told)


def test_what_a_larger_study_left_is_told_once_also_when_it_is_suggested_again(told):
    """All three choices are known: what the sampler suggests is new to this plan, but trained already."""
    arms = "{msam: {fixed: {rho: 0.1}, parameters: {num_shards: {choices: [1, 2, 4]}}}}"
    _, before = drive(Planner(checked_of(arms, "[{sampler: grid}]"), []))
    assert len(before) == 6
    started, _ = drive(Planner(checked_of(arms, "[{sampler: tpe, configurations: 1}]"), before))
    assert started == []
    assert Counter(params["num_shards"] for params, values in told if values) == {1: 1, 2: 1, 4: 1}
    assert len(told) == 4  # the suggestion itself is told to be none: it must not count as running for ever


def test_diverged_trials_enter_the_mean_and_unknown_metrics_make_it_unknown(told):
    """A training function without `chance` that diverged has no value: the mean of the lucky seeds is not its mean."""
    planner = Planner(checked_of(sampling=f"[{TPE}]"), [])
    for metrics in ({"val_accuracy": 0.1}, {"val_accuracy": None}):
        first, second = results_of(planner.next())
        planner.tell(first)
        planner.tell(Result(**{**vars(second), "status": "diverged", "metrics": metrics}))
    assert [values for _, values in told] == [((pytest.approx((score(told[0][0], 0) + 0.1) / 2)),), None]


def test_several_objectives_are_told_in_order_costs_included(told):
    checked = checked_of(
        sampling=f"[{TPE}]", objectives="{val_accuracy: maximize, flops: minimize, val_loss: minimize}"
    )
    planner = Planner(checked, [])
    while not planner.finished:
        pack = planner.next()
        if pack:
            for result in results_of(
                pack, lambda params, seed: {"val_accuracy": params["rho"], "val_loss": 3.0 + seed}
            ):
                planner.tell(Result(**{**vars(result), "cost": {"flops": 7.0}}))
    assert len(told) == 6
    assert all(values == (pytest.approx(params["rho"]), 7.0, 3.5) for params, values in told)


def test_tpe_gives_conditional_parameters_and_earlier_runs_of_them_are_added(told):
    arms = """
  a:
    parameters:
      adaptive: {choices: [true, false]}
      rho: {low: 0.1, high: 1, when: {adaptive: true}}
      lr: {low: 0.1, high: 1}"""
    checked = checked_of(arms, "[{sampler: tpe, configurations: 12, options: {n_startup_trials: 3}}]")
    started, before = drive(Planner(checked, []), packs=6)
    more, _ = drive(Planner(checked, before))
    found = [pack.configuration.params for pack in (*started, *more)]
    assert len(found) == 12 and {params["adaptive"] for params in found} == {True, False}
    assert all(("rho" in params) == params["adaptive"] for params in found)


# Confirmation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "sign"), [("maximize", -1), ("minimize", 1)])
def test_confirm_takes_the_best_means_of_the_first_objective(direction, sign):
    """The means are -|ln(rho / 0.2)|: the best to maximize are near 0.2, to minimize far off."""
    objectives = f"{{val_loss: {direction}, val_accuracy: maximize}}"
    checked = checked_of(
        sampling="[{sampler: random, configurations: 8}]", confirm="{top: 3, seeds: 4}", objectives=objectives
    )

    def metrics(params, seed):  # one seed is luckier than any mean; test metrics must not matter
        lucky = -sign * 100.0 * (params["rho"] < 0.02) * (1 if seed == 0 else -1.01)
        return {"val_loss": score(params, 0) + lucky, "val_accuracy": params["rho"], "test_loss": params["rho"]}

    started, results = drive(Planner(checked, []), at_once=3, metrics=metrics)
    searched, confirmed = started[:8], started[8:]

    def mean(pack):
        return sum(metrics(pack.configuration.params, seed)["val_loss"] for seed in (0, 1)) / 2

    best = sorted(searched, key=lambda pack: sign * mean(pack))[:3]
    assert ids(confirmed) == ids(best)
    assert all(pack.configuration.sampling["confirm"] for pack in confirmed)
    assert [list(pack.seeds) for pack in confirmed] == [[10_000, 10_001, 10_002, 10_003]] * 3


def test_confirm_seeds_are_fresh():
    checked = checked_of(seeds="[0, 10000, 10002]", confirm="{top: 1, seeds: 3}")
    started, _ = drive(Planner(checked, []))
    assert list(started[-1].seeds) == [10_001, 10_003, 10_004]


def test_confirm_waits_for_every_phase():
    checked = checked_of(confirm="{top: 1, seeds: 2}", sampling=f"[{TPE}]")
    planner = Planner(checked, [])
    packs = [planner.next() for _ in range(6)]
    for pack in packs[1:]:
        for result in results_of(pack):
            planner.tell(result)
    assert planner.next() is None and not planner.finished
    first, last = results_of(packs[0])
    planner.tell(first)
    assert planner.next() is None and not planner.finished
    planner.tell(last)
    assert planner.next().configuration.sampling["confirm"]
    assert planner.next() is None and not planner.finished


def test_a_confirmed_configuration_is_not_told_again(told):
    checked = checked_of(sampling=f"[{TPE}]", confirm="{top: 2, seeds: 2}")
    started, results = drive(Planner(checked, []))
    assert len(started) == 8 and len(told) == 6
    told.clear()
    drive(Planner(checked_of(sampling=f"[{TPE.replace('6', '7')}]", confirm="{top: 2, seeds: 2}"), results))
    assert Counter(params["rho"] for params, _ in told).most_common(1)[0][1] == 1
    assert all(values == mean_of(params, (0, 1)) for params, values in told)


def test_without_confirm_the_plan_ends_after_the_phases():
    started, _ = drive(Planner(checked_of(), []))
    assert len(started) == 4


# Books --------------------------------------------------------------------------------------------------------------


def test_a_pack_put_back_is_given_again():
    planner = Planner(checked_of(), [])
    first, second = planner.next(), planner.next()
    planner.put_back(second)
    planner.put_back(None)
    assert not planner.finished
    assert planner.next() is second
    for pack in (first, second, planner.next(), planner.next()):
        last = pack
        for result in results_of(pack):
            planner.tell(result)
    assert planner.next() is None and planner.finished
    planner.put_back(last)
    assert not planner.finished and planner.next() is last


def test_counts_go_up_as_trials_end():
    arms = "{sam: " + RHO + ", sgd: {fixed: {lr: 0.1}}}"
    planner = Planner(checked_of(arms, confirm="{top: 1, seeds: 3}"), [])
    # sgd searches nothing: it has one configuration, not 4
    assert planner.counts() == {"sam": ArmCount(11, 0), "sgd": ArmCount(5, 0)}
    pack = planner.next()
    first, second = results_of(pack)
    planner.tell(first)
    assert planner.counts()["sam"] == ArmCount(11, 1)
    planner.tell(Result(**{**vars(second), "status": "failed"}))
    assert planner.counts()["sam"] == ArmCount(11, 1)
    drive(planner)
    assert planner.counts() == {"sam": ArmCount(11, 10), "sgd": ArmCount(5, 5)}


def test_results_of_other_arms_and_unknown_trials_are_let_be():
    checked = checked_of()
    planner = Planner(checked, [])
    result = results_of(planner.next())[0]
    for change in ({"arm": "gone"}, {"trial_id": "x", "configuration_id": "y"}):
        planner.tell(Result(**{**vars(result), **change}))
    assert planner.counts() == {"sam": ArmCount(8, 0)}
