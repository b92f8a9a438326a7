import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysed import analysis
from synthetic import small_table, trial

from hpsearch.errors import InputError
from hpsearch.figures.across.across import (
    compare,
    pictures,
    plot_across_best,
    plot_across_confirmed,
    plot_across_loss,
    plot_across_plane,
)
from hpsearch.figures.across.best import across_best_info, draw_best
from hpsearch.figures.across.confirmed import across_confirmed_info
from hpsearch.figures.across.result import Comparison
from hpsearch.figures.across.result import _names as task_names
from hpsearch.figures.across.scores import across_loss_info, draw_loss
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, read_result
from hpsearch.figures.style import arm_looks

HOSTILE = "<script>alert(1)</script>" + "x" * 200


@pytest.fixture(scope="module")
def several() -> Comparison:
    """A study, and the same one on a task where a higher learning rate is better and rho's safe range is higher."""
    one = read_result(analysis())
    lr = pd.to_numeric(one.trials["params.lr"])
    other = one.trials.assign(**{"metrics.val_accuracy": one.trials["metrics.val_accuracy"] + 0.02 * np.log(lr)})
    document = copy.deepcopy(one.document)
    for found in arm_of(document, "sam")["answers"]["safe_ranges"]:
        for end in ("low", "high"):
            found[end] |= {
                key: 1.5 * found[end][key] for key in ("value", "low", "high") if found[end][key] is not None
            }
    return compare({"one": one, "two": Result(document, other, one.study)})


def arm_of(document: dict, name: str) -> dict:
    return next(one for one in document["arms"] if one["arm"] == name)


def edited(several: Comparison) -> Comparison:
    results = {n: Result(copy.deepcopy(r.document), r.trials, r.study) for n, r in several.results.items()}
    return Comparison(copy.deepcopy(several.document), results)


def test_losses_are_drawn_with_their_intervals_and_those_of_tasks_beneath(several: Comparison) -> None:
    fig = plot_across_loss(several)
    drawn = [t for t in fig.data if t.hovertext is not None]
    for k, arm in enumerate(several.document["arms"]):
        tasks, mean = drawn[2 * k], drawn[2 * k + 1]
        np.testing.assert_allclose(tasks.x, [one["loss"]["value"] for one in arm["tasks"]], rtol=1e-4)
        loss = arm["loss"]
        assert mean.x[0] == pytest.approx(loss["value"], rel=1e-4)
        assert mean.x[0] + mean.error_x.array[0] == pytest.approx(loss["high"], rel=1e-3, abs=1e-5)
        assert mean.x[0] - mean.error_x.arrayminus[0] == pytest.approx(loss["low"], rel=1e-3, abs=1e-5)
        assert mean.y[0] > tasks.y[0]
    assert len(several.document["arms"]) == 2


def test_without_an_interval_there_is_no_bar_and_the_caption_says_why(several: Comparison) -> None:
    changed = edited(several)
    loss = changed.document["arms"][0]["loss"]
    loss |= {"low": None, "high": None, "why_no_interval": "too few configurations (8, 3 seeds): checked from 24 on"}
    fig = draw_loss(across_loss_info(changed), changed.looks)
    mean = [t for t in fig.data if t.hovertext is not None][1]
    assert mean.error_x.visible is False
    assert "no interval: too few configurations" in mean.hovertext[0]
    picture = pictures(changed)[0]
    assert isinstance(picture, Picture)
    assert (
        "No interval for sgd: too few configurations (8, 3 seeds)" in picture.caption and "no interval" in picture.alt
    )


def test_the_diagonal_of_the_plane_has_the_single_setting_of_the_first_arm(several: Comparison) -> None:
    fig = plot_across_plane(several)
    line = next(t for t in fig.data if t.mode == "lines")
    single = several.document["arms"][0]["single"]["value"]
    np.testing.assert_allclose(np.subtract(line.y, line.x), single, rtol=1e-6)
    marks = [t for t in fig.data if t.hovertext is not None]
    assert [m.y[0] for m in marks] == pytest.approx([a["tuned"]["value"] for a in several.document["arms"]], rel=1e-4)
    for low, high in (fig.layout.xaxis.range, fig.layout.yaxis.range):
        assert low < high
    for mark in marks:  # the bars are in sight
        assert fig.layout.xaxis.range[0] < mark.x[0] - mark.error_x.arrayminus[0]
        assert fig.layout.yaxis.range[1] > mark.y[0] + mark.error_y.array[0]


def test_safe_ranges_are_those_of_each_run(several: Comparison) -> None:
    info = across_best_info(several, "rho")
    assert list(info.rows["task"]) == ["one", "two"] and set(info.rows["arm"]) == {"sam"}
    for row, result in zip(info.rows.to_dict("records"), several.results.values(), strict=True):
        found = next(s for s in arm_of(result.document, "sam")["answers"]["safe_ranges"] if s["parameter"] == "rho")
        assert (row["low"], row["high"], row["best"]) == (found["low"]["value"], found["high"]["value"], found["best"])
        assert (row["low_low"], row["high_high"]) == (found["low"]["low"], found["high"]["high"])
    assert info.rows["low"][1] == pytest.approx(1.5 * info.rows["low"][0])
    fig = plot_across_best(several, "rho")
    bars = [t for t in fig.data if t.mode == "lines" and t.line.width == 9 and t.x[0] is not None]
    assert [list(t.x) for t in bars] == [
        pytest.approx([r["low"], r["high"]], rel=1e-4) for r in info.rows.to_dict("records")
    ]
    dotted = [t for t in fig.data if t.line.dash == "dot" and t.x[0] is not None]
    single = next(a for a in several.document["arms"] if a["arm"] == "sam")["single_setting"]["rho"]
    assert dotted[0].x[0] == pytest.approx(single, rel=1e-4)


def test_choices_show_how_probable_each_is_within_the_best(several: Comparison) -> None:
    changed = edited(several)
    for result in changed.results.values():
        arm = arm_of(result.document, "sam")
        axis = next(one for one in arm["searched"] if one["parameter"] == "rho")
        axis |= {"scale": "choice", "low": None, "high": None, "choices": [True, False, "other"], "grid": []}
        found = next(s for s in arm["answers"]["safe_ranges"] if s["parameter"] == "rho")
        chances = [{"level": v, "within_epsilon": p} for v, p in ((True, 0.7), (False, 0.1), ("other", 0.0))]
        levels = {"method": "safe_range", "n": 24, "why_not_checked": None, "probabilities": chances}
        found |= {"best": True, "low": None, "high": None, "ratio": None, "levels": levels}
    changed.document["arms"][1]["single_setting"]["rho"] = False
    info = across_best_info(changed, "rho")
    fig = draw_best(info, changed.looks)
    squares = [t for t in fig.data if t.hovertext is not None]
    assert [list(t.text) for t in squares] == [["70", "10", "0"]] * 2
    assert list(squares[0].x) == [0.0, 1.0, 2.0]
    assert max(squares[0].marker.line.width) == squares[0].marker.line.width[0]


def test_an_arm_without_a_surrogate_has_a_row_that_says_so(several: Comparison) -> None:
    changed = edited(several)
    answers = arm_of(changed.results["two"].document, "sam")["answers"]
    answers |= {"safe_ranges": [], "why_no_surrogate": "the metric is constant"}
    fig = plot_across_best(changed, "rho")
    assert any(a.text == "<i>the metric is constant</i>" for a in fig.layout.annotations)
    for result in changed.results.values():
        arm_of(result.document, "sam")["answers"] = None
    with pytest.raises(NothingToDraw, match="no question was asked"):
        plot_across_best(changed, "rho")


def test_confirmed_means_are_drawn_per_task_in_the_metric_that_judges(several: Comparison) -> None:
    info = across_confirmed_info(several)
    assert list(info.rows["task"]) == ["one", "one", "two", "two"]
    best = {b["arm"]: b for b in several.results["one"].document["best"] if b["rank"] == 1}
    expected = [best[arm]["confirmation"]["test"] for arm in ("sgd", "sam")]
    assert list(info.rows["mean"][:2]) == [e["value"] for e in expected]
    fig = plot_across_confirmed(several)
    assert [t.x[0] for t in fig.data[:2]] == pytest.approx([100 * e["value"] for e in expected], rel=1e-4)
    assert fig.data[0].error_x.array[0] == pytest.approx(100 * (expected[0]["high"] - expected[0]["value"]), rel=1e-3)
    assert {t.xaxis for t in fig.data} == {"x", "x2"}


def test_a_metric_that_is_no_share_is_not_scaled_and_what_was_not_confirmed_is_said(several: Comparison) -> None:
    changed = edited(several)
    document = changed.results["one"].document
    document["judged_by"] = {"name": "val_loss", "direction": "minimize", "unit": "val_loss"}
    best = {b["arm"]: b for b in document["best"] if b["rank"] == 1}
    best["sgd"]["confirmation"] = None
    fig = plot_across_confirmed(changed)
    assert fig.data[0].x[0] == pytest.approx(best["sam"]["confirmation"]["test"]["value"], rel=1e-4)
    assert any(a.text == "sgd, not confirmed" for a in fig.layout.annotations)
    for result in changed.results.values():
        for one in result.document["best"]:
            one["confirmation"] = None
    found = {p.key: p for p in pictures(changed)}["across-confirmed"]
    assert isinstance(found, Missing) and "no run confirmed" in found.reason


def test_the_report_gets_every_figure_with_numbers_and_words(several: Comparison) -> None:
    made = pictures(several)
    assert [p.key for p in made] == [
        "across-loss",
        "across-plane",
        "across-best-rho",
        "across-best-lr",
        "across-confirmed",
    ]
    for picture in made:
        assert isinstance(picture, Picture)
        assert len(picture.numbers) and "n" in picture.numbers
        assert "95 %" in picture.caption and picture.alt.endswith(".")
        assert "nan" not in picture.alt and "nan" not in picture.caption
    assert "Of 2 tasks" in made[0].caption


def test_what_cannot_be_compared_is_missing_with_the_reason() -> None:
    tables = {name: small_table(*(trial(a, "c", value=0.5) for a in ("sam",))) for name in ("one", "two")}
    made = pictures(compare(tables))
    assert all(isinstance(p, Missing) for p in made)
    assert made[0].reason == "the runs have no arm in common that searched the same hyperparameters"


def test_names_of_tasks_are_those_of_studies_where_these_differ(several: Comparison) -> None:
    one, two = (Result(r.document | {"study": None}, r.trials.iloc[:0], None) for r in several.results.values())
    assert list(compare([one, two]).results) == ["run 1", "run 2"]
    named = [Result(r.document | {"study": name}, r.trials, None) for r, name in ((one, "a"), (two, "b"))]
    assert list(compare(named).results) == ["a", "b"]
    with pytest.raises(InputError, match="name them yourself"):
        compare([Result(r.document | {"study": "same"}, r.trials, None) for r in (one, two)])


def test_hostile_names_are_text_and_cut(several: Comparison) -> None:
    document = several.document
    text = json.dumps({n: r.document for n, r in several.results.items()}).replace('"sam"', json.dumps(HOSTILE))
    documents = {n + HOSTILE: d for n, d in json.loads(text.replace('"rho"', '"<img src=x>"')).items()}
    changed = json.loads(
        json.dumps(document)
        .replace('"sam"', json.dumps(HOSTILE))
        .replace('"rho"', '"<img src=x>"')
        .replace('"task": "one"', f'"task": {json.dumps("one" + HOSTILE)}')
    )
    trials = next(iter(several.results.values())).trials
    hostile = Comparison(changed, {n: Result(d, trials, None) for n, d in documents.items()})
    made = pictures(hostile)
    assert "across-best-img-src-x" in [p.key for p in made]
    for picture in made:
        assert isinstance(picture, Picture)
        picture.figure.for_each_trace(lambda trace: trace.update(legendgroup=None))  # a key, never shown
        drawn = picture.figure.to_json()
        assert (
            "<script" not in drawn
            and "\\u003cscript" not in drawn
            and "<img" not in drawn
            and "\\u003cimg" not in drawn
        )
        assert "x" * 60 not in "".join(a.text for a in picture.figure.layout.annotations)


def test_twelve_arms_and_many_tasks_get_rows_of_their_own(several: Comparison) -> None:
    changed = edited(several)
    pattern = changed.document["arms"][0]
    changed.document["arms"] = [copy.deepcopy(pattern) | {"arm": f"arm {i}"} for i in range(12)]
    info = across_loss_info(changed)
    fig = draw_loss(info, arm_looks([f"arm {i}" for i in range(12)]))
    means = [t for t in fig.data if t.hovertext is not None][1::2]
    assert sorted(t.y[0] for t in means) == list(range(12))
    assert fig.layout.height > 12 * 60


def test_runs_of_one_study_are_told_apart_by_the_ends_of_their_paths() -> None:
    result = Result({"study": "quickstart"}, pd.DataFrame())
    assert task_names(["a/e1/run", "b/e1/run"], [result, result]) == ["a/e1/run", "b/e1/run"]
    assert task_names([Path("e1/run"), "e2/run"], [result, result]) == ["e1/run", "e2/run"]
    assert task_names(["e1", "e2"], [result, Result({"study": "other"}, pd.DataFrame())]) == ["quickstart", "other"]
