"""A study that is interrupted anywhere and run again, for every sampler: the planner driven by hand, without Ray."""

import json
import random

import pytest

from hpsearch.check import Checked
from hpsearch.identity import Identity
from hpsearch.planning import Planner
from hpsearch.results import Result
from hpsearch.sampling import ADAPTIVE, SAMPLERS
from hpsearch.study import parse_study
from hpsearch.tasks.digits import Digits

NUMBERS = """
      lr: {low: 0.01, high: 0.5, log: true, grid: [0.01, 0.1, 0.5]}
      rho: {low: 0, high: 1, step: 0.125, grid: [0, 0.3, 1]}
      interval: {low: 1, high: 4, int: true}
      batch_size: {low: 16, high: 512, int: true, log: true, grid: [16, 512]}"""
CONDITIONAL = """
      lr: {low: 0.01, high: 0.5, log: true, grid: [0.01, 0.1, 0.5]}
      num_shards: {choices: [1, 2, 4]}
      adaptive: {choices: [true, false]}
      rho: {low: 0.1, high: 1, grid: [0.1, 0.5, 1], when: {adaptive: true}}
      ema_decay: {low: 0, high: 0.75, step: 0.25, when: {adaptive: false}}"""
FEW = """
      interval: {low: 1, high: 3, int: true}
      epochs: {low: 2, high: 8, int: true, step: 2}"""
SPACES = {"numbers": NUMBERS, "conditional": CONDITIONAL, "few": FEW}
OPTIONS = {
    "tpe": "{n_startup_trials: 3}",
    "gp": "{n_startup_trials: 6}",
    "nsga2": "{population_size: 3}",
    "cmaes": "{popsize: 4}",
    "points": "{points: [{interval: 1, epochs: 2}, {interval: 3, epochs: 2}, {interval: 2, epochs: 8}]}",
}
GP_SPACE = "conditional"  # it takes seconds over whole numbers of many values
ONE, TWO = "{val_accuracy: maximize}", "{val_loss: minimize, flops: minimize}"


def checked_of(sampler, space, objectives=ONE, size=10, first=3):
    phase = f"{{sampler: {sampler}, configurations: {size}, options: {OPTIONS.get(sampler, {})}}}"
    before = f"{{sampler: random, configurations: {first}}}, " if first and sampler != "points" else ""
    study = parse_study(f"""
name: s
task: {{name: digits}}
arms:
  a:
    parameters: {SPACES[space]}
sampling: [{before}{phase}]
seeds: 2
objectives: {objectives}
""")
    return Checked(study, Digits, Identity(study, {"name": "digits", "semantics": 1, "options": {}}, False))


def result_of(pack, seed):
    """Good near lr 0.1 and rho 0.5, as a row that was written and read again."""
    params = pack.configuration.params
    loss = abs(params.get("lr", 0.2) - 0.1) + abs(params.get("rho", 0.4) - 0.5) + 0.1 * params.get("interval", 1)
    result = Result(
        pack.seeds[seed],
        pack.configuration.configuration_id,
        "a",
        params,
        {},
        seed,
        pack.configuration.sampling,
        "complete",
        metrics={"val_accuracy": 1 - loss + 0.01 * seed, "val_loss": loss},
        cost={"flops": float(params.get("batch_size", params.get("num_shards", 1)))},
    )
    return Result.from_line(result.to_line())


def run(checked, known=(), trials=None):
    """One pack at a time, seed by seed; stops after so many trials."""
    planner, new = Planner(checked, known), []
    while (pack := planner.next()) is not None:
        for seed in pack.seeds:
            if len(new) == trials:
                return new
            new.append(result_of(pack, seed))
            planner.tell(new[-1])
    assert planner.finished
    return new


def interrupted(checked, at):
    """Run again after each of these many trials, then to the end."""
    rows = []
    for trials in (*at, None):
        rows += run(checked, rows, trials)
    return rows


def place(row):
    return (row.trial_id, json.dumps(dict(row.params)), row.sampling["index"], row.sampling["generation"])


CASES = [
    (sampler, space, objectives)
    for sampler in SAMPLERS
    for space in (["few"] if sampler == "points" else ["numbers", "few"] if sampler == "cmaes" else SPACES)
    for objectives in ([ONE] if sampler == "cmaes" or sampler not in ADAPTIVE else [ONE, TWO])
    if not (sampler == "gp" and (space == "numbers" or (objectives == TWO and space == "few")))
]


@pytest.mark.parametrize(("sampler", "space", "objectives"), CASES)
def test_an_interrupted_study_ends_as_an_uninterrupted_one(sampler, space, objectives):
    """Rows in the same order with the same parameters, ids and generations: also where the rest of a pack was lost."""
    checked = checked_of(sampler, space, objectives)
    whole = [place(row) for row in run(checked)]
    assert len(set(whole)) == len(whole) >= 6
    draw = random.Random(f"{sampler} {space}")
    for _ in range(1 if sampler == "gp" else 5):
        cuts = [draw.randint(1, 9) for _ in range(draw.randint(1, 3))]
        assert [place(row) for row in interrupted(checked, cuts)] == whole, cuts


def at_once(checked, packs, seed):
    """So many packs at a time, back in any order."""
    planner, waiting, rows, draw = Planner(checked, []), [], [], random.Random(seed)
    while not planner.finished:
        while len(waiting) < packs and (pack := planner.next()) is not None:
            waiting.append(pack)
        if waiting:
            pack = waiting.pop(draw.randrange(len(waiting)))
            rows += [result_of(pack, seed) for seed in pack.seeds]
            for row in rows[-len(pack.seeds) :]:
                planner.tell(row)
    return rows


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in ADAPTIVE])
@pytest.mark.parametrize("packs", [1, 3, 8])
def test_what_does_not_adapt_is_the_same_whatever_runs_at_once(sampler, packs):
    checked = checked_of(sampler, "few" if sampler == "points" else "numbers")
    assert sorted(map(place, at_once(checked, packs, packs))) == sorted(map(place, run(checked)))


@pytest.mark.parametrize("sampler", ADAPTIVE)
def test_interrupted_with_many_packs_at_once_nothing_is_suggested_twice(sampler):
    checked = checked_of(sampler, GP_SPACE if sampler == "gp" else "numbers", size=9)
    for seed in range(2):
        rows = at_once(checked, 4, seed)[: 13 + seed]  # a pack is cut in two, others are lost
        rows += run(checked, rows)
        assert len({row.trial_id for row in rows}) == len(rows) == 2 * 12
        assert len({row.configuration_id for row in rows}) == 12


@pytest.mark.parametrize("sampler", ADAPTIVE)
def test_more_configurations_go_on_from_what_is_there(sampler):
    space = GP_SPACE if sampler == "gp" else "numbers"
    rows = run(checked_of(sampler, space, size=6))
    more = run(checked_of(sampler, space, size=8), rows)
    assert [row.sampling["index"] for row in more] == [6, 6, 7, 7]
    assert not {row.configuration_id for row in more} & {row.configuration_id for row in rows}
