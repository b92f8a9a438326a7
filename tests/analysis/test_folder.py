"""analysis.json of a run folder: read where it is of these trials, made anew where it is not."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpsearch.analysis import folder as module
from hpsearch.analysis.folder import current_document
from hpsearch.cli import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = "".join(
        f"{0.01 * 1.6**i:.6f},{s},{0.9 - (i - 4) ** 2 / 200 + s / 500}\n" for i in range(9) for s in range(2)
    )
    (tmp_path / "table.csv").write_text("lr,seed,accuracy\n" + rows)
    assert CliRunner().invoke(app, ["import", str(tmp_path / "table.csv"), str(tmp_path / "run")]).exit_code == 0
    return tmp_path / "run"


def analyzed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the trials are analyzed when the document is asked for."""
    import hpsearch.analysis.whole

    calls = []
    real = hpsearch.analysis.whole.analyze
    monkeypatch.setattr("hpsearch.analysis.whole.analyze", lambda *a, **k: calls.append(k["options"]) or real(*a, **k))
    document, table, _ = current_document(folder, print)
    assert document["overview"]["trials"] == len(table)
    monkeypatch.undo()
    return len(calls)


def test_it_is_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert analyzed(folder, monkeypatch) == 1
    assert analyzed(folder, monkeypatch) == 0
    study = (folder / "study.yaml").read_bytes()
    (folder / "study.yaml").write_bytes(study + b"# another\n")
    assert analyzed(folder, monkeypatch) == 1


@pytest.mark.parametrize("damage", ["torn", "foreign", "old", "options", "list"])
def test_what_is_no_document_is_made_anew(folder: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert analyzed(folder, monkeypatch) == 1
    path = folder / "analysis.json"
    good = json.loads(path.read_text())
    bad = {
        "foreign": {"version": good["version"], "made_from": good["made_from"], "hpsearch_version": "0.1.0"},
        "old": {**good, "version": 1},
        "options": {**good, "made_from": "x", "options": {"epsilon": "much", "factor": 0, "seed": -1}},
        "list": [good],
    }
    path.write_text(path.read_text()[:1000] if damage == "torn" else json.dumps(bad[damage]))
    assert analyzed(folder, monkeypatch) == 1
    assert json.loads(path.read_text()) == good


def test_the_options_of_the_file_are_kept(folder: Path) -> None:
    assert CliRunner().invoke(app, ["analyze", str(folder), "--epsilon", "0.02", "--seed", "5"]).exit_code == 0
    (folder / "study.yaml").write_bytes((folder / "study.yaml").read_bytes() + b"# another\n")
    document, _, _ = current_document(folder, print)
    assert (document["options"]["epsilon"], document["options"]["seed"]) == (0.02, 5)


def test_a_folder_that_is_written_to_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prints = iter("abccdd")  # it changes during the first two readings
    monkeypatch.setattr(module, "fingerprint", lambda folder: next(prints))
    assert current_document(folder, print)[0]["made_from"] == "c"


def test_a_folder_that_cannot_be_written_to_still_gives_its_document(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    told: list[str] = []
    monkeypatch.setattr("hpsearch.results.os.fsync", full)
    document, _, _ = current_document(folder, told.append)
    assert document["arms"] and any("not kept" in step for step in told)
    assert not (folder / "analysis.json").exists()
