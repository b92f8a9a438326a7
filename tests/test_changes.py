"""What is said when the study file was changed between two runs."""

import pytest

from hpsearch.changes import LINES, describe_changes, last_study
from hpsearch.check import check_study
from hpsearch.errors import InputError
from hpsearch.prediction import predict
from hpsearch.study import build_study, later_version, parse_study, read_study
from hpsearch.yamlfile import parse_yaml

STUDY = """
name: s
task: {name: digits, epochs: 2, label_noise: 0.1}
optimizer: {lr: 0.1}
arms:
  sam: {parameters: {rho: {low: 0.1, high: 1.0, log: true}}}
  sgd: {fixed: {rho: 0}}
sampling: [{sampler: random, configurations: 8}]
seeds: 3
objectives: {val_accuracy: maximize}
"""


@pytest.mark.parametrize(
    "old, new, lines",
    [
        ("high: 1.0", "high: 2.0", ["arms.sam.parameters.rho.high: 1.0 -> 2.0"]),
        ("seeds: 3", "seeds: 5", ["seeds: 0 to 2 -> 0 to 4"]),
        ("seeds: 3", "seeds: [7, 1]", ["seeds: 0 to 2 -> [7, 1]"]),
        ("label_noise: 0.1", "label_noise: 0.2", ["task.label_noise: 0.1 -> 0.2"]),
        (", label_noise: 0.1", "", ["task.label_noise: no longer given, and was 0.1"]),
        ("epochs: 2", "epochs: 2, subset: 10", ["task.subset: 10, and was not given"]),
        ("lr: 0.1", "lr: 0.1, momentum: 0.9", ["optimizer.momentum: 0.9, and was not given"]),
        ("lr: 0.1", "lr: 0.1, base: adam", ["optimizer.base: adam, and was not given"]),
        ("  sgd: {fixed: {rho: 0}}\n", "", ["arms.sgd: gone"]),
        ("fixed: {rho: 0}}\n", "fixed: {rho: 0}}\n  asam: {fixed: {rho: 1}}\n", ["arms.asam: new"]),
        ("configurations: 8", "configurations: 9", ["sampling.0.configurations: 8 -> 9"]),
        ("configurations: 8}", "configurations: 8}, {sampler: grid}", ["sampling.1: new"]),
        ("maximize", "minimize", ["objectives.val_accuracy: maximize -> minimize"]),
        ("val_accuracy: maximize", "val_loss: minimize", ["val_accuracy: no longer given", "val_loss: minimize"]),
        ("seeds: 3", "seeds: 3\nconfirm: {top: 1}", ["confirm: new"]),
        ("seeds: 3", "seeds: 3\nresources: {concurrent: 1}\ndescription: other", []),
        ("seeds: 3", "seeds: [0, 1, 2]", []),
    ],
)
def test_every_change_is_one_line_with_its_key_and_both_values(old, new, lines):
    assert old in STUDY
    found = describe_changes(parse_study(STUDY), parse_study(STUDY.replace(old, new, 1)))
    assert len(found) == len(lines)
    assert all(said in line for said, line in zip(lines, found, strict=True)), found


def test_a_study_is_as_it_was_when_read_from_its_run_folder(tmp_path):
    study = parse_study(STUDY)
    (tmp_path / "study.yaml").write_text(study.to_yaml())
    assert describe_changes(read_study(tmp_path / "study.yaml"), study) == []


def test_the_folder_of_another_study_is_refused_by_plan_as_by_run(tmp_path):
    assert last_study(tmp_path, parse_study(STUDY)) is None
    (tmp_path / "study.yaml").write_text(parse_study(STUDY.replace("name: s", "name: other")).to_yaml())
    checked = check_study(*build_study(parse_yaml(STUDY, "study.yaml"), (), []), tmp_path)
    with pytest.raises(InputError, match="holds a run of study 'other', not 's'; give another --out"):
        predict(checked, tmp_path)


def test_many_changes_are_cut():
    keys = "\n".join(f"  a{number}: {{fixed: {{rho: {number}}}}}" for number in range(50))
    found = describe_changes(parse_study(STUDY), parse_study(STUDY.replace("arms:", f"arms:\n{keys}")))
    assert len(found) == LINES and found[-1] == f"and {50 - LINES + 1} more"


RECORDED = "recorded: {versions: {hpsearch: VERSION}, task: {function: false}}\n"


@pytest.mark.parametrize(
    "version, later", [("99.0.0", True), ("0.1.0", False), ("0.0.9", False), ("0.1", False), ("0.10.0.dev1", True)]
)
def test_a_folder_of_a_later_version_is_said(version, later):
    study = parse_study(STUDY + RECORDED.replace("VERSION", f"'{version}'"))
    assert later_version(study) == (version if later else None)


def test_a_study_that_only_a_later_version_understands_is_said(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY + "energy: 3\n" + RECORDED.replace("VERSION", "99.0.0"))
    with pytest.raises(InputError, match=r"written by hpsearch 99.0.0.*\n.*unknown key 'energy'"):
        read_study(path)
    path.write_text(STUDY + "energy: 3\n")
    with pytest.raises(InputError) as caught:
        read_study(path)
    assert "written by" not in str(caught.value)
