"""A small part of the calibration: the whole table takes an hour, `python -m tests.calibration`."""

import numpy as np
import pandas as pd
import pytest

from tests.calibration.__main__ import measure, merged, summarized
from tests.calibration.arms import confirmed_best


@pytest.mark.parametrize(("kind", "studies", "least"), [("smooth", 8, 0.85), ("cliff", 4, 0.8)])
def test_intervals_hold_in_a_few_studies(kind: str, studies: int, least: float) -> None:
    table = summarized([(*row, studies) for row in measure((kind, "qmc", 3, 24), range(studies))])
    table = table[~table["statistic"].isin(["spread", "robust_worst"])].set_index("statistic")
    assert {"first_order", "total", "marginal_curve", "safe_ratio", "configuration_mean"} <= set(table.index)
    assert (table["coverage"] >= least).all(), table
    assert (table["width"] > 0).all()


def test_the_confirmed_best_holds_and_the_selected_one_is_optimistic() -> None:
    found = confirmed_best(60, np.random.default_rng(0), configurations=24)
    assert found["coverage"] > 0.87
    assert found["selected_coverage"] < found["coverage"]


def test_tables_of_different_studies_are_added() -> None:
    keys = {"statistic": "total", "surface": "smooth", "sampler": "qmc", "seeds": 3, "configurations": 24}
    one = pd.DataFrame([{**keys, "studies": 10, "intervals": 30, "coverage": 1.0, "width": 0.1}])
    two = pd.DataFrame([{**keys, "studies": 20, "intervals": 90, "coverage": 0.8, "width": 0.5}])
    both = merged([one, two]).iloc[0]
    assert (both["studies"], both["intervals"], both["coverage"], both["width"]) == (30, 120, 0.85, 0.4)
