"""Training functions: train(params, seed, report)."""

import json
import math
import random
from dataclasses import asdict

import numpy
import pytest
import torch

from hpsearch.training.function import run_function


def run(function, objectives=("loss",), params=None, seed=0):
    outcome = run_function(function, params or {}, seed, objectives)
    json.dumps(asdict(outcome), allow_nan=False)  # as it is written to trials.jsonl
    return outcome


def test_one_report_is_the_result():
    def function(params, seed, report):
        report(loss=params["x"] + seed, accuracy=torch.tensor(0.5))

    outcome = run(function, params={"x": 2}, seed=3)
    assert outcome.status == "complete" and outcome.metrics == {"loss": 5.0, "accuracy": 0.5}
    assert (outcome.epochs, outcome.epochs_planned) == (1, 1) and outcome.cost.seconds >= 0
    assert outcome.curve == {"epoch": [1.0], "loss": [5.0], "accuracy": [0.5]}


def test_one_report_an_epoch_makes_a_curve_and_the_last_value_of_each_counts():
    def function(params, seed, report):
        for epoch in range(3):
            report(loss=3 - epoch)
        report(loss=0.5, test_loss=0.7)

    outcome = run(function)
    assert outcome.metrics == {"loss": 0.5, "test_loss": 0.7} and outcome.epochs == 4
    assert outcome.curve == {"epoch": [1, 2, 3, 4], "loss": [3, 2, 1, 0.5], "test_loss": [None, None, None, 0.7]}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, torch.tensor(math.nan)])
def test_a_last_report_that_is_not_finite_is_divergence(value):
    def function(params, seed, report):
        report(loss=1.0, accuracy=0.9)
        report(loss=value)

    outcome = run(function)
    assert outcome.status == "diverged" and outcome.metrics == {"loss": None, "accuracy": None}
    function.chance = {"loss": 2, "accuracy": 0.1, "other": 5.0}
    assert run(function).metrics == {"loss": 2.0, "accuracy": 0.1}
    function.chance = {"loss": math.inf}
    assert run(function).metrics == {"loss": None, "accuracy": None}


def test_a_nan_that_is_overcome_is_not_divergence():
    def function(params, seed, report):
        report(loss=math.nan)
        report(loss=1.0)

    outcome = run(function)
    assert outcome.status == "complete" and outcome.curve["loss"] == [None, 1.0]


def test_who_diverges_before_the_first_evaluation_takes_chance_too():
    def function(params, seed, report):
        report(loss=math.nan)

    outcome = run(function, objectives=("accuracy",))
    assert outcome.status == "diverged" and outcome.metrics == {"loss": None, "accuracy": None}
    function.chance = {"accuracy": 0.1}
    assert run(function, objectives=("accuracy",)).metrics == {"loss": None, "accuracy": 0.1}


def test_a_missing_objective_is_an_error_but_costs_are_measured():
    def function(params, seed, report):
        report(loss=1.0, accuracy=0.5)

    with pytest.raises(ValueError, match=r"without report\(val_loss=…\); it reported loss, accuracy"):
        run(function, objectives=("loss", "val_loss"))
    assert run(function, objectives=("loss", "seconds", "peak_memory_bytes")).status == "complete"
    with pytest.raises(ValueError, match=r"without report\(flops=…\)"):  # which only the function can know
        run(function, objectives=("loss", "flops"))
    with pytest.raises(ValueError, match="it reported nothing"):
        run(lambda params, seed, report: None)


@pytest.mark.parametrize("value", ["0.5", None, [0.5], {"a": 1}, 1j])
def test_reports_that_are_not_numbers_are_refused(value):
    with pytest.raises(ValueError, match="a metric must be a number"):
        run(lambda params, seed, report: report(loss=value))


def test_costs_reported_as_metrics_go_to_cost():
    def function(params, seed, report):
        report(loss=1.0, backward_samples=10)
        report(loss=0.5, backward_samples=20.0, flops=1e6)

    outcome = run(function)
    assert outcome.metrics == {"loss": 0.5}
    assert (outcome.cost.backward_samples, outcome.cost.flops) == (20, 1e6)
    assert outcome.curve["backward_samples"] == [10, 20]
    assert run(lambda params, seed, report: report(loss=1.0)).cost.backward_samples is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_costs_that_are_not_finite_are_not_known(value):
    outcome = run(lambda params, seed, report: report(loss=1.0, backward_samples=value, flops=value))
    assert outcome.status == "complete"
    assert (outcome.cost.backward_samples, outcome.cost.flops) == (None, None)


def test_the_function_has_its_own_params_and_seeded_generators():
    given = {"x": 1}

    def function(params, seed, report):
        params["x"] = 99
        report(loss=random.random() + float(numpy.random.rand()) + float(torch.rand(())))

    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    expected = random.random(), float(numpy.random.rand()), float(torch.rand(()))
    first = run(function, params=given, seed=1).metrics
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    assert run(function, params=given, seed=1).metrics == first != run(function, params=given, seed=2).metrics
    assert (random.random(), float(numpy.random.rand()), float(torch.rand(()))) == expected
    assert given == {"x": 1}
