"""Hyperparameters as inputs: coordinates and back, the measure over the ranges, conditions."""

import numpy as np
import pandas as pd
import pytest

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.inputs import Input, Inputs
from hpsearch.space import Parameter


def made(name: str, **keys: object) -> Input:
    return Input.from_axis(Axis.from_parameter(name, Parameter(**keys)))


def test_a_log_range_has_its_geometric_middle_at_one_half() -> None:
    one = made("rho", low=0.01, high=1.0, log=True)
    assert one.coordinates(pd.Series([0.01, 0.1, 1.0])) == pytest.approx([0.0, 0.5, 1.0])
    assert one.value(0.5) == pytest.approx(0.1)


def test_coordinates_and_values_are_inverse() -> None:
    for one in (made("a", low=-2.0, high=3.0), made("b", low=1e-4, high=10.0, log=True), made("c", choices=(1, 2, 8))):
        at = one.steps(11)
        values = pd.Series([one.value(float(x)) for x in at])
        assert one.coordinates(values) == pytest.approx(at)


def test_a_quadrature_integrates_over_the_uniform_measure() -> None:
    one = made("a", low=0.0, high=1.0)
    assert one.weights.sum() == pytest.approx(1)
    assert one.weights @ one.nodes**3 == pytest.approx(1 / 4)
    levels = made("m", choices=(1, 2, 4, 8))
    assert levels.weights == pytest.approx([0.25] * 4) and levels.kind == "ordinal"


def test_names_have_no_order_and_few_whole_numbers_are_levels() -> None:
    assert made("base", choices=("sgd", "adam")).kind == "nominal"
    assert made("nesterov", choices=(True, False)).kind == "nominal"
    assert len(made("k", low=1, high=5, int=True).levels) == 5
    assert made("k", low=1, high=500, int=True).levels == ()


def test_what_is_null_or_unknown_has_no_coordinate() -> None:
    one = made("m", choices=(1, 2, 4))
    assert np.isnan(one.coordinates(pd.Series([None, 3, np.nan]))).all()
    assert np.isnan(made("rho", low=0.1, high=1.0, log=True).coordinates(pd.Series([0.0, -1.0, None]))).all()


def test_a_hyperparameter_is_inactive_where_its_condition_does_not_hold() -> None:
    epochs, interval = made("epochs", choices=(20, 40)), made("interval", choices=(1, 2, 4))
    inputs = Inputs((epochs, interval), {"interval": {"epochs": 40}})
    x = inputs.from_uniform(inputs.uniform(64, seed=0))
    inactive = x[:, 0] < 0.5
    assert 0.3 < inactive.mean() < 0.7
    assert np.isnan(x[inactive, 1]).all() and np.isfinite(x[~inactive, 1]).all()


def test_conditions_may_hang_on_fixed_values_and_on_conditions() -> None:
    a, b, c = made("a", choices=(0, 1)), made("b", choices=(0, 1)), made("c", low=0.0, high=1.0)
    inputs = Inputs((c, b, a), {"c": {"b": 1}, "b": {"a": 1, "mode": "x"}}, {"mode": "x"})
    x = np.array([[0.5, 1.0, 1.0], [0.5, 1.0, 0.0], [0.5, 0.0, 1.0]])
    assert np.isnan(inputs.deactivate(x)).tolist() == [[False] * 3, [True, True, False], [True, False, False]]
    other = Inputs((c, b, a), {"b": {"mode": "x"}}, {"mode": "y"})
    assert np.isnan(other.deactivate(x)[:, 1]).all()


def test_what_did_not_vary_is_no_input() -> None:
    axes = {n: Axis.from_parameter(n, Parameter(low=0.0, high=1.0)) for n in ("a", "b")}
    rows = pd.DataFrame({"params.a": [0.1, 0.5, 0.9], "params.b": [0.3, 0.3, 0.3]})
    assert Inputs.of_arm(axes, None, rows).names == ("a",)
    assert Inputs.of_arm(axes, None, rows.drop(columns="params.a")).names == ()
