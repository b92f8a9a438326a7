import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from synthetic import Arm, Parameter, Study

from hpsearch.analysis.across import Across, Run, compare_runs
from hpsearch.analysis.across_document import across_document, sentences
from hpsearch.analysis.across_measured import answer_of, interval, leave_seeds_out
from hpsearch.analysis.across_runs import scale_of, shared_arms, tasks_of
from hpsearch.analysis.across_surrogate import common_settings, predict
from hpsearch.errors import InputError

VALUES = {"one": {1: 0.9, 2: 0.8, 3: 0.5, 4: 0.1}, "two": {1: 0.3, 2: 0.8, 3: 0.6, 4: 0.7}}


def rows(
    means: dict[object, float], seeds: int = 3, arm: str = "sam", spread: float = 0.0, sign: float = 1.0
) -> pd.DataFrame:
    """A trial a value of `a` and seed; every task numbers its configurations in an order of its own."""
    made = []
    for number, (value, mean) in enumerate(means.items()):
        params = value if isinstance(value, dict) else {"a": value}
        for seed in range(seeds):
            made.append(
                {
                    "arm": arm,
                    "configuration_id": f"{arm}-{mean}-{number}",
                    "seed": seed,
                    "status": "complete",
                    "sampling.confirm": False,
                    "sampling.sampler": "grid",
                    **{f"params.{n}": v for n, v in params.items()},
                    "metrics.val_accuracy": sign * (mean + spread * (seed - (seeds - 1) / 2)),
                }
            )
    return pd.DataFrame(made)


def study(direction: str = "maximize", **parameters: Parameter) -> Study:
    found = parameters or {"a": Parameter(choices=(1, 2, 3, 4))}
    return Study({"sam": Arm(found)}, objectives={"val_accuracy": direction})


def two_runs(sign: float = 1.0) -> list[Run]:
    direction = "maximize" if sign > 0 else "minimize"
    tables = {name: rows(means, sign=sign) for name, means in VALUES.items()}
    tables["two"] = tables["two"].iloc[::-1]  # another order, other ids
    return [Run(name, table, study(direction)) for name, table in tables.items()]


def by_hand() -> dict[str, float]:
    scaled = {}
    for name, means in VALUES.items():
        y = np.array(list(means.values()))
        zero, one = np.percentile(y, (5, 95))
        scaled[name] = (y - zero) / (one - zero)
    both = np.stack(list(scaled.values()))
    return {"tuned": both.max(1).mean(), "single": both.mean(0).max(), "loss": both.max(1).mean() - both.mean(0).max()}


@pytest.fixture(scope="module")
def measured() -> Across:
    return compare_runs(two_runs())


def test_without_noise_the_loss_is_that_of_the_definition(measured: Across) -> None:
    arm = measured.arms[0]
    expected = by_hand()
    assert arm.way == "measured" and arm.params == {"a": 2}
    assert [one.params for one in arm.tasks] == [{"a": 1}, {"a": 2}]
    assert [arm.tuned.value, arm.single.value, arm.loss.value] == pytest.approx(list(expected.values()))
    assert arm.loss.n == 2 and arm.tasks[0].loss.n == 3


def test_losses_of_tasks_are_also_in_the_metric(measured: Across) -> None:
    assert [one.metric_loss.value for one in measured.arms[0].tasks] == pytest.approx([0.1, 0.0])
    assert measured.arms[0].tasks[0].metric_loss.unit == "share"


def test_a_metric_that_is_minimised_gives_the_same(measured: Across) -> None:
    mirrored = compare_runs(two_runs(-1.0)).arms[0]
    assert mirrored.params == measured.arms[0].params
    assert mirrored.loss.value == pytest.approx(measured.arms[0].loss.value)
    assert [t.metric_loss.value for t in mirrored.tasks] == pytest.approx([0.1, 0.0])


def test_the_scale_is_of_percentiles_of_what_no_sampler_chose() -> None:
    table = rows(VALUES["one"])
    adaptive = rows({9: 5.0}).assign(**{"sampling.sampler": "tpe", "configuration_id": "late"})
    tasks, _ = tasks_of([Run("one", pd.concat([table, adaptive]), study(a=Parameter(choices=(1, 2, 3, 4, 9))))])
    scale = scale_of(tasks[0], ["sam"])
    assert scale is not None and scale.n == 4
    assert (scale.zero, scale.one) == pytest.approx(tuple(np.percentile([0.9, 0.8, 0.5, 0.1], (5, 95))))


def test_a_setting_that_does_not_train_on_one_task_has_the_score_of_what_it_reached() -> None:
    tables = {name: rows(means) for name, means in VALUES.items()}
    fails = tables["two"]["params.a"] == 2
    tables["two"].loc[fails, ["status", "metrics.val_accuracy"]] = ["diverged", 0.1]
    arm = compare_runs([Run(name, table, study()) for name, table in tables.items()]).arms[0]
    assert arm.params != {"a": 2}


def test_choices_are_scored_on_seeds_that_did_not_make_them() -> None:
    rng = np.random.default_rng(0)
    optimistic, honest = [], []
    for _ in range(300):
        noise = [rng.normal(size=(20, 3)) for _ in range(2)]
        found = leave_seeds_out(noise)
        honest.append(found.tuned.mean())
        optimistic.append(np.mean([y.mean(1).max() for y in noise]))
    assert np.mean(optimistic) > 0.9
    assert abs(np.mean(honest)) < 4 * np.std(honest) / math.sqrt(300)


def test_the_interval_is_students_with_the_corrected_variance() -> None:
    values = np.array([[0.1, 0.2, 0.6]])
    mean, low, high = interval(values)
    half = student.ppf(0.975, 2) * math.sqrt(values.var(ddof=1) * (1 / 3 + 1 / 2))
    assert (mean, low, high) == pytest.approx((0.3, 0.3 - half, 0.3 + half))
    alike = np.array([[0.1, 0.2, 0.6], [0.2, 0.1, 0.6]])
    narrower = interval(alike)
    assert (narrower[2] - narrower[1]) / 2 == pytest.approx(
        student.ppf(0.975, 4) * math.sqrt(2 * values.var(ddof=1) * (1 / 3 + 1 / 2) / 4)
    )


@pytest.mark.parametrize(("seeds", "noise"), [(3, 0.1), (3, 0.02), (5, 0.1), (5, 0.02)])
def test_measured_intervals_hold_the_true_sensitivity(seeds: int, noise: float) -> None:
    """Bowls with an optimum of each task's own, 24 settings: the truth is the definition's, at the true means."""
    rng = np.random.default_rng(seeds)
    held = []
    for _ in range(200):
        x = rng.random((24, 2))
        truth = np.stack([1 - ((x - rng.uniform(0.2, 0.8, 2)) ** 2).sum(1) for _ in range(3)])
        scores = [mean[:, None] + noise * rng.normal(size=(24, seeds)) for mean in truth]
        found = leave_seeds_out(scores)
        means = np.stack([y.mean(1) for y in scores])
        loss = answer_of(found.tuned - found.single, means.max(1) - means[:, means.mean(0).argmax()])
        held.append(loss.low <= truth.max(1).mean() - truth.mean(0).max() <= loss.high)
    assert np.mean(held) >= 0.9


def test_only_what_moves_between_tasks_must_be_tuned() -> None:
    grid = [(a, b) for a in (1, 2, 3, 4) for b in (1, 2)]
    first = {(a, b): {1: 1.0, 2: 0.7, 3: 0.4, 4: 0.0}[a] + 0.05 * b for a, b in grid}
    second = {(a, b): {1: 0.0, 2: 0.5, 3: 0.7, 4: 1.0}[a] + 0.05 * b for a, b in grid}
    parameters = {"a": Parameter(choices=(1, 2, 3, 4)), "b": Parameter(choices=(1, 2))}
    runs = []
    for name, means in (("one", first), ("two", second)):
        table = rows({k: m for k, m in enumerate(means.values())})
        table["params.a"], table["params.b"] = ([grid[i][j] for i in table["params.a"]] for j in (0, 1))
        table["metrics.val_accuracy"] += 0.001 * np.random.default_rng(0).normal(size=len(table))
        runs.append(Run(name, table, study("maximize", **parameters)))
    arm = compare_runs(runs).arms[0]
    assert arm.dimensionality == 1
    assert [one.parameters for one in arm.kept] == [(), ("a",)]
    assert arm.kept[0].share.value == pytest.approx(arm.single.value / arm.tuned.value, abs=0.02)
    assert arm.kept[1].share.value == pytest.approx(1.0, abs=0.02)
    assert "1 of 2 hyperparameters must be tuned for each task (a)" in sentences(compare_runs(runs))[0]


def test_where_one_setting_is_best_everywhere_the_loss_of_0_has_no_interval() -> None:
    runs = [replace(two_runs()[0], name=name) for name in ("one", "two")]
    found = compare_runs(runs)
    loss = found.arms[0].loss
    assert loss.value == 0 and not loss.has_interval and "also the one tuned" in loss.why
    assert "no loss shows" in sentences(found)[0]


def test_arms_that_cannot_be_matched_are_named_with_why() -> None:
    runs = two_runs()
    more = pd.concat([runs[0].trials, rows(VALUES["one"], arm="fsam")])
    runs[0] = Run(
        "one", more, replace(runs[0].study, arms=runs[0].study.arms | {"fsam": Arm({"a": Parameter(choices=(1, 2))})})
    )
    found = compare_runs(runs)
    assert [one.arm for one in found.arms] == ["sam"]
    assert found.left_out == {"fsam": "not in two"}
    assert any("fsam is not compared: not in two." == text for text in sentences(found))


def test_other_hyperparameters_or_scales_are_no_match() -> None:
    tables = {name: rows(means) for name, means in VALUES.items()}
    log, linear = (study(a=Parameter(1, 4, log=log)) for log in (True, False))
    tasks, _ = tasks_of([Run("one", tables["one"], log), Run("two", tables["two"], linear)])
    assert shared_arms(tasks) == ([], {"sam": "another scale of a in some runs"})
    other = study(b=Parameter(choices=(1, 2, 3, 4)))
    tasks, _ = tasks_of(
        [Run("one", tables["one"], study()), Run("two", tables["two"].rename(columns={"params.a": "params.b"}), other)]
    )
    assert shared_arms(tasks) == ([], {"sam": "a and b not searched in every run"})


def test_runs_after_other_objectives_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="one: maximize val_accuracy; two: minimize val_accuracy"):
        compare_runs([two_runs()[0], two_runs(-1.0)[1]])
    with pytest.raises(InputError, match="different names"):
        compare_runs([two_runs()[0], two_runs()[0]])


def test_nothing_is_compared_where_too_little_is_there_and_it_says_why() -> None:
    one = two_runs()
    assert compare_runs(one[:1]).reason == "one run: a comparison across tasks needs two"
    crashed = one[1].trials.assign(status="failed", **{"metrics.val_accuracy": np.nan})
    found = compare_runs([one[0], Run("two", crashed, study())])
    assert "no trial ended with val_accuracy" in found.reason
    flat = one[1].trials.assign(**{"metrics.val_accuracy": 0.5})
    assert "all settings score the same there" in compare_runs([one[0], Run("two", flat, study())]).reason
    single = [Run(run.name, run.trials[run.trials["seed"] == 0], run.study) for run in one]
    found = compare_runs(single)
    assert found.arms == () and "one seed" in found.left_out["sam"] and "a surface needs 8" in found.left_out["sam"]


def test_what_is_fixed_at_other_values_is_told() -> None:
    runs = two_runs()
    apart = [
        replace(run, study=replace(run.study, arms={"sam": Arm(run.study.arms["sam"].parameters, {"epochs": n})}))
        for n, run in zip((1, 2), runs, strict=True)
    ]
    found = compare_runs(apart)
    assert found.held_apart == {"sam": ("epochs",)}
    assert "epochs fixed at other values" in sentences(found)[0]


RANGES = ((0.01, 1.0), (0.02, 2.0))


@pytest.fixture(scope="module")
def scattered() -> list[Run]:
    """Configurations of each run's own: the best rho is 0.05 on one task and 0.4 on the other; lr matters little."""
    rng = np.random.default_rng(1)
    runs = []
    for name, (low, high), best in zip(("one", "two"), RANGES, (0.05, 0.4), strict=True):
        rho = np.exp(rng.uniform(np.log(low), np.log(high), 24))
        lr = rng.uniform(0.1, 0.2, 24)
        mean = 0.9 - 0.02 * np.log(rho / best) ** 2 + 0.01 * lr
        table = rows({k: m for k, m in enumerate(mean)}, 3)
        index = table["params.a"].to_numpy(int)
        noisy = table["metrics.val_accuracy"] + 0.003 * rng.normal(size=len(table))
        table = table.drop(columns="params.a").assign(
            **{
                "params.rho": rho[index],
                "params.lr": lr[index],
                "metrics.val_accuracy": noisy,
                "sampling.sampler": "random",
            }
        )
        runs.append(Run(name, table, study(rho=Parameter(low, high, log=True), lr=Parameter(0.1, 0.2))))
    return runs


@pytest.fixture(scope="module")
def predicted(scattered: list[Run]) -> Across:
    return compare_runs(scattered)


def test_runs_without_common_configurations_are_compared_by_surrogates(predicted: Across) -> None:
    arm = predicted.arms[0]
    assert arm.way == "surrogate" and arm.check is None
    rhos = [one.params["rho"] for one in arm.tasks]
    assert 0.03 < rhos[0] < 0.09 and 0.2 < rhos[1] < 0.8
    assert 0.08 < arm.params["rho"] < 0.25
    exact = [
        0.02 * (math.log(arm.params["rho"] / b) ** 2 - math.log(r / b) ** 2)
        + 0.01 * (one.params["lr"] - arm.params["lr"])
        for r, b, one in zip(rhos, (0.05, 0.4), arm.tasks, strict=True)
    ]
    for one, truth in zip(arm.tasks, exact, strict=True):
        assert one.metric_loss.low <= truth <= one.metric_loss.high
    score = np.mean([t / s.width for t, s in zip(exact, predicted.scales, strict=True)])
    assert arm.loss.low <= score <= arm.loss.high and arm.loss.low > 0
    assert arm.dimensionality == 1 and arm.kept[1].parameters == ("rho",)


def test_settings_lie_within_what_every_run_searched(scattered: list[Run]) -> None:
    tasks, _ = tasks_of(scattered)
    settings = common_settings("sam", tasks)
    assert settings["params.rho"].between(0.02, 1.0).all()
    every = pd.concat([run.trials for run in scattered])["params.rho"]
    assert len(settings) == every[every.between(0.02, 1.0)].nunique()


def test_draws_of_tasks_are_in_orders_of_their_own(scattered: list[Run]) -> None:
    """Two identical runs: were their draws aligned, the mean over tasks would be no surer than one task."""
    twin = [scattered[0], replace(scattered[0], name="twin")]
    tasks, _ = tasks_of(twin)
    scales = [s for task in tasks if (s := scale_of(task, ["sam"])) is not None]
    model = tasks[0].model("sam", 0)
    arm = predict("sam", tasks, scales, [model, model], 0)
    assert not isinstance(arm, str)
    alone = arm.tasks[0].single.high - arm.tasks[0].single.low
    assert arm.single.high - arm.single.low < 0.85 * alone


def test_without_a_checked_size_numbers_have_no_interval_and_why(scattered: list[Run]) -> None:
    few = [
        replace(
            run, trials=run.trials[run.trials["configuration_id"].isin(run.trials["configuration_id"].unique()[:12])]
        )
        for run in scattered
    ]
    arm = compare_runs(few).arms[0]
    assert arm.way == "surrogate" and not arm.loss.has_interval
    assert "too few configurations" in arm.loss.why
    assert "no interval: too few configurations" in sentences(compare_runs(few))[0]


def test_the_document_holds_every_number_with_method_and_n(predicted: Across, measured: Across) -> None:
    for found in (predicted, measured):
        document = across_document(found)
        assert json.loads(json.dumps(document, allow_nan=False)) == document
        arm = document["arms"][0]
        assert arm["loss"]["value"] == pytest.approx(found.arms[0].loss.value)
        assert document["methods"][arm["loss"]["method"]]["n_counts"] == "tasks"
        assert document["methods"][arm["tasks"][0]["loss"]["method"]]["n_counts"] == "seeds"
        assert [one["task"] for one in document["tasks"]] == ["one", "two"]
