"""The README against the code: its tree, its examples."""

import ast
import re
import sys
from pathlib import Path

import pytest

from hpsearch.analysis.calibration import read_table
from hpsearch.check import check_study
from hpsearch.optim import METHODS
from hpsearch.study import build_study
from hpsearch.yamlfile import parse_yaml
from tests.calibration.summary import summary

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("path", sorted((ROOT / "hpsearch").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_tree_has_every_file_with_the_first_line_of_its_docstring(path):
    depth = len(path.relative_to(ROOT).parts)
    if path.name == "__init__.py":
        name, indent = path.parent.name + "/", "    " if depth == 4 else ""
    elif depth == 4:
        pytest.skip("of a package in a package the tree has one line")
    else:
        name, indent = path.name, "    " if path.parent.name != "hpsearch" else ""
    if path.parent.name == "hpsearch" and path.name == "__init__.py":
        pytest.skip("the package itself is the tree's root")
    first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
    assert re.search(rf"^    {indent}{re.escape(name)} +{re.escape(first)}$", README, re.MULTILINE), (name, first)


def test_the_studies_are_right_and_the_examples_run(tmp_path, monkeypatch):
    """The YAML of the README is checked as a user's would be, with the module mine.py that the README gives."""
    function, rings = (code for code in blocks("python") if code.startswith("# mine.py"))
    (tmp_path / "mine.py").write_text(function + "\n" + rings)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    studies = blocks("yaml")
    assert len(studies) == 2
    for text in studies:
        study, document = build_study(parse_yaml(text, "README.md"), (), [tmp_path])
        check_study(study, document, tmp_path)
    # The commented study line of the class.
    task = re.search(r"in the study: task: (\{.*\})", rings)[1]
    text = studies[0].replace("{name: digits, model: mlp, label_noise: 0.3, epochs: 40, batch_size: 128}", task)
    assert "mine:Rings" in text
    study, document = build_study(parse_yaml(text, "README.md"), (), [tmp_path])
    checked = check_study(study, document, tmp_path)

    from hpsearch.training.loop import train

    settings = study.settings("fsam", {"rho": 0.1, "lr": 0.1, "ema_decay": 0.9, "epochs": 20})
    outcome = train(checked.task(**study.task.options), settings, 0)
    assert outcome.status == "complete" and outcome.metrics["val_accuracy"] > 0.9


def test_the_table_of_intervals_is_the_calibrations():
    assert summary(read_table()) in README


def test_the_table_of_methods_is_the_codes():
    for name, method in METHODS.items():
        settings = ", ".join(f"{key}={value!r}" for key, value in method.settings.items()).replace("'", '"')
        assert f"| {name} | {f'`{settings}`' if settings else 'the defaults'} | {method.source} |\n" in README
