import math

import pytest

from hpsearch.analysis.estimate import Estimate
from hpsearch.analysis.objective import Objective
from hpsearch.figures import format as fmt

ACCURACY = Objective("val_accuracy", "metrics.val_accuracy", True, True)
LOSS = Objective("val_loss", "metrics.val_loss", False, False)


def ascii_spaces(text: str) -> str:
    return text.replace(fmt.SPACE, " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.05, "0.05"),
        (0.0712345, "0.0712"),
        (1.0, "1"),
        (1024, "1024"),
        (123.456, "123"),
        (0.0, "0"),
        (-0.5, "−0.5"),
        (1e-5, "1e−5"),
        (2.5e-6, "2.5e−6"),
        (3e7, "3e7"),
        (math.nan, "–"),
    ],
)
def test_numbers_are_plain(value: float, text: str) -> None:
    assert fmt.number(value) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("backward_samples", 1_200_000, "1.2 M samples"),
        ("backward_samples", 950, "950 samples"),
        ("flops", 3.4e12, "3.4 TFLOP"),
        ("flops", 12.0, "12 FLOP"),
        ("seconds", 0.4567, "0.457 s"),
        ("seconds", 300, "5 min"),
        ("seconds", 7200, "2 h"),
        ("seconds", 864000, "10 d"),
        ("seconds", math.nan, "–"),
    ],
)
def test_compute_has_its_unit(name: str, value: float, text: str) -> None:
    assert ascii_spaces(fmt.cost(name, value)) == text


def test_metrics_and_estimates() -> None:
    assert ascii_spaces(fmt.metric(ACCURACY, 0.94719)) == "94.72 %"
    assert fmt.metric(LOSS, 0.123456) == "0.1235"
    interval = Estimate(5, 0.9, 0.01, 0.89, 0.91)
    assert ascii_spaces(fmt.estimate(ACCURACY, interval)) == "90.00 ± 1.00 %"
    assert ascii_spaces(fmt.estimate(LOSS, interval)) == "0.9 ± 0.01"
    assert ascii_spaces(fmt.estimate(ACCURACY, Estimate(1, 0.9, math.nan, math.nan, math.nan))) == "90.00 %"


def test_names_settings_and_times() -> None:
    assert fmt.metric_name("val_accuracy") == "validation accuracy"
    assert fmt.metric_name("my_score") == "my_score"
    assert fmt.axis_title(ACCURACY) == "Validation accuracy (%)"
    nested = {"name": "mlp", "sizes": [64, 10], "bias": True, "none": None, "inner": {"p": 0.5}}
    assert ascii_spaces(fmt.settings(nested)) == "name = mlp, sizes = [64, 10], bias = true, inner = {p = 0.5}"
    assert fmt.moment("2026-03-01T10:00:59+00:00") == "2026-03-01 10:00 UTC"
    assert fmt.moment("yesterday") == "yesterday"
