"""The known indices agree with what two independent libraries estimate."""

import numpy as np
import pytest
from known import Known, additive, g_function, ishigami, product
from SALib.analyze import sobol
from SALib.sample import sobol as sobol_sample
from scipy.stats import sobol_indices, uniform

N = 2**13  # base points: every index below is then within 0.003
TOLERANCE = 0.005
FUNCTIONS = [ishigami(), ishigami(5.0, 0.05), g_function(), g_function((0.0, 0.0, 3.0)), product(), additive()]


@pytest.fixture(params=FUNCTIONS, ids=[f"{f.name}-{k}" for k, f in enumerate(FUNCTIONS)])
def function(request: pytest.FixtureRequest) -> Known:
    return request.param


def salib_indices(function: Known) -> dict[str, np.ndarray]:
    names = [f"x{i}" for i in range(function.d)]
    problem = {"num_vars": function.d, "names": names, "bounds": [[0.0, 1.0]] * function.d}
    u = sobol_sample.sample(problem, N, calc_second_order=True, seed=1)
    found: dict[str, np.ndarray] = sobol.analyze(problem, function(u), calc_second_order=True, num_resamples=2, seed=1)
    return found


def test_salib_finds_the_known_indices(function: Known) -> None:
    found = salib_indices(function)
    np.testing.assert_allclose(found["S1"], function.first, atol=TOLERANCE)
    np.testing.assert_allclose(found["ST"], function.total, atol=TOLERANCE)
    above = np.triu_indices(function.d, 1)
    np.testing.assert_allclose(found["S2"][above], function.pairs[above], atol=TOLERANCE)


def test_scipy_finds_the_known_indices(function: Known) -> None:
    rng = np.random.default_rng(1)
    dists = [uniform()] * function.d
    found = sobol_indices(func=lambda x: function(x.T), n=N, dists=dists, rng=rng)
    np.testing.assert_allclose(found.first_order, function.first, atol=TOLERANCE)
    np.testing.assert_allclose(found.total_order, function.total, atol=TOLERANCE)


def test_mean_and_variance_are_exact(function: Known) -> None:
    """By a midpoint rule on a dense tensor grid, whose error is far below the tolerance."""
    nodes = (np.arange(40) + 0.5) / 40
    u = np.stack(np.meshgrid(*[nodes] * function.d, indexing="ij"), -1).reshape(-1, function.d)
    y = function(u)
    assert y.mean() == pytest.approx(function.mean, abs=2e-3)
    assert y.var() == pytest.approx(function.variance, rel=5e-3)


def test_closed_variances_are_those_of_the_conditional_means(function: Known) -> None:
    nodes = (np.arange(40) + 0.5) / 40
    u = np.stack(np.meshgrid(*[nodes] * function.d, indexing="ij"), -1)
    y = function(u.reshape(-1, function.d)).reshape(u.shape[:-1])
    for kept in ({0}, {1}, {0, 1}, {0, 2}, {1, 2}):
        others = tuple(i for i in range(function.d) if i not in kept)
        conditional = y.mean(axis=others)
        assert conditional.var() == pytest.approx(
            function.closed(frozenset(kept)), rel=1e-2, abs=1e-3 * function.variance
        )


def test_the_indices_fit_together(function: Known) -> None:
    assert function.first.sum() <= 1 + 1e-12 <= function.total.sum() + 2e-12
    assert function.shapley.sum() == pytest.approx(1)
    assert (function.first <= function.shapley + 1e-12).all()
    assert (function.shapley <= function.total + 1e-12).all()
    assert function.closed(frozenset(range(function.d))) == pytest.approx(function.variance)


def test_ishigami_has_the_values_of_the_literature() -> None:
    known = ishigami()
    np.testing.assert_allclose(known.first, [0.3139, 0.4424, 0.0], atol=5e-5)
    np.testing.assert_allclose(known.total, [0.5576, 0.4424, 0.2437], atol=5e-5)
    assert known.pairs[0, 2] == pytest.approx(0.2437, abs=5e-5)
    assert known.variance == pytest.approx(13.8446, abs=5e-5)
