"""The planner driven by hand: made-up results in any order, kills, resumed runs. No training, no Ray."""

import random

from hpsearch.check import Checked
from hpsearch.identity import Identity
from hpsearch.planning import Planner
from hpsearch.results import Result
from hpsearch.study import parse_study
from hpsearch.tasks.digits import Digits


def checked_of(arms, sampling, seeds, confirm="null", **more):
    rest = "".join(f"\n{key}: {value}" for key, value in more.items())
    study = parse_study(f"""
name: s
task: {{name: digits}}
arms: {arms}
sampling: {sampling}
seeds: {seeds}
confirm: {confirm}
objectives: {{val_accuracy: maximize}}{rest}
""")
    return Checked(study, Digits, Identity(study, {"name": "digits", "semantics": 1, "options": {}}, False))


def accuracy(params, seed):
    """A function of the trial alone; how far seeds differ depends on the configuration, and some do not train."""
    draw = random.Random(f"{sorted(params.items())}/{seed}")
    if draw.random() < 0.1:
        return 0.1
    spread = 0.0002 * 10 ** random.Random(f"{sorted(params.items())}").uniform(0, 2)
    return 0.9 - 0.1 * abs(params.get("rho", 0.3) - 0.3) + spread * draw.gauss(0, 1)


def result_of(pack, seed, value=accuracy, status="complete"):
    configuration, trial_id = pack.configuration, pack.seeds[seed]
    return Result(
        trial_id,
        configuration.configuration_id,
        configuration.arm,
        configuration.params,
        {},
        seed,
        configuration.sampling,
        status,
        metrics={"val_accuracy": value(configuration.params, seed)} if status != "failed" else {},
        attempt=pack.attempts[trial_id],
    )


def run(checked, known=(), at_once=1, shuffle=None, trials=None, value=accuracy):
    """The new results of a run of `at_once` packs at a time, until it ends or so many trials are back.

    shuffle: a random.Random that picks which of the running trials ends next; None takes them in order.
    """
    planner, running, results = Planner(checked, known), [], []
    while trials is None or len(results) < trials:
        while len({id(pack) for pack, _ in running}) < at_once and (pack := planner.next()) is not None:
            running += [(pack, seed) for seed in pack.seeds]
        if not running:
            assert planner.next() is None and planner.finished
            break
        assert not planner.finished
        pack, seed = running.pop(shuffle.randrange(len(running)) if shuffle else 0)
        results.append(result_of(pack, seed, value))
        planner.tell(results[-1])
    return results, planner


def wanted_trials(checked, results):
    """What the study file says of these configurations, straight from its words: the trials that it wants of them."""
    study, identity, rule = checked.study, checked.identity, checked.study.two_stage
    values = {result.trial_id: result.metrics["val_accuracy"] for result in results}
    wanted, means = set(), {}
    for result in results:
        if result.sampling["confirm"] or (result.arm, result.configuration_id) in means:
            continue
        seeds = study.first_seeds
        ids = [identity.trial_id(result.arm, result.params, seed) for seed in seeds]
        if rule is not None:
            seeds = range(rule.number([values[trial_id] for trial_id in ids]))
            ids = [identity.trial_id(result.arm, result.params, seed) for seed in seeds]
        wanted.update(ids)
        mean = sum(values[trial_id] for trial_id in ids) / len(ids)
        place = (result.sampling["phase"], result.sampling["index"])
        means[result.arm, result.configuration_id] = (-mean, place, result.params)
    if study.confirm:
        for arm in study.arms:
            best = sorted((found[:2], key) for key, found in means.items() if key[0] == arm)[: study.confirm.top]
            for _, key in best:
                wanted |= {identity.trial_id(arm, means[key][2], seed) for seed in study.confirm_seeds}
    return wanted
