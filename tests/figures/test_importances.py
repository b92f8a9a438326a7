from copy import deepcopy
from dataclasses import replace
from typing import Any

import analysed
import numpy as np
import pytest

from hpsearch.figures.matters.importances import importances_info, pictures, plot_importances
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, read_result


@pytest.fixture(scope="module")
def whole() -> Result:
    return read_result(analysed.analysis())


def edited(result: Result) -> tuple[Result, dict[str, Any]]:
    """A copy, and the answers of its arm sam."""
    made = Result(deepcopy(result.document), result.trials, result.study)
    return made, next(arm["answers"] for arm in made.document["arms"] if arm["arm"] == "sam")


def shares_of(result: Result, view: str = "importances") -> dict[tuple[str, str, str], dict[str, Any]]:
    """(arm, parameter, measure) -> answer, straight from the document."""
    return {
        (arm["arm"], one["parameter"], measure): one[measure]
        for arm in result.document["arms"]
        if arm["answers"] and arm["answers"][view]
        for one in arm["answers"][view]["hyperparameters"]
        for measure in ("total", "first_order", "shapley")
    }


def only_picture(result: Result) -> Picture:
    (found,) = pictures(result)
    assert isinstance(found, Picture)
    return found


def marks(figure: Any, symbol: str, visible: bool = True) -> list[Any]:
    found = [t for t in figure.data if t.type == "scatter" and t.error_x.array is not None and t.visible is visible]
    return [t for t in found if str(t.marker.symbol).endswith("-open") == (symbol == "open")]


@pytest.mark.parametrize(("view", "key"), [("whole", "importances"), ("trains", "importances_where_it_trains")])
def test_the_numbers_are_those_of_the_document(whole: Result, view: str, key: str) -> None:
    shares = importances_info(whole).shares
    rows = shares[(shares["view"] == view) & ~shares["measure"].isin(("fanova", "ped_anova"))]
    expected = shares_of(whole, key)
    assert len(rows) == len(expected) > 0
    for row in rows.to_dict("records"):
        answer = expected[row["arm"], row["parameter"], row["measure"]]
        for end in ("value", "low", "high"):
            np.testing.assert_equal(row[end], np.nan if answer[end] is None else answer[end])
        assert (row["n"], row["method"]) == (answer["n"], answer["method"])
        assert row["why_no_interval"] == (answer["why_no_interval"] or "")


def test_the_cross_check_stands_beside_the_shares(whole: Result) -> None:
    shares = importances_info(whole).shares
    rows = shares[(shares["measure"] == "fanova") & (shares["arm"] == "sam")].set_index("parameter")
    check = whole.arm("sam")["answers"]["cross_check"]["fanova"]
    assert {one["parameter"]: one["value"] for one in check["hyperparameters"]} == rows["value"].to_dict()
    assert (rows["n"] == check["n"]).all() and rows["low"].isna().all()


def test_marks_and_intervals_are_drawn_in_percent(whole: Result) -> None:
    expected = shares_of(whole)
    figure = plot_importances(whole)
    names = [str(label) for label in figure.layout.yaxis.ticktext]
    arms = ("sgd", "sam")
    for trace, arm in zip(marks(figure, "filled"), arms, strict=True):
        assert trace.marker.color == whole.looks[arm].colour
        for x, y, up, down in zip(trace.x, trace.y, trace.error_x.array, trace.error_x.arrayminus, strict=True):
            head = max(i for i in range(round(y)) if names[i].startswith("<b>"))
            answer = expected[arm, names[head].removeprefix("<b>").removesuffix("</b>"), "total"]
            assert names[round(y)] == arm
            assert x == pytest.approx(100 * answer["value"], abs=0.01)
            if answer["low"] is None:
                assert (up, down) == (0, 0)
            else:
                assert (x - down, x + up) == pytest.approx((100 * answer["low"], 100 * answer["high"]), abs=0.02)


def test_a_switch_shows_the_part_where_it_trains(whole: Result) -> None:
    figure = plot_importances(whole)
    (menu,) = figure.layout.updatemenus
    assert [b.label for b in menu.buttons] == ["over the whole ranges", "where it trains"]
    first, second = (b.args[0]["visible"] for b in menu.buttons)
    legend = sum(trace.name is not None for trace in figure.data)
    assert all(first[:legend]) and all(second[:legend])
    assert [a != b for a, b in zip(first, second, strict=True)] == [i >= legend for i in range(len(first))]
    # sgd trained everywhere: it has no such part, and its row says so instead of showing the other numbers.
    absent = [t for t in figure.data if t.type == "scatter" and t.mode == "text"]
    assert [(t.visible, t.text) for t in absent] == [(False, ("all trained: see the whole ranges",))]


def test_without_such_a_part_there_is_no_switch(whole: Result) -> None:
    made, answers = edited(whole)
    answers["importances_where_it_trains"] = None
    assert not plot_importances(made).layout.updatemenus


def test_the_caption_tells_n_method_fit_and_what_has_no_interval(whole: Result) -> None:
    picture = only_picture(whole)
    process = next(c for c in whole.arm("sam")["answers"]["surrogate"]["candidates"] if c["name"] == "process")
    assert f"sam {process['r2']:.2f} ± {process['r2_standard_error']:.2f}" in picture.caption
    assert whole.method("importance")["text"] in picture.caption
    assert "24 configurations of 3 seeds" in picture.caption
    assert "No interval over the whole ranges for total shares of sgd: too few configurations." in picture.caption
    assert {"n", "low", "high", "method", "why_no_interval"} <= set(picture.numbers.columns)


def test_an_arm_without_a_surrogate_is_named_with_the_reason(whole: Result) -> None:
    made, answers = edited(whole)
    answers["why_no_surrogate"] = "5 configurations with a result: a surface needs 8"
    picture = only_picture(made)
    assert "No shares: sam: 5 configurations with a result: a surface needs 8." in picture.caption
    assert set(picture.numbers["arm"]) == {"sgd"}
    # One arm is left: hyperparameters are the rows, without heads.
    assert list(picture.figure.layout.yaxis.ticktext) == ["lr"]


def test_a_surrogate_that_explains_nothing_is_said(whole: Result) -> None:
    made, answers = edited(whole)
    answers["surrogate"]["explains"] = False
    assert "sam: no surrogate predicts better than the mean" in only_picture(made).caption


def test_without_answers_there_is_a_reason(whole: Result) -> None:
    document = deepcopy(whole.document)
    for arm in document["arms"]:
        arm["answers"] = None
    made = Result(document, whole.trials)
    with pytest.raises(NothingToDraw, match="was not asked for"):
        importances_info(made)
    (missing,) = pictures(made)
    assert isinstance(missing, Missing) and missing.key == "importances"


def test_hostile_names_are_escaped_and_cut(whole: Result) -> None:
    document = deepcopy(whole.document)
    name = "<script>alert(1)</script>" + "x" * 200
    for arm in document["arms"]:
        arm["arm"] = "<b>" + arm["arm"]
        answers = arm["answers"]
        answers["importances_where_it_trains"] = None
        for one in (*arm["searched"], *answers["importances"]["hyperparameters"]):
            one["parameter"] = name if one["parameter"] == "lr" else one["parameter"]
    figure = plot_importances(replace(whole, document=document))
    labels = [str(t) for t in figure.layout.yaxis.ticktext]
    assert any(t.startswith("<b>&lt;script&gt;") for t in labels) and "&lt;b&gt;sam" in labels
    assert "<script" not in figure.to_json() and "x" * 41 not in figure.to_json()
