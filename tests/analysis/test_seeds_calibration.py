"""What seeds share; which intervals the committed table lets through; intervals beside a cliff."""

import numpy as np
import pandas as pd
import pytest

from hpsearch.analysis import calibration
from hpsearch.analysis.answer import Answer, share_quantiles
from hpsearch.analysis.calibration import LEAST, Setting, read_table
from hpsearch.analysis.seeds import seed_effect


def runs(common: float, own: float, configurations: int = 40, seeds: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    shift = common * np.linspace(-np.sqrt(3), np.sqrt(3), seeds)  # of variance near 1, whatever the number
    return pd.DataFrame(
        {
            "configuration_id": [str(c) for c in range(configurations) for _ in range(seeds)],
            "seed": [s for _ in range(configurations) for s in range(seeds)],
            "status": "complete",
            "metrics.score": [c + shift[s] + own * rng.normal() for c in range(configurations) for s in range(seeds)],
        }
    )


def test_a_share_that_all_configurations_have_in_common_is_seen() -> None:
    effect = seed_effect(runs(common=1.0, own=0.5, seeds=20), "metrics.score")
    assert effect.low < 0.8 < effect.high and 0.5 < effect.share < 0.95
    assert (effect.n_seeds, effect.n_configurations) == (20, 40)


def test_independent_seeds_share_nothing() -> None:
    effect = seed_effect(runs(common=0.0, own=1.0), "metrics.score")
    assert effect.share < 0.1 and effect.sd == pytest.approx(1.0, rel=0.15)


def test_shifts_have_the_variance_of_a_mean_over_few_seeds() -> None:
    effect = seed_effect(runs(common=1.0, own=0.1, seeds=20), "metrics.score")
    shifts = effect.shifts(20_000, np.random.default_rng(0))
    assert shifts.std() == pytest.approx(effect.sd * np.sqrt(effect.share / 20), rel=0.1)


@pytest.mark.parametrize("table", [runs(1, 1, seeds=1), runs(1, 1, configurations=1), runs(0, 0)])
def test_where_seeds_tell_nothing_the_share_is_zero(table: pd.DataFrame) -> None:
    effect = seed_effect(table, "metrics.score")
    assert effect.share == 0.0 and np.isnan(effect.low)
    assert not effect.shifts(5, np.random.default_rng(0)).any()


def test_shares_are_rounded_outward_to_whole_percent() -> None:
    assert share_quantiles(np.full(100, 0.1234)) == pytest.approx((0.12, 0.13))
    assert share_quantiles(np.full(100, 0.004)) == pytest.approx((0.0, 0.01))
    assert share_quantiles(np.full(100, 0.998)) == pytest.approx((0.99, 1.0))


def row(**keys: object) -> dict[str, object]:
    usual = {"statistic": "total", "surface": "smooth", "sampler": "qmc", "seeds": 3, "configurations": 24}
    return {**usual, "studies": 100, "intervals": 300, "coverage": 0.95, "width": 0.1, **keys}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(), row(configurations=64, coverage=0.9), row(surface="cliff", coverage=0.91), row(sampler="random")]
    monkeypatch.setattr(calibration, "read_table", lambda: pd.DataFrame(rows))


def setting(**keys: object) -> Setting:
    return Setting(**{"surface": "smooth", "samplers": ("qmc",), "seeds": 3, "configurations": 30, "inputs": 3, **keys})


ANSWER = Answer(0.5, 0.4, 0.6, 30, "share", "how")


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, ""),
        ({"samplers": ("qmc", "random")}, ""),
        ({"configurations": 100}, "held 90 %"),
        ({"surface": "cliff"}, "held 91 %"),
        ({"configurations": 23}, "too few configurations (23, 3 seeds)"),
        ({"seeds": 2}, "too few configurations (30, 2 seeds)"),
        ({"inputs": 6}, "for each 3 hyperparameters"),
        ({"samplers": ("grid",)}, "too few"),
        ({"samplers": ("qmc", "tpe")}, "drawn by tpe"),
        ({"samplers": ()}, "nobody knows"),
    ],
)
def test_an_interval_is_given_only_where_it_was_seen_to_hold(keys: dict[str, object], why: str) -> None:
    found = setting(**keys).gate(ANSWER, "total")
    assert why in found.why and found.has_interval == (not why)
    assert found.value == ANSWER.value


def test_the_committed_table_has_every_cell() -> None:
    cells = read_table().groupby("statistic").size()
    assert set(cells) <= {36} and {"first_order", "total", "marginal_curve", "safe_ratio"} <= set(cells.index)
    assert (read_table()["coverage"] >= LEAST).mean() > 0.8
