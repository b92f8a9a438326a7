"""Right study files: what they mean, and that they are written back equal."""

# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.check import check_study
from hpsearch.errors import InputError
from hpsearch.study import Study, build_study, load_study, parse_study
from hpsearch.yamlfile import dump_yaml, parse_yaml

HEAD = """\
name: right
task: {name: digits, epochs: 3}
optimizer: {momentum: 0.9, weight_decay: 5e-4}
sampling: [{sampler: random, configurations: 2}]
seeds: 2
objectives: {val_accuracy: maximize}
"""

SPACE = """\
parameters:
  lr: {low: 0.01, high: 0.5, log: true}
  rho: {low: 0.05, high: 0.5}
fixed: {adaptive: true, sigma: 0.5}
"""


def study_of(arm: str, head: str = HEAD) -> Study:
    return parse_study(f"{head}arms:\n  a: {arm}\n")


def edited(*sets: str, folder: Path) -> Study:
    (folder / "study.yaml").write_text(HEAD + "arms:\n  a: {parameters: {lr: {choices: [0.1, 0.2]}}}\n")
    return load_study(folder / "study.yaml", sets, folder)[0]


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "mine.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("space")
@pytest.mark.parametrize(
    "arm, searched, fixed",
    [
        ("{space: mine}", ["lr", "rho"], {"adaptive": True, "sigma": 0.5}),
        ("{space: mine, fixed: {lr: 0.3}}", ["rho"], {"adaptive": True, "sigma": 0.5, "lr": 0.3}),
        ("{space: mine, fixed: {sigma: 1}}", ["lr", "rho"], {"adaptive": True, "sigma": 1}),
        ("{space: mine, parameters: {sigma: {choices: [0, 1]}}}", ["lr", "rho", "sigma"], {"adaptive": True}),
        ("{space: mine, fixed: {lr: 0.3, rho: 0}}", [], {"adaptive": True, "sigma": 0.5, "lr": 0.3, "rho": 0}),
        ("{fixed: {rho: 0.1}}", [], {"rho": 0.1}),
    ],
    ids=["space", "fixed-over-searched", "fixed-over-fixed", "searched-over-fixed", "all-fixed", "only-fixed"],
)
def test_the_arms_own_keys_win_over_the_spaces(arm: str, searched: list[str], fixed: Mapping[str, Any]) -> None:
    found = study_of(arm).arms["a"]
    assert list(found.parameters) == searched
    assert found.fixed == fixed


@pytest.mark.usefixtures("space")
def test_an_arms_parameter_replaces_the_spaces() -> None:
    lr = study_of("{space: mine, parameters: {lr: {choices: [1, 2]}}}").arms["a"].parameters["lr"]
    assert lr.choices == (1, 2)
    assert lr.low is None


def test_settings_params_win_over_fixed_over_optimizer_over_task() -> None:
    study = study_of("{fixed: {momentum: 0.5, epochs: 7, rho: 0.1}}")
    assert (study.settings("a", {}).momentum, study.settings("a", {}).epochs) == (0.5, 7)
    assert study.settings("a", {}).weight_decay == 5e-4
    assert study.settings("a", {}).batch_size == 128
    assert study.settings("a", {"epochs": 9, "rho": 0.2}).epochs == 9
    assert study_of("{fixed: {rho: 0.1}}").settings("a", {}).epochs == 3


@pytest.mark.parametrize(
    "text, value",
    [
        ("5e-4", 5e-4), ("1e3", 1000.0), ("-1E+2", -100.0), (".5", 0.5), ("1_000", 1000), ("010", 10), ("0x10", 16),
        ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("'1e3'", "1e3"), ("=", "="), ("e5", "e5"), ("1e", "1e"),
        (".inf", float("inf")), ("true", True), ("~", None), ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_plain_values_are_read_as_everyone_writes_them(text: str, value: object) -> None:
    read = parse_yaml(f"key: {text}", "test").data["key"]
    assert read == value
    assert type(read) is type(value)


def test_keys_are_text() -> None:
    assert parse_yaml("{1: a, no: b, 1e3: c}", "test").data == {"1": "a", "no": "b", "1e3": "c"}


def test_merge_keys() -> None:
    text = "base: &base {a: 1, b: 2}\nown: {<<: *base, b: 3}\n"
    assert parse_yaml(text, "test").data["own"] == {"a": 1, "b": 3}


def test_whole_numbers_may_be_written_1e3() -> None:
    study = study_of("{fixed: {rho: 1}}", HEAD.replace("configurations: 2", "configurations: 1e3"))
    assert study.sampling[0].configurations == 1000
    assert type(study.sampling[0].configurations) is int


@pytest.mark.parametrize("seeds, read", [("3", (0, 1, 2)), ("1", (0,)), ("[7, 3]", (7, 3)), ("[0]", (0,))])
def test_seeds(seeds: str, read: tuple[int, ...]) -> None:
    assert study_of("{fixed: {rho: 1}}", HEAD.replace("seeds: 2", f"seeds: {seeds}")).seeds == read


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(9_990, 10_020), min_size=1, max_size=20, unique=True), st.integers(2, 30))
def test_confirm_seeds_are_fresh(seeds: list[int], wanted: int) -> None:
    study = study_of("{fixed: {rho: 1}}", HEAD.replace("seeds: 2", f"seeds: {seeds}\nconfirm: {{seeds: {wanted}}}"))
    assert len(set(study.confirm_seeds)) == wanted
    assert not set(study.confirm_seeds) & set(study.seeds)


def test_no_confirm_seeds_without_confirm() -> None:
    assert study_of("{fixed: {rho: 1}}").confirm_seeds == ()


def test_an_arm_may_have_its_own_phases() -> None:
    study = study_of("{fixed: {rho: 1}, sampling: [{sampler: grid}]}\n  b: {fixed: {rho: 1}}")
    assert [phase.sampler for phase in study.phases("a")] == ["grid"]
    assert [phase.sampler for phase in study.phases("b")] == ["random"]


ROUND_TRIPS = {
    "plain": "{parameters: {lr: {low: 0.01, high: 1, log: true, default: 0.1, grid: [0.01, 0.1]}}}",
    "choices-of-types": "{parameters: {lr: {choices: [1, 2.5, true, text, '1e3', '2024-01-01', '010', 'null', '']}}}",
    "conditions": "{parameters: {base: {choices: [sgd, adam]}, momentum: {low: 0, high: 0.9, when: {base: sgd}}}}",
    "false-and-zero": "{parameters: {nesterov: {choices: [true, false], default: false}}, fixed: {sigma: 0, rho: -0.0}}",
    "int-and-step": "{parameters: {num_shards: {low: 1, high: 9, int: true, step: 2}, rho: {low: 0, high: 1, step: 0.1}}}",
    "own-sampling": "{fixed: {rho: 1}, sampling: [{sampler: grid}, {sampler: tpe, configurations: 2, options: {a: [1]}}]}",
    "space-written-out": "{space: {parameters: {lr: {choices: [1]}}, fixed: {rho: 1}}, parameters: {rho: {choices: [2]}}}",
    "small-and-large": "{fixed: {lr: 1e-300, rho: 1.5e300, sigma: 0.1, interval: 123456789012345678901234567890}}",
}


@pytest.mark.parametrize("arm", ROUND_TRIPS.values(), ids=ROUND_TRIPS.keys())
def test_to_yaml_reads_back_equal(arm: str) -> None:
    study = study_of(arm)
    again = parse_study(study.to_yaml())
    assert again == study
    assert repr(again) == repr(study)  # 1, 1.0 and true are equal in Python


def test_to_yaml_keeps_what_stands_beside_the_arms() -> None:
    head = HEAD.replace("epochs: 3", "epochs: 3, label_noise: 0.2, odd: '1e3'").replace("seeds: 2", "seeds: [5, 1]")
    head = head.replace("{val_accuracy: maximize}", "{val_loss: minimize, flops: minimize, val_accuracy: maximize}")
    head += "confirm: {}\nresources: {gpus: 0.5, concurrent: 2}\nconfigurations: 1\ndescription: '1e3: ä\\n \"x\" '\n"
    study = study_of("{fixed: {rho: 1}}", head)
    again = parse_study(study.to_yaml())
    assert again == study
    assert list(again.objectives) == ["val_loss", "flops", "val_accuracy"]
    assert again.task.options == {"label_noise": 0.2, "odd": "1e3"}


def test_to_yaml_needs_no_search_space_file(space: None) -> None:
    study = study_of("{space: mine}")
    Path("search_spaces/mine.yaml").unlink()
    assert parse_study(study.to_yaml()) == study


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.text(max_size=50), st.recursive(SCALARS, lambda part: st.lists(part, max_size=3), max_leaves=6))
)
def test_dumped_yaml_reads_back_equal(data: dict[str, Any]) -> None:
    assert repr(parse_yaml(dump_yaml(data), "dumped").data) == repr(data)


@settings(deadline=None)
@given(SCALARS)
def test_dumped_yaml_reads_back_equal_elsewhere(value: object) -> None:
    assert repr(yaml.safe_load(dump_yaml({"key": value}))) == repr({"key": value})


def test_set_a_value(tmp_path: Path) -> None:
    assert edited("task.epochs=9", folder=tmp_path).task.epochs == 9


def test_set_into_a_list(tmp_path: Path) -> None:
    study = edited("sampling.0.configurations=5", "arms.a.parameters.lr.choices.1=0.4", folder=tmp_path)
    assert study.sampling[0].configurations == 5
    assert study.arms["a"].parameters["lr"].choices == (0.1, 0.4)


def test_set_new_keys_on_the_way(tmp_path: Path) -> None:
    study = edited("confirm.top=2", "arms.b={fixed: {rho: 0.1}}", "task.label_noise=1e-1", folder=tmp_path)
    assert study.confirm is not None and study.confirm.top == 2
    assert study.arms["b"].fixed == {"rho": 0.1}
    assert study.task.options == {"label_noise": 0.1}


def test_set_takes_yaml_and_the_last_one_wins(tmp_path: Path) -> None:
    sets = ["seeds=[4, 5]", "arms.a.parameters.lr={low: 1, high: 2}", "arms.a.parameters.lr.high=3", "seeds=[6]"]
    study = edited(*sets, folder=tmp_path)
    assert study.seeds == (6,)
    assert study.arms["a"].parameters["lr"].high == 3


def test_set_digits_are_a_name_in_a_mapping(tmp_path: Path) -> None:
    assert list(edited("arms.007={}", "arms.007.fixed.rho=1", folder=tmp_path).arms) == ["a", "007"]


def test_set_below_an_alias_changes_one_place(tmp_path: Path) -> None:
    text = HEAD + "arms:\n  a: &a {fixed: {rho: 0.1}}\n  b: *a\n"
    (tmp_path / "study.yaml").write_text(text)
    study, _ = load_study(tmp_path / "study.yaml", ["arms.a.fixed.rho=0.3"])
    assert [arm.fixed["rho"] for arm in study.arms.values()] == [0.3, 0.1]


def test_arms_may_share_an_alias_with_a_space(space: None) -> None:
    study = parse_study(HEAD + "arms:\n  a: &a {space: mine}\n  b: *a\n")
    assert study.arms["a"] == study.arms["b"]


def test_a_mistake_below_a_set_is_told_where_it_was_set(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^--set arms.a.parameters.lr=\{low: x, high: 1\}: arms.a.parameters.lr.low: "
    ):
        edited("arms.a.parameters.lr.low=0", "arms.a.parameters.lr={low: x, high: 1}", folder=tmp_path)


def write_space(folder: Path, high: float) -> None:
    (folder / "search_spaces").mkdir(parents=True)
    (folder / "search_spaces" / "mine.yaml").write_text(f"parameters: {{lr: {{low: 0.0, high: {high}}}}}")


def found_high(study: str, space: str = "mine") -> float | None:
    Path(study).parent.mkdir(parents=True, exist_ok=True)
    Path(study).write_text(HEAD + f"arms: {{a: {{space: {space}}}}}")
    return load_study(study)[0].arms["a"].parameters["lr"].high


def test_a_space_is_found_beside_the_study_then_above_it_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    write_space(here, 1)
    monkeypatch.chdir(here)
    assert found_high(f"{tmp_path}/project/studies/study.yaml") == 1
    write_space(tmp_path / "project", 2)
    assert found_high(f"{tmp_path}/project/studies/study.yaml") == 2
    write_space(tmp_path / "project" / "studies", 3)
    assert found_high(f"{tmp_path}/project/studies/study.yaml") == 3


def test_a_space_is_found_by_its_path_from_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_space(tmp_path / "project", 4)
    monkeypatch.chdir(tmp_path)
    assert found_high("project/study.yaml", "search_spaces/mine.yaml") == 4
    assert found_high("project/study.yaml", "./project/search_spaces/mine.yaml") == 4
    assert found_high("project/study.yaml", f"{tmp_path}/project/search_spaces/mine.yaml") == 4


def test_a_space_of_ones_own_hides_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = study_of("{space: sgd}").arms["a"]
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "sgd.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    assert "lr" in shipped.parameters and "rho" not in shipped.parameters
    assert "rho" in study_of("{space: sgd}").arms["a"].parameters


def test_a_study_is_found_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_study("quickstart")[0].name == "quickstart"
    Path("studies").mkdir()
    for place in ("plain-file", "study.yaml", "studies/mine.yaml"):
        Path(place).write_text((HEAD + "arms: {a: {fixed: {rho: 1}}}").replace("right", Path(place).stem))
    assert [load_study(name)[0].name for name in ("plain-file", "study.yaml", "mine")] == [
        "plain-file",
        "study",
        "mine",
    ]


def test_shipped_studies_are_right() -> None:
    study, document = load_study("quickstart")
    assert check_study(study, document).study == study


IDENTITY = """
from hpsearch.tasks.breast_cancer import BreastCancer

class Fails(BreastCancer):
    @classmethod
    def identity(cls, options):
        return {**options, "width": options["width"]}

class NoJson(BreastCancer):
    @classmethod
    def identity(cls, options):
        return {"width": {1, 2}}
"""


@pytest.mark.parametrize("name, told", [("Fails", "KeyError"), ("NoJson", "TypeError")])
def test_an_identity_that_fails_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"ids_of_{name.lower()}.py").write_text(IDENTITY)
    head = HEAD.replace("name: digits", f'name: "ids_of_{name.lower()}:{name}"')
    study, document = build_study(parse_yaml(head + "arms: {a: {fixed: {rho: 0.1}}}", "s"), (), [])
    with pytest.raises(InputError, match=rf"{name}: identity\(options\) failed: {told}") as caught:
        check_study(study, document, tmp_path)
    assert "\n" not in str(caught.value)
