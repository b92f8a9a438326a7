"""Safe ranges, robust optimum, expected loss and tunability against a response that is known."""

import numpy as np
import pandas as pd
import pytest

from hpsearch.analysis.arms import describe_arms
from hpsearch.analysis.calibration import Setting
from hpsearch.analysis.columns import standard
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.model import Model, fit_model
from hpsearch.analysis.objective import make_objective
from hpsearch.analysis.robustness import expected_losses, robust_optimum, tunability
from hpsearch.analysis.safe import runs_within, safe_ranges
from hpsearch.space import Parameter
from tests.calibration.simulate import Arm, Study

RHO = Parameter(low=0.01, high=1.0, log=True, default=0.02)
SHARDS = Parameter(choices=(1, 2, 4, 8), default=1)


@pytest.fixture(autouse=True)
def ungated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Setting, "why_not", lambda *_: "")


def studied(response, cliff: float = 9.0, maximize: bool = True, n: int = 48, noise: float = 0.001) -> Model:
    """response(x, shards): the metric at log-coordinate x; beyond `cliff` nothing trains and the metric is 0.1."""
    rng = np.random.default_rng(0)
    rows = []
    for c in range(n):
        x, shards = (c + 0.5) / n, (1, 2, 4, 8)[c % 4]
        for s in range(3):
            fails = x > cliff
            value = 0.1 if fails else response(x, shards)
            rows.append(
                {
                    "arm": "sam",
                    "configuration_id": str(c),
                    "seed": s,
                    "status": "diverged" if fails else "complete",
                    "sampling.sampler": "qmc",
                    "params.rho": 0.01 * 100**x,
                    "params.num_shards": shards,
                    "metrics.val_accuracy": value + noise * rng.normal(),
                }
            )
    trials = standard(pd.DataFrame(rows))
    goal = "maximize" if maximize else "minimize"
    study = Study({"sam": Arm({"rho": RHO, "num_shards": SHARDS})}, {"val_accuracy": goal})
    facts = describe_arms(trials, study)[0]
    rows = summarize(trials, "val_accuracy")
    return fit_model(trials, rows, facts, make_objective(trials, "val_accuracy", maximize), study)


def bowl(x: float, shards: int) -> float:
    return 0.9 - 0.4 * (x - 0.5) ** 2


def test_runs_are_unbroken_and_end_where_the_curve_leaves() -> None:
    at = np.linspace(0, 1, 11)
    curves = np.array([0.0, 0.9, 1.0, 0.95, 0.2, 0.97, 0.1, 0.0, 0.0, 0.0, 0.0])[None]
    assert [float(end[0]) for end in runs_within(curves, at, 0.1, 1.0)] == pytest.approx([0.1, 0.3])
    assert [float(end[0]) for end in runs_within(-curves, at, 0.1, -1.0)] == pytest.approx([0.1, 0.3])
    flat = np.ones((1, 11))
    assert [float(end[0]) for end in runs_within(flat, at, 0.1, 1.0)] == [0.0, 1.0]


@pytest.mark.parametrize("maximize", [True, False])
def test_a_bowl_is_safe_where_it_is_within_epsilon(maximize: bool) -> None:
    sign = 1 if maximize else -1
    safe = safe_ranges(studied(lambda x, m: sign * bowl(x, m), maximize=maximize), 0.01)[0]
    half = np.sqrt(0.01 / 0.4)
    low, high = 0.01 * 100 ** (0.5 - half), 0.01 * 100 ** (0.5 + half)
    assert safe.parameter == "rho" and float(safe.best) == pytest.approx(0.1, rel=0.2)
    assert safe.low is not None and safe.high is not None and safe.ratio is not None
    assert safe.low.low <= low <= safe.low.high and safe.low.value == pytest.approx(low, rel=0.15)
    assert safe.high.low <= high <= safe.high.high and safe.high.value == pytest.approx(high, rel=0.15)
    assert safe.ratio.low <= high / low <= safe.ratio.high
    assert not (safe.low.at_least or safe.high.at_most or safe.ratio.at_least)
    assert safe.ratio.unit == "times"


def test_a_range_that_reaches_the_edge_is_one_sided() -> None:
    safe = safe_ranges(studied(lambda x, m: 0.9 - 0.2 * max(0.0, x - 0.5)), 0.01)[0]
    assert safe.low is not None and safe.ratio is not None
    assert safe.low.at_least and safe.low.low == pytest.approx(0.01) and safe.ratio.at_least


def test_levels_get_a_probability_each() -> None:
    safe = safe_ranges(studied(lambda x, m: bowl(x, m) - (0.05 if m == 8 else 0.0)), 0.01)[1]
    chances = dict(safe.levels)
    assert safe.low is None and chances[8] < 0.05 and min(chances[1], chances[2], chances[4]) > 0.9


def test_the_safe_range_ends_at_the_cliff_and_training_is_told_to_fail_there() -> None:
    safe = safe_ranges(studied(lambda x, m: 0.8 + 0.1 * x, cliff=0.7), 0.02)[0]
    edge = 0.01 * 100**0.7
    assert safe.high is not None and safe.high.low <= edge * 1.1 and safe.high.high >= edge * 0.8
    assert safe.trains_to is not None and safe.trains_to.low <= edge <= safe.trains_to.high * 1.1
    assert safe.trains_from is None


def test_the_robust_optimum_keeps_away_from_the_cliff() -> None:
    model = studied(lambda x, m: 0.8 + 0.1 * x, cliff=0.7)
    robust = robust_optimum(model, factor=2.0)
    assert robust is not None
    edge = 0.01 * 100**0.7
    assert float(robust.params["rho"]) * 2 < edge * 1.1
    assert robust.worst.value > robust.reference_worst.value + 0.2


def test_expected_loss_is_the_mean_excess() -> None:
    losses = {loss.parameter: loss.expected for loss in expected_losses(studied(bowl))}
    assert losses["rho"].low <= 0.4 / 12 <= losses["rho"].high  # the mean of 0.4 (x - 0.5)^2
    assert losses["rho"].value == pytest.approx(0.4 / 12, rel=0.15)
    assert losses["num_shards"].value == pytest.approx(0.0, abs=0.003)


def test_tunability_is_what_tuning_gains_over_the_default() -> None:
    found = {t.parameter: t for t in tunability(studied(bowl), {"rho": 0.02, "num_shards": 1})}
    gain = 0.9 - bowl(np.log(2) / np.log(100), 1)
    assert found["rho"].gain.low <= gain <= found["rho"].gain.high
    assert float(found["rho"].best) == pytest.approx(0.1, rel=0.25)
    assert found["num_shards"].gain.value == pytest.approx(0.0, abs=0.003)
    assert found[None].gain.value == pytest.approx(gain, abs=0.01)
    assert tunability(studied(bowl), {"rho": 0.02}) == ()
