"""trials.jsonl: what a line holds, what a crash or a full disk leaves, which rows belong to a study."""

import errno
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas
import pytest

from hpsearch.analysis.configurations import summarize
from hpsearch.checkpoints import checkpoint_of, remove_checkpoints
from hpsearch.errors import InputError, RunError
from hpsearch.identity import Identity
from hpsearch.interchange import export_run, import_run
from hpsearch.reporting.trials import trial_table
from hpsearch.results import (
    Result,
    RunFolder,
    belonging,
    is_running,
    load,
    read_results,
    to_table,
)
from hpsearch.study import Recorded, Stopping, parse_study

STUDY = """
name: s
task: {name: digits, epochs: 2}
optimizer: {momentum: 0.9}
arms:
  sam: {parameters: {rho: {low: 0.1, high: 1.0}}, fixed: {lr: 0.1}}
sampling: [{sampler: random, configurations: 2}]
seeds: 2
objectives: {val_accuracy: maximize}
"""
TASK = {"name": "digits", "semantics": 1, "options": {}}


def study(text=STUDY):
    recorded = Recorded(versions={"hpsearch": "0"}, task={**TASK, "function": False})
    return parse_study(text).model_copy(update={"recorded": recorded})


def result(rho, seed=0, status="complete", text=STUDY, **more):
    identity = Identity(study(text), TASK, False)
    params = {"rho": rho}
    return Result(
        trial_id=identity.trial_id("sam", params, seed),
        configuration_id=identity.configuration_id("sam", params),
        arm="sam",
        params=params,
        fixed={"lr": 0.1},
        seed=seed,
        sampling={"phase": 0, "index": 0, "sampler": "random", "generation": None, "confirm": False},
        status=status,
        **{"metrics": {"val_accuracy": 0.5}, **more},
    )


def test_a_line_has_every_key_of_the_contract():
    line = json.loads(result(0.5).to_line())
    assert (
        list(line)
        == (
            "trial_id configuration_id arm params fixed seed sampling status epochs epochs_planned metrics cost curve "
            "error stopping attempt host device threads engine bundle concurrent versions started seconds_waiting"
        ).split()
    )
    assert list(line["sampling"]) == ["phase", "index", "sampler", "generation", "confirm"]
    assert line["error"] is None and line["started"] is None


def test_results_survive_reading_and_writing(tmp_path):
    written = [result(0.1), result(0.123456789012345678, seed=1, status="failed", error="x\ny")]
    with RunFolder(tmp_path) as folder:
        folder.append(written)
    read, warnings = read_results(tmp_path)
    assert read == written and warnings == []


def test_the_last_line_of_an_id_wins(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.append([result(0.1, status="failed"), result(0.2)])
        folder.append([result(0.1, status="complete", attempt=2)])
    read, _ = read_results(tmp_path)
    assert [(r.params["rho"], r.status, r.attempt) for r in read] == [(0.2, "complete", 1), (0.1, "complete", 2)]


def test_checkpoints_go_when_their_trials_have_ended(tmp_path):
    ended, going = result(0.1, status="failed"), result(0.2)
    for one in (ended, going):
        checkpoint_of(tmp_path, one.trial_id).parent.mkdir(exist_ok=True)
        checkpoint_of(tmp_path, one.trial_id).write_bytes(b"state")
    (tmp_path / "checkpoints" / f".{ended.trial_id}.pt.123").write_bytes(b"torn")
    remove_checkpoints(tmp_path, [ended, result(0.3)])
    assert [path.stem for path in (tmp_path / "checkpoints").iterdir()] == [going.trial_id]


def test_a_bundles_checkpoint_goes_when_its_trials_have_ended(tmp_path):
    keys = ("done", "going")
    checkpoint_of(tmp_path, "done").parent.mkdir()
    for key in keys:
        checkpoint_of(tmp_path, key).write_bytes(b"state")
    remove_checkpoints(tmp_path, [replace(result(0.1), bundle={"key": "done", "trials": 2, "together": True})])
    assert [path.stem for path in (tmp_path / "checkpoints").iterdir()] == ["going"]


@pytest.mark.parametrize("together, count, gone", [(True, 1, False), (True, 2, True), (False, 1, True)])
def test_a_bundle_of_which_a_part_is_missing_keeps_its_checkpoint_when_a_run_begins(tmp_path, together, count, gone):
    file = checkpoint_of(tmp_path, "key")
    file.parent.mkdir()
    file.write_bytes(b"state")
    bundle = {"key": "key", "trials": 2, "together": together}
    there = [replace(result(0.1), trial_id=str(number), bundle=bundle) for number in range(count)]
    remove_checkpoints(tmp_path, there, begins=True)
    assert file.exists() != gone
    remove_checkpoints(tmp_path, there)
    assert not file.exists()


@pytest.mark.parametrize("cut", [1, 30, -2])
def test_a_torn_last_line_is_tolerated_said_and_never_joined_to_the_next(tmp_path, cut):
    with RunFolder(tmp_path) as folder:
        folder.append([result(0.1)])
    with (tmp_path / "trials.jsonl").open("ab") as file:
        file.write(result(0.2).to_line()[:cut])
    with RunFolder(tmp_path) as folder:
        folder.append([result(0.3)])
    read, warnings = read_results(tmp_path)
    assert [r.params["rho"] for r in read] == [0.1, 0.3]
    assert len(warnings) == 1 and "trials.jsonl:2:" in warnings[0]


@pytest.mark.parametrize("line", [b"[]", b"{}", b"1", b"\xff\xfe", b'{"trial_id": 3}', b"null"])
def test_lines_that_are_no_results_are_said(tmp_path, line):
    (tmp_path / "trials.jsonl").write_bytes(line + b"\n" + result(0.1).to_line())
    read, warnings = read_results(tmp_path)
    assert len(read) == 1 and len(warnings) == 1


def test_a_full_disk_is_an_error_and_keeps_what_is_there(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with RunFolder(tmp_path) as folder:
        folder.append([result(0.1)])
        monkeypatch.setattr("hpsearch.results.os.fsync", full)
        with pytest.raises(RunError, match="No space left on device"):
            folder.append([result(0.2)])
        monkeypatch.undo()
    assert result(0.1) in read_results(tmp_path)[0]


def test_one_driver_a_folder(tmp_path):
    assert not is_running(tmp_path)
    with RunFolder(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(InputError, match="is running in this folder"):
            RunFolder(tmp_path)
    assert not is_running(tmp_path)  # a lock file that a dead process left is none
    with RunFolder(tmp_path):
        pass


def test_a_place_that_cannot_be_a_run_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot be used as a run folder"):
        RunFolder(tmp_path / "file")


def test_load_gives_the_rows_that_belong_to_the_study(tmp_path):
    other_lr = STUDY.replace("lr: 0.1", "lr: 0.2")
    rows = [result(0.1), result(0.9, seed=7), result(0.5, text=other_lr), result(5.0)]
    with RunFolder(tmp_path) as folder:
        folder.append(rows)
        folder.write_study(study())
    assert load(tmp_path)["params.rho"].tolist() == [0.1, 0.9]
    assert load(tmp_path, all=True)["params.rho"].tolist() == [0.1, 0.9, 0.5, 5.0]

    with RunFolder(tmp_path) as folder:  # the space is narrowed: rows outside are set aside, not lost
        folder.write_study(study(STUDY.replace("high: 1.0", "high: 0.8")))
    assert load(tmp_path)["params.rho"].tolist() == [0.1]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "empty"])
def test_load_of_what_is_no_run(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(InputError, match="hpsearch run STUDY"):
        load(tmp_path / "x")


def test_the_table_has_its_columns_also_without_rows():
    table = to_table([])
    assert {"trial_id", "configuration_id", "arm", "seed", "status", "sampling.confirm"} <= set(table.columns)
    assert len(table) == 0


LONG = {"epoch": list(range(1, 9001)), "val_accuracy": [1 / (k + 3) for k in range(9000)]}
CURVES = [
    {"epoch": [1, 2], "val_accuracy": [0.4, 0.123456789012345678], "backward_samples": [10, 20]},
    {"epoch": [1.0, 2.0], "val_accuracy": [0.4, None], "train_loss": [2.3, None]},
    {},
    {"epoch": [], "val_accuracy": []},
    LONG,
]


def with_curves():
    rows = [(0.1, "complete"), (0.2, "diverged"), (0.3, "failed"), (0.4, "stopped"), (0.5, "complete")]
    return [
        result(rho, status=status, curve=curve, epochs_planned=2)
        for (rho, status), curve in zip(rows, CURVES, strict=True)
    ]


def test_the_table_has_curves_as_lists_and_none_where_there_is_none(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.append(with_curves())
        folder.write_study(study())
    table = load(tmp_path)
    assert [c for c in table.columns if c.startswith("curve.")] == list(table.columns[-4:])
    for name in ("epoch", "val_accuracy", "train_loss", "backward_samples"):
        cells = table[f"curve.{name}"].tolist()
        assert cells == [curve.get(name) for curve in CURVES]
        assert all(cell is None or type(cell) is list for cell in cells)  # no NaN for what is absent
    assert not [c for c in to_table([result(0.1)]).columns if c.startswith("curve")]


def test_a_stopped_trial_belongs_while_the_rule_is_what_it_was():
    rule = {"scheduler": "asha", "grace": 1, "reduction": 3.0}
    rows = [result(0.1), result(0.2, status="stopped", stopping=rule), result(0.3, status="failed")]

    def left(stopping):
        now = study().model_copy(update={"stopping": stopping})
        return [row.status for row in belonging(rows, now, Identity.recorded(now))]

    assert left(Stopping(scheduler="asha", grace=1)) == ["complete", "stopped", "failed"]
    assert left(Stopping(scheduler="asha", grace=2)) == left(None) == ["complete", "failed"]


def test_readers_of_the_table_do_not_mind_curves():
    table, without = (
        to_table(with_curves()),
        to_table([result(r.params["rho"], status=r.status) for r in with_curves()]),
    )
    assert trial_table(table) == trial_table(without)
    pandas.testing.assert_frame_equal(summarize(table), summarize(without))


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_curves_survive_an_export(tmp_path, format):
    with RunFolder(tmp_path / "run") as folder:
        folder.append(with_curves())
        folder.write_study(study())
    path = export_run(tmp_path / "run", format)
    import_run(path, tmp_path / "again")
    again = {r.params["rho"]: r.curve for r in read_results(tmp_path / "again")[0]}
    assert list(again.values()) == CURVES
    pandas.testing.assert_frame_equal(load(tmp_path / "again"), load(tmp_path / "run"))
    if format == "csv":
        cell = pandas.read_csv(path)["curve.val_accuracy"][1]
        assert json.loads(cell) == [0.4, None]


def test_a_table_of_load_written_by_pandas_keeps_its_curves(tmp_path):
    to_table(with_curves()).to_csv(tmp_path / "t.csv", index=False)
    import_run(tmp_path / "t.csv", tmp_path / "again")
    assert [r.curve for r in read_results(tmp_path / "again")[0]] == CURVES


def test_a_curve_that_is_no_list_is_refused(tmp_path):
    to_table(with_curves()[:1]).assign(**{"curve.epoch": "1 2"}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match=r"t.csv: row 1: curve.epoch: got '1 2'; allowed: a list of numbers"):
        import_run(tmp_path / "t.csv", tmp_path / "again")


def test_what_was_searched_and_is_fixed_now_belongs_and_the_other_way_round(tmp_path):
    fixed = STUDY.replace(
        "{parameters: {rho: {low: 0.1, high: 1.0}}, fixed: {lr: 0.1}}", "{fixed: {lr: 0.1, rho: 0.5}}"
    )
    with RunFolder(tmp_path) as folder:
        folder.append([result(0.5), result(0.6)])
        folder.write_study(study(fixed))
    table = load(tmp_path)
    assert table["fixed.rho"].tolist() == [0.5] and "params.rho" not in table
    searched = STUDY.replace(
        "rho: {low: 0.1, high: 1.0}}, fixed: {lr: 0.1}", "rho: {low: 0.1, high: 1}, lr: {low: 0.01, high: 1}}"
    )
    with RunFolder(tmp_path) as folder:
        folder.write_study(study(searched))
    assert load(tmp_path)["params.lr"].tolist() == [0.1, 0.1]


def test_a_disk_that_stays_full_ends_with_the_one_message(tmp_path):
    """The buffer that could not be written is flushed again on closing: that must not raise over the message."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_results import result
from hpsearch.results import RunFolder
from hpsearch.checkpoints import checkpoint_of, remove_checkpoints
from hpsearch.errors import RunError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with RunFolder(Path({str(tmp_path)!r})) as folder:
        folder.append([result(0.1)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
        folder.append([result(0.2), result(0.3)])
except RunError as error:
    print("told:", error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.stdout.startswith("told:") and "what is there is kept" in said.stdout, said.stderr
    assert result(0.1) in read_results(tmp_path)[0]
