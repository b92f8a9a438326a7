"""Importance along training: what a curve says at a fraction of the epochs, and shares against simulated truth."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import qmc
from synthetic import Arm, Parameter, Study

from hpsearch.analysis import along
from hpsearch.analysis.along import importance_along
from hpsearch.analysis.arms import describe_arms
from hpsearch.analysis.columns import standard
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.model import fit_model
from hpsearch.analysis.objective import make_objective
from hpsearch.analysis.so_far import at_fractions
from hpsearch.errors import InputError

CHANCE = 0.1
EPOCHS = 20
STUDY = Study({"sam": Arm({"rho": Parameter(0.01, 1.0, log=True), "lr": Parameter(0.01, 1.0, log=True)})})


@pytest.fixture(autouse=True, scope="module")
def calibrated():
    """Which intervals may be given is tested elsewhere: here all may."""
    names = ("first_order", "total", "marginal_curve")
    rows = [
        {"statistic": name, "surface": surface, "sampler": "qmc", "seeds": 1, "configurations": 8, "coverage": 0.95}
        for name in names
        for surface in ("smooth", "cliff")
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpsearch.analysis.calibration.read_table", lambda: pd.DataFrame(rows))
        yield


def row(values, final=None, status="complete", configuration="a", planned=10, epochs=None, arm="sam", **more):
    """One trial; `values` is its curve, by epoch from 1."""
    values = None if values is None else list(values)
    if epochs is None and values is not None:
        epochs = list(range(1, len(values) + 1))
    return {
        "trial_id": f"{configuration}-{more.get('seed', 0)}",
        "arm": arm,
        "configuration_id": configuration,
        "seed": 0,
        "status": status,
        "epochs_planned": planned,
        "metrics.val_accuracy": final,
        "curve.epoch": epochs,
        "curve.val_accuracy": values,
        **more,
    }


def look(*rows, fractions=along.FRACTIONS, name="val_accuracy"):
    table = standard(pd.DataFrame(list(rows)))
    return at_fractions(table, make_objective(table, name, True), fractions)


def seen(tables):
    """Per trial: (value, status) at each fraction; a value that is not there is None."""
    columns = [
        [(None if math.isnan(v) else v, s) for v, s in zip(table["metrics.val_accuracy"], table["status"], strict=True)]
        for table in tables.values()
    ]
    return [list(of_trial) for of_trial in zip(*columns, strict=True)]


def of(*values, status="complete"):
    return [(value, status) for value in values]


RISING = [k / 10 for k in range(1, 11)]


def test_a_complete_trial_has_its_curve_and_in_the_end_its_metric():
    tables = look(row(RISING, 0.97))
    assert list(tables) == [0.1, 0.25, 0.5, 1.0]
    assert seen(tables) == [of(0.1, 0.3, 0.5, 0.97)]  # a quarter of 10 epochs is 3, rounded up
    assert [table["at_epoch"].item() for table in tables.values()] == [1, 3, 5, 10]


def test_rounding_makes_no_further_epoch():
    assert 0.07 * 100 > 7
    tables = look(row([k / 100 for k in range(1, 101)], 1.0, planned=100), fractions=(0.07, 0.071, 1))
    assert seen(tables) == [of(0.07, 0.08, 1.0)]


def test_a_diverged_trial_trained_until_it_diverged():
    early = row([None], CHANCE, "diverged", "a")
    late = row([0.1, 0.2, 0.3, 0.4, None], CHANCE, "diverged", "b")  # in epoch 5
    later = row([0.1, 0.2, 0.3, 0.4, 0.5, None], CHANCE, "diverged", "c")
    gone = (CHANCE, "diverged")
    assert seen(look(row(RISING, 1.0, configuration="z"), early, late, later))[1:] == [
        [gone] * 4,
        [*of(0.1, 0.3), gone, gone],
        [*of(0.1, 0.3, 0.5), gone],
    ]


def test_who_diverges_before_the_first_evaluation_has_diverged_from_the_start():
    gone = row(None, CHANCE, "diverged", "b", epochs=[1, 2])
    nothing = row(None, CHANCE, "diverged", "c")
    assert seen(look(row(RISING, 1.0), gone, nothing))[1:] == [[(CHANCE, "diverged")] * 4]  # the third has no curve


def test_a_collapsed_trial_is_collapsed_all_along():
    trials = look(row([0.11] * 10, 0.12, "collapsed"))
    assert seen(trials) == [of(0.11, 0.11, 0.11, 0.12, status="collapsed")]


@pytest.mark.parametrize("status", ["stopped", "failed"])
def test_a_stopped_trial_is_no_loss_before_it_stopped(status):
    stopped = row(RISING[:3], None, status, "b")
    found = seen(look(row(RISING, 1.0), stopped, row(None, None, "failed", "c")))
    assert found[1:] == [[(0.1, "complete"), (0.3, "complete"), (None, status), (None, status)]]
    # At the end only final metrics count, also where it had got to its last epoch.
    assert seen(look(row(RISING, 0.9, status)))[0][-1] == (None, status)


def test_epochs_in_which_nothing_was_recorded_have_the_value_before():
    sparse = row([None, 0.2, None, None, 0.5, None, None, None, None, 0.9], 0.9)
    unfinished = row([None, 0.2, None, None, 0.5, None], None, "stopped", "b")
    tables = look(sparse, unfinished, fractions=(0.1, 0.4, 0.6, 0.7, 1))
    assert seen(tables)[0] == of(None, 0.2, 0.5, 0.5, 0.9)
    assert seen(tables)[1] == [*of(None, 0.2, 0.5), (None, "stopped"), (None, "stopped")]
    counts = summarize(tables[0.1], "val_accuracy")
    assert counts["n"].tolist() == [0, 0]


def test_every_trial_by_its_own_epochs():
    short, long = row([0.1, 0.2], 0.25, planned=2), row([k / 40 for k in range(1, 41)], 1.0, planned=40, seed=1)
    tables = look(short, long, row([0.5], 0.55, planned=1, seed=2))
    assert seen(tables) == [of(0.1, 0.1, 0.1, 0.25), of(0.1, 0.25, 0.5, 1.0), of(0.5, 0.5, 0.5, 0.55)]
    epochs = [table["at_epoch"].tolist() for table in tables.values()]
    assert epochs == [[1, 4, 1], [1, 10, 1], [1, 20, 1], [2, 40, 1]]


def test_epochs_that_the_table_does_not_say():
    """An import, or a user's function that diverged: as far as the other seeds, or the arm, went."""
    whole = row(RISING, 1.0, planned=None)
    pruned = row(RISING[:3], None, "stopped", "b", planned=None)
    diverged = row([0.1, 0.2, 0.3, None], CHANCE, "diverged", "c", planned=4)
    found = seen(look(whole, pruned, diverged))
    assert found[0] == of(0.1, 0.3, 0.5, 1.0)
    assert found[1] == [*of(0.1, 0.3), (None, "stopped"), (None, "stopped")]
    assert found[2] == [*of(0.1, 0.3), (CHANCE, "diverged"), (CHANCE, "diverged")]
    # Where epochs are searched its own configuration says it, and without one its own length stands.
    half = row(RISING[:6], 0.6, planned=6, configuration="d")
    sibling = row([0.1, 0.2, None], CHANCE, "diverged", "d", planned=3, seed=1)
    alone = row([0.1, 0.2, None], CHANCE, "diverged", "e", planned=3)
    found = seen(look(row(RISING, 1.0), half, sibling, alone, fractions=(0.3, 0.5, 0.7)))
    assert found[2] == [*of(0.2), (CHANCE, "diverged"), (CHANCE, "diverged")]  # epochs 2, 3 and 5
    assert found[3] == [*of(0.1, 0.2), (CHANCE, "diverged")]  # epochs 1, 2 and 3


def test_curves_out_of_order_and_as_arrays():
    shuffled = row([0.2, 0.3, 0.1], 0.3, planned=3, epochs=[2, 3, 1])
    arrays = row(None, 0.3, planned=3, seed=1) | {
        "curve.epoch": np.array([1, 2, 3]),
        "curve.val_accuracy": np.array([0.1, 0.2, 0.3]),
    }
    unnumbered = row([0.1, 0.2, 0.3], 0.3, planned=3, seed=2) | {"curve.epoch": None}
    assert seen(look(shuffled, arrays, unnumbered, fractions=(0.3, 0.6))) == [of(0.1, 0.2)] * 3


@pytest.mark.parametrize(
    ("rows", "name", "reason"),
    [
        (
            [row(RISING, 1.0, **{"metrics.test_accuracy": 0.9})],
            "test_accuracy",
            "no trial has a curve of test_accuracy",
        ),
        ([row(None, 1.0)], "val_accuracy", "no trial has a curve of val_accuracy"),
        ([row([0.5], 0.5, planned=1), row([0.6], 0.6, planned=1)], "val_accuracy", "recorded once a trial"),
        ([row([None] * 10, 0.5)], "val_accuracy", "no trial has a curve"),
    ],
    ids=["test metric", "no curves", "reported once", "nothing but nulls"],
)
def test_why_there_is_nothing_along_training(rows, name, reason):
    assert reason in look(*rows, name=name)
    table = standard(pd.DataFrame(rows))
    (found,) = importance_along(table, describe_arms(table, None), make_objective(table, name, True))
    assert reason in found.reason and found.sentence() == found.reason
    assert found.moments == () and found.without == len(rows)


def test_a_table_without_rows_or_curves_at_all():
    assert "no trial has a curve" in at_fractions(standard(pd.DataFrame()), objective(pd.DataFrame()))


@pytest.mark.parametrize("fractions", [(), (0, 1), (0.5, 0.1), (0.5, 0.5), (0.5, 1.1), (float("nan"),)])
def test_fractions_that_are_none(fractions):
    with pytest.raises(InputError, match=r"fractions: got .*; allowed: numbers in \(0, 1\]"):
        look(row(RISING, 1.0), fractions=fractions)


def test_a_curve_with_another_length_than_its_epochs_is_refused():
    with pytest.raises(InputError, match="curve.val_accuracy: has 2 values for the 3 of curve.epoch in trial 'a-0'"):
        look(row([0.1, 0.2], 0.2, epochs=[1, 2, 3]))


def objective(table, name="val_accuracy"):
    return make_objective(standard(table), name, True)


def simulated(n=32, seeds=2, epochs=EPOCHS, noise=0.004, cliff=None, product=0.0):
    """lr moves the metric early, rho late, in between both and their product; all linear, so shares are known.

    product: of the two, at all times. cliff: rho (0 to 1 along its range) above which a trial diverges right after
    half of training.
    """
    u = qmc.Sobol(2, seed=np.random.default_rng(3)).random(n)
    rng = np.random.default_rng(4)
    t = (np.arange(epochs) + 1) / epochs
    rows = []
    for k, (rho, lr) in enumerate(u):
        expected = 0.5 + slope_lr(t) * (lr - 0.5) + slope_rho(t) * (rho - 0.5)
        expected = expected + product * (lr - 0.5) * (rho - 0.5)
        for seed in range(seeds):
            curve = expected + noise * rng.standard_normal(epochs)
            fell = cliff is not None and rho > cliff
            values = [*curve[: epochs // 2], None] if fell else list(curve)
            rows.append(
                row(values, CHANCE if fell else curve[-1], "diverged" if fell else "complete", f"c{k}", epochs)
                | {"seed": seed, "params.rho": 0.01 * 100**rho, "params.lr": 0.01 * 100**lr}
                | {"sampling.sampler": "qmc", "trial_id": f"c{k}-{seed}"}
            )
    return standard(pd.DataFrame(rows))


def slope_lr(t):
    return 0.2 * (1 - t) + 0.01


def slope_rho(t):
    return 0.2 * t**2


def study_of(table, **more):
    (found,) = importance_along(table, describe_arms(table, STUDY), objective(table), STUDY, **more)
    return found


@pytest.fixture(scope="module")
def table():
    return simulated()


@pytest.fixture(scope="module")
def found(table, calibrated):
    return study_of(table)


def test_shares_along_training_hold_the_truth(found):
    assert found.reason == "" and found.without == 0 and [m.fraction for m in found.moments] == [0.1, 0.25, 0.5, 1.0]
    for moment in found.moments:
        slopes = np.array([slope_rho(moment.fraction), slope_lr(moment.fraction)])
        truth = slopes**2 / (slopes**2).sum()
        assert [i.parameter for i in moment.importances] == ["rho", "lr"]
        for importance, share in zip(moment.importances, truth, strict=True):
            for answer in (importance.first, importance.total):
                assert answer.n == 32 == moment.n and answer.unit == "share of variance"
                assert answer.low - 0.01 <= share <= answer.high + 0.01
                assert abs(answer.value - share) < 0.03 and answer.high - answer.low < 0.15
        sd = math.sqrt((slopes**2).sum() / 12)
        assert moment.spread.low <= sd * 1.001 and sd * 0.999 <= moment.spread.high
        assert abs(moment.observed - sd) < 0.1 * sd and moment.reason == "" and moment.not_trained == 0
    assert [m.epochs for m in found.moments] == [(2, 2), (5, 5), (10, 10), (20, 20)]


def test_total_shares_have_the_interaction_and_first_order_ones_have_not():
    (moment,) = study_of(simulated(product=0.6), fractions=(0.5,)).moments
    variances = slope_rho(0.5) ** 2 / 12, slope_lr(0.5) ** 2 / 12, 0.6**2 / 144
    for importance, own in zip(moment.importances, variances, strict=False):
        first, total = own / sum(variances), (own + variances[2]) / sum(variances)
        assert total > first + 0.3
        assert importance.first.low <= first <= importance.first.high < importance.total.low
        assert importance.total.low <= total <= importance.total.high


def test_marginal_curves_along_training_hold_the_truth(found):
    for moment in found.moments:
        for curve, slope in zip(moment.curves, (slope_rho, slope_lr), strict=True):
            u = np.log(np.array(curve.values) / 0.01) / math.log(100)
            exact = 0.5 + slope(moment.fraction) * (u - 0.5)
            assert curve.mean.shape == curve.low.shape == exact.shape and curve.why == ""
            assert np.abs(curve.mean - exact).max() < 0.01
            # A pointwise band of 95 % may miss some of the points.
            assert ((curve.low - 0.001 <= exact) & (exact <= curve.high + 0.001)).mean() > 0.8
            assert (curve.low < curve.high).all()


def test_the_sentence_names_a_leader_only_where_intervals_are_apart(found):
    text = found.sentence()
    assert text.startswith("lr matters most from 10 % to 50 % (total ") and text.count("total") == 2
    assert ", rho at 100 % (total 1.00, 0.9" in text
    # At about 58 % both slopes are equal.
    early = study_of(simulated(noise=0.05), fractions=(0.05, 0.58, 0.9, 1.0)).sentence()
    assert early.startswith("lr matters most at 5 % (") and ", rho from 90 % on (total " in early and "58" not in early


def test_no_leader_where_nothing_can_be_told(table):
    rng = np.random.default_rng(0)
    noise = table.assign(**{"curve.val_accuracy": [list(rng.random(EPOCHS)) for _ in range(len(table))]})
    found = study_of(noise, fractions=(0.1, 0.5))
    assert found.sentence() == "no hyperparameter can be said to matter most at any time: the intervals overlap"


def test_divergence_counts_from_when_it_happens():
    found = study_of(simulated(cliff=0.8), fractions=(0.25, 0.5, 0.75, 1.0))
    before, half, after, end = found.moments
    assert before.not_trained == half.not_trained == 0.0  # the tenth of 20 epochs is the last with a value
    table = simulated(cliff=0.8)
    assert after.not_trained == end.not_trained == pytest.approx((table["status"] == "diverged").mean()) and end.n == 32
    shares = {m.fraction: m.importances[0].total.value for m in found.moments}
    assert shares[0.75] > 0.9 > 0.3 > shares[0.5]  # rho decides who trains
    assert after.spread.value > 0.1 > half.spread.value
    assert after.curves[0].mean[0] - after.curves[0].mean[-1] > 0.25


def test_early_stopping_costs_nothing_before_it_and_intervals_after_it(table):
    worst = table["params.rho"] < table["params.rho"].median()
    stopped = table.assign(
        **{
            "status": np.where(worst, "stopped", "complete"),
            "metrics.val_accuracy": table["metrics.val_accuracy"].where(~worst),
            "curve.epoch": [e[:5] if w else e for e, w in zip(table["curve.epoch"], worst, strict=True)],
            "curve.val_accuracy": [v[:5] if w else v for v, w in zip(table["curve.val_accuracy"], worst, strict=True)],
        }
    )
    early, quarter, half, end = study_of(stopped).moments
    whole = study_of(table).moments
    assert early.importances == whole[0].importances and quarter.importances == whole[1].importances
    assert (early.stopped, quarter.stopped, half.stopped, end.stopped) == (0, 0, 32, 32)
    assert half.n == end.n == 16 and end.not_trained == 0
    for answer in (half.importances[0].total, end.importances[1].first, end.spread):
        assert not answer.has_interval and math.isfinite(answer.value)
        assert answer.why == "32 of 64 trials were stopped early: the others were selected"
    assert np.isnan(end.curves[0].low).all() and np.isfinite(end.curves[0].mean).all() and end.curves[0].why
    assert study_of(stopped).sentence().startswith("lr matters most from 10 % to 25 %")


def test_confirmation_runs_and_other_arms_are_apart(table, found):
    confirm = table.head(8).assign(**{"sampling.confirm": True, "metrics.val_accuracy": 5.0, "seed": 100})
    confirm = pd.concat([confirm, confirm.assign(**{"curve.val_accuracy": None})])
    other = table.head(4).assign(arm="sgd", **{"curve.val_accuracy": None})
    both = standard(pd.concat([table, confirm, other], ignore_index=True))
    sam, sgd = importance_along(both, describe_arms(both, STUDY), objective(both), STUDY)
    assert [m.importances for m in sam.moments] == [m.importances for m in found.moments] and sam.without == 0
    assert sgd.arm == "sgd" and sgd.without == 4 and "no trial has a curve" in sgd.reason


def test_trials_without_a_curve_are_left_out_and_counted(table):
    part = table.assign(**{"curve.val_accuracy": [None] * 6 + list(table["curve.val_accuracy"][6:])})
    found = study_of(part)
    assert found.without == 6 and {m.n for m in found.moments} == {29}


def test_a_model_of_the_end_is_used_where_it_is_of_the_same_trials(table, found, monkeypatch):
    rows = summarize(table)
    (facts,) = describe_arms(table, STUDY)
    model = fit_model(table, rows, facts, objective(table), STUDY, True)
    fits = []

    def counting(*arguments):
        fits.append(arguments)
        return fit_model(*arguments)

    monkeypatch.setattr(along, "fit_model", counting)
    again = study_of(table, final={"sam": model})
    assert len(fits) == 3 and again.moments[-1].importances == found.moments[-1].importances
    part = table.assign(**{"curve.val_accuracy": [None] * 6 + list(table["curve.val_accuracy"][6:])})
    assert study_of(part, final={"sam": model}, fractions=(0.5, 1.0)).moments[-1].n == 29
    assert len(fits) == 5


def test_few_epochs_are_fitted_once(monkeypatch):
    fits = []

    def counting(*arguments):
        fits.append(arguments)
        return fit_model(*arguments)

    monkeypatch.setattr(along, "fit_model", counting)
    found = study_of(simulated(epochs=2))
    assert len(fits) == 2 and [m.fraction for m in found.moments] == [0.1, 0.25, 0.5, 1.0]
    assert [m.epochs for m in found.moments] == [(1, 1), (1, 1), (1, 1), (2, 2)]
    assert found.moments[0].importances == found.moments[2].importances


def test_too_few_configurations_and_constant_metrics_say_so():
    few = simulated(n=4)
    found = study_of(few)
    assert all("a surface needs 8" in m.reason and m.importances == () and m.spread is None for m in found.moments)
    assert "a surface needs 8" in found.sentence() and all(m.n == 4 for m in found.moments)
    table = simulated()
    flat = [[0.5] * 5 + values[5:] for values in table["curve.val_accuracy"]]
    found = study_of(table.assign(**{"curve.val_accuracy": flat}), fractions=(0.25, 1.0))
    assert found.moments[0].reason == "the metric is constant" and found.moments[0].observed == 0.0
    assert found.sentence().startswith("rho matters most at 100 %")


def test_what_an_adaptive_sampler_chose_is_left_out_unless_the_others_are_too_few(table):
    chosen = table["configuration_id"].isin([f"c{k}" for k in range(12)])
    mixed = study_of(table.assign(**{"sampling.sampler": np.where(chosen, "tpe", "qmc")}), fractions=(0.5, 1.0))
    assert {m.n for m in mixed.moments} == {20} and mixed.moments[0].importances[0].total.has_interval
    only = study_of(table.assign(**{"sampling.sampler": "tpe"}), fractions=(0.5, 1.0))
    assert {m.n for m in only.moments} == {32} and not only.moments[0].importances[0].total.has_interval
    few = table["configuration_id"].isin([f"c{k}" for k in range(7)])
    mixed = study_of(table.assign(**{"sampling.sampler": np.where(few, "qmc", "tpe")}), fractions=(1.0,))
    assert mixed.moments[0].n == 32
    assert "can be said to matter most" in only.sentence() and "overlap" not in only.sentence()


def test_one_hyperparameter_leads_nobody(table):
    alone = study_of(table.assign(**{"params.lr": 0.1}), fractions=(0.5, 1.0))
    assert alone.sentence() == "rho is the only hyperparameter that varied"
