"""Shares of variance against known truths, and what is said where they can't be told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from known import Known, additive, g_function, ishigami
from scipy.stats import qmc

from hpsearch.analysis.arms import describe_arms
from hpsearch.analysis.calibration import Setting
from hpsearch.analysis.columns import standard
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.decomposition import decompose, planes
from hpsearch.analysis.importance import importances
from hpsearch.analysis.model import Model, fit_model
from hpsearch.analysis.objective import make_objective
from hpsearch.space import Parameter
from tests.calibration.simulate import Arm, Study


@pytest.fixture(autouse=True)
def ungated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals as they are: which of them are printed is tested apart."""
    monkeypatch.setattr(Setting, "why_not", lambda *_: "")


def studied(function: Known, n: int, noise: float, seeds: int = 3, sampler: str = "qmc", seed: int = 0) -> Model:
    """A study of a function on the unit cube: n configurations, noise over seeds as a part of its spread."""
    rng = np.random.default_rng(seed)
    u = qmc.Sobol(function.d, seed=rng).random_base2(int(np.ceil(np.log2(n))))[:n]
    sd = noise * np.sqrt(function.variance)
    names = [f"x{i}" for i in range(function.d)]
    rows = [
        {
            "arm": "sam",
            "configuration_id": str(c),
            "seed": s,
            "status": "complete",
            "sampling.sampler": sampler,
            "metrics.score": y + sd * rng.normal(),
            **{f"params.{name}": x for name, x in zip(names, u[c], strict=True)},
        }
        for c, y in enumerate(function(u))
        for s in range(seeds)
    ]
    return modelled(pd.DataFrame(rows), {name: Parameter(low=0.0, high=1.0) for name in names})


def modelled(table: pd.DataFrame, parameters: dict[str, Parameter]) -> Model:
    trials = standard(table)
    study = Study({"sam": Arm(parameters)}, {"score": "maximize"})
    facts = describe_arms(trials, study)[0]  # type: ignore[arg-type]
    goal = make_objective(trials, "score", True)
    return fit_model(trials, summarize(trials, "score"), facts, goal, study, even=True)  # type: ignore[arg-type]


CASES = [(additive((3.0, 1.0, 0.0)), 32), (g_function((0.0, 1.0, 9.0)), 128), (ishigami(7.0, 0.1), 256)]


@pytest.mark.parametrize(("function", "n"), CASES, ids=[f.name for f, _ in CASES])
def test_known_indices_lie_in_their_intervals(function: Known, n: int) -> None:
    model = studied(function, n, noise=0.05)
    found = importances(model)
    for item in found.items:
        i = model.inputs.names.index(item.parameter)
        for answer, truth in ((item.first, function.first[i]), (item.total, function.total[i])):
            assert answer.low - 1e-9 <= truth <= answer.high + 1e-9, (item.parameter, answer, truth)
            assert answer.value == pytest.approx(truth, abs=0.12)
        assert item.shapley is not None
        assert item.shapley.low - 0.01 <= function.shapley[i] <= item.shapley.high + 0.01
    for pair in found.interactions:
        i, j = model.inputs.names.index(pair.x), model.inputs.names.index(pair.y)
        assert pair.share.low - 1e-9 <= function.pairs[i, j] <= pair.share.high + 1e-9
    assert found.spread is not None
    assert found.spread.value == pytest.approx(np.sqrt(function.variance), rel=0.15)


def test_an_inert_input_is_inert() -> None:
    found = importances(studied(additive((3.0, 1.0, 0.0)), 48, noise=0.2))
    last = found.items[-1]
    assert last.parameter == "x2" and last.total.low == 0.0 and last.total.high < 0.1
    assert ("x0", ("x1", "x2")) in found.above


def test_no_order_where_intervals_overlap() -> None:
    for seed in (1, 2, 3):
        assert importances(studied(additive((1.0, 1.0)), 24, noise=4.0, seed=seed)).above == ()


def test_the_two_ways_to_decompose_agree() -> None:
    """Exact sums of squared weights against runs along a quadrature, of the same draws."""
    model = studied(g_function((0.0, 1.0, 9.0)), 64, noise=0.1)
    surrogate = model.surrogate
    assert surrogate is not None and model.decomposition is not None
    # A condition that always holds changes nothing but the way.
    when = replace(surrogate, inputs=replace(surrogate.inputs, when={"x0": {}}))
    assert surrogate.additive_parts is not None and when.additive_parts is None
    exact, sampled = model.decomposition, decompose(when)
    assert exact.error == 0.0 < sampled.error < 0.02
    assert sampled.first.mean(0) == pytest.approx(exact.first.mean(0), abs=0.03)
    assert sampled.total.mean(0) == pytest.approx(exact.total.mean(0), abs=0.03)
    assert sampled.variance.mean() == pytest.approx(exact.variance.mean(), rel=0.1)
    for mine, other in zip(exact.along, sampled.along, strict=True):
        assert other.curves.mean(0) == pytest.approx(mine.curves.mean(0), abs=0.05)
    for pair, plane in planes(surrogate, exact).items():
        other = planes(when, exact)[pair]
        assert other.share.mean() == pytest.approx(plane.share.mean(), abs=0.03)
        assert other.maps.mean(0) == pytest.approx(plane.maps.mean(0), abs=0.1)


def test_monte_carlo_error_is_below_a_tenth_of_the_interval() -> None:
    from tests.calibration.surfaces import simulated

    _, model = simulated("qmc", 64, 3, True, 3)
    assert model.decomposition is not None and model.decomposition.error > 0
    widths = [item.total.high - item.total.low for item in importances(model).items]
    assert model.decomposition.error < max(widths) / 10


def test_adaptive_configurations_are_left_out_and_their_pull_is_told() -> None:
    function = additive((3.0, 1.0))
    even = studied(function, 32, noise=0.1)
    everything = replace(even, adaptive=8)
    found = importances(even, everything)
    assert found.shift == {"x0": 0.0, "x1": 0.0}


@pytest.mark.parametrize("case", ["constant", "few", "one configuration", "nothing varied"])
def test_without_a_surface_there_is_a_reason(case: str) -> None:
    n = {"few": 5, "one configuration": 1}.get(case, 20)
    x = np.linspace(0, 1, n) if case != "nothing varied" else np.full(n, 0.5)
    y = np.full(n, 0.5) if case == "constant" else x + np.arange(n)
    table = pd.DataFrame(
        {
            "arm": "sam",
            "configuration_id": [str(i) for i in range(n)],
            "seed": 0,
            "status": "complete",
            "sampling.sampler": "qmc",
            "params.x": x,
            "metrics.score": y,
        }
    )
    model = modelled(table, {"x": Parameter(low=0.0, high=1.0)})
    assert model.surrogate is None
    expected = {"constant": "constant", "few": "needs 8", "one configuration": "varied", "nothing varied": "varied"}
    assert expected[case] in importances(model).reason


def test_twenty_hyperparameters() -> None:
    function = additive((3.0, 2.0, *([0.0] * 18)))
    found = importances(studied(function, 128, noise=0.1))
    assert {item.parameter for item in found.items[:2]} == {"x0", "x1"}
    assert all(item.total.value < 0.05 for item in found.items[2:])
    assert len(found.interactions) == 28 and found.items[0].shapley is None
