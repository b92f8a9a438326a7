import time
import warnings
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from known import Known, additive, g_function, ishigami
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from synthetic import STUDY, digits_table

from hpsearch.analysis import crosscheck
from hpsearch.analysis.arms import ArmFacts, describe_arms
from hpsearch.analysis.axis import Axis
from hpsearch.analysis.cells import Cells
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.crosscheck import CrossCheck, cross_check
from hpsearch.analysis.forest import forest_shares
from hpsearch.analysis.objective import Objective

Floats = NDArray[np.float64]

ACCURACY = Objective("val_accuracy", "metrics.val_accuracy", maximize=True, share=True)
LOSS = Objective("val_loss", "metrics.val_loss", maximize=False, share=False)
RHO = Axis("rho", "log", 0.01, 2.0)
LR = Axis("lr", "log", 0.01, 1.0)
EMA = Axis("ema_decay", "linear", 0.5, 0.99)
SHARDS = Axis("num_shards", "choice", choices=(1, 2, 4, 8))


def arm(*axes: Axis, name: str = "sam") -> ArmFacts:
    return ArmFacts(name, {a.name: Cells(a, values=(0,)) for a in axes}, {})


def frame(mean: Any, name: str = "sam", **params: Any) -> pd.DataFrame:
    return pd.DataFrame({"arm": name, "mean": mean, **{f"params.{k}": v for k, v in params.items()}})


def drawn(n: int, seed: int = 0) -> tuple[dict[str, Any], Floats]:
    """Parameters of RHO, EMA and SHARDS, and a metric of which rho explains most, without interactions."""
    rng = np.random.default_rng(seed)
    u = rng.random((n, 2))
    shards = rng.choice(SHARDS.choices, n)
    y = 0.9 + 0.04 * u[:, 0] + 0.01 * u[:, 1] + 0.01 * (shards == 8)
    return {"rho": 0.01 * 200 ** u[:, 0], "ema_decay": 0.5 + 0.49 * u[:, 1], "num_shards": shards}, y


def checked(
    configurations: pd.DataFrame, facts: ArmFacts, objective: Objective = ACCURACY, seed: int = 0
) -> CrossCheck:
    found = cross_check(configurations, facts, objective, seed)
    assert found is not None
    return found


def values(evaluation: crosscheck.Evaluation) -> dict[str, float]:
    return {name: found.value for name, found in evaluation.importances.items() if found.value is not None}


def study(space: dict[str, Any], params: dict[str, Any], y: Floats, direction: str) -> optuna.Study:
    made = optuna.create_study(direction=direction)
    rows = [{k: v[i].item() for k, v in params.items()} for i in range(len(y))]
    made.add_trials([optuna.create_trial(params=r, distributions=space, value=v) for r, v in zip(rows, y, strict=True)])
    return made


@pytest.mark.parametrize("levels", [None, 4])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_forest_gives_what_optunas_evaluator_gives(levels: int | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    u = rng.random((40, 3))
    if levels is not None:
        u = (np.floor(u * levels) + 0.5) / levels  # many equal points
    y = np.sin(6 * u[:, 0]) + 4 * u[:, 0] * u[:, 1] + rng.normal(0, 0.1, 40)
    names = ["a", "b", "c"]
    made = study(dict.fromkeys(names, FloatDistribution(0, 1)), dict(zip(names, u.T, strict=True)), y, "minimize")
    theirs = FanovaImportanceEvaluator(seed=seed).evaluate(made, params=names)
    shares, _ = forest_shares(u, y, seed)
    np.testing.assert_allclose(shares, [theirs[name] for name in names], rtol=1e-7, atol=1e-10)
    assert shares.max() < 0.9  # the agreement is not about trivial numbers


@pytest.mark.parametrize("function", [additive(), g_function((0.0, 1.0, 9.0)), ishigami()], ids=lambda f: f.name)
def test_with_many_points_the_forest_finds_the_first_order_indices(function: Known) -> None:
    u = np.random.default_rng(0).random((1500, function.d))
    shares, fit = forest_shares(u, function(u), 0)
    np.testing.assert_allclose(shares, function.first, atol=0.08)
    assert 0.9 < fit < 1


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_unit_of_the_metric_does_not_matter(scale: float) -> None:
    u = np.random.default_rng(0).random((60, 3))
    y = additive((3.0, 2.0, 1.0))(u)
    shares, fit = forest_shares(u, scale * y, 0)
    np.testing.assert_allclose(shares, forest_shares(u, y, 0)[0], atol=0.01)
    assert fit > 0.5


def test_a_log_range_is_weighed_evenly_in_the_logarithm() -> None:
    rng = np.random.default_rng(0)
    u = rng.random((600, 2))
    rho, ema = 0.01 * 200 ** u[:, 0], 0.5 + 0.49 * u[:, 1]
    y = np.where(u[:, 0] > 0.9, 0.0, 1.0) + u[:, 1]  # a cliff at rho 1.18
    found = values(checked(frame(y, rho=rho, ema_decay=ema), arm(RHO, EMA)).fanova)
    assert found["rho"] == pytest.approx(0.09 / (0.09 + 1 / 12), abs=0.04)  # 10 % lie beyond the cliff: 0.1 * 0.9
    # On plain values, as Optuna's evaluator has it, 41 % do.
    plain, _ = forest_shares(np.column_stack([(rho - 0.01) / 1.99, u[:, 1]]), y, 0)
    assert plain[0] == pytest.approx(0.41 * 0.59 / (0.41 * 0.59 + 1 / 12), abs=0.04)


def test_choices_and_whole_numbers_are_weighed_evenly() -> None:
    rng = np.random.default_rng(1)
    n = 800
    kind, steps, x = rng.integers(0, 4, n), rng.integers(1, 5, n), rng.random(n)
    names = np.array([True, 1, "1", "sam"], dtype=object)  # four different choices
    y = 1.0 * (kind == 1) + 1.0 * (steps == 1) + x
    facts = arm(
        Axis("kind", "choice", choices=tuple(names)),
        Axis("interval", "linear", 1, 4, integer=True),
        Axis("x", "linear", 0, 1),
    )
    found = checked(frame(y, kind=names[kind], interval=steps, x=x), facts)
    whole = 2 * 3 / 16 + 1 / 12  # an indicator of one in four has variance 3/16, x has 1/12
    assert values(found.fanova)["kind"] == pytest.approx(3 / 16 / whole, abs=0.03)
    assert values(found.fanova)["interval"] == pytest.approx(3 / 16 / whole, abs=0.03)
    assert values(found.fanova)["x"] == pytest.approx(1 / 12 / whole, abs=0.03)
    assert list(found.fanova.importances) == ["kind", "interval", "x"]
    assert all(v > 0 for v in values(found.ped_anova).values())


@pytest.mark.parametrize("objective", [ACCURACY, LOSS], ids=lambda o: o.name)
def test_ped_anova_is_optunas_on_the_declared_ranges(objective: Objective) -> None:
    params, y = drawn(80)
    params["interval"] = np.random.default_rng(5).integers(1, 5, 80)
    found = checked(
        frame(y, **params), arm(RHO, EMA, SHARDS, Axis("interval", "linear", 1, 4, integer=True)), objective
    )
    space = {
        "rho": FloatDistribution(0.01, 2.0, log=True),
        "ema_decay": FloatDistribution(0.5, 0.99),
        "num_shards": CategoricalDistribution(SHARDS.choices),
        "interval": IntDistribution(1, 4),
    }
    made = study(space, params, y, "maximize" if objective.maximize else "minimize")
    evaluator = PedAnovaImportanceEvaluator()
    theirs = get_param_importances(made, evaluator=evaluator)
    for name, importance in found.ped_anova.importances.items():
        assert importance.relative == pytest.approx(theirs[name])
        assert importance.value == pytest.approx(evaluator.evaluate(made)[name])
    assert (found.n_best, found.ped_anova.n) == (8, 80)


def test_the_direction_decides_what_the_best_are() -> None:
    """The best share one value of `a` when maximised, one of `b` when minimised."""
    rng = np.random.default_rng(2)
    a, b = rng.random(200), rng.random(200)
    y = np.where(a > 0.9, 1 + a, np.where(b > 0.9, -b, 0.001 * rng.random(200)))
    facts = arm(Axis("a", "linear", 0, 1), Axis("b", "linear", 0, 1))
    up, down = (checked(frame(y, a=a, b=b), facts, o) for o in (ACCURACY, LOSS))
    first = [max(values(c.ped_anova).items(), key=lambda item: item[1])[0] for c in (up, down)]
    assert first == ["a", "b"]
    assert values(up.fanova) == values(down.fanova)  # a variance has no direction


def test_relative_importances_sum_to_one_and_shares_do_not() -> None:
    u = np.random.default_rng(0).random((500, 3))
    facts = arm(*(Axis(f"x{i}", "linear", 0, 1) for i in range(3)))
    found = checked(frame(ishigami()(u), **{f"x{i}": u[:, i] for i in range(3)}), facts)
    for evaluation in (found.fanova, found.ped_anova):
        assert sum(i.relative or 0 for i in evaluation.importances.values()) == pytest.approx(1)
    assert sum(values(found.fanova).values()) < 0.9  # a quarter of Ishigami's variance is interaction


def test_conditional_and_constant_hyperparameters_have_a_reason() -> None:
    params, y = drawn(60)
    params["ema_decay"] = np.where(np.arange(60) % 3 == 0, np.nan, params["ema_decay"])
    params["num_shards"] = 4
    facts = arm(RHO, EMA, SHARDS, Axis("sigma", "linear", 0, 1))
    found = checked(frame(y, **params), facts)
    reasons = {name: i.reason for name, i in found.fanova.importances.items()}
    assert reasons == {
        "rho": None,
        "ema_decay": "conditional: 20 of 60 configurations do not have it",
        "num_shards": "it never varied",
        "sigma": "no configuration has a value of it",
    }
    assert found.fanova.importances["ema_decay"].value is None
    assert found.fanova.importances["rho"].relative == 1
    # PED-ANOVA takes conditional ones.
    assert set(values(found.ped_anova)) == {"rho", "ema_decay"}
    assert "not whether it was active" in found.ped_anova.meaning
    assert found.ped_anova.importances["num_shards"].reason == "it never varied"


@pytest.mark.parametrize(
    ("n", "constant", "fanova", "ped_anova"),
    [
        (1, False, "one configuration has a mean of", "one configuration has a mean of"),
        (11, False, "11 configurations; a forest needs at least 12", "the best 10 % of 11 configurations are 2"),
        (60, True, "val_accuracy is 0.9 in all 60 configurations", "val_accuracy is 0.9 in all 60 configurations"),
        (40, False, None, "the best 10 % of 40 configurations are 4; Optuna advises at least 5, that is 41"),
        (41, False, None, None),
    ],
)
def test_too_little_to_go_by(n: int, constant: bool, fanova: str | None, ped_anova: str | None) -> None:
    params, y = drawn(n)
    found = checked(frame(0.9 if constant else y, **params), arm(RHO, EMA, SHARDS))
    for evaluation, reason in ((found.fanova, fanova), (found.ped_anova, ped_anova)):
        for importance in evaluation.importances.values():
            assert (importance.value is None) == (reason is not None)
            assert (importance.reason or "").startswith(reason or "")
        assert evaluation.n == (n if reason is None else 0)


def test_none_without_means_or_hyperparameters() -> None:
    params, y = drawn(20)
    assert cross_check(frame(np.full(20, np.nan), **params), arm(RHO), ACCURACY) is None
    assert cross_check(frame(y, name="sgd", **params), arm(RHO), ACCURACY) is None
    assert cross_check(frame(y, **params), arm(), ACCURACY) is None
    assert cross_check(summarize(pd.DataFrame()), arm(RHO), ACCURACY) is None


def test_only_the_arms_configurations_with_a_mean_enter() -> None:
    params, y = drawn(60)
    alone = checked(frame(y, **params), arm(RHO, EMA, SHARDS))
    other = frame(np.random.default_rng(0).random(60), name="fsam", **params)
    unmeasured = frame([np.nan, np.inf], rho=[0.1, 0.2], ema_decay=[0.9, 0.9], num_shards=[1, 1])
    both = pd.concat([other, frame(y, **params), unmeasured], ignore_index=True)
    assert checked(both, arm(RHO, EMA, SHARDS)) == alone
    assert alone.n == 60


def test_values_outside_the_declared_range_widen_it() -> None:
    params, y = drawn(60)
    params["rho"] = params["rho"].copy()
    params["rho"][:2] = [0.001, 5.0]
    params["num_shards"] = np.where(np.arange(60) == 3, 16, params["num_shards"])
    found = checked(frame(y, **params), arm(RHO, EMA, SHARDS))
    wide = checked(
        frame(y, **params),
        arm(Axis("rho", "log", 0.001, 5.0), EMA, Axis("num_shards", "choice", choices=(1, 2, 4, 8, 16))),
    )
    assert (found.fanova, found.ped_anova) == (wide.fanova, wide.ped_anova)
    params["rho"][0] = 0.0  # a log range cannot hold it
    zero = checked(frame(y, **params), arm(RHO, EMA))
    assert zero.fanova == checked(frame(y, **params), arm(Axis("rho", "linear", 0, 5), EMA)).fanova
    assert zero.n == 60


def test_whole_numbers_that_are_not_whole_are_read_as_real_ones() -> None:
    x = np.linspace(1, 4, 50)
    found = checked(frame(x, interval=x), arm(Axis("interval", "linear", 1, 4, integer=True)))
    assert values(found.fanova) == {"interval": pytest.approx(1)}
    assert values(found.ped_anova)["interval"] > 0


def test_a_log_range_of_whole_numbers() -> None:
    x = np.random.default_rng(0).integers(1, 65, 60)
    found = checked(frame(np.log(x), m=x), arm(Axis("m", "log", 1, 64, integer=True)))
    assert values(found.fanova) == {"m": pytest.approx(1)}
    assert values(found.ped_anova)["m"] > 0


def test_noise_is_called_noise() -> None:
    params, y = drawn(100)
    noise = checked(frame(np.random.default_rng(9).random(100), **params), arm(RHO, EMA, SHARDS))
    assert noise.forest_fit is not None and noise.forest_fit <= 0
    assert noise.fanova.caution is not None and "say nothing" in noise.fanova.caution
    signal = checked(frame(y, **params), arm(RHO, EMA, SHARDS))
    assert signal.forest_fit is not None and signal.forest_fit > 0.8
    assert signal.fanova.caution is None
    assert f"explains {signal.forest_fit:.0%}" in signal.fanova.meaning


def test_few_best_configurations_are_a_caution_and_ties_count() -> None:
    params, y = drawn(60)
    few = checked(frame(y, **params), arm(RHO, EMA, SHARDS))
    assert (few.n_best, few.ped_anova.caution) == (
        6,
        "Only 6 configurations are among the best: the order is uncertain.",
    )
    tied = checked(frame(np.minimum(y, np.sort(y)[-20]), **params), arm(RHO, EMA, SHARDS))
    assert (tied.n_best, tied.ped_anova.caution) == (20, None)
    assert "(20 configurations)" in tied.ped_anova.meaning
    lost = checked(frame(-np.minimum(y, np.sort(y)[-20]), **params), arm(RHO, EMA, SHARDS), LOSS)
    assert lost.n_best == 20


def test_of_very_many_configurations_a_random_subset_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crosscheck, "MOST_CONFIGURATIONS", 60)
    params, y = drawn(100)
    facts, rows = arm(RHO, EMA, SHARDS), frame(y, **params)
    found = checked(rows, facts, seed=1)
    assert (found.n, found.fanova.n, found.ped_anova.n) == (100, 60, 60)
    for evaluation in (found.fanova, found.ped_anova):
        assert "A random 60 of 100 configurations were used." in evaluation.meaning
    assert found == checked(rows, facts, seed=1)
    assert values(found.ped_anova) != values(checked(rows, facts, seed=2).ped_anova)


def test_the_seed_is_the_forests() -> None:
    params, y = drawn(50)
    facts, rows = arm(RHO, EMA, SHARDS), frame(y, **params)
    assert checked(rows, facts, seed=0) == checked(rows, facts, seed=0)
    assert values(checked(rows, facts, seed=0).fanova) != values(checked(rows, facts, seed=1).fanova)
    checked(rows, facts, seed=2**40)  # scikit-learn takes 32 bits


def test_nothing_is_left_behind_and_nothing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    params, y = drawn(41)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    state, filters = np.random.get_state()[1].copy(), list(warnings.filters)  # type: ignore[union-attr]
    try:
        checked(frame(y, **params), arm(RHO, EMA, SHARDS))
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        optuna.logging.set_verbosity(before)
    assert warnings.filters == filters
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # type: ignore[index]
    assert capfd.readouterr() == ("", "")


def test_optuna_speaks_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(crosscheck, "forest_shares", fail)
    params, y = drawn(41)
    before = optuna.logging.get_verbosity()
    with pytest.raises(MemoryError):
        cross_check(frame(y, **params), arm(RHO), ACCURACY)
    assert optuna.logging.get_verbosity() == before


@pytest.mark.parametrize(("n", "d", "seconds"), [(300, 4, 2), (300, 20, 5), (3300, 4, 10)])
def test_it_is_fast(n: int, d: int, seconds: float) -> None:
    u = np.random.default_rng(0).random((n, d))
    facts = arm(*(Axis(f"x{i:02}", "linear", 0, 1) for i in range(d)))
    rows = frame(u[:, 0] + u[:, 1] ** 2, **{f"x{i:02}": u[:, i] for i in range(d)})
    start = time.process_time()
    found = checked(rows, facts)
    assert time.process_time() - start < seconds
    assert list(values(found.fanova)) == list(facts.cells)
    assert found.fanova.n == n


def test_a_made_up_run() -> None:
    table = digits_table()
    configurations = summarize(table)
    for facts in describe_arms(table, STUDY):  # type: ignore[arg-type]
        found = checked(configurations, facts)
        assert list(found.fanova.importances) == list(found.ped_anova.importances) == list(facts.cells)
        if "rho" in facts.cells:  # cliffs in rho: it explains most of the variance
            assert max(values(found.fanova).items(), key=lambda item: item[1])[0] == "rho"
