from copy import deepcopy
from typing import Any

import analysed
import pytest

from hpsearch.figures.cards import arm_keys
from hpsearch.figures.matters.interactions import interactions_info, pictures, plot_interactions
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, read_result
from hpsearch.figures.style import SEQUENTIAL


@pytest.fixture(scope="module")
def whole() -> Result:
    return read_result(analysed.analysis())


def edited(result: Result) -> tuple[Result, dict[str, Any]]:
    made = Result(deepcopy(result.document), result.trials, result.study)
    return made, next(arm for arm in made.document["arms"] if arm["arm"] == "sam")


def test_the_diagonal_is_the_first_order_and_the_rest_the_pairs(whole: Result) -> None:
    info = interactions_info(whole, "sam")
    found = whole.arm("sam")["answers"]["importances"]
    alone = {one["parameter"]: one["first_order"]["value"] for one in found["hyperparameters"]}
    rows = info.shares[info.shares["view"] == "whole"]
    assert rows[rows["x"] == rows["y"]].set_index("x")["value"].to_dict() == alone
    (pair,) = found["interactions"]
    (row,) = rows[rows["x"] != rows["y"]].to_dict("records")
    assert {row["x"], row["y"]} == {pair["x"], pair["y"]}
    assert (row["value"], row["low"], row["high"]) == tuple(pair["share"][k] for k in ("value", "low", "high"))


def test_the_lower_triangle_is_drawn_on_a_scale_from_0_to_100(whole: Result) -> None:
    trace = plot_interactions(whole, "sam").data[0]
    found = whole.arm("sam")["answers"]["importances"]
    pair = found["interactions"][0]["share"]
    assert info_order(whole) == ("rho", "lr")
    assert trace.z[0][1] is None
    assert trace.z[1][0] == pytest.approx(100 * pair["value"], abs=0.01)
    assert (trace.zmin, trace.zmax) == (0, 100)
    assert [colour for _, colour in trace.colorscale] == list(SEQUENTIAL)
    assert trace.text[1][0].startswith(f"{100 * pair['value']:.0f}<br>")
    assert f"95 % interval {100 * pair['low']:.0f} % to {100 * pair['high']:.0f} %" in trace.hovertext[1][0]


def info_order(result: Result) -> tuple[str, ...]:
    return interactions_info(result, "sam").parameters


def test_a_share_without_interval_says_why(whole: Result) -> None:
    made, arm = edited(whole)
    share = arm["answers"]["importances"]["interactions"][0]["share"]
    share |= {"low": None, "high": None, "why_no_interval": "an adaptive sampler (tpe): its configurations cluster"}
    trace = plot_interactions(made, "sam").data[0]
    assert "<br>" not in trace.text[1][0]
    assert "no interval: an adaptive sampler" in trace.hovertext[1][0]
    picture = next(p for p in pictures(made) if p.key == "interactions-sam")
    assert isinstance(picture, Picture) and "an adaptive sampler" in picture.caption


def test_the_switch_swaps_two_heatmaps(whole: Result) -> None:
    figure = plot_interactions(whole, "sam")
    trains = whole.arm("sam")["answers"]["importances_where_it_trains"]
    assert figure.data[1].z[1][0] == pytest.approx(100 * trains["interactions"][0]["share"]["value"], abs=0.01)
    assert [b.args[0]["visible"] for b in figure.layout.updatemenus[0].buttons] == [[True, False], [False, True]]


def test_one_picture_per_arm_and_the_others_by_reason(whole: Result) -> None:
    found = pictures(whole)
    assert [p.key for p in found] == ["interactions-sam", "interactions"]
    assert isinstance(found[1], Missing) and found[1].reason == "sgd: one hyperparameter alone has no interactions"
    with pytest.raises(NothingToDraw, match="alone has no interactions"):
        interactions_info(whole, "sgd")


def test_no_arm_with_answers_gives_one_reason(whole: Result) -> None:
    document = deepcopy(whole.document)
    for arm in document["arms"]:
        arm["answers"] = None
    (missing,) = pictures(Result(document, whole.trials))
    assert isinstance(missing, Missing)
    assert missing.reason == "what needs a model of the response was not asked for"


def test_a_table_without_arms_is_said(whole: Result) -> None:
    nothing = [{"kind": "nothing", "arm": "", "text": "no trials yet"}]
    (missing,) = pictures(Result(whole.document | {"arms": [], "findings": nothing}, whole.trials.iloc[:0]))
    assert isinstance(missing, Missing) and missing.reason == "no trials yet"


def test_keys_of_any_arm_are_plain_and_unique(whole: Result) -> None:
    document = {"arms": [{"arm": name} for name in ("a b", "a?b", "<script>", "\N{GREEK SMALL LETTER RHO}", "x" * 200)]}
    keys = list(arm_keys(Result(document, whole.trials), "curves").values())
    assert keys == ["curves-a-b", "curves-a-b-2", "curves-script", "curves-name", "curves-" + "x" * 40]


def test_many_hyperparameters_with_hostile_names_fit(whole: Result) -> None:
    made, arm = edited(whole)
    names = ["<script>alert(1)</script>", "y" * 200, *(f"p{i}" for i in range(18))]
    shares = arm["answers"]["importances"]
    template, share = shares["hyperparameters"][0], shares["interactions"][0]["share"]
    arm["searched"] = [arm["searched"][0] | {"parameter": name} for name in names]
    shares["hyperparameters"] = [template | {"parameter": name} for name in names]
    shares["interactions"] = [{"x": a, "y": b, "share": share} for i, a in enumerate(names) for b in names[:i]]
    arm["answers"]["importances_where_it_trains"] = None
    figure = plot_interactions(made, "sam")
    z = figure.data[0].z
    assert all((z[i][j] is None) == (j > i) for i in range(20) for j in range(20))
    assert not figure.layout.updatemenus and "<script" not in figure.to_json() and "y" * 41 not in figure.to_json()
