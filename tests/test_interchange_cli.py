"""`hpsearch export` and `hpsearch import` as a user types them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpsearch.cli import app
from hpsearch.results import load

TABLE = "lr,width,seed,accuracy\n0.1,8,0,0.9\n0.1,8,1,0.91\n0.001,16,0,0.7\n0.001,16,1,\n"


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text(TABLE)
    return call("import", "table.csv", "run")


def test_import_tells_its_guesses_a_line_each(imported):
    assert imported.stdout.splitlines() == [
        "metric: accuracy (maximize), guessed from its name",
        "seed: column seed, guessed from its name",
        "arm: no column; all rows are one arm",
        "params: lr, width (guessed: they vary, and are no metric, time or id)",
        "1 of 4 trials failed: no accuracy, or their status says so",
        "4 trials in run; next: hpsearch report run",
    ]


def test_the_other_commands_take_an_imported_folder(imported):
    assert "unknown" in load("run")["sampling.sampler"].tolist()
    assert "90.5" in call("status", "run").stdout
    assert "run/report.html" in call("report", "run").stdout
    assert json.loads(Path("run/trials.jsonl").read_text().splitlines()[3])["metrics"] == {"accuracy": None}


def test_an_imported_study_is_not_run(imported):
    for command in ("run", "plan"):
        assert "no task named 'imported'" in call(command, "run/study.yaml", "--out", "other", code=2).stderr


@pytest.mark.parametrize(
    ("format", "file"), [("csv", "trials.csv"), ("parquet", "trials.parquet"), ("optuna", "trials.optuna.log")]
)
def test_export_tells_where_it_wrote(imported, tmp_path, format, file):
    assert call("export", "run", "--format", format).stdout == f"{format}: run/{file}\n"
    assert (tmp_path / "run" / file).stat().st_size
    call("export", "run", "--format", format, "--out", "elsewhere")
    assert (tmp_path / "elsewhere").stat().st_size
    call("import", f"run/{file}", "again")
    assert load("again")["metrics.accuracy"].tolist()[:3] == [0.9, 0.91, 0.7]


def test_options_of_import(imported, tmp_path):
    said = call(
        "import", "table.csv", "two", "--params", "lr, width", "--metric", "accuracy:minimize", "--seed", "none"
    )
    assert "params: lr, width (given)" in said.stdout
    assert load("two")["seed"].tolist() == [0, 1, 0, 1]
    assert "accuracy: minimize" in (tmp_path / "two" / "study.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "table.csv", "run"], "run: holds a run already (study.yaml)"),
        (["import", "tabel.csv", "x"], "tabel.csv: no such file"),
        (["import", "table.csv", "x", "--params", "lr,with"], "--params: table.csv has no column 'with'"),
        (
            ["import", "table.csv", "x", "--metric", "accuracy:up"],
            "got the direction 'up'; allowed: maximize, minimize",
        ),
        (["export", "nowhere", "--format", "csv"], "nowhere: no such run folder"),
        (["export", "run", "--format", "csv", "--out", "no/such/file"], "no/such/file: cannot write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_message(imported, tmp_path, arguments, message):
    result = call(*arguments, code=1 if "no/such/file" in arguments else 2)
    assert message in result.stderr and "Traceback" not in result.output and not (tmp_path / "x").exists()


def test_an_unknown_format_is_wrong_usage(imported):
    assert "csv" in call("export", "run", "--format", "cvs", code=2).output
