"""`hpsearch analyze` as a user types it."""

import json

import pytest
from typer.testing import CliRunner

from hpsearch.cli import app


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def rows(n=9):
    return "".join(
        f"{0.01 * 1.6**i:.6f},{s},{0.9 - (i - 4) ** 2 / 200 + s / 500}\n" for i in range(n) for s in range(2)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("analyze")
    (home / "table.csv").write_text("lr,seed,accuracy\n" + rows())
    call("import", home / "table.csv", home / "run")
    return home / "run"


@pytest.fixture
def fresh(folder):
    (folder / "analysis.json").unlink(missing_ok=True)
    return folder


def test_findings_are_printed_and_every_number_is_written(fresh):
    result = call("analyze", fresh)
    assert "lr is safe within 1.00 points" in " ".join(result.stdout.split())
    assert f"analysis: {fresh / 'analysis.json'}" in result.stdout
    assert result.stderr == ""  # no progress where there is no terminal
    document = json.loads((fresh / "analysis.json").read_text())
    assert document["version"] == 2 and document["arms"][0]["answers"]["configurations_used"] == 9
    assert document["findings"][0]["text"] in " ".join(result.stdout.split())


def test_options_reach_the_analysis(fresh, tmp_path):
    out = tmp_path / "elsewhere.json"
    result = call("analyze", fresh, "--out", out, "--epsilon", "0.02", "--factor", "3", "--seed", "5", "--quiet")
    assert result.output == "" and not (fresh / "analysis.json").exists()
    document = json.loads(out.read_text())
    assert document["options"] == {"epsilon": 0.02, "factor": 3.0, "seed": 5, "level": 0.95}
    assert document["arms"][0]["answers"]["epsilon"] == 0.02
    call("analyze", fresh, "--out", out, "--epsilon", "se", "--quiet")
    answers = json.loads(out.read_text())["arms"][0]["answers"]
    assert answers["epsilon"] == pytest.approx(answers["seed_effect"]["sd_over_seeds"] / 2**0.5)
    assert answers["safe_ranges"][0]["low"]["value"] < answers["safe_ranges"][0]["high"]["value"]


def test_what_to_run_next_is_all_that_a_quiet_command_prints(fresh):
    result = call("analyze", fresh, "--quiet", "--next", "2")
    assert result.stdout.startswith("# ") and "lr" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epsilon", "wide"], "--epsilon: got 'wide'; allowed: a number > 0"),
        (["--epsilon", "0"], "--epsilon: got '0'"),
        (["--epsilon", "nan"], "--epsilon: got 'nan'"),
        (["--factor", "1"], "--factor: got 1; allowed: a number > 1"),
    ],
)
def test_wrong_options_are_one_message_and_exit_code_2(fresh, options, message):
    result = call("analyze", fresh, *options, code=2)
    assert message in result.stderr and result.stdout == ""
    assert not (fresh / "analysis.json").exists()


def test_a_folder_that_is_missing_or_empty_is_told(tmp_path, folder):
    assert "no such run folder" in call("analyze", tmp_path / "none", code=2).stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "study.yaml").write_text((folder / "study.yaml").read_text())
    assert "nothing to analyze: there are no trials yet" in call("analyze", empty, code=2).stderr
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    dead = [line | {"status": "failed", "metrics": {}} for line in lines]
    (empty / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in dead))
    assert "no selection trial ended with a value of accuracy (18 failed)" in call("analyze", empty, code=2).stderr
    assert not (empty / "analysis.json").exists()


def test_interrupted_it_leaves_the_old_file(fresh, monkeypatch):
    (fresh / "analysis.json").write_text("old")

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("hpsearch.analysis.whole.analyze", interrupted)
    assert call("analyze", fresh, code=130).stderr == "hpsearch: interrupted\n"
    assert (fresh / "analysis.json").read_text() == "old"


def test_a_file_that_cannot_be_written_is_exit_code_1(fresh, tmp_path):
    assert "cannot write" in call("analyze", fresh, "--out", tmp_path / "none" / "a.json", code=1).stderr
