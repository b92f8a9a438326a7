"""Ids: stable over releases, and changed by what changes a result and by nothing else."""

# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpsearch.check import Checked, check_study
from hpsearch.identity import Identity
from hpsearch.study import Recorded, build_study, parse_study
from hpsearch.tasks.digits import Digits
from hpsearch.yamlfile import parse_yaml

STUDY = """\
name: ids
task: {name: digits, label_noise: 0.3, epochs: 3}
optimizer: {momentum: 0.9}
arms:
  sam: {parameters: {rho: {low: 0.0, high: 1.0}, num_shards: {choices: [1, 4]}}, fixed: {sigma: 1.0}}
  other: {parameters: {rho: {low: 0.0, high: 1.0}, num_shards: {choices: [1, 4]}}, fixed: {sigma: 1.0}}
sampling: [{sampler: random, configurations: 2}]
seeds: 2
objectives: {val_accuracy: maximize}
"""
PARAMS = {"rho": 0.1, "num_shards": 4}


def checked(*edits: tuple[str, str], folder: Path | None = None) -> Checked:
    text = STUDY
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return check_study(*build_study(parse_yaml(text, "ids"), (), []), folder)


def trial(*edits: tuple[str, str], params: dict[str, Any] = PARAMS, arm: str = "sam", seed: int = 0) -> str:
    return checked(*edits).identity.trial_id(arm, params, seed)


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Checked]:
    (tmp_path / "hps_identity.py").write_text("def train(params, seed, report): report(score=1.0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = [
        ("{name: digits, label_noise: 0.3, epochs: 3}", "{name: 'hps_identity:train'}"),
        ("optimizer: {momentum: 0.9}\n", ""),
        ("val_accuracy", "score"),
    ]
    return lambda *edits: checked(*own, *edits, folder=tmp_path)


def test_ids_of_a_task_are_those_of_the_first_release() -> None:
    """Should these change, every run folder would be trained again: raise no default, change no canonical form."""
    assert checked().identity.configuration_id("sam", PARAMS) == "98a7cdff1caa9e85"
    assert trial() == "cacd9ed74ae59743"


def test_ids_of_a_function_are_those_of_the_first_release(function: Callable[..., Checked]) -> None:
    identity = function().identity
    assert identity.configuration_id("sam", PARAMS) == "2f8410220c7923c8"
    assert identity.trial_id("sam", PARAMS, 0) == "fa92b2711ee51d69"


@pytest.mark.parametrize(
    "edit",
    [
        ("momentum: 0.9", "momentum: 0.9, rho: 0, schedule: cosine"),
        ("epochs: 3", "batch_size: 128, epochs: 3"),
        ("label_noise: 0.3", "label_noise: 0.3, model: mlp"),
        ("sigma: 1.0", "sigma: 1"),
        ("fixed: {sigma: 1.0}", "fixed: {ema_decay: 0.9, sigma: 1.0, adaptive: false}"),
        (
            "{rho: {low: 0.0, high: 1.0}, num_shards: {choices: [1, 4]}}",
            "{num_shards: {choices: [4]}, rho: {choices: [0.1]}}",
        ),
        ("name: ids", "name: renamed"),
        ("seeds: 2", "seeds: 5"),
        ("sampler: random", "sampler: qmc"),
        ("optimizer: {momentum: 0.9}", "optimizer: {momentum: 0.9}\nresources: {cpus: 2}\nconfirm: {top: 2}"),
    ],
    ids="defaults batch-default option-default 1-and-1.0 fixed-defaults space name seeds sampler resources".split(),
)
def test_what_does_not_change_a_result_does_not_change_its_id(edit: tuple[str, str]) -> None:
    assert trial(edit) == trial()


@pytest.mark.parametrize(
    "edit",
    [
        ("momentum: 0.9", "momentum: 0.8"),
        ("epochs: 3", "epochs: 4"),
        ("epochs: 3", "epochs: 3, batch_size: 64"),
        ("label_noise: 0.3", "label_noise: 0.2"),
        ("label_noise: 0.3", "label_noise: 0.3, model: convnet"),
        ("name: digits", "name: breast_cancer"),
        ("sigma: 1.0", "sigma: 0.5"),
        ("sigma: 1.0", "sigma: 1.0, adaptive: true"),
    ],
    ids=["optimizer", "epochs", "batch", "option", "other-option", "task", "fixed", "switch"],
)
def test_what_changes_a_result_changes_its_id(edit: tuple[str, str]) -> None:
    assert trial(edit) != trial()
    assert checked(edit).identity.configuration_id("sam", PARAMS) != checked().identity.configuration_id("sam", PARAMS)


def test_seed_arm_and_params_change_the_id() -> None:
    ids = [trial(), trial(seed=1), trial(arm="other"), trial(params={**PARAMS, "rho": 0.2}), trial(params={"rho": 0.1})]
    assert len(set(ids)) == len(ids)


def test_semantics_change_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = trial()
    monkeypatch.setattr(Digits, "semantics", Digits.semantics + 1)
    assert trial() != before


def test_numbers_and_their_order_are_canonical() -> None:
    assert trial(params={"num_shards": 4.0, "rho": 0.1}) == trial()
    assert trial(params={"rho": 1, "num_shards": 1}) == trial(params={"rho": 1.0, "num_shards": 1.0})
    assert trial(params={"rho": 0.0, "num_shards": 1}) == trial(params={})
    assert trial(params={"rho": -0.0, "num_shards": 1}) == trial(params={})


def test_whether_a_value_is_fixed_or_searched_does_not_matter() -> None:
    searched = "num_shards: {choices: [1, 4]}}, fixed: {sigma: 1.0}"
    fixed = (searched, "momentum: {choices: [0.9]}}, fixed: {num_shards: 4, sigma: 1}")
    assert trial(fixed, params={"rho": 0.1, "momentum": 0.9}) == trial()


def test_the_configuration_id_is_without_the_seed() -> None:
    identity = checked().identity
    configuration = identity.configuration_id("sam", PARAMS)
    assert configuration not in {identity.trial_id("sam", PARAMS, seed) for seed in range(3)}
    assert configuration != identity.configuration_id("other", PARAMS)


def test_ids_are_16_hexadecimal_digits() -> None:
    assert len(trial()) == 16
    assert int(trial(), 16) >= 0


def test_a_function_has_no_defaults_to_leave_out(function: Callable[..., Checked]) -> None:
    identity = function().identity
    assert identity.trial_id("sam", {"rho": 0.0}, 0) != identity.trial_id("sam", {}, 0)


def test_a_functions_values_are_canonical(function: Callable[..., Checked]) -> None:
    identity = function().identity

    def value_id(value: object) -> str:
        return identity.configuration_id("sam", {"x": value})

    assert value_id(1) == value_id(1.0)
    assert value_id(0.0) == value_id(-0.0)
    different = [value_id(value) for value in (1, True, "1", 2**60, 2**60 + 1, 1.5, "true")]
    assert len(set(different)) == len(different)


def test_a_functions_fixed_values_enter_the_id(function: Callable[..., Checked]) -> None:
    changed = function(("sigma: 1.0", "sigma: 2.0")).identity
    assert changed.trial_id("sam", PARAMS, 0) != function().identity.trial_id("sam", PARAMS, 0)


def test_a_recorded_study_gives_the_same_ids_without_its_task(function: Callable[..., Checked]) -> None:
    for found in (checked(), function()):
        task = {**found.identity.task, "function": found.identity.function}
        noted = found.study.model_copy(update={"recorded": Recorded(versions={}, task=task)})
        recorded = Identity.recorded(parse_study(noted.to_yaml()))
        assert recorded.trial_id("sam", PARAMS, 3) == found.identity.trial_id("sam", PARAMS, 3)
