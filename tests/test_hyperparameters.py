"""The table of hyperparameters: what each accepts, and how settings are merged."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.hyperparameters import BASES, DEFAULTS, HYPERPARAMETERS, Settings, check, check_name

ACCEPTED = {
    "base": ["sgd", "adam", "adamw"],
    "lr": [1e-9, 0.1, 5, 1e9],
    "momentum": [0, 0.9, 0.999999],
    "nesterov": [True, False],
    "beta1": [0, 0.9],
    "beta2": [0.0, 0.999],
    "weight_decay": [0, 5e-4, 1],
    "schedule": ["cosine", "linear", "constant", "step"],
    "warmup": [0, 0.1, 0.999],
    "epochs": [1, 40, 40.0],
    "batch_size": [1, 128],
    "precision": ["fp32", "bf16"],
    "rho": [0, 0.05, 10],
    "num_shards": [1, 4, 16.0],
    "ema_decay": [0, 0.9, 0.999],
    "sigma": [-1, 0, 1, 0.5],
    "adaptive": [True, False],
    "interval": [1, 5],
    "perturb": ["all", "normalization"],
    "combine": ["perturbed", "gsam"],
    "alpha": [0, 0.4, 2],
}
REFUSED = {
    "base": ["SGD", "", 1, None, True],
    "lr": [0, -0.1, "0.1", True],
    "momentum": [1, -0.1, "0.9"],
    "nesterov": [1, 0, "true", None],
    "beta1": [1, -0.1],
    "beta2": [1, 1.5],
    "weight_decay": [-1e-9, "0"],
    "schedule": ["cos", None, False],
    "warmup": [1, -0.1, "0.1"],
    "epochs": [0, -1, 1.5, "3", True],
    "batch_size": [0, 0.5],
    "precision": ["fp16", None, 16],
    "rho": [-0.1, "0.1", False],
    "num_shards": [0, -1, 2.5, "4", True],
    "ema_decay": [1, 1.0, -0.1],
    "sigma": ["1", True, None],
    "adaptive": [0, 1, "false"],
    "interval": [0, 2.5],
    "perturb": ["norm", True],
    "combine": ["GSAM", None],
    "alpha": [-0.1, "0.4"],
}
NUMBERS = [name for name, known in HYPERPARAMETERS.items() if known.kind in ("number", "whole")]


def test_every_hyperparameter_is_a_setting_and_in_the_tables_above() -> None:
    names = [field.name for field in fields(Settings)]
    assert sorted(names) == sorted(HYPERPARAMETERS) == sorted(ACCEPTED) == sorted(REFUSED)


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_check(name: str) -> None:
    assert [value for value in [*ACCEPTED[name], DEFAULTS[name]] if check(name, value) is not None] == []
    assert [value for value in [*REFUSED[name], [1], {}, None] if check(name, value) is None] == []


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -(10**400)], ids=repr)
def test_no_number_may_be_infinite_or_beyond_floats(name: str, value: float) -> None:
    problem = check(name, value)
    assert problem is not None
    assert problem.allowed == HYPERPARAMETERS[name].allowed()


@pytest.mark.parametrize(
    "name, words",
    [
        ("lr", "a finite number > 0"),
        ("ema_decay", "a finite number >= 0 and < 1"),
        ("num_shards", "a whole number >= 1"),
        ("sigma", "a finite number"),
        ("adaptive", "true or false"),
        ("schedule", "cosine, linear, constant, step"),
    ],
)
def test_allowed_in_words(name: str, words: str) -> None:
    assert HYPERPARAMETERS[name].allowed() == words


@pytest.mark.parametrize(
    "name, bases, near",
    [
        ("rhoo", BASES, "rho"),
        ("numshards", BASES, "num_shards"),
        ("Num-Shards", BASES, "num_shards"),
        ("m", BASES, "num_shards"),
        ("lambda", BASES, "ema_decay"),
        ("learning_rate", BASES, "lr"),
        ("xyzzy", BASES, None),
        ("momentum", ["adam", "adamw"], None),
        ("beta1", ["sgd"], None),
    ],
)
def test_an_unknown_name_has_the_nearest_known_one(name: str, bases: list[str], near: str | None) -> None:
    problem = check_name(name, bases)
    assert problem is not None
    assert (problem.nearest, repr(name) in problem.rule) == (near, True)
    assert "rho" in problem.allowed.split(", ")
    assert name not in problem.allowed.split(", ")


def test_a_name_is_known_when_one_of_the_bases_has_it() -> None:
    assert check_name("momentum", ["adam", "sgd"]) is None
    assert check_name("beta1", ["adam"]) is None


def test_a_wrong_choice_has_the_nearest_one() -> None:
    problem = check("schedule", "cosin")
    assert problem is not None and problem.nearest == "cosine"


def test_merge_without_layers_gives_the_defaults() -> None:
    assert vars(Settings.merge()) == DEFAULTS
    assert Settings.merge().changed() == {}


def test_later_layers_win() -> None:
    merged = Settings.merge({"lr": 1, "rho": 1}, {"lr": 2}, {}, {"sigma": 3})
    assert merged.changed() == {"lr": 2.0, "rho": 1.0, "sigma": 3.0}


def test_a_later_layer_may_go_back_to_the_default() -> None:
    assert Settings.merge({"lr": 1}, {"lr": 0.1}).changed() == {}


@pytest.mark.parametrize("layer", [{"rhoo": 1}, {"rho": -1}, {"epochs": 2.5}, {"adaptive": 1}], ids=str)
def test_merge_refuses_what_check_refuses(layer: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(layer))}: .*; allowed: "):
        Settings.merge({"lr": 1}, layer)


@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in ACCEPTED.items()}))
def test_merged_settings_have_their_types_and_keep_their_values(layer: dict[str, object]) -> None:
    merged = vars(Settings.merge(layer))
    assert merged == {**DEFAULTS, **layer}
    assert all(type(merged[name]) is type(default) for name, default in DEFAULTS.items())
