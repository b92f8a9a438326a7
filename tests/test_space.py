"""Search spaces: what a parameter contains, its grid levels, and conditions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.errors import InputError
from hpsearch.sampling.distributions import distributions
from hpsearch.space import Parameter, active, load_space, names, ordered, shipped


def parameter(**keys: Any) -> Parameter:
    return Parameter.model_validate(keys)


RANGE = parameter(low=0.5, high=2)
WHOLE = parameter(low=1, high=9, int=True)
STEPS = parameter(low=0.1, high=0.5, step=0.1)
CHOICES = parameter(choices=[1, 2.5, "a", "2", True])


@pytest.mark.parametrize(
    "of, inside, outside",
    [
        (RANGE, [0.5, 1, 2, 2.0], [0.4, 2.1, "1", True, None, [1], math.nan, math.inf, 10**400]),
        (WHOLE, [1, 9, 3.0], [0, 10, 2.5, True, "3"]),
        (STEPS, [0.1, 0.2, 0.30000000000000004, 0.5], [0.15, 0.6, 0]),
        (CHOICES, [1, 1.0, 2.5, "a", "2", True], [2, "1", False, None, "b", [1], {}]),
        (parameter(choices=[False, 1]), [False, 1], [0, True]),
    ],
    ids=["range", "whole", "steps", "choices", "false-is-not-0"],
)
def test_contains(of: Parameter, inside: list[object], outside: list[object]) -> None:
    assert [value for value in inside if not of.contains(value)] == []
    assert [value for value in outside if of.contains(value)] == []


def test_a_value_off_the_steps_belongs_to_the_range() -> None:
    assert not STEPS.contains(0.15)
    assert STEPS.contains(0.15, on_step=False)


@pytest.mark.parametrize(
    "of, levels",
    [
        (RANGE, None),
        (parameter(low=1, high=8, int=True, log=True), None),
        (parameter(low=0.5, high=2, grid=[2, 0.5]), (2, 0.5)),
        (CHOICES, (1, 2.5, "a", "2", True)),
        (parameter(choices=[1, 2, 3], grid=[3, 1]), (3, 1)),
        (parameter(low=1, high=4, int=True), (1, 2, 3, 4)),
        (parameter(low=1, high=7, int=True, step=3), (1, 4, 7)),
        (parameter(low=0, high=1, step=0.25), (0.0, 0.25, 0.5, 0.75, 1.0)),
        (parameter(low=0.1, high=0.3, step=0.1), (0.1, 0.2, 0.3)),
    ],
    ids=["range", "log", "grid", "choices", "grid-of-choices", "whole", "whole-steps", "steps", "rounded"],
)
def test_levels(of: Parameter, levels: tuple[object, ...] | None) -> None:
    assert of.levels() == levels
    assert [type(value) for value in of.levels() or ()] == [type(value) for value in levels or ()]


def test_too_many_levels_are_refused_before_they_are_made() -> None:
    with pytest.raises(ValueError, match="too fine"):
        parameter(low=0, high=1e9, step=1e-9).levels()


STEPPED = st.builds(
    lambda low, steps, step, scale: (low / scale, (low + steps * step) / scale, step / scale),
    st.integers(-50, 50),
    st.integers(1, 40),
    st.integers(1, 60),
    st.sampled_from([1, 10, 100, 1000]),
)


@given(STEPPED)
def test_levels_are_contained_and_even(numbers: tuple[float, float, float]) -> None:
    low, high, step = numbers
    of = parameter(low=low, high=high, step=step)
    levels = [float(value) for value in of.levels() or ()]
    assert all(of.contains(value) for value in levels)
    assert (levels[0], levels[-1]) == (low, pytest.approx(high))
    assert [after - before for before, after in itertools.pairwise(levels)] == pytest.approx([step] * (len(levels) - 1))


@settings(deadline=None)
@given(STEPPED, st.integers(0, 2**31))
def test_what_optuna_draws_is_contained_and_on_the_grid(numbers: tuple[float, float, float], seed: int) -> None:
    low, high, step = numbers
    of = parameter(low=low, high=high, step=step)
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = optuna_study.ask(distributions({"x": of})).params["x"]
    assert of.contains(drawn)
    assert drawn in (of.levels() or ())  # so that a grid phase and another one share their configurations


@pytest.mark.parametrize(
    "of, words",
    [
        (RANGE, "a number from 0.5 to 2"),
        (WHOLE, "a whole number from 1 to 9"),
        (parameter(choices=[1, "a", True]), "one of 1, 'a', true"),
    ],
    ids=["range", "whole", "choices"],
)
def test_allowed_in_words(of: Parameter, words: str) -> None:
    assert of.allowed() == words


def test_allowed_is_short_for_many_choices() -> None:
    assert parameter(choices=list(range(1000))).allowed().endswith("9, … (1000 in all)")


CONDITIONS = {
    "momentum": parameter(low=0, high=0.9, when={"base": "sgd", "adaptive": True}),
    "nesterov": parameter(choices=[True, False], when={"momentum": 0.9}),
    "base": parameter(choices=["sgd", "adam"]),
    "lr": RANGE,
}


def test_ordered_puts_conditions_first_and_else_keeps_the_order() -> None:
    assert ordered(CONDITIONS) == ["base", "lr", "momentum", "nesterov"]
    assert ordered({}) == []


@pytest.mark.parametrize("circle", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "a"]], ids=len)
def test_ordered_refuses_a_circle(circle: list[str]) -> None:
    parts = {name: parameter(low=0, high=1, when={after: 1}) for name, after in zip(circle, circle[1:], strict=False)}
    with pytest.raises(ValueError, match="a.* go round in a circle"):
        ordered({"free": RANGE, **parts})


@pytest.mark.parametrize(
    "values, fixed, names",
    [
        ({"base": "sgd", "momentum": 0.9}, {"adaptive": True}, ["base", "lr", "momentum", "nesterov"]),
        ({"base": "sgd", "momentum": 0.5}, {"adaptive": True}, ["base", "lr", "momentum"]),
        ({"base": "adam", "momentum": 0.9}, {"adaptive": True}, ["base", "lr"]),
        ({"base": "sgd", "momentum": 0.9}, {"adaptive": False}, ["base", "lr"]),
        ({"base": "sgd", "momentum": 0.9}, {}, ["base", "lr"]),
        ({}, {}, ["base", "lr"]),
    ],
    ids=["all", "chain-ends", "other-base", "fixed-differs", "fixed-lacks", "no-values"],
)
def test_active(values: dict[str, Any], fixed: dict[str, Any], names: list[str]) -> None:
    assert active(CONDITIONS, values, fixed) == names


def test_the_value_of_an_inactive_parameter_meets_no_condition() -> None:
    values = {"base": "adam", "momentum": 0.9, "nesterov": True}
    assert "nesterov" not in active(CONDITIONS, values, {"adaptive": True})


@pytest.mark.parametrize("name", sorted(names("search_spaces")))
def test_shipped_spaces_are_right(name: str) -> None:
    space = load_space(name, [])
    assert space.description
    assert space.parameters
    assert names("search_spaces")[name].parent == shipped("search_spaces")


def test_an_unknown_space_has_the_nearest_name() -> None:
    with pytest.raises(InputError, match="named 'sgdd'; allowed: .*sgd.*, or a path; did you mean 'sgd'"):
        load_space("sgdd", [])
