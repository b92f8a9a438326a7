import math
from collections.abc import Mapping
from itertools import permutations

import numpy as np
import pytest
from known import Known, additive, g_function, ishigami, product
from numpy.typing import NDArray

from hpsearch.analysis.shapley import MOST_INPUTS, shapley_effects, subsets
from hpsearch.errors import InputError

FUNCTIONS = [ishigami(), g_function(), product(), additive(), g_function((0.5,))]


def by_orders(closed: Mapping[frozenset[int], NDArray[np.float64]], d: int) -> NDArray[np.float64]:
    """The definition: marginal contributions over all d! orders."""
    effects = np.zeros((len(closed[frozenset(range(d))]), d))
    for order in permutations(range(d)):
        for k, i in enumerate(order):
            before, after = frozenset(order[:k]), frozenset(order[: k + 1])
            effects[:, i] += closed[after] - (closed[before] if before else 0.0)
    return effects / math.factorial(d)


def closed_of(function: Known) -> dict[frozenset[int], float]:
    return {u: function.closed(u) for u in subsets(function.d)}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f"{f.name}-{f.d}")
def test_known_functions(function: Known) -> None:
    effects = shapley_effects(closed_of(function), function.d)
    assert effects.shape == (1, function.d)
    np.testing.assert_allclose(effects[0], function.shapley * function.variance, rtol=1e-12, atol=1e-15)


def test_ishigami_has_the_values_of_the_literature() -> None:
    # First-order 0.3139, 0.4424, 0 and the interaction of 1 and 3, 0.2437, in two halves.
    effects = shapley_effects(closed_of(ishigami()), 3)[0] / ishigami().variance
    np.testing.assert_allclose(effects, [0.3139 + 0.2437 / 2, 0.4424, 0.2437 / 2], atol=1e-4)


def test_without_interactions_an_effect_is_the_first_order_variance() -> None:
    effects = shapley_effects(closed_of(additive((3.0, 2.0, 1.0, 0.0))), 4)[0]
    np.testing.assert_allclose(effects, np.array([9, 4, 1, 0]) / 12, atol=1e-15)


def test_inputs_of_a_pure_interaction_share_it() -> None:
    np.testing.assert_allclose(shapley_effects(closed_of(product((0.0, 0.0))), 2)[0], np.full(2, 1 / 288))


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_draws_agree_with_the_average_over_all_orders(d: int) -> None:
    rng = np.random.default_rng(d)
    closed = {u: rng.normal(size=7) for u in subsets(d) if u}  # any game at all, not only variances
    effects = shapley_effects(closed, d)
    np.testing.assert_allclose(effects, by_orders(closed, d), atol=1e-12)
    np.testing.assert_allclose(effects.sum(1), closed[frozenset(range(d))], atol=1e-12)


def test_a_draw_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(0)
    closed = {u: rng.random(5) for u in subsets(4) if u}
    alone = shapley_effects({u: v[2:3] for u, v in closed.items()}, 4)
    np.testing.assert_allclose(shapley_effects(closed, 4)[2:3], alone, rtol=1e-12)


def test_the_most_inputs_and_many_draws() -> None:
    function = g_function(np.linspace(0, 9, MOST_INPUTS))
    closed = {u: np.full(2000, v) for u, v in closed_of(function).items()}
    effects = shapley_effects(closed, MOST_INPUTS)
    np.testing.assert_allclose(effects, np.tile(function.shapley * function.variance, (2000, 1)), rtol=1e-9)


@pytest.mark.parametrize("d", [0, 9, 2.0, True, "3"])
def test_a_number_of_inputs_out_of_range_is_refused(d: object) -> None:
    with pytest.raises(InputError, match=r"whole number in 1 … 8, got"):
        shapley_effects({frozenset({0}): 1.0}, d)  # type: ignore[arg-type]


def test_wrong_sets_and_values_are_named() -> None:
    good = {u: np.ones(3) for u in subsets(2) if u}
    cases = {
        r"lacks the inputs \[1\]; all 3 sets": {u: v for u, v in good.items() if u != {1}},
        r"frozenset\(\{2\}\); allowed: frozensets of the inputs 0 … 1": good | {frozenset({2}): np.ones(3)},
        r"closed\[\[0\]\] has shape \(4,\)": good | {frozenset({0}): np.ones(4)},
        r"closed\[\[1\]\] must be finite, but has nan": good | {frozenset({1}): np.array([1, np.nan, 1])},
        r"without any input, must be 0, got 1.0": good | {frozenset(): np.ones(3)},
        r"one dimension, the draws, but its shape is \(2, 3\)": good | {frozenset({0, 1}): np.ones((2, 3))},
    }
    for message, closed in cases.items():
        with pytest.raises(InputError, match=message):
            shapley_effects(closed, 2)
