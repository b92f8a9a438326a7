"""How many trials there will be, said before they are run: by `plan`, by `status`, and by the live view."""

import random
import subprocess
import sys
import time

import pytest

from hpsearch.planning import Planner, expected_sizes, planned_trials
from hpsearch.results import RunFolder
from hpsearch.status import read_status
from hpsearch.study import Recorded
from tests.planning.harness import checked_of, result_of, run

CHOICES = "{parameters: {num_shards: {choices: [1, 2, 4]}, interval: {choices: [1, 2]}}}"
CONDITIONAL = (
    "{parameters: {combine: {choices: [perturbed, gsam]},"
    " alpha: {low: 0.1, high: 0.3, step: 0.1, when: {combine: gsam}}}}"
)
RANGE = "{parameters: {rho: {low: 0.01, high: 2.0, log: true, grid: [0.1, 0.2]}}}"
TPE = "{sampler: tpe, configurations: 9, options: {n_startup_trials: 2}}"


@pytest.mark.parametrize(
    ("arm", "sampling", "sizes"),
    [
        (CHOICES, "[{sampler: random, configurations: 60}]", [5]),  # of 6: it gives up after 20 repeats in a row
        (CHOICES, "[{sampler: qmc, configurations: 60}]", [6]),
        (CHOICES, "[{sampler: random, configurations: 2}, {sampler: grid}]", [2, 4]),
        (CHOICES, "[{sampler: grid, configurations: 4}, {sampler: tpe, configurations: 9}]", [4, 2]),
        (CHOICES, "[{sampler: tpe, configurations: 4}, {sampler: random, configurations: 50}]", [4, 2]),
        (CONDITIONAL, "[{sampler: random, configurations: 60}]", [4]),
        (CONDITIONAL, "[{sampler: tpe, configurations: 60}]", [4]),
        (CONDITIONAL, "[{sampler: grid}, {sampler: random, configurations: 1}]", [4, 0]),
        (RANGE, "[{sampler: random, configurations: 60}, {sampler: tpe, configurations: 9}]", [60, 9]),
        (RANGE, "[{sampler: grid}, {sampler: grid}]", [2, 0]),
        (RANGE, "[{sampler: grid}, {sampler: points, options: {points: [{rho: 0.1}, {rho: 0.3}]}}]", [2, 1]),
        ("{parameters: {epochs: {low: 1, high: 4, int: true}}}", "[{sampler: random, configurations: 60}]", [4]),
        ("{parameters: {lr: {low: 0.1, high: 0.5, step: 0.1}}}", "[{sampler: qmc, configurations: 60}]", [5]),
        ("{fixed: {lr: 0.1}}", "[{sampler: random, configurations: 60}, {sampler: grid}]", [1, 0]),
        ("{parameters: {epochs: {low: 1, high: 900, int: true}}}", "[{sampler: random, configurations: 60}]", [60]),
    ],
)  # fmt: skip
def test_phases_that_run_out_of_configurations_are_counted_as_what_they_find(arm, sampling, sizes):
    checked = checked_of(f"{{a: {arm}}}", sampling, 1)
    assert expected_sizes(checked.study, "a") == sizes


@pytest.mark.parametrize("number", range(20))
def test_a_run_trains_as_many_as_were_said(number):
    """Arms of few configurations, phases of random sizes that do not adapt."""
    draw = random.Random(number)
    phases = [
        draw.choice(["{sampler: grid}", f"{{sampler: {sampler}, configurations: {draw.randint(1, 12)}}}"])
        for sampler in draw.choices(["random", "qmc"], k=draw.randint(1, 3))
    ]
    arm = draw.choice([CHOICES, CONDITIONAL])
    checked = checked_of(f"{{a: {arm}}}", f"[{', '.join(phases)}]", 2, "{top: 2, seeds: 2}", sampling_seed=number)
    results, planner = run(checked)
    assert planned_trials(checked.study, "a") == len(results) == planner.counts()["a"].planned


def test_a_sampler_that_adapts_finds_no_more_than_there_is():
    checked = checked_of(f"{{a: {CHOICES}}}", f"[{TPE}]", 2)
    results, _ = run(checked)
    assert len(results) <= planned_trials(checked.study, "a") == 12


def test_counting_does_not_draw_what_need_not_be_drawn(monkeypatch):
    def drawn(self):
        raise AssertionError("drawn")

    monkeypatch.setattr("hpsearch.sampling.sequence.Sequence.__iter__", drawn)
    for arm in (RANGE, "{parameters: {epochs: {low: 1, high: 900, int: true}}}"):
        assert expected_sizes(checked_of(f"{{a: {arm}}}", "[{sampler: random, configurations: 60}]", 1).study, "a")


# What `status` says -------------------------------------------------------------------------------------------------


def folder_of(tmp_path, checked, results):
    recorded = Recorded(versions={"hpsearch": "0"}, task={**checked.identity.task, "function": False})
    with RunFolder(tmp_path) as folder:
        folder.write_study(checked.study.model_copy(update={"recorded": recorded}))
        folder.append(results)
    return tmp_path


def test_status_of_a_study_that_ran_out_of_configurations_has_nothing_left(tmp_path):
    checked = checked_of(f"{{a: {CHOICES}}}", "[{sampler: random, configurations: 60}]", 2, "{top: 1, seeds: 2}")
    results, _ = run(checked)
    found = read_status(folder_of(tmp_path, checked, results)).arms["a"]
    assert (found.planned, found.ended, found.left) == (len(results), len(results), 0) and len(results) == 12


def test_status_counts_the_seeds_that_spreads_ask_for(tmp_path):
    seeds = "{min: 3, max: 8, half_width: 0.005}"
    checked = checked_of(f"{{a: {RANGE}}}", "[{sampler: random, configurations: 9}]", seeds)
    results, planner = run(checked)
    found = read_status(folder_of(tmp_path, checked, results[:27])).arms["a"]  # all first seeds
    assert (found.planned, found.left) == (len(results), len(results) - 27) and len(results) > 27
    assert f"a: {found.spent}" in planner.notes
    with RunFolder(tmp_path) as folder:
        folder.append(results[27:])
    assert read_status(tmp_path).arms["a"].left == 0


def test_status_loads_nothing_that_trains_or_samples(tmp_path):
    """Where the space is endless, Optuna neither; it is loaded to go through few choices."""
    checked = checked_of(f"{{a: {RANGE}}}", f"[{{sampler: random, configurations: 9}}, {{sampler: grid}}, {TPE}]", 2)
    folder_of(tmp_path, checked, run(checked)[0])
    code = (
        "import sys, runpy; sys.argv = ['hpsearch', 'status', sys.argv[1]]\n"
        "try: runpy.run_module('hpsearch.cli', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in ('torch', 'ray', 'pandas', 'plotly', 'scipy.stats') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_counting_and_telling_cost_the_same_for_every_trial():
    """Ten times the trials take about ten times the time: here at most twenty times, of the processor's own time."""
    seconds = []
    for number in (100, 1000):
        checked = checked_of(f"{{a: {RANGE}}}", f"[{{sampler: random, configurations: {number}}}]", 3)
        planner = Planner(checked, [])
        packs = [planner.next() for _ in range(number)]
        results = [result_of(pack, seed) for pack in packs for seed in pack.seeds]
        started = time.process_time()
        for result in results:
            planner.tell(result)
            planner.counts()
        seconds.append(time.process_time() - started)
        assert planner.counts()["a"].ended == 3 * number
    assert seconds[1] < 20 * seconds[0] + 0.1
