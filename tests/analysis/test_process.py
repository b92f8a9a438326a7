"""The Gaussian processes against finite differences, dense formulas and scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.inputs import Input, Inputs
from hpsearch.analysis.kernel import CONSTANT, Features, Layout, kernel, kernel_slopes, one_dimension
from hpsearch.analysis.process import (
    Observations,
    Posterior,
    _count_evidence,
    _mode,
    _value_evidence,
    fit_counts,
    fit_values,
)
from hpsearch.space import Parameter

PARAMETERS = {
    "rho": Parameter(low=0.01, high=1.0, log=True),
    "num_shards": Parameter(choices=(1, 2, 4, 8)),
    "base": Parameter(choices=("sgd", "adam", "adamw")),
}
INPUTS = Inputs(tuple(Input.from_axis(Axis.from_parameter(n, p)) for n, p in PARAMETERS.items()))
PLAIN = Inputs(tuple(Input.from_axis(Axis.from_parameter(n, Parameter(low=0.0, high=1.0))) for n in "ab"))
LAYOUT = Layout(INPUTS)
THETA = np.array([-0.3, -0.8, -0.5, -0.7, -0.2, -1.0])


def points(n: int = 40, seed: int = 0) -> np.ndarray:
    return INPUTS.from_uniform(np.random.default_rng(seed).random((n, 3)))


@pytest.mark.parametrize("one", INPUTS.inputs, ids=INPUTS.names)
def test_a_main_effect_has_mean_zero_and_unit_variance_over_the_range(one: Input) -> None:
    k, _ = one_dimension(one, one.nodes, one.nodes, 0.4)
    assert abs(k @ one.weights).max() < 1e-12
    assert one.weights @ np.diag(k) == pytest.approx(1)


def test_an_inactive_hyperparameter_has_no_effect() -> None:
    x = points(5)
    x[2, 0] = np.nan
    k, _ = one_dimension(INPUTS.inputs[0], x[:, 0], x[:, 0], 0.4)
    assert not k[2].any() and not k[:, 2].any() and k[0, 0] > 0


def test_the_kernel_is_the_sum_over_all_subsets() -> None:
    x = points(6)
    t, lengths, rho = LAYOUT.split(THETA)
    ks = [t[i] ** 2 * one_dimension(one, x[:, i], x[:, i], lengths[i])[0] for i, one in enumerate(INPUTS.inputs)]
    a, b, c = ks
    expected = CONSTANT + a + b + c + rho * (a * b + a * c + b * c) + rho**2 * a * b * c
    assert kernel(LAYOUT, THETA, x, x) == pytest.approx(expected)


def test_slopes_of_the_kernel_are_its_differences() -> None:
    x = points(8)
    k, slopes = kernel_slopes(LAYOUT, THETA, x)
    assert k == pytest.approx(kernel(LAYOUT, THETA, x, x))
    for j in range(LAYOUT.size):
        e = np.zeros(LAYOUT.size)
        e[j] = 1e-5
        difference = (kernel(LAYOUT, THETA + e, x, x) - kernel(LAYOUT, THETA - e, x, x)) / 2e-5
        assert slopes[j] == pytest.approx(difference, abs=1e-7)


def test_features_multiply_to_the_kernel_and_are_uncorrelated() -> None:
    x = points(20)
    features = Features.of(LAYOUT, THETA)
    assert features(x).T @ features(x) == pytest.approx(kernel(LAYOUT, THETA, x, x), abs=0.02)
    shards, base = INPUTS.inputs[1], INPUTS.inputs[2]
    whole = INPUTS.inputs[0]
    grid = np.array([[r, m, b] for r in whole.nodes for m in shards.nodes for b in base.nodes])
    weights = np.array([u * v * w for u in whole.weights for v in shards.weights for w in base.weights])
    phi = features(grid) / features.scale[:, None]
    gram = (phi * weights) @ phi.T
    assert gram == pytest.approx(np.eye(len(gram)), abs=1e-6)


def test_evidence_of_values_and_its_slopes() -> None:
    x, rng = points(), np.random.default_rng(1)
    y, n, theta = rng.normal(size=40), rng.integers(1, 4, 40).astype(float), np.append(THETA, -1.0)
    cov = kernel(LAYOUT, THETA, x, x) + np.diag(np.exp(-2.0) / n)
    _, log = np.linalg.slogdet(2 * np.pi * cov)
    value, slopes = _value_evidence(LAYOUT, theta, x, y, n, True)
    assert value == pytest.approx(-0.5 * y @ np.linalg.solve(cov, y) - 0.5 * log)
    numeric = approx_fprime(theta, lambda t: _value_evidence(LAYOUT, t, x, y, n, False)[0], 1e-6)
    assert slopes == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_evidence_of_counts_and_its_slopes() -> None:
    x, rng = points(), np.random.default_rng(2)
    n = np.full(40, 3.0)
    k = rng.binomial(3, 1 / (1 + np.exp(-6 * (x[:, 0] - 0.5)))).astype(float)
    _, slopes = _count_evidence(LAYOUT, THETA, x, k, n, True)
    numeric = approx_fprime(THETA, lambda t: _count_evidence(LAYOUT, t, x, k, n, False)[0], 1e-5)
    assert slopes == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_the_mode_of_the_counts_is_stationary() -> None:
    x = points(30)
    n = np.full(30, 3.0)
    k = np.where(x[:, 0] > 0.5, 3.0, 0.0)
    cov = kernel(LAYOUT, THETA, x, x)
    latent, a = _mode(cov, k, n)
    assert cov @ a == pytest.approx(latent, abs=1e-6)
    assert a == pytest.approx(k - n / (1 + np.exp(-latent)), abs=1e-3)


def test_the_posterior_is_scikit_learns() -> None:
    """With one input, and the centring undone by a flat constant, both are the same Matern process."""
    one = Inputs(PLAIN.inputs[:1])
    rng = np.random.default_rng(0)
    x = rng.random((15, 1))
    y = np.sin(5 * x[:, 0]) + 0.1 * rng.normal(size=15)
    layout, theta = Layout(one), np.array([np.log(0.9), np.log(0.3), 0.0])
    root = np.full(15, 10.0)
    ours = Posterior.of(layout, theta, Observations(x, root, root * y))
    new = np.linspace(0, 1, 9)[:, None]
    nodes, w = one.inputs[0].nodes, one.inputs[0].weights
    matern = Matern(0.3, nu=2.5)
    variance = float(w @ np.diag(matern(nodes[:, None])) - w @ matern(nodes[:, None]) @ w)

    def centred(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        raw = matern(a, b) - (matern(a, nodes[:, None]) @ w)[:, None] - (matern(b, nodes[:, None]) @ w)[None]
        return CONSTANT + 0.81 * (raw + w @ matern(nodes[:, None]) @ w) / variance

    cov = centred(x, x) + 0.01 * np.eye(15)
    assert ours.mean(new) == pytest.approx(centred(new, x) @ np.linalg.solve(cov, y), abs=1e-6)
    expected = np.diag(centred(new, new) - centred(new, x) @ np.linalg.solve(cov, centred(x, new)))
    assert ours.variance(new) == pytest.approx(expected, abs=1e-6)
    peer = GaussianProcessRegressor(Matern(0.3, nu=2.5, length_scale_bounds="fixed"), alpha=0.01).fit(x, y)
    assert ours.mean(new) == pytest.approx(peer.predict(new), abs=0.1)  # another prior of the level, the same data


def test_draws_have_the_posteriors_mean_and_variance() -> None:
    x, rng = points(30), np.random.default_rng(3)
    root = np.full(30, 4.0)
    posterior = Posterior.of(LAYOUT, THETA, Observations(x, root, root * rng.normal(size=30)))
    new = points(12, seed=9)
    draws = posterior.functions(20_000, rng)(new)
    assert draws.mean(0) == pytest.approx(posterior.mean(new), abs=0.03)
    assert draws.var(0) == pytest.approx(posterior.variance(new), rel=0.1, abs=0.01)


def test_left_out_predictions_are_refits() -> None:
    x, rng = points(12), np.random.default_rng(4)
    y, root = rng.normal(size=12), np.full(12, 3.0)
    mean, variance = Posterior.of(LAYOUT, THETA, Observations(x, root, root * y)).left_out()
    for i in (0, 5, 11):
        kept = np.arange(12) != i
        other = Posterior.of(LAYOUT, THETA, Observations(x[kept], root[kept], (root * y)[kept]))
        assert mean[i] == pytest.approx(other.mean(x[i : i + 1])[0], abs=1e-5)
        assert variance[i] == pytest.approx(other.variance(x[i : i + 1])[0], abs=1e-5)


def test_a_function_over_some_inputs_is_its_mean_over_the_others() -> None:
    x, rng = points(30), np.random.default_rng(5)
    root = np.full(30, 4.0)
    drawn = Posterior.of(LAYOUT, THETA, Observations(x, root, root * rng.normal(size=30))).functions(4, rng)
    shards, base = INPUTS.inputs[1], INPUTS.inputs[2]
    at = np.array([0.1, 0.6])
    grid = np.array([[r, m, b] for r in at for m in shards.nodes for b in base.nodes])
    mean = drawn(grid).reshape(4, 2, -1).mean(2)
    assert drawn.over([0])(np.array([[r, 0.0, 0.0] for r in at])) == pytest.approx(mean, abs=1e-4)


def test_fits_are_the_same_twice_and_learn_the_noise_from_replicates() -> None:
    rng = np.random.default_rng(6)
    x = PLAIN.from_uniform(rng.random((40, 2)))
    y = np.sin(4 * x[:, 0]) + 0.2 * rng.normal(size=40)
    first, second = (fit_values(PLAIN, x, y, np.ones(40), 0.2, 80, 1) for _ in range(2))
    assert first.best.theta == pytest.approx(second.best.theta, abs=0)
    assert len(first.others) == 16
    noise = 1 / first.best.seen.root[0]
    assert noise == pytest.approx(0.2, rel=0.15)  # 80 degrees of freedom know it to 8 %
    assert first.best.theta[0] > first.best.theta[1] + 1  # b is inert


def test_a_cliff_is_found_where_it_is() -> None:
    rng = np.random.default_rng(7)
    x = PLAIN.from_uniform(rng.random((60, 2)))
    k = np.where(x[:, 0] < 0.6, 3.0, 0.0)
    counts = fit_counts(PLAIN, x, k, np.full(60, 3.0), 0)
    at = np.array([[0.3, 0.5], [0.9, 0.5]])
    p = 1 / (1 + np.exp(-counts.best.mean(at)))
    assert p[0] > 0.95 and p[1] < 0.05
