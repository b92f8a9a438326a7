"""What is predicted is what is then counted."""

import time
from dataclasses import replace

import pytest

from hpsearch.check import Checked
from hpsearch.errors import RunError
from hpsearch.hyperparameters import Settings
from hpsearch.identity import Identity
from hpsearch.planning import Planner
from hpsearch.prediction import PACK_SECONDS, RAY_CORES, RAY_SECONDS, backward_samples, predict
from hpsearch.probing import time_study
from hpsearch.results import Result, RunFolder
from hpsearch.sampling import Sequence
from hpsearch.study import parse_study
from hpsearch.tasks.breast_cancer import BreastCancer
from hpsearch.training.engine import Engine
from hpsearch.training.loop import train
from hpsearch.training.probe import time_pieces

TASK = BreastCancer(width=4)  # 300 training rows


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"rho": 0.1},
        {"rho": 0.1, "num_shards": 4},
        {"rho": 0.1, "interval": 3},
        {"rho": 0.1, "interval": 4, "batch_size": 300},
        {"rho": 0.1, "interval": 100},
        {"rho": 0.1, "batch_size": 5000},
        {"rho": 0.1, "interval": 7, "batch_size": 1},
    ],
    ids=str,
)
def test_the_formula_is_what_trials_count(given):
    settings = Settings.merge({"epochs": 3, "batch_size": 32, "lr": 1e-3, **given})
    outcome = train(TASK, settings, seed=0)
    assert outcome.status != "diverged"
    assert backward_samples(settings, 300) == outcome.cost.backward_samples


def checked_of(sampling, confirm="null", function=None):
    study = parse_study(f"""
name: s
task: {{name: breast_cancer, width: 4, batch_size: 50}}
arms:
  sgd: {{parameters: {{epochs: {{choices: [1, 3]}}, lr: {{low: 0.01, high: 0.1, grid: [0.05]}}}}}}
  sam: {{fixed: {{rho: 0.1, interval: 2}}, parameters: {{epochs: {{choices: [1, 3]}}}}}}
sampling: {sampling}
seeds: 2
confirm: {confirm}
objectives: {{val_accuracy: maximize}}
resources: {{concurrent: 1}}
""")
    if function:
        study = study.model_copy(update={"task": study.task.model_copy(update={"options": {}, "batch_size": None})})
        return Checked(study, function, Identity(study, {"name": "f", "semantics": 1, "options": {}}, True))
    task = {"name": "breast_cancer", "semantics": 1, "options": {"width": 4}}
    return Checked(study, BreastCancer, Identity(study, task, False))


PIECES = {"start": 0.5, "sample": 1e-3, "val": 0.25, "test": 0.125, "epoch": 0.0625, "together": 1.0}


@pytest.fixture(autouse=True)
def known_pieces(monkeypatch):
    """Processes that time take seconds to start."""
    monkeypatch.setattr("hpsearch.probing._ask", lambda order, processes: (3.0, [[PIECES] * len(order["settings"])]))
    monkeypatch.setattr("hpsearch.prediction.os.cpu_count", lambda: 4)


def run(checked, folder, packs):
    """Trains that many packs and keeps their results, as a run that was cut off would."""
    planner = Planner(checked, [])
    results = []
    for _ in range(packs):
        pack = planner.next()
        configuration = pack.configuration
        settings = checked.study.settings(configuration.arm, configuration.params)
        for seed, trial_id in pack.seeds.items():
            outcome = train(TASK, settings, seed)
            results.append(
                Result(
                    trial_id,
                    configuration.configuration_id,
                    configuration.arm,
                    configuration.params,
                    {},
                    seed,
                    configuration.sampling,
                    outcome.status,
                    metrics=outcome.metrics,
                    cost=vars(outcome.cost),
                )
            )
    with RunFolder(folder) as run_folder:
        run_folder.append(results)
    return results


def test_pieces_of_trials_are_timed_in_processes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("hpsearch.probing.SECONDS", 0.1)
    predicted = predict(checked_of("[{sampler: grid}]"), tmp_path)
    assert 0 < predicted.arms["sgd"].seconds and 1 < predicted.start

    monkeypatch.setattr("hpsearch.probing.sys.executable", "/bin/false")
    with pytest.raises(RunError, match="timing the task failed: the process died"):
        predict(checked_of("[{sampler: grid}]"), tmp_path)


def test_a_shape_that_time_did_not_suffice_for_is_like_the_mean_one(monkeypatch):
    study = checked_of("[{sampler: grid}]").study
    fast, slow = {**PIECES, "sample": 1.0}, {**PIECES, "sample": 3.0}
    asked = []

    def ask(order, processes):
        asked.append((processes, [(one["num_shards"], one["rho"] > 0) for one in order["settings"]]))
        return 1.0, [[fast, slow, None], [fast, slow, None]]

    monkeypatch.setattr("hpsearch.probing._ask", ask)
    many = [Settings.merge({"rho": 0.1 * n, "num_shards": shards}) for n in (1, 2) for shards in (2, 4)]
    some = [Settings.merge({"rho": 0.1, "lr": lr}) for lr in (0.1, 0.2)]
    timed = time_study(study, {"many": many, "some": some}, {}, "cpu", 2)
    assert asked == [(2, [(2, True), (1, True), (4, True)])]  # arms in turn, rho and lr make no other shape
    assert timed["many"].trial(many[0], 10) == pytest.approx(
        10 + PIECES["start"] + many[0].epochs * (PIECES["val"] + PIECES["epoch"]) + PIECES["test"]
    )
    assert timed["many"].trial(many[1], 10) == timed["many"].trial(many[0], 10)  # the mean of what was timed there
    assert timed["some"].trial(some[1], 10) - timed["some"].trial(some[1], 0) == pytest.approx(30)


def test_a_grid_is_predicted_exactly(tmp_path):
    checked = checked_of("[{sampler: grid}]")
    predicted = predict(checked, tmp_path)
    sgd = [0.5 + epochs * (300 * 1e-3 + 0.25 + 0.0625) + 0.125 for epochs in (1, 3)]
    assert predicted.arms["sgd"].seconds == pytest.approx(2 * sum(sgd))
    whole = sum(arm.seconds for arm in predicted.arms.values())
    assert predicted.seconds == pytest.approx(whole + RAY_SECONDS + 3.0 + 4 * PACK_SECONDS)
    assert not predicted.measured and predicted.seconds > 0 and predicted.concurrent == 1
    results = run(checked, tmp_path, packs=4)
    for arm, expected in predicted.arms.items():
        mine = [result for result in results if result.arm == arm]
        assert (expected.configurations, expected.trials, expected.done) == (2, 4, 0) and len(mine) == 4
        assert expected.backward_samples == sum(result.cost["backward_samples"] for result in mine)
        assert expected.flops == pytest.approx(sum(result.cost["flops"] for result in mine))
    after = predict(checked, tmp_path)
    assert [(arm.done, arm.backward_samples, arm.seconds) for arm in after.arms.values()] == [(4, 0, 0)] * 2


def test_confirmation_and_what_is_done_are_counted(tmp_path):
    checked = checked_of("[{sampler: grid}]", confirm="{top: 1, seeds: 3}")
    assert {arm.trials for arm in predict(checked, tmp_path).arms.values()} == {7}
    results = run(checked, tmp_path, packs=2)  # one of each arm
    predicted = predict(checked, tmp_path)
    assert [arm.done for arm in predicted.arms.values()] == [2, 2] and predicted.measured
    first = [result for result in results if result.arm == "sgd"]
    rate = sum(r.cost["seconds"] / r.cost["backward_samples"] for r in first) / 2
    sgd = predicted.arms["sgd"]
    assert sgd.backward_samples == 5 * 300 * 2  # five trials left, of two epochs in the mean
    assert sgd.seconds == pytest.approx(sgd.backward_samples * rate)


def test_tpe_is_predicted_by_random_points_of_the_space(tmp_path):
    predicted = predict(checked_of("[{sampler: tpe, configurations: 64}]"), tmp_path).arms["sgd"]
    assert predicted.trials == 128
    assert 128 * 300 * 1.6 < predicted.backward_samples < 128 * 300 * 2.4


def test_results_of_another_study_do_not_count(tmp_path):
    checked = checked_of("[{sampler: grid}]")
    (first, *_) = run(checked, tmp_path, packs=1)
    with RunFolder(tmp_path) as folder:
        folder.append([Result(**{**vars(first), "trial_id": "0" * 16})])
    assert predict(checked, tmp_path).arms["sgd"].done == 2


def test_a_training_function_is_predicted_by_its_results_alone(tmp_path):
    checked = checked_of("[{sampler: grid}]", function=lambda params, seed, report: None)
    predicted = predict(checked, tmp_path)
    assert predicted.seconds is None and predicted.arms["sgd"].backward_samples is None
    params = next(iter(Sequence(checked.study, "sgd", 0)))
    identity = checked.identity
    line = Result(
        identity.trial_id("sgd", params, 0),
        identity.configuration_id("sgd", params),
        "sgd",
        params,
        {},
        0,
        {"phase": 0, "index": 0, "sampler": "grid", "generation": None, "confirm": False},
        "complete",
        cost={"seconds": 2.5},
    )
    with RunFolder(tmp_path) as folder:
        folder.append([line])
    sgd = predict(checked, tmp_path).arms["sgd"]
    assert (sgd.done, sgd.seconds, sgd.flops) == (1, 7.5, None)


def test_what_an_epoch_takes_besides_its_steps_is_timed():
    class Slow(BreastCancer):
        def summarize(self, found):
            time.sleep(0.01)  # as long as its evaluations, and not a step
            return found

    engine = Engine.choose("cpu")
    settings = Settings.merge({"epochs": 1, "batch_size": 150, "rho": 0.1})
    timed = time_pieces(Slow(width=4), settings, 0, engine, seconds=0.5)
    assert 0 < timed["epoch"] < 0.01 < timed["val"]
    assert time_pieces(Slow(width=4), settings, 0, engine, seconds=0.01)["epoch"] == 0  # no time for two epochs


def test_trials_that_have_every_core_share_them_with_ray(monkeypatch, tmp_path):
    seconds = [predict(checked_of("[{sampler: grid}]"), tmp_path).arms["sgd"].seconds]
    monkeypatch.setattr("hpsearch.prediction.os.cpu_count", lambda: 1)
    seconds.append(predict(checked_of("[{sampler: grid}]"), tmp_path).arms["sgd"].seconds)
    assert seconds[1] == pytest.approx(seconds[0] / (1 - RAY_CORES))


def test_bundles_are_predicted_by_what_was_timed(monkeypatch, tmp_path):
    """A third of the time, for what one program may train; that is not what tpe suggests."""
    asked = []

    def ask(order, processes):
        asked.append(order["together"])
        return 3.0, [[{**PIECES, "together": 1 / 3 if n > 1 else 1.0} for n in order["together"]]]

    monkeypatch.setattr("hpsearch.probing._ask", ask)
    alone = predict(with_pack(checked_of("[{sampler: grid}]"), 1), tmp_path)
    together = predict(with_pack(checked_of("[{sampler: grid}]"), 16), tmp_path)
    assert asked == [[1, 1], [4, 4]]  # two configurations and two seeds each; epochs make no other shape
    assert (alone.packs, together.packs) == (4, 2)
    for arm, found in together.arms.items():
        assert found.seconds == pytest.approx(alone.arms[arm].seconds / 3)
        assert found.backward_samples == alone.arms[arm].backward_samples
    adaptive = predict(with_pack(checked_of("[{sampler: tpe, configurations: 2}]"), 16), tmp_path)
    assert asked[-1] == [1, 1] and adaptive.packs == 4


def with_pack(checked, pack):
    resources = checked.study.resources.model_copy(update={"pack": pack})
    return replace(checked, study=checked.study.model_copy(update={"resources": resources}))
