import dataclasses

import pandas as pd
import pytest
from synthetic import STUDY, Arm, digits_table, small_table, trial
from synthetic import analyze_tables as analyze

from hpsearch.errors import InputError


def test_a_whole_study() -> None:
    table = digits_table()
    analysis = analyze(table, STUDY)
    assert analysis.objective is not None and analysis.objective.name == "val_accuracy"
    assert analysis.objective.maximize and analysis.objective.share and not analysis.guessed
    assert analysis.test is not None and analysis.test.column == "metrics.test_accuracy"
    assert [a.name for a in analysis.arms] == list(STUDY.arms)
    assert len({(s.arm, s.x.axis.name, s.y.axis.name) for s in analysis.surfaces}) == 1 + 3 + 3 + 3
    run = analysis.overview
    assert run.n_trials == len(table) and run.seeds == (0, 1, 2) and run.confirm_seeds == tuple(range(1000, 1005))
    assert run.totals["flops"].amount == pytest.approx(table["cost.flops"].sum())
    assert run.counts["trials"].sum() == len(table)
    assert run.counts[["complete", "diverged", "collapsed", "failed", "stopped"]].sum().sum() == len(table)
    assert run.errors == {"RuntimeError: worker died": 1, "MemoryError: out of memory": 1}
    assert run.hardware["threads"] == {"1": len(table)}


def test_the_table_is_not_changed() -> None:
    table = digits_table(configurations=6)
    before = table.copy()
    analyze(table, STUDY)
    pd.testing.assert_frame_equal(table, before)


def test_without_a_study_axes_and_objective_are_guessed() -> None:
    analysis = analyze(digits_table())
    arms = {a.name: a for a in analysis.arms}
    assert analysis.guessed
    assert {n: c.axis.kind for n, c in arms["fsam"].cells.items()} == {
        "rho": "log",
        "ema_decay": "linear",
        "lr": "log",
    }
    assert arms["fsam"].fixed == {"sigma": 1.0, "num_shards": 1.0}


@pytest.mark.parametrize(
    ("columns", "name", "maximize"),
    [
        (["val_loss", "val_accuracy"], "val_accuracy", True),
        (["test_accuracy", "val_loss"], "val_loss", False),
        (["depth", "val_f1"], "val_f1", True),
        (["score"], "score", True),
    ],
)
def test_guessed_objective(columns: list[str], name: str, maximize: bool) -> None:
    row = {
        "arm": "a",
        "configuration_id": "c",
        "status": "complete",
        **{f"metrics.{c}": 0.5 for c in columns},
    }
    objective = analyze(pd.DataFrame([row])).objective
    assert objective is not None and (objective.name, objective.maximize) == (name, maximize)


def test_given_objectives_overrule() -> None:
    analysis = analyze(small_table(trial(test=0.5)), objectives={"test_accuracy": "minimize"})
    assert analysis.objective is not None and not analysis.objective.maximize
    with pytest.raises(InputError, match="maximize or minimize"):
        analyze(small_table(trial()), objectives={"val_accuracy": "up"})


def test_accuracies_beyond_one_are_not_shares() -> None:
    objective = analyze(small_table(trial(value=91.0))).objective
    assert objective is not None and not objective.share


def test_an_empty_table() -> None:
    analysis = analyze(pd.DataFrame())
    assert not analysis.measured and analysis.objective is None
    assert (analysis.arms, analysis.best, analysis.fronts, analysis.surfaces) == ((), (), (), ())


def test_an_empty_table_of_a_study_still_names_its_arms() -> None:
    analysis = analyze(pd.DataFrame(), STUDY)
    assert [a.name for a in analysis.arms] == list(STUDY.arms)
    assert not analysis.measured and analysis.best == ()


def test_only_failed_trials() -> None:
    analysis = analyze(
        small_table(trial(value=None, status="failed", rho=0.1)), objectives={"val_accuracy": "maximize"}
    )
    assert not analysis.measured and analysis.best == () and analysis.failures == ()


def test_all_diverged() -> None:
    rows = [trial(configuration=f"c{i}", value=0.1, status="diverged", rho=0.1 * (i + 1)) for i in range(3)]
    analysis = analyze(small_table(*rows))
    assert analysis.measured
    assert (analysis.failures[0].n_not_trained, analysis.failures[0].regions) == (3, ())


def test_an_arm_without_parameters() -> None:
    study = dataclasses.replace(STUDY, arms={"sgd": Arm({}, {"lr": 0.1})})
    analysis = analyze(small_table(trial(arm="sgd", value=0.9)), study)
    assert analysis.arms[0].cells == {} and analysis.surfaces == ()
    assert analysis.best[0].params == {} and analysis.arms[0].fixed == {"lr": 0.1}


def test_an_arm_that_the_study_does_not_know_is_kept() -> None:
    table = small_table(trial(arm="old", value=0.9, rho=0.1), trial(arm="old", configuration="b", rho=0.2))
    analysis = analyze(table, STUDY)
    assert analysis.arms[-1].name == "old" and list(analysis.arms[-1].cells) == ["rho"]


def test_a_conditional_parameter() -> None:
    rows = [
        trial(configuration=f"c{i}", value=0.5 + i / 100, rho=0.1 * (i + 1), sigma=None if i % 2 else i / 10)
        for i in range(10)
    ]
    analysis = analyze(small_table(*rows))
    (found,) = analysis.surfaces
    assert found.cells["n_configurations"].sum() == 5


def test_a_searched_parameter_without_a_column_is_no_error() -> None:
    analysis = analyze(small_table(trial(arm="fsam", value=0.9, rho=0.1)), STUDY)
    assert analysis.surfaces == () and len(analysis.configurations) == 1


def test_seconds_that_some_trials_lack_are_said_to_be_unknown() -> None:
    total = analyze(small_table(trial(samples=10.0), trial(seed=1, samples=None))).overview.totals["backward_samples"]
    assert (total.amount, total.n_known, total.n_unknown) == (10.0, 1, 1)
