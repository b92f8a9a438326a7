"""Whole runs through Ray: what a run leaves behind, and what a second one adds."""

import json
import shutil

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from hpsearch.results import load

# TPE never leaves its startup: what it suggests depends on nothing that packs tell in another order.
DIGITS = """
name: small
task: {name: digits, model: mlp, label_noise: 0.2, epochs: 2, batch_size: 128}
optimizer: {momentum: 0.9, lr: 0.1}
arms:
  sam: {parameters: {rho: {low: 0.02, high: 2.0, log: true}}}
  msam:
    parameters: {num_shards: {choices: [2, 4]}, rho: {low: 0.05, high: 0.5, grid: [0.05, 0.5]}}
    sampling: [{sampler: grid}]
  fsam:
    parameters: {rho: {low: 0.02, high: 2.0, log: true}, ema_decay: {low: 0.5, high: 0.99}}
    fixed: {sigma: 1.0}
    sampling: [{sampler: random, configurations: 4}, {sampler: tpe, configurations: 2, options: {n_startup_trials: 99}}]
sampling: [{sampler: qmc, configurations: 4}]
seeds: 2
confirm: {top: 1, seeds: 2}
objectives: {val_accuracy: maximize, flops: minimize}
resources: {concurrent: CONCURRENT}
"""


@pytest.fixture(scope="module")
def whole(shared_place):
    """Where DIGITS has been run, without interruption and as a user runs it, with what that said."""
    shared_place.study(DIGITS.replace("CONCURRENT", "auto"))
    return shared_place.folder, *shared_place.run("run", "study.yaml", cold=True)


def test_a_study_runs(whole):
    folder, out, error = whole
    assert "44 trials trained" not in out and "34 trials trained" in out, out
    assert "34/34 trials done" in error  # not a terminal: plain lines
    table = load(folder / "runs" / "small")
    assert len(table) == 34
    assert set(table["status"]) <= {"complete", "diverged", "collapsed"}
    assert table.groupby("arm").size().to_dict() == {"sam": 10, "msam": 10, "fsam": 14}
    assert table["sampling.confirm"].sum() == 6
    assert set(table.loc[table["sampling.confirm"], "seed"]) == {10000, 10001}
    assert set(table.loc[table["arm"] == "fsam", "sampling.sampler"]) == {"random", "tpe"}
    assert (table["threads"] == 1).all() and (table["device"] == "cpu").all()


def test_optuna_sees_the_run_in_its_mirror(whole):
    folder = whole[0] / "runs" / "small"
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "optuna.log")))
    table = load(folder)
    table = table[~table["sampling.confirm"]]
    for arm, rows in table.groupby("arm"):
        study = optuna.load_study(study_name=f"small/{arm}", storage=storage)
        means = rows.groupby("configuration_id")[["metrics.val_accuracy", "cost.flops"]].mean()
        seen = {trial.user_attrs["configuration_id"]: trial.values for trial in study.trials}
        assert seen == {key: pytest.approx(list(mean)) for key, mean in zip(means.index, means.to_numpy(), strict=True)}


def test_a_study_runs_once_and_is_extended(whole, place):
    shutil.copytree(whole[0], place.folder, dirs_exist_ok=True)
    folder = place.folder / "runs" / "small"
    before = set(load(folder)["trial_id"])

    # Again: nothing is missing, nothing is trained, Ray does not even start.
    out, _ = place.run("run", "study.yaml", "--quiet")
    assert out == ""
    assert len((folder / "trials.jsonl").read_text().splitlines()) == 34

    # One more seed, one arm's grid finer: only what is new. Confirmation follows the best, which may have changed.
    finer = ["--set", "arms.msam.parameters.rho.grid=[0.05, 0.2, 0.5]", "--set", "resources.concurrent=1"]
    place.run("run", "study.yaml", "--seeds", "3", *finer)
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    new = [line for line in lines[34:] if not line["sampling"]["confirm"]]
    assert not before & {line["trial_id"] for line in lines[34:]}
    assert len(new) == 4 + 6 + (4 * 1 + 2 * 3)
    assert {line["seed"] for line in new if line["arm"] != "msam"} == {2}

    # The report is made from the folder alone.
    out, _ = place.run("report", str(folder), cold=True)
    html = (folder / "report.html").read_text()
    assert "small" in html and len(html) < 8_000_000


def test_a_change_of_what_the_task_imports_is_told(place):
    place.study(BAD)
    mine, nets = place.folder / "mine.py", place.folder / "nets.py"
    mine.write_text(f"import nets\n{mine.read_text()}")
    nets.write_text("")
    command = ("run", "study.yaml", "--no-dashboard", "--seeds", "1", "--set", "arms={good: {fixed: {kind: fine}}}")
    _, error = place.run(*command)
    assert "source of task" not in error
    _, error = place.run(*command)
    assert "source of task" not in error
    nets.write_text("# another network")
    _, error = place.run(*command)
    assert "the source of task 'mine:bad' has changed since the last run here" in error


BAD = """
name: bad
task: {name: "mine:bad"}
arms:
  good: {fixed: {kind: fine}}
  raising: {fixed: {kind: raises}}
  dying: {fixed: {kind: dies}}
  diverging: {fixed: {kind: diverges}}
sampling: [{sampler: random, configurations: 1}]
seeds: 2
objectives: {val_accuracy: maximize}
"""


def test_bad_trials_never_stop_a_study(place):
    place.study(BAD)
    out, _ = place.run("run", "study.yaml", "--no-dashboard", code=1)
    assert "4 failed" in out
    table = load(place.folder / "runs" / "bad").set_index("arm")
    assert table["status"].groupby(level=0).unique().str[0].to_dict() == {
        "good": "complete",
        "raising": "failed",
        "dying": "failed",
        "diverging": "diverged",
    }
    assert "no such luck" in table.loc["raising", "error"].iloc[0]
    assert "mine.py" in table.loc["raising", "error"].iloc[0]
    assert "died 3 times" in table.loc["dying", "error"].iloc[0]
    out, _ = place.run("status", "runs/bad")
    assert "no such luck" in out
    place.run("report", "runs/bad")
