import math
import time
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hpsearch.analysis import answers
from hpsearch.analysis.axis import Axis
from hpsearch.analysis.candidates import MOST_SCORED, OTHERS, Score, Scores, choose, score_candidates
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.inputs import Input, Inputs
from hpsearch.analysis.seeds import SeedEffect, seed_effect
from hpsearch.errors import InputError
from tests.calibration.simulate import CHANCE, PARAMETERS, Surface, design, trials

INPUTS = Inputs(tuple(Input.from_axis(Axis.from_parameter(n, p)) for n, p in PARAMETERS.items()))
NO_EFFECT = SeedEffect(3, 2, 0.01, 0.0, 0.0, 0.0, np.zeros(1), np.ones(1))


def simulated(
    n: int, cliff: bool, study: int, noise_only: bool = False, seeds: int = 3
) -> tuple[pd.DataFrame, SeedEffect]:
    rng = np.random.default_rng([study, n, int(cliff)])
    surface = Surface.draw(rng, cliff)
    if noise_only:
        object.__setattr__(surface, "size", np.zeros(3))
        object.__setattr__(surface, "product", 0.0)
    table = trials(surface, design("random", n, rng), seeds, rng)
    return summarize(table), seed_effect(table, "metrics.val_accuracy")


@cache
def scored(n: int, cliff: bool, study: int, noise_only: bool = False, seeds: int = 3, folds: int = 3) -> Scores:
    rows, effect = simulated(n, cliff, study, noise_only, seeds)
    found = score_candidates(rows, INPUTS, effect, CHANCE, study, folds)
    assert isinstance(found, Scores)
    return found


def rows_of(
    params: dict[str, object], mean: np.ndarray, seeds: int = 3, failed: np.ndarray | None = None
) -> pd.DataFrame:
    """Rows of `summarize`, one seed of spread 0.01; `failed` seeds of each scored CHANCE."""
    failed = np.zeros(len(mean)) if failed is None else failed
    trained = seeds - failed
    return pd.DataFrame(
        {
            "configuration_id": [str(i) for i in range(len(mean))],
            "n": seeds,
            "mean": (trained * mean + failed * CHANCE) / seeds,
            "sd": 0.01,
            "n_trained": trained,
            "mean_trained": np.where(trained > 0, mean, np.nan),
            "sd_trained": np.where(trained > 1, 0.01, np.nan),
            "n_not_trained": failed,
            **{f"params.{name}": values for name, values in params.items()},
        }
    )


def continuous(*names: str) -> tuple[Input, ...]:
    return tuple(Input.from_axis(Axis(name, "linear", 0.0, 1.0)) for name in names)


def line(n: int = 20, noise: float = 0.0) -> tuple[pd.DataFrame, Inputs]:
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, n)
    return rows_of({"x": x}, 0.5 + 0.3 * x + noise * rng.normal(size=n)), Inputs(continuous("x"))


def test_the_process_beats_forest_and_mean_on_smooth_surfaces() -> None:
    found = [scored(40, False, study) for study in range(5)]
    assert all(f.chosen == "process" and f.trains is None for f in found)
    assert {c.name for c in found[0].candidates} == {"process", "forest", "mean"}
    process, forest = (np.array([f[name].r2 for f in found]) for name in ("process", "forest"))
    assert process.mean() > forest.mean() + 0.05
    assert process.mean() > 0.6
    assert sum(f.explains for f in found) >= 4


def test_the_hurdle_beats_the_smooth_process_on_cliffs() -> None:
    # Twelve seeds: of three, chance decides too much of what is held out for a test with few studies.
    found = [scored(48, True, study, seeds=12) for study in range(7)]
    process, smooth = (np.array([f[name].r2 for f in found]) for name in ("process", "smooth process"))
    assert process.mean() > smooth.mean() + 0.01
    assert all(f.explains for f in found)
    for f in found:
        assert f.trains is not None and f.trains.n == 48 * 12
        assert f.trains.brier < 0.6 * f.trains.constant


def test_noise_is_explained_by_nothing() -> None:
    found = [scored(24, False, study, noise_only=True) for study in range(8)]
    assert sum(f.explains for f in found) <= 2
    assert np.median([f["process"].r2 for f in found]) < 0.05
    assert all(f.chosen != "forest" for f in found)
    nothing = next(f for f in found if not f.explains)
    assert nothing.describe().endswith("The surrogate explains nothing")


def test_a_straight_line_is_predicted_up_to_its_noise() -> None:
    rows, inputs = line(noise=0.01 / math.sqrt(3))
    found = score_candidates(rows, inputs, NO_EFFECT, math.nan)
    assert isinstance(found, Scores)
    process = found["process"]
    assert found.chosen == "process" and found.explains
    assert process.n == found.n == found.n_scored == 20
    assert process.rmse < 0.01
    total = (rows["mean"] - rows["mean"].mean()).pow(2).sum()
    assert process.r2 == pytest.approx(1 - 20 * process.rmse**2 / total, abs=2e-3)
    assert found.ceiling == pytest.approx(1 - 20 * 0.01**2 / 3 / total, abs=2e-3)
    assert found["mean"].r2 == found["mean"].error == 0
    assert found["forest"].error > process.error > 0


def test_what_no_process_follows_is_the_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.random(30), rng.normal(size=30)
    known = dict(zip(x, y, strict=True))
    monkeypatch.setitem(OTHERS, "forest", lambda train, x, seed: np.array([known[v] for v in x[:, 0]]) + 0.01)
    found = score_candidates(rows_of({"x": x}, y), Inputs(continuous("x")), NO_EFFECT, math.nan)
    assert isinstance(found, Scores)
    assert found.chosen == "forest" and found["forest"].rmse == pytest.approx(0.01)
    # All answers are the process's, whatever else may predict.
    assert not found.explains and found["process"].r2 < 0
    assert f"R² {found['process'].r2:.2f}" in found.describe()
    assert "explains nothing" in found.describe() and "forest 1.00" in found.describe()


@pytest.mark.parametrize(("chosen", "said"), [("forest", "a forest"), ("smooth process", "takes no account of")])
def test_what_predicts_better_than_the_surrogate_behind_the_answers_is_told(chosen: str, said: str) -> None:
    scores = Scores(
        (Score("process", 0.1, 0.57, 0.2, 24), Score(chosen, 0.05, 0.91, 0.02, 24)), chosen, True, 0.95, None, 24, 24, 5
    )
    model = SimpleNamespace(adaptive=0, surrogate=None, stopped=0, rows=[])
    share = SimpleNamespace(shift=None)
    told = answers._warnings(model, model, share, scores)  # type: ignore[arg-type]
    assert len(told) == 1 and said in told[0] and "(R² 0.91)" in told[0] and "(0.57 ± 0.20)" in told[0]


def test_the_forest_must_be_better_by_more_than_a_standard_error() -> None:
    rng = np.random.default_rng(0)
    process = 1 + rng.random(50)
    paired = rng.normal(size=50)
    paired = (paired - paired.mean()) / paired.std(ddof=1) * math.sqrt(50)  # the standard error of its mean is 1
    mean = process + 9.0
    for better, chosen in ((-0.5, "process"), (0.9, "process"), (1.1, "forest")):
        forest = process - better - paired
        assert choose({"process": process, "mean": mean, "forest": forest}) == chosen
    # Among a forest and a constant that are as good, the constant: it does not pretend.
    assert choose({"process": mean, "mean": process, "forest": process - 0.5 - paired}) == "mean"


def test_words() -> None:
    found = scored(24, True, 1, folds=5)
    text = found.describe()
    assert text.startswith("5-fold cross-validation over 24 configurations: R² 0.")
    assert "(process; " in text and "mean 0" in text
    assert "; seed noise allows at most " in text
    assert "whether a seed trains: Brier score 0." in text


def test_one_seed_gives_no_ceiling() -> None:
    rows, inputs = line()
    found = score_candidates(rows.assign(n=1, n_trained=1, sd=np.nan, sd_trained=np.nan), inputs, NO_EFFECT, math.nan)
    assert isinstance(found, Scores)
    assert math.isnan(found.ceiling) and "allows" not in found.describe()
    assert found.explains


def test_all_rows_of_a_point_are_held_out_together() -> None:
    rng = np.random.default_rng(1)
    x = np.tile(rng.random(12), 2)
    rows = rows_of(
        {"x": x}, np.tile(rng.normal(size=12), 2)
    )  # each point twice, with the same value that means nothing
    found = score_candidates(rows, Inputs(continuous("x")), NO_EFFECT, math.nan)
    assert isinstance(found, Scores)
    assert found["forest"].r2 < 0.5 and not found.explains  # split apart, a row would be known from its double


@pytest.mark.parametrize("n", [0, 7])
def test_too_few_configurations(n: int) -> None:
    rows, inputs = line()
    assert score_candidates(rows[:n], inputs, NO_EFFECT, math.nan) == (
        f"{n} configurations with a result where training worked: a score needs 8"
    )


def test_reasons() -> None:
    rows, inputs = line()
    some = np.r_[np.zeros(5), np.full(15, 3)]
    cases = {
        "no hyperparameter varied": (rows, Inputs(())),
        "the metric is constant": (rows.assign(mean=0.5, mean_trained=0.5), inputs),
        "0 configurations with a result where": (
            rows_of({"x": rows["params.x"]}, rows["mean"], failed=some * 0 + 3),
            inputs,
        ),
        "5 configurations with a result where": (rows_of({"x": rows["params.x"]}, rows["mean"], failed=some), inputs),
        "4 different configurations": (rows.assign(**{"params.x": np.tile([0.1, 0.2, 0.3, 0.4], 5)}), inputs),
    }
    for reason, (table, its_inputs) in cases.items():
        found = score_candidates(table, its_inputs, NO_EFFECT, CHANCE)
        assert isinstance(found, str) and found.startswith(reason)


def test_configurations_without_a_result_do_not_count() -> None:
    rows, inputs = line()
    missing = rows[:3].assign(n=0, n_trained=0, mean=np.nan, mean_trained=np.nan)
    one = score_candidates(rows, inputs, NO_EFFECT, math.nan, folds=2)
    two = score_candidates(pd.concat([rows, missing]), inputs, NO_EFFECT, math.nan, folds=2)
    assert one == two


def test_bad_input() -> None:
    rows, inputs = line()
    with pytest.raises(InputError, match="folds: 1; allowed: 2 or more"):
        score_candidates(rows, inputs, NO_EFFECT, math.nan, folds=1)
    failed = rows_of({"x": rows["params.x"]}, rows["mean"].to_numpy(), failed=np.r_[np.zeros(15), np.full(5, 3)])
    with pytest.raises(InputError, match="chance: nan, and some trials did not train"):
        score_candidates(failed, inputs, NO_EFFECT, math.nan)


def test_strings_inactive_inputs_and_few_failures() -> None:
    rng = np.random.default_rng(2)
    kind = np.array(["sgd", "sam", "asam"], dtype=object)[np.arange(36) % 3]
    lr, rho = rng.random(36), np.where(kind == "sgd", np.nan, rng.random(36))
    mean = 0.6 + 0.1 * (kind == "sam") + 0.05 * np.nan_to_num(rho) + 0.05 * lr + 0.005 * rng.normal(size=36)
    failed = np.r_[np.full(1, 3), np.zeros(35)]  # in the fold that holds it out all others trained
    rows = rows_of({"kind": kind, "lr": lr, "rho": rho}, mean, failed=failed)
    nominal = Input.from_axis(Axis("kind", "choice", choices=("sgd", "sam", "asam")))
    inputs = Inputs((nominal, *continuous("lr", "rho")))
    found = score_candidates(rows, inputs, NO_EFFECT, CHANCE)
    assert isinstance(found, Scores)
    assert all(math.isfinite(c.r2) and math.isfinite(c.error) for c in found.candidates)
    trained = score_candidates(rows[1:], inputs, NO_EFFECT, math.nan)
    assert isinstance(trained, Scores) and trained.chosen == "process" and trained["process"].r2 > 0.9


def test_many_inputs() -> None:
    rng = np.random.default_rng(4)
    names = [f"x{i}" for i in range(20)]
    x = {name: rng.random(30) for name in names}
    rows = rows_of(x, 0.5 + 0.2 * x["x3"] + 0.01 * rng.normal(size=30))
    found = score_candidates(rows, Inputs(continuous(*names)), NO_EFFECT, math.nan, folds=2)
    assert isinstance(found, Scores)
    assert found.chosen == "process" and found["process"].r2 > 0.5 and found.folds == 2


def test_of_very_many_a_part_is_scored_and_it_says_so() -> None:
    rows, inputs = line(3300, noise=0.01)
    begun = time.process_time()
    found = score_candidates(rows, inputs, NO_EFFECT, math.nan, folds=2)
    assert time.process_time() - begun < 15
    assert isinstance(found, Scores)
    assert (found.n, found.n_scored) == (3300, MOST_SCORED)
    assert f"over {MOST_SCORED} of 3,300 configurations" in found.describe()
    assert score_candidates(rows, inputs, NO_EFFECT, math.nan, folds=2) == found


def test_the_metrics_unit_changes_nothing() -> None:
    rows, inputs = line(noise=0.05)
    small = rows.assign(**{c: rows[c] * 1e-9 for c in ("mean", "sd", "mean_trained", "sd_trained")})
    one, two = (score_candidates(r, inputs, NO_EFFECT, math.nan) for r in (rows, small))
    assert isinstance(one, Scores) and isinstance(two, Scores)
    for a, b in zip(one.candidates, two.candidates, strict=True):
        assert b.r2 == pytest.approx(a.r2, abs=1e-3) and b.rmse == pytest.approx(a.rmse * 1e-9, rel=1e-2)
