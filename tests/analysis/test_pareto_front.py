import numpy as np
import pandas as pd
from synthetic import STUDY, digits_table, small_table, trial
from synthetic import analyze_tables as analyze

from hpsearch.analysis.pareto import non_dominated


def slow(cost: np.ndarray, gain: np.ndarray) -> list[bool]:
    better = [
        any(c <= x and g >= y and (c < x or g > y) for c, g in zip(cost, gain, strict=True))
        for x, y in zip(cost, gain, strict=True)
    ]
    return [not b for b in better]


def test_agrees_with_the_definition_ties_included() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        cost, gain = rng.integers(0, 6, size=(2, 12)).astype(float)
        assert non_dominated(cost, gain).tolist() == slow(cost, gain)


def test_no_points() -> None:
    assert non_dominated([], []).tolist() == []


def test_a_configuration_that_did_not_train_is_drawn_but_not_on_the_front() -> None:
    table = small_table(
        trial(configuration="cheap", value=0.1, samples=10.0, status="diverged"),
        trial(configuration="good", value=0.9, samples=1000.0),
        trial(configuration="worse", value=0.8, samples=2000.0),
    )
    (front,) = analyze(table).fronts
    assert front.points.set_index("configuration_id")["on_front"].to_dict() == {
        "cheap": False,
        "good": True,
        "worse": False,
    }


def test_a_loss_is_minimized() -> None:
    table = pd.DataFrame(
        {
            "arm": "sam",
            "configuration_id": ["a", "b"],
            "status": "complete",
            "metrics.val_loss": [0.3, 0.5],
            "cost.flops": [1.0, 1.0],
        }
    )
    (front,) = analyze(table).fronts
    assert front.points["on_front"].tolist() == [True, False]


def test_a_cost_that_is_an_objective_comes_first() -> None:
    assert [f.compute for f in analyze(digits_table(), STUDY).fronts] == [
        "flops",
        "backward_samples",
        "seconds",
    ]


def test_all_diverged_has_points_but_no_front() -> None:
    (front,) = analyze(small_table(trial(status="diverged", value=0.1))).fronts
    assert len(front.points) == 1 and not front.points["on_front"].any()
