import math

import pandas as pd
import pytest
from synthetic import small_table, trial

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.cells import Cells
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.surface import surface

RHO = Cells(Axis("rho", "log", 0.1, 1.0), values=(0.1, 1.0))
SHARDS = Cells(Axis("num_shards", "choice", choices=(1, 4)), values=(1, 4))


def made(*trials: dict[str, object]) -> pd.DataFrame:
    found = surface(summarize(small_table(*trials)), "sam", RHO, SHARDS).cells
    return found.set_index(["ix", "iy"])


def test_a_cell_is_the_mean_of_means_of_its_configurations() -> None:
    cells = made(
        # Two configurations with equal parameters, with 3 seeds and 1: they count equally.
        *(trial(configuration="a", seed=i, value=v, rho=0.1, num_shards=1) for i, v in enumerate([0.8, 0.9, 1.0])),
        trial(configuration="b", value=0.5, rho=0.1, num_shards=1),
        trial(configuration="c", value=0.1, rho=1.0, num_shards=4, status="diverged"),
    )
    assert cells.loc[(0, 0), "mean"] == pytest.approx((0.9 + 0.5) / 2)
    assert cells.loc[(0, 0), "n_trials"] == 4
    assert cells.loc[(0, 0), "sd"] == pytest.approx(0.1)
    assert cells.loc[(0, 0), "share_not_trained"] == 0
    assert (cells.loc[(1, 1), "n_not_trained"], cells.loc[(1, 1), "n_ended"]) == (1, 1)
    assert math.isnan(cells.loc[(1, 1), "sd"])
    assert len(cells) == 2


def test_a_conditional_parameter_that_is_null_has_no_cell() -> None:
    cells = made(trial(configuration="a", rho=0.1, num_shards=None), trial(configuration="b", rho=0.1, num_shards=4))
    assert list(cells.index) == [(0, 1)]


def test_other_arms_and_failed_trials_are_not_in_the_map() -> None:
    cells = made(
        trial(arm="sgd", configuration="x", rho=0.1, num_shards=1),
        trial(configuration="y", rho=0.1, num_shards=1, status="failed", value=None),
    )
    assert cells.empty
