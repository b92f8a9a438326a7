"""What adaptive samplers make of what they are told: means, generations, configurations that were stopped early."""

import inspect
import math
import statistics

import optuna
import pytest

from hpsearch.check import check_study
from hpsearch.errors import InputError
from hpsearch.sampling import ADAPTIVE, DEFAULTS_IN_WORDS, OPTIONS, Adaptive, try_options
from hpsearch.study import Phase, build_study, parse_study
from hpsearch.yamlfile import parse_yaml

RHO = "{rho: {low: 0.01, high: 2, log: true}}"
PLANE = "{rho: {low: 0.01, high: 2, log: true}, lr: {low: 0, high: 1}}"
STEPS = "{rho: {low: 0, high: 1, step: 0.25, grid: [0.1, 0.5]}, interval: {low: 1, high: 4, int: true}}"


def study_of(space, sampling, objectives="{loss: minimize}", seed=0):
    return parse_study(f"""
name: s
task: {{name: digits}}
arms: {{a: {{parameters: {space}}}}}
sampling: {sampling}
sampling_seed: {seed}
seeds: 2
objectives: {objectives}
""")


def row(phase, sampler, generation=None, index=0):
    return {"phase": phase, "index": index, "sampler": sampler, "generation": generation, "confirm": False}


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("sampler", ADAPTIVE)
def test_it_goes_where_the_objective_is_good(sampler, direction):
    """Random draws of rho have a median distance of about 1.3 (natural logarithm) from the best one, 0.2."""
    late, sign = [], 1 if direction == "minimize" else -1
    count = 20 if sampler == "gp" else 50
    for seed in range(2 if sampler == "gp" else 4):
        phase = f"[{{sampler: {sampler}, configurations: {count}}}]"
        adaptive = Adaptive(study_of(PLANE, phase, f"{{loss: {direction}}}", seed), "a")
        for index in range(count):
            asked = adaptive.ask(0, index, 0)
            distance = abs(math.log(asked.params["rho"] / 0.2))
            adaptive.tell(asked, (sign * (distance + abs(asked.params["lr"] - 0.7)),))
            late += [distance] * (index >= count - 8)
    assert statistics.median(late) < 0.6


# Stopped early --------------------------------------------------------------------------------------------------------


def suggestions(sampler, tell, count=6, objectives="{loss: minimize}"):
    """What is suggested after 30 configurations; tell says what becomes of each."""
    adaptive = Adaptive(study_of(RHO, f"[{{sampler: random, configurations: 30}}, {sampler}]", objectives), "a")
    for index in range(30):
        tell(adaptive, {"rho": 0.01 * 200 ** (index / 29)}, index)
    return [adaptive.ask(1, index, 0).params["rho"] for index in range(count)]


TPE = "{sampler: tpe, configurations: 30, options: {n_startup_trials: 5}}"


def test_a_stopped_configuration_is_never_better_than_a_complete_one():
    """Every second one was stopped with a value that beats all; the best complete ones are at high rho."""

    def tell(adaptive, params, index):
        if index % 2:
            adaptive.add_stopped(params, 3, -1000.0 - params["rho"])
        else:
            adaptive.add(params, (-params["rho"],))

    def taken_for_final(adaptive, params, index):
        adaptive.add(params, (-1000.0 + params["rho"] if index % 2 else -params["rho"],))

    assert statistics.median(suggestions(TPE, tell)) > 0.8
    assert statistics.median(suggestions(TPE, taken_for_final)) < 0.2


def test_among_stopped_ones_the_later_and_better_rank_first():
    """All were stopped: those at high rho later."""

    def later(adaptive, params, index):
        adaptive.add_stopped(params, 1 + index // 5, 0.0)

    def better(adaptive, params, index):
        adaptive.add_stopped(params, 1, params["rho"])

    assert statistics.median(suggestions(TPE, later)) > 0.8
    assert statistics.median(suggestions(TPE, better)) < 0.1


@pytest.mark.parametrize("sampler", ADAPTIVE)
def test_told_or_added_it_is_the_same(sampler):
    """A run tells what it asked for; the same run resumed adds it."""

    def outcome(index):
        return ("stopped", 1 + index % 3, 0.1 * index) if index % 3 == 2 else ("ended", (index % 7 / 7,))

    study = study_of(PLANE, f"[{{sampler: {sampler}, configurations: 14}}]")
    live, rows, later = Adaptive(study, "a"), [], []
    for index in range(14):
        asked = live.ask(0, index, 0)
        kind, *what = outcome(index)
        (live.tell if kind == "ended" else live.tell_stopped)(asked, *what)
        rows.append((asked.params, kind, what, row(0, sampler, asked.generation, index)))
        resumed = Adaptive(study, "a")
        for params, kind, what, sampling in rows:
            (resumed.add if kind == "ended" else resumed.add_stopped)(params, *what, sampling)
        later.append((resumed.ask(0, index + 1, 0), live.ask(0, index + 1, 1)))
        live.tell(later[-1][1], None)
        again = Adaptive(study, "a")
        for params, kind, what, sampling in rows:
            (again.add if kind == "ended" else again.add_stopped)(params, *what, sampling)
        assert again.ask(0, index + 1, 1).params == later[-1][1].params
    following = [asked.params for asked, _ in later[:-1]]
    assert following == [params for params, *_ in rows[1:]]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2"])
def test_with_several_objectives_a_stopped_configuration_is_none(sampler):
    def tell(stop):
        def told(adaptive, params, index):
            if index % 2 == 0:
                adaptive.add(params, (params["rho"], -params["rho"]))
            elif stop:
                adaptive.add_stopped(params, 1, -1000.0)

        return told

    phase = f"{{sampler: {sampler}, configurations: 8}}"
    objectives = "{loss: minimize, flops: minimize}"
    assert suggestions(phase, tell(True), 1, objectives) == suggestions(phase, tell(False), 1, objectives)


# Generations ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["nsga2", "cmaes"])
def test_generations_follow_each_other_and_fill_up(sampler):
    size = "population_size" if sampler == "nsga2" else "popsize"
    adaptive = Adaptive(study_of(PLANE, f"[{{sampler: {sampler}, configurations: 20, options: {{{size}: 5}}}}]"), "a")
    found = []
    for index in range(20):
        asked = adaptive.ask(0, index, 0)
        found.append(asked.generation)
        adaptive.tell(asked, None if index == 7 else (asked.params["rho"],))  # a failed one does not count
    assert found == [0] * 5 + [1] * 6 + [2] * 5 + [3] * 4


def test_a_quarter_of_the_phase_is_a_generation_and_earlier_phases_are_the_first():
    study = study_of(PLANE, "[{sampler: random, configurations: 3}, {sampler: nsga2, configurations: 24}]")
    adaptive = Adaptive(study, "a")
    for index in range(3):
        adaptive.add({"rho": 0.1 * (1 + index), "lr": 0.5}, (1.0,), row(0, "random", None, index))
    found = []
    for index in range(9):
        asked = adaptive.ask(1, index, 0)
        found.append(asked.generation)
        adaptive.tell(asked, (asked.params["rho"],))
    assert found == [0] * 3 + [1] * 6


def test_generations_of_another_phase_or_sampler_are_not_its_own():
    sampling = "[{sampler: nsga2, configurations: 8}, {sampler: nsga2, configurations: 8}]"
    adaptive = Adaptive(study_of(PLANE, sampling), "a")
    for phase, sampler, generation in ((0, "nsga2", 5), (1, "cmaes", 7), (None, "nsga2", 9), (4, "nsga2", 9)):
        adaptive.add({"rho": 0.1, "lr": 0.5}, (1.0,), row(phase, sampler, generation))
    assert adaptive.ask(1, 0, 0).generation == 1  # all four are generation 0


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "cmaes"])
def test_what_comes_back_when_the_next_phase_has_begun_is_known_to_it(sampler):
    def suggest(late):
        sampling = f"[{{sampler: tpe, configurations: 8}}, {{sampler: {sampler}, configurations: 8}}]"
        adaptive = Adaptive(study_of(PLANE, sampling), "a")
        first, second = adaptive.ask(0, 0, 0), adaptive.ask(0, 1, 0)
        adaptive.tell(first, (1.0,))
        if not late:
            adaptive.tell(second, (0.0,))
        for index in range(12):
            asked = adaptive.ask(1, index, 0)
            if late and index == 0:
                adaptive.tell(second, (0.0,))
            adaptive.tell(asked, (asked.params["rho"],))
        return len(adaptive._known)

    assert suggest(True) == suggest(False) == 14


# cmaes ----------------------------------------------------------------------------------------------------------------


def test_cmaes_begins_at_the_best_that_is_known():
    for best in (0.02, 1.5):
        study = study_of(PLANE, "[{sampler: random, configurations: 9}, {sampler: cmaes, configurations: 6}]")
        adaptive = Adaptive(study, "a")
        for rho in (0.02, 0.2, 1.5):
            adaptive.add({"rho": rho, "lr": 0.5}, (abs(math.log(rho / best)),), row(0, "random"))
        adaptive.add_stopped({"rho": 0.2, "lr": 0.5}, 3, -9.0, row(0, "random"))  # its value is none
        drawn = [adaptive.ask(1, index, 0).params["rho"] for index in range(6)]
        assert abs(math.log(statistics.median(drawn) / best)) < 1.2


def test_cmaes_gives_whole_numbers_and_steps_their_equal_share():
    study = study_of(STEPS, "[{sampler: cmaes, configurations: 9}]")
    adaptive = Adaptive(study, "a")
    drawn = [adaptive.ask(0, index, 0).params for index in range(300)]
    assert {params["rho"] for params in drawn} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {params["interval"] for params in drawn} == {1, 2, 3, 4}
    assert all(type(params["interval"]) is int and type(params["rho"]) is float for params in drawn)


def test_cmaes_takes_one_parameter_and_none():
    for separable in ("true", "false"):
        sampling = f"[{{sampler: cmaes, configurations: 9, options: {{use_separable_cma: {separable}}}}}]"
        adaptive = Adaptive(study_of(RHO, sampling), "a")
        for index in range(9):
            asked = adaptive.ask(0, index, 0)
            adaptive.tell(asked, (asked.params["rho"],))
    nothing = study_of("{}, fixed: {rho: 0.1}", "[{sampler: cmaes, configurations: 9}]")
    assert Adaptive(nothing, "a").ask(0, 0, 0).params == {}


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("hpsearch.sampling.build.find_spec", lambda name: None)
    text = "name: s\ntask: {name: digits, epochs: 1}\narms: {a: {parameters: " + RHO + "}}\nseeds: 1\n"
    text += "sampling: [{sampler: cmaes, configurations: 4}]\nobjectives: {val_accuracy: maximize}\n"
    study, document = build_study(parse_yaml(text, "study.yaml"), (), [])
    with pytest.raises(
        InputError, match=r'sampling\.0\.sampler: cmaes needs a package .*pip install "hpsearch\[cmaes\]"'
    ):
        check_study(study, document)


# Options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "made"),
    [
        ("tpe", optuna.samplers.TPESampler),
        ("gp", optuna.samplers.GPSampler),
        ("nsga2", optuna.samplers.NSGAIISampler),
        ("cmaes", optuna.samplers.CmaEsSampler),
    ],
)
def test_the_defaults_are_optunas(sampler, made):
    """What Optuna has as None, or in words of ours, is left out: there is no one value."""
    theirs = inspect.signature(made).parameters
    for name, option in OPTIONS[sampler].items():
        default = theirs[name].default
        assert default is None or (sampler, name) in DEFAULTS_IN_WORDS or option.default == default, name


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "cmaes", "qmc"])
def test_every_option_is_passed_through(sampler):
    for name, option in OPTIONS[sampler].items():
        values = option.choices if option.kind == "choice" else [option.default]
        for value in values:
            size = {"population_size": 4} if sampler == "nsga2" and name == "crossover" else {}
            try_options(Phase(sampler=sampler, configurations=8, options={name: value, **size}))


@pytest.mark.parametrize("crossover", OPTIONS["nsga2"]["crossover"].choices)
@pytest.mark.parametrize("space", [RHO, STEPS, "{num_shards: {choices: [1, 2, 4]}, rho: {low: 0, high: 1}}"])
def test_every_crossover_and_mutation_works_on_every_kind_of_parameter(crossover, space):
    options = f"{{population_size: 4, crossover: {crossover}, mutation: polynomial, mutation_prob: 0.5}}"
    adaptive = Adaptive(study_of(space, f"[{{sampler: nsga2, configurations: 30, options: {options}}}]"), "a")
    for index in range(14):
        asked = adaptive.ask(0, index, 0)
        adaptive.tell(asked, (float(asked.params.get("rho", 0)),))
    assert asked.generation == 3
