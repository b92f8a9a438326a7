import math

import numpy as np
import pandas as pd
import pytest
from synthetic import STUDY, digits_table, small_table, trial
from synthetic import analyze_tables as analyze

from hpsearch.analysis.axis import Axis
from hpsearch.analysis.cells import Cells
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.sensitivity import trained_range
from hpsearch.analysis.surface import Surface, colour_range, surface

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


def test_colours_span_what_trained() -> None:
    cells = pd.DataFrame({"mean": [0.1, 0.9, 0.95], "n_not_trained": [3, 0, 0]})
    found = colour_range([Surface("sam", RHO, SHARDS, cells)], maximize=True)
    assert (found.low, found.high, found.clipped) == (0.9, 0.95, True)
    losses = pd.DataFrame({"mean": [2.3, 0.2, 0.4], "n_not_trained": [3, 0, 0]})
    found = colour_range([Surface("sam", RHO, SHARDS, losses)], maximize=False)
    assert (found.low, found.high, found.clipped) == (0.2, 0.4, True)


def test_colours_where_nothing_trained() -> None:
    cells = pd.DataFrame({"mean": [0.1, 0.11], "n_not_trained": [3, 3]})
    found = colour_range([Surface("sam", RHO, SHARDS, cells)], maximize=True)
    assert (found.low, found.high, found.clipped) == (0.1, 0.11, False)


def points(*values: tuple[float, int]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"position": p, "n_not_trained": n, "configuration_id": str(i)} for i, (p, n) in enumerate(values)]
    )


def test_the_trained_range_ends_before_the_first_failure() -> None:
    found = trained_range(points((0.1, 0), (0.2, 0), (0.5, 0), (0.8, 1), (1.0, 0)), log=True).iloc[0]
    assert (found["low"], found["high"], found["n_configurations"]) == (0.1, 0.5, 3)


def test_one_failing_configuration_spoils_its_value() -> None:
    found = trained_range(points((1, 0), (1, 2), (2, 0), (4, 0)), log=False).iloc[0]
    assert (found["low"], found["high"]) == (2, 4)


def test_the_widest_range_on_the_axis_is_kept() -> None:
    values = points((0.01, 0), (0.1, 0), (0.2, 1), (0.3, 0), (1.0, 0))
    assert trained_range(values, log=True).iloc[0]["high"] == 0.1
    assert trained_range(values, log=False).iloc[0]["low"] == 0.3


def test_no_trained_range_where_nothing_trained() -> None:
    assert trained_range(points((0.1, 1), (0.2, 3)), log=True).empty


def test_sensitivity_of_a_whole_study() -> None:
    found = {s.parameter: s for s in analyze(digits_table(), STUDY).sensitivities}
    assert list(found) == ["rho", "num_shards", "ema_decay", "lr"]
    rho = found["rho"]
    assert rho.arms == ("sam", "msam", "fsam", "fmsam")
    ends = rho.ranges.set_index("arm")["high"]
    assert ends["fsam"] > 1.5 * ends["sam"] > 0  # the fact that the picture must show
    assert (rho.points["position"] == rho.points["params.rho"]).all()
    assert found["num_shards"].points["position"].max() == 4  # the index of 16


def test_lines_have_the_same_cells_as_the_maps() -> None:
    analysis = analyze(digits_table(), STUDY)
    lines = analysis.sensitivities[0].lines
    line = lines[lines["arm"] == "sam"].set_index("cell")
    maps = next(s for s in analysis.surfaces if s.arm == "sam").cells
    for ix, column in maps.groupby("ix"):
        weights = column["n_configurations"]
        assert np.average(column["mean"], weights=weights) == pytest.approx(line.loc[ix, "mean"])
        assert weights.sum() == line.loc[ix, "n_configurations"]
