import math

import pytest

from hpsearch.hyperparameters import SCHEDULES
from hpsearch.training.schedule import factor


def test_cosine_falls_from_one_to_nearly_zero():
    values = [factor("cosine", step, 100) for step in range(100)]
    assert values[0] == 1 and values[50] == pytest.approx(0.5) and values[25] == pytest.approx(0.5 + math.sqrt(0.125))
    assert values[-1] == pytest.approx(0, abs=3e-4) and values[-1] > 0
    assert values == sorted(values, reverse=True)


def test_constant_stays():
    assert {factor("constant", step, 7) for step in range(7)} == {1.0}


@pytest.mark.parametrize("total", [8, 9])
def test_step_falls_at_half_and_at_three_quarters(total):
    values = [factor("step", step, total) for step in range(total)]
    expected = [1.0 if 2 * step < total else 0.1 if 4 * step < 3 * total else 0.01 for step in range(total)]
    assert values == pytest.approx(expected)


def test_linear_falls_to_nearly_zero_in_equal_steps():
    assert [factor("linear", step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_warmup_rises_in_equal_steps_and_the_schedule_runs_over_the_rest(schedule):
    values = [factor(schedule, step, 20, warmup=0.2) for step in range(20)]
    assert values[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert values[4:] == [factor(schedule, step, 16) for step in range(16)]


def test_every_schedule_of_the_table_is_known_and_others_are_refused():
    assert all(factor(name, 0, 10) == 1.0 for name in SCHEDULES)
    with pytest.raises(ValueError, match="linaer"):
        factor("linaer", 0, 10)
