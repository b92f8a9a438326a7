import math

import numpy as np
import pandas as pd
import pytest
from synthetic import Parameter

from hpsearch.analysis.axis import Axis, order_parameters
from hpsearch.analysis.cells import make_cells
from hpsearch.space import Parameter as RealParameter


def test_a_declared_range_keeps_its_ends_and_scale() -> None:
    axis = Axis.from_parameter("rho", RealParameter(low=0.01, high=2.0, log=True, grid=(0.1, 0.05)))
    assert (axis.kind, axis.low, axis.high, axis.grid) == ("log", 0.01, 2.0, (0.05, 0.1))


def test_choices_that_are_numbers_are_put_in_order() -> None:
    assert Axis.from_parameter("num_shards", Parameter(choices=(4, 1, 16))).choices == (1, 4, 16)
    assert Axis.from_parameter("schedule", Parameter(choices=("step", "cosine"))).choices == (
        "step",
        "cosine",
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.01, 0.2], "log"),
        ([0.1, 1.9], "linear"),
        ([0.0, 100.0], "linear"),
        (["a", "b"], "choice"),
        ([True, False], "choice"),
        ([1, "auto"], "choice"),
        ([None, math.nan], "choice"),
    ],
)
def test_kind_guessed_from_values(values: list[object], kind: str) -> None:
    assert Axis.from_values("x", pd.Series(values, dtype=object)).kind == kind


def test_positions_are_values_or_indices_and_nan_for_null() -> None:
    choice = Axis("x", "choice", choices=(1, 4, 16))
    np.testing.assert_array_equal(choice.positions([4.0, None, 16, 5]), [1, np.nan, 2, np.nan])
    np.testing.assert_array_equal(Axis("x", "linear", 0, 1).positions([0.5, None, "a"]), [0.5, np.nan, np.nan])


def test_true_is_not_one() -> None:
    axis = Axis("x", "choice", choices=(1, True, "1"))
    np.testing.assert_array_equal(axis.positions([True, 1.0, "1"]), [1, 0, 2])


def test_axes_of_several_arms_merge() -> None:
    both = Axis.merged([Axis("lr", "log", 0.01, 1.0), Axis("lr", "linear", 0.1, 3.0)])
    assert (both.kind, both.low, both.high) == ("log", 0.01, 3.0)
    mixed = Axis.merged([Axis("m", "choice", choices=(1, 4)), Axis("m", "linear", 2.0, 8.0)])
    assert (mixed.kind, mixed.low, mixed.high) == ("linear", 1.0, 8.0)
    assert Axis.merged([Axis("m", "choice", choices=(4,)), Axis("m", "choice", choices=(1,))]).choices == (
        1,
        4,
    )


def test_few_values_are_a_cell_each() -> None:
    cells = make_cells(Axis("rho", "log", 0.01, 2.0), pd.Series([0.1, 0.5, 0.1, np.nan]))
    assert cells.values == (0.1, 0.5) and len(cells) == 2
    assert cells.assign(pd.Series([0.5, np.nan, 0.1, 0.3])).tolist() == [1, -1, 0, -1]


def test_grid_values_and_choices_that_were_not_tried_have_a_cell() -> None:
    axis = Axis("rho", "log", 0.01, 2.0, grid=(0.05, 0.1, 0.5))
    assert make_cells(axis, pd.Series([0.1])).values == (0.05, 0.1, 0.5)
    assert make_cells(axis, pd.Series([0.2])).values == (0.2,)
    assert len(make_cells(Axis("m", "choice", choices=(1, 2, 4)), pd.Series([2.0]))) == 3


def test_many_values_on_a_log_axis_fall_in_eight_bins_of_equal_ratio() -> None:
    cells = make_cells(Axis("rho", "log", 0.01, 2.56), pd.Series(np.geomspace(0.01, 2.56, 30)))
    assert len(cells) == 8
    ratios = np.array(cells.edges[1:]) / np.array(cells.edges[:-1])
    np.testing.assert_allclose(ratios, 2.0)
    assert cells.centers[0] == pytest.approx(0.01 * math.sqrt(2))
    assert cells.assign(pd.Series([0.01, 0.03, 2.56, 3.0])).tolist() == [0, 1, 7, -1]


def test_bins_of_whole_numbers_have_whole_ends() -> None:
    cells = make_cells(Axis("epochs", "linear", 1, 24, integer=True), pd.Series(range(1, 25)))
    assert cells.edges == (1, 4, 7, 10, 13, 16, 19, 22, 25)
    assert cells.centers[0] == 2
    counts = np.bincount(cells.assign(pd.Series(range(1, 25))), minlength=8)
    assert counts.tolist() == [3] * 8


def test_every_observed_value_has_a_cell_even_outside_of_the_declared_range() -> None:
    values = pd.Series(np.linspace(0.0, 2.0, 20))
    assert (make_cells(Axis("x", "linear", 0.5, 1.0), values).assign(values) >= 0).all()


def test_what_is_under_study_comes_first() -> None:
    assert order_parameters(["dropout", "lr", "rho", "lr"]) == ["rho", "lr", "dropout"]
