"""Runs out as tables and Optuna storages, and in from tables and storages of others."""

import json
import math
import random
import time

import optuna
import pandas
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages.journal import JournalFileBackend

from hpsearch.analysis import analyze
from hpsearch.errors import InputError
from hpsearch.identity import Identity
from hpsearch.interchange import export_run, import_run
from hpsearch.interchange.conditions import conditions
from hpsearch.reporting import report
from hpsearch.results import Result, RunFolder, load, read_results, read_run
from hpsearch.status import read_status
from hpsearch.study import Recorded, parse_study

STUDY = """
name: s
task: {name: digits, model: mlp, epochs: 2, batch_size: 64}
optimizer: {momentum: 0.9}
arms:
  sgd: {parameters: {lr: {low: 0.01, high: 1.0, log: true}}}
  sam:
    parameters:
      rho: {low: 0.1, high: 1.0, step: 0.1}
      num_shards: {choices: [1, 2, 4]}
      adaptive: {choices: [true, false]}
      sigma: {low: 0.0, high: 1.0, when: {adaptive: true}}
      batch_size: {low: 16, high: 256, log: true, int: true}
    fixed: {lr: 0.1}
sampling: [{sampler: qmc, configurations: 6}]
seeds: 3
confirm: {top: 1, seeds: 2}
objectives: {val_accuracy: maximize, flops: minimize}
"""
TASK = {"name": "digits", "semantics": 1, "options": {"model": "mlp"}}


@pytest.fixture
def run(tmp_path):
    """Two arms, a condition, every way to end, confirmation runs, a traceback with commas and line ends."""
    recorded = Recorded(versions={"hpsearch": "0"}, task={**TASK, "function": False})
    study = parse_study(STUDY).model_copy(update={"recorded": recorded})
    identity, results = Identity(study, TASK, False), []

    def add(arm, params, seed, index, status="complete", value=0.5, confirm=False):
        done = status not in ("failed", "stopped")
        results.append(
            Result(
                trial_id=identity.trial_id(arm, params, seed),
                configuration_id=identity.configuration_id(arm, params),
                arm=arm,
                params=params,
                fixed=study.arms[arm].fixed,
                seed=seed,
                sampling={"phase": 0, "index": index, "sampler": "qmc", "generation": None, "confirm": confirm},
                status=status,
                epochs=2 if done else None,
                epochs_planned=2,
                metrics={"val_accuracy": value if done else None, "test_accuracy": value - 0.01 if done else None},
                cost={"flops": 1e9 + index, "seconds": 0.1 + seed / 3, "backward_samples": 100 * (index + 1)},
                error='File "x, y"\nno "such" luck' if status == "failed" else None,
                versions={"hpsearch": "0.1.0", "torch": "2.10"},
                device="cpu",
                threads=1,
                started="2026-01-01T00:00:00+00:00",
            )
        )

    for index in range(6):
        sam = {"rho": 0.1 + 0.15 * index, "num_shards": (1, 2, 4)[index % 3], "adaptive": index % 2 == 0}
        sam |= {"sigma": index / 6} if sam["adaptive"] else {}
        sam["batch_size"] = 2 ** (4 + index % 5)
        for seed in range(3):
            add("sgd", {"lr": 0.01 * 2**index}, seed, index, value=0.5 + 0.07 * index + 0.013 * seed)
            status = {2: "failed", 3: ("complete", "diverged", "collapsed")[seed], 4: "stopped"}.get(index, "complete")
            add("sam", sam, seed, index, status, 0.1 if status == "diverged" else 0.6 + 0.01 * index + 0.003 * seed)
    for seed in (10_000, 10_001):
        add("sgd", {"lr": 0.32}, seed, 5, value=0.84, confirm=True)
    folder = tmp_path / "run"
    with RunFolder(folder) as made:
        made.append(results)
        made.write_study(study)
    return folder


def csv(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def works(folder, reported=False):
    """A run folder on which the other commands work; a report takes a second, so not every test makes one."""
    table = load(folder)
    assert len(table) == len(read_results(folder)[0]) > 0
    study = read_run(folder)
    status = read_status(folder)
    assert sum(sum(arm.statuses.values()) for arm in status.arms.values()) == len(table) and status.set_aside == 0
    if reported:
        assert report(folder).stat().st_size > 100_000
    assert analyze(table, study).objective.name == study.objective
    return table, study


def said(made, start):
    return [line for line in made.told if line.startswith(start)]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_an_export_comes_in_as_the_same_table(run, tmp_path, format):
    path = export_run(run, format)
    assert path == run / f"trials.{format}"
    made = import_run(path, tmp_path / "again")
    before, after = load(run), works(tmp_path / "again", reported=format == "csv")[0]
    pandas.testing.assert_frame_equal(after, before)  # ids, statuses, types and the order of columns too
    assert set(before["status"]) == {"complete", "diverged", "collapsed", "failed", "stopped"}
    assert not said(made, "ids") and made.study.objectives == {"val_accuracy": "maximize", "flops": "minimize"}
    assert made.study.name == "s" and made.study.arms["sam"].parameters["sigma"].when == {"adaptive": True}

    export_run(tmp_path / "again", format, tmp_path / f"second.{format}")
    import_run(tmp_path / f"second.{format}", tmp_path / "third")
    pandas.testing.assert_frame_equal(load(tmp_path / "third"), before)


def test_a_table_of_load_without_its_study_gets_new_ids_and_says_so(run, tmp_path):
    before = load(run)
    before.to_csv(tmp_path / "t.csv", index=False)
    made = import_run(tmp_path / "t.csv", tmp_path / "new")
    after, _ = works(tmp_path / "new")
    assert said(made, "ids: new ones")
    for column in ("arm", "seed", "status", "params.rho", "metrics.val_accuracy", "cost.seconds", "sampling.confirm"):
        pandas.testing.assert_series_equal(after[column], before[column])
    ids = zip(before["configuration_id"], after["configuration_id"], strict=True)
    assert len(set(ids)) == before["configuration_id"].nunique() == after["configuration_id"].nunique()


def test_an_edited_export_is_no_longer_the_same_trials(run, tmp_path):
    path = export_run(run, "csv")
    table = pandas.read_csv(path, dtype=str, keep_default_na=False)
    table["params.lr"] = table["params.lr"].replace("0.01", "0.015")
    table.to_csv(path, index=False)
    assert said(import_run(path, tmp_path / "new"), "ids: new ones")
    table["study"] = "{"
    table.to_csv(path, index=False)
    assert said(import_run(path, tmp_path / "other"), "ids: new ones")


def test_trials_jsonl_is_a_table_too(run, tmp_path):
    import_run(run / "trials.jsonl", tmp_path / "new")
    assert works(tmp_path / "new")[0]["metrics.val_accuracy"].equals(load(run)["metrics.val_accuracy"])


def test_the_optuna_export_is_a_storage(run):
    path = export_run(run, "optuna")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    assert optuna.get_all_study_names(storage) == ["s/sgd", "s/sam"]
    sgd, sam = (optuna.load_study(study_name=name, storage=storage) for name in ("s/sgd", "s/sam"))
    assert [d.name for d in sam.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert sam.metric_names == ["val_accuracy", "flops"]
    assert [t.state.name for t in sam.trials] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert sgd.trials[5].values == pytest.approx([0.85 + 0.013, 1e9 + 5])  # the confirmation runs are not in it
    assert sgd.trials[5].user_attrs["n"] == 3 and list(sgd.trials[5].user_attrs["confirmation"]) == ["10000", "10001"]
    mixed = sam.trials[3]
    assert mixed.values[0] == pytest.approx((0.63 + 0.1 + 0.636) / 3)  # what did not train is in the mean
    assert mixed.user_attrs["statuses"] == {"complete": 1, "diverged": 1, "collapsed": 1}
    assert mixed.user_attrs["seeds"]["1"] == {"status": "diverged", "val_accuracy": 0.1, "flops": 1e9 + 3}
    assert mixed.user_attrs["configuration_id"] in set(load(run)["configuration_id"])
    assert "sigma" in sam.trials[0].params and "sigma" not in mixed.params
    assert mixed.distributions["batch_size"] == optuna.distributions.IntDistribution(16, 256, log=True)
    assert mixed.distributions["num_shards"] == CategoricalDistribution((1, 2, 4))
    assert sam.trials[0].distributions["rho"] == FloatDistribution(0.1, 1.0, step=0.1)
    assert sam.trials[1].distributions["rho"] == FloatDistribution(0.1, 1.0)  # 0.25 lies between the steps
    assert sgd.trials[0].distributions["lr"] == FloatDistribution(0.01, 1.0, log=True)


def test_the_optuna_export_comes_in_with_its_seeds(run, tmp_path):
    import_run(export_run(run, "optuna"), tmp_path / "new")
    before, (after, study) = load(run), works(tmp_path / "new")
    columns = ["arm", "seed", "params.lr", "params.rho", "params.sigma", "metrics.val_accuracy", "status"]
    keys = ["arm", "params.lr", "params.rho", "seed"]
    left, right = (t[[*columns, "sampling.confirm"]].sort_values(keys, ignore_index=True) for t in (before, after))
    pandas.testing.assert_frame_equal(left, right, check_dtype=False)
    assert study.arms["sam"].parameters["sigma"].when == {"adaptive": True}
    assert study.arms["sgd"].parameters["lr"].high == 1.0 and study.arms["sgd"].parameters["lr"].log


WANDB = """"Name","State","Runtime","Created","lr","batch_size","optimizer","seed","_step","val/acc","train/loss"
"dashing-1","finished","12","2026-01-01","0.1","32","sam","1","10","0.9","0.3"
"dashing-2","finished","13","2026-01-02","0.1","32","sam","2","10","0.92","0.31"
"dashing-3","crashed","2","2026-01-03","0.5","32","sgd","1","1","","9"
"dashing-4","finished","12","2026-01-04","0.5","64","sgd","1","10","NaN","NaN"
"dashing-5","finished","12","2026-01-05","0.01","64","sgd","1","10","",""
"dashing-6","running","12","2026-01-06","0.02","64","sgd","1","10","0.3",""
"dashing-7","finished","11","2026-01-07","0.002","64","sgd","1","10","0.5","1"
"""


def test_a_wandb_export(tmp_path):
    made = import_run(csv(tmp_path, WANDB), tmp_path / "run")
    table, study = works(tmp_path / "run", reported=True)
    assert study.objectives == {"val_acc": "maximize"} and set(study.arms) == {"sam", "sgd"}
    assert set(study.arms["sgd"].parameters) == {"lr", "batch_size"} and study.arms["sgd"].parameters["lr"].log
    assert study.arms["sam"].fixed == {"lr": 0.1, "batch_size": 32}  # sam has one configuration
    assert table["status"].tolist() == ["complete", "complete", "failed", "diverged", "failed", "complete"]
    assert table["metrics.train_loss"].tolist()[:2] == [0.3, 0.31]
    assert table["cost.seconds"].tolist()[0] == 12
    assert made.told == (
        "metric: val/acc (maximize), guessed from its name",
        "seed: column seed, guessed from its name",
        "arm: column optimizer, guessed from its name",
        "params: lr, batch_size (guessed: they vary, and are no metric, time or id)",
        "more metrics: train/loss",
        "not used: Name, Created, _step",
        "metrics renamed, as a study file must have it: 'val/acc' -> val_acc, 'train/loss' -> train_loss",
        "1 of 6 trials diverged: their val_acc is NaN or infinite, or their status says so",
        "2 of 6 trials failed: no val_acc, or their status says so",
        "1 rows left out: by their status they have not ended",
    )
    assert "NaN" not in (tmp_path / "run" / "trials.jsonl").read_text()


def test_a_ray_tune_table(tmp_path):
    text = "loss,acc,timestamp,done,training_iteration,trial_id,time_total_s,pid,config/lr,config/model/width,logdir\n"
    text += "".join(f"{1 / i},{0.1 * i},17,True,5,ab{i},{i},9{i},{0.001 * i},{2**i},/x/{i}\n" for i in range(1, 6))
    made = import_run(csv(tmp_path, text), tmp_path / "run", metrics=["loss:minimize"])
    table, study = works(tmp_path / "run")
    assert set(study.arms["all"].parameters) == {"lr", "model.width"} and study.objectives == {"loss": "minimize"}
    assert study.arms["all"].parameters["model.width"].integer
    assert table["metrics.acc"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert table["cost.seconds"].tolist() == [1, 2, 3, 4, 5]
    assert "hyperparameters renamed, as a study file must have it: 'config/model/width' -> model.width" in made.told
    assert (table["sampling.sampler"] == "unknown").all() and analyze(table, study).adaptive == (5, 5)


def test_rows_with_equal_parameters_are_replicates(tmp_path):
    made = import_run(csv(tmp_path, "lr,accuracy\n0.1,0.9\n0.2,0.8\n0.1,0.9\n1e-1,0.91\n"), tmp_path / "run")
    table, study = works(tmp_path / "run")
    assert table["seed"].tolist() == [0, 0, 1, 2] and table["configuration_id"].nunique() == 2
    assert said(made, "seed: no column; rows with equal parameters are replicates")


SEEDED = "lr,seed,accuracy\n0.1,3,0.9\n0.2,3,0.8\n0.1,3,{}\n0.1,7,0.95\n"


def test_repeated_rows_are_dropped_and_counted(tmp_path):
    made = import_run(csv(tmp_path, SEEDED.format("0.9")), tmp_path / "run")
    assert made.trials == 4 - 1 == len(load(tmp_path / "run"))
    assert said(made, "1 repeated rows dropped: row 3")


def test_rows_that_contradict_each_other_are_named(tmp_path):
    path = csv(tmp_path, SEEDED.format("0.91"))
    with pytest.raises(InputError, match=r"row 1 and row 3 \(arm all, lr=0.1, seed 3\): accuracy 0.9 and 0.91"):
        import_run(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    import_run(path, tmp_path / "run", seed="none", params=["lr"])
    assert load(tmp_path / "run")["seed"].tolist() == [0, 0, 1, 2]


def test_seeds_that_are_no_numbers_are_numbered(tmp_path):
    text = "lr,who,accuracy\n0.1,ann,0.9\n0.1,bob,0.8\n0.2,bob,0.7\n0.2,,0.6\n"
    made = import_run(csv(tmp_path, text), tmp_path / "run", seed="who")
    assert load(tmp_path / "run")["seed"].tolist() == [0, 1, 1, 0]
    assert said(made, "seeds numbered") and said(made, "1 rows have no seed")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings_and_separators(tmp_path, encoding):
    path = tmp_path / "t.csv"
    path.write_bytes("größe;décor;accuracy\r\n1;é;0.5\r\n2;à;0.6\r\n30;é;0.7\r\n".encode(encoding))
    made = import_run(path, tmp_path / "run")
    _, study = works(tmp_path / "run")
    assert study.arms["all"].parameters["d_cor"].choices == ("é", "à")
    assert said(made, "hyperparameters renamed, as a study file must have it: 'größe' -> gr_e, 'décor' -> d_cor")
    assert (said(made, "encoding") == []) == (encoding == "utf-8-sig")


def test_odd_names_stay_apart_and_odd_values_stay_text(tmp_path):
    text = 'a b,a+b,"<script>alert(1)</script>",accuracy\n1,yes,=cmd,0.5\n2,on,"x, ""y""",0.6\n1,1:30,=cmd,0.7\n'
    import_run(csv(tmp_path, text), tmp_path / "run")
    table, _ = works(tmp_path / "run")
    assert {"params.a_b", "params.a_b-2", "params.script_alert_1_.script"} <= set(table.columns)
    assert table["params.a_b-2"].tolist() == ["yes", "on", "1:30"]
    assert table["params.script_alert_1_.script"].tolist()[1] == 'x, "y"'


def test_jsonl_tells_null_from_nan(tmp_path):
    text = '{"lr": 0.1, "accuracy": null}\n{"lr": 0.2, "accuracy": NaN}\n{"lr": 0.3, "accuracy": -Infinity}\n'
    text += '{"lr": 0.4, "opt": {"b": [1, 2]}, "accuracy": 0.5}\n{"lr": 0.'
    made = import_run(csv(tmp_path, text, "t.json"), tmp_path / "run")
    assert load(tmp_path / "run")["status"].tolist() == ["failed", "diverged", "diverged", "complete"]
    assert said(made, "the last line was cut off")
    listed = csv(tmp_path, '[{"lr": 0.1, "loss": 1}, {"lr": 0.2, "loss": 2}]', "list.json")
    assert import_run(listed, tmp_path / "listed").study.objectives == {"loss": "minimize"}


def test_what_never_varies_is_fixed_and_what_has_gaps_gets_its_condition(tmp_path):
    text = "arm,lr,momentum,nesterov,accuracy\n"
    text += "a,0.1,,no,1\na,0.2,0.5,yes,2\na,0.3,0.9,yes,3\nb,0.4,0.9,no,4\nb,0.5,0.9,no,5\n"
    import_run(csv(tmp_path, text), tmp_path / "run")
    _, study = works(tmp_path / "run")
    assert study.arms["a"].parameters["momentum"].when == {"nesterov": "yes"}
    assert study.arms["b"].fixed == {"momentum": 0.9, "nesterov": "no"}


def test_gaps_that_nothing_explains_split_the_arm(tmp_path):
    text = "lr,momentum,accuracy\n0.1,0.9,1\n0.2,,2\n0.3,0.5,3\n0.2,0.5,4\n0.1,,5\n"
    made = import_run(csv(tmp_path, text), tmp_path / "run")
    table, study = works(tmp_path / "run")
    assert {name: sorted(arm.parameters) for name, arm in study.arms.items()} == {
        "all": ["lr", "momentum"],
        "all.none": ["lr"],
    }
    assert said(made, "all: nothing says when momentum applies") and len(table) == 5


def test_conditions_are_right_on_every_point_and_use_no_more_keys_than_needed():
    random.seed(0)
    points = []
    for _ in range(200):
        point = {"x": random.random(), "opt": random.choice(["adam", "sgd"]), "on": random.random() < 0.5}
        if point["opt"] == "sgd":
            point["momentum"] = random.choice([0.5, 0.9])
            if point["momentum"] == 0.9 and point["on"]:
                point["nesterov"] = random.random()
        points.append(point)
    whens, left = conditions(points)
    assert whens == {"momentum": {"opt": "sgd"}, "nesterov": {"on": True, "momentum": 0.9}} and left == []


def optuna_study(storage, name="sgd", n=12):
    def objective(trial):
        lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
        shards = trial.suggest_int("num_shards", 1, 8)
        base = trial.suggest_categorical("base", ["sgd", "adam", None])
        momentum = trial.suggest_float("momentum", 0.0, 0.9, step=0.1) if base == "sgd" else 0
        trial.set_user_attr("train_loss", lr * 2)
        trial.set_user_attr("note", "hi")
        for step in range(3):
            trial.report(lr + step, step)
        if trial.number == 2:
            raise optuna.TrialPruned
        if trial.number == 3:
            return math.inf
        return None if trial.number == 4 else lr + shards + momentum

    study = optuna.create_study(
        storage=storage, study_name=name, sampler=optuna.samplers.RandomSampler(seed=1), direction="minimize"
    )
    study.optimize(objective, n_trials=n)
    study.ask()
    return study


@pytest.mark.parametrize("kind", ["journal", "file.db", "url"])
def test_an_optuna_storage(tmp_path, kind):
    if kind == "journal":
        source = str(tmp_path / "optuna.log")
        storage = optuna.storages.JournalStorage(JournalFileBackend(source))
    else:
        path = tmp_path / "file.db"
        source = str(path) if kind == "file.db" else f"sqlite:///{path}"
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    stored = optuna_study(storage)
    before = (tmp_path / ("optuna.log" if kind == "journal" else "file.db")).read_bytes()
    made = import_run(source, tmp_path / "run", metrics=["val_loss"])
    assert (tmp_path / ("optuna.log" if kind == "journal" else "file.db")).read_bytes() == before
    table, study = works(tmp_path / "run")
    arm = study.arms["sgd"]
    assert study.objectives == {"val_loss": "minimize"} and study.name == "sgd"
    assert (arm.parameters["lr"].low, arm.parameters["lr"].high, arm.parameters["lr"].log) == (1e-4, 1.0, True)
    assert arm.parameters["num_shards"].integer and arm.parameters["base"].choices == ("sgd", "adam", "None")
    assert arm.parameters["momentum"].when == {"base": "sgd"} and arm.parameters["momentum"].step == 0.1
    assert table["status"].tolist()[:5] == ["complete", "complete", "stopped", "diverged", "failed"]
    assert table["metrics.val_loss"][0] == stored.trials[0].value
    assert table["metrics.train_loss"][5] == stored.trials[5].user_attrs["train_loss"]
    assert "sgd: 1 trials left out: they have not ended" in made.told
    curve = read_results(tmp_path / "run")[0][0].curve
    assert curve["epoch"] == [0, 1, 2] and curve["val_loss"][2] == table["params.lr"][0] + 2


def test_optuna_studies_are_arms_and_one_can_be_picked(tmp_path):
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "o.log")))
    for name in ("mine/sgd", "mine/sam"):
        optuna_study(storage, name, 6)
    made = import_run(tmp_path / "o.log", tmp_path / "both")
    assert set(made.study.arms) == {"sgd", "sam"} and made.study.name == "mine"
    assert set(import_run(tmp_path / "o.log", tmp_path / "one", study="mine/sam").study.arms) == {"sam"}
    with pytest.raises(InputError, match="no Optuna study 'mine/sum'; allowed: .* did you mean 'mine/su?am'"):
        import_run(tmp_path / "o.log", tmp_path / "none", study="mine/sum")
    with pytest.raises(InputError, match="the storage says minimize"):
        import_run(tmp_path / "o.log", tmp_path / "none", metrics=["value:maximize"])


def test_an_optuna_table(tmp_path):
    stored = optuna_study(None)
    stored.trials_dataframe().to_csv(tmp_path / "t.csv", index=False)
    import_run(tmp_path / "t.csv", tmp_path / "run", metrics=["value:minimize"], arm="none")
    table, study = works(tmp_path / "run")
    assert len(table) == 12 and sum(len(arm.parameters) >= 3 for arm in study.arms.values()) >= 1
    assert set(table["status"]) == {"complete", "stopped", "diverged", "failed"}


GOOD = "lr,width,accuracy\n0.1,1,0.9\n0.2,2,0.8\n"


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("t.csv", None, {}, "t.csv: no such file"),
        ("t.xlsx", GOOD, {}, r"unknown kind of file '.xlsx'; allowed: .csv, .tsv, .parquet"),
        ("t.csv", "", {}, "is empty"),
        ("t.csv", "a,b\n", {}, "has no rows"),
        ("t.csv", "a,a\n1,2\n", {}, "the column 'a' is there twice"),
        ("t.csv", "a,b\n1,2\n1,2,3\n", {}, "row 2 has 3 cells, and the header 2"),
        ("t.csv", "lr,wow,text\n1,2,x\n", {}, "no metric column found .* columns of numbers: 'lr', 'wow'$"),
        ("t.csv", GOOD, {"params": ["widht"]}, r"--params: t.csv has no column 'widht'; allowed: .* mean 'width'"),
        ("t.csv", GOOD, {"seed": "seeed"}, "--seed: t.csv has no column 'seeed'"),
        ("t.csv", GOOD, {"arm": "lrr"}, "--arm: t.csv has no column 'lrr'; allowed: .*; did you mean 'lr'"),
        ("t.csv", GOOD, {"metrics": ["acuracy"]}, "--metric: .* did you mean 'accuracy'"),
        ("t.csv", GOOD, {"metrics": ["accuracy:maximise"]}, "got the direction 'maximise'; .*mean 'maximize'"),
        ("t.csv", GOOD, {"metrics": ["accuracy"], "params": ["accuracy"]}, "--params accuracy: is the metric"),
        ("t.csv", GOOD, {"study": "x"}, "--study: t.csv is a table"),
        ("t.csv", "lr,state,loss\n1,running,2\n", {}, "no row has ended"),
        ("t.csv", "lr,x,loss\n1,a,2\n2,b,3\n", {"metrics": ["x"]}, "column 'x' holds 'a'; allowed: a column of num"),
        ("t.jsonl", "{}\n[1]\n", {}, r"record 2 is \[1\]"),
        ("t.jsonl", '{"a": 1\n{"a": 2}\n', {}, "t.jsonl:1: is not one JSON object a line"),
        ("t.parquet", "nonsense", {}, "is not a parquet file that can be read"),
        ("t.db", "nonsense", {}, "t.db: is not an Optuna storage that can be read"),
        ("t.db", None, {}, "t.db: no such file"),
        ("t.log", "nonsense\nmore\n", {}, "t.log: is not an Optuna storage that can be read"),
        ("t.log", "", {}, "t.log: holds no trials"),
    ],
)  # fmt: skip
def test_wrong_input_is_told(tmp_path, name, content, options, message):
    if content is not None:
        csv(tmp_path, content, name)
    with pytest.raises(InputError, match=message):
        import_run(tmp_path / name, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_password_in_a_url_is_neither_told_nor_written(tmp_path):
    with pytest.raises(InputError) as caught:
        import_run("mysql+nothing://me:hunter2@host/db", tmp_path / "run")
    assert str(caught.value).startswith("db: ") and "hunter2" not in str(caught.value)


def test_a_folder_that_holds_a_run_is_left_alone(run, tmp_path):
    before = (run / "trials.jsonl").read_bytes()
    for made in (run, tmp_path / "half"):
        made.mkdir(exist_ok=True)
        (made / "trials.jsonl").write_bytes(before)
        with pytest.raises(InputError, match="holds a run already"):
            import_run(csv(tmp_path, GOOD), made)
        assert (made / "trials.jsonl").read_bytes() == before


def test_a_large_table_takes_seconds(tmp_path):
    rng = random.Random(0)
    rows = "".join(f"{rng.random()},{i % 7},{'ab'[i % 2]},{i // 4},{rng.random()}\n" for i in range(10_000))
    path = csv(tmp_path, "lr,width,kind,group,accuracy\n" + rows)
    begun = time.process_time()
    import_run(path, tmp_path / "run")
    assert (
        time.process_time() - begun < 15
    )  # seconds of CPU time, so that a busy machine does not fail it; measured: 3.3
    assert len(load(tmp_path / "run")) == 10_000


def test_lines_of_an_imported_run_are_plain_json(tmp_path):
    import_run(csv(tmp_path, "lr,accuracy\n0.1,nan\n0.2,inf\n0.3,0.5\n"), tmp_path / "run")

    def refuse(text):
        raise AssertionError(text)

    lines = (tmp_path / "run" / "trials.jsonl").read_text().splitlines()
    found = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [line["metrics"]["accuracy"] for line in found] == [None, None, 0.5]
