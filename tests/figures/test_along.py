from copy import deepcopy
from typing import Any

import analysed
import numpy as np
import pytest

from hpsearch.figures.matters.along import MOST_LINES, along_info, pictures, plot_along
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, read_result


@pytest.fixture(scope="module")
def whole() -> Result:
    return read_result(analysed.analysis())


def edited(result: Result) -> tuple[Result, dict[str, Any]]:
    made = Result(deepcopy(result.document), result.trials, result.study)
    return made, entry(made)


def entry(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in result.document["along_training"] if one["arm"] == "sam")
    return found


def line(figure: Any, name: str) -> Any:
    return next(t for t in figure.data if t.name == name)


def bands(figure: Any) -> list[Any]:
    return [t for t in figure.data if t.type == "scatter" and t.fill == "toself"]


def test_a_line_is_the_total_share_at_each_moment(whole: Result) -> None:
    moments = entry(whole)["moments"]
    figure = plot_along(whole, "sam")
    for name in ("rho", "lr"):
        totals = [one["total"] for m in moments for one in m["hyperparameters"] if one["parameter"] == name]
        assert list(line(figure, name).x) == [100 * m["fraction"] for m in moments]
        np.testing.assert_allclose(line(figure, name).y, [100 * t["value"] for t in totals], atol=0.01)
        assert f"{round(100 * totals[0]['value'])} %" in line(figure, name).hovertext[0]
    assert "epoch 4" in line(figure, "rho").hovertext[0]  # a tenth of 40


def test_a_band_is_the_interval_and_is_left_out_where_there_is_none(whole: Result) -> None:
    totals = [
        one["total"] for m in entry(whole)["moments"] for one in m["hyperparameters"] if one["parameter"] == "rho"
    ]
    assert all(total["low"] is not None for total in totals)
    found = bands(plot_along(whole, "sam"))
    upper, lower = found[0].y[: len(totals)], found[0].y[len(totals) :][::-1]
    np.testing.assert_allclose(upper, [100 * t["high"] for t in totals], atol=0.01)
    np.testing.assert_allclose(lower, [100 * t["low"] for t in totals], atol=0.01)
    made, changed = edited(whole)
    for moment in changed["moments"]:
        for one in moment["hyperparameters"]:
            one["total"] |= {"low": None, "high": None, "why_no_interval": "too few seeds (2): checked from 3 on"}
    assert not bands(plot_along(made, "sam"))
    (picture, *_) = [p for p in pictures(made) if p.key == "along-sam"]
    assert isinstance(picture, Picture) and "Without interval: too few seeds." in picture.caption


def test_what_did_not_train_stands_beneath(whole: Result) -> None:
    shares = [m["share_not_trained"] for m in entry(whole)["moments"]]
    bars = [t for t in plot_along(whole, "sam").data if t.type == "bar"]
    np.testing.assert_allclose(bars[1].y, shares, atol=1e-4)
    assert list(bars[0].text) == [f"{100 * share:.0f} %" for share in shares]
    assert max(shares) > 0


def test_a_moment_without_shares_is_said_and_not_joined_over(whole: Result) -> None:
    made, found = edited(whole)
    found["moments"][0] |= {"hyperparameters": [], "curves": [], "spread": None, "why_none": "nothing varied"}
    info = along_info(made, "sam")
    assert set(info.shares["fraction"]) == {m["fraction"] for m in found["moments"][1:]}
    assert len(info.moments) == len(found["moments"])
    picture = pictures(made)[1]
    assert isinstance(picture, Picture) and "No shares at 10 %: nothing varied." in picture.caption
    assert entry(whole)["sentence"] in picture.caption


def test_the_reasons_of_arms_without_shares(whole: Result) -> None:
    made, found = edited(whole)
    found |= {"moments": [], "why_none": "no trial has a curve"}
    with pytest.raises(NothingToDraw, match="no trial has a curve"):
        along_info(made, "sam")
    found = pictures(made)[-1]
    assert isinstance(found, Missing) and found.reason == "sam: no trial has a curve"
    document = whole.document | {"along_training": []}
    (missing,) = pictures(Result(document, whole.trials))
    assert isinstance(missing, Missing) and "not asked for" in missing.reason


def test_of_many_hyperparameters_the_largest_are_drawn_with_bars(whole: Result) -> None:
    made, found = edited(whole)
    names = ["<script>alert(1)</script>", *(f"p{i}" for i in range(19))]
    for moment in found["moments"]:
        template = moment["hyperparameters"][0]
        moment["hyperparameters"] = [
            template
            | {"parameter": name, "total": template["total"] | {"value": 0.9 - 0.04 * i, "low": 0.0, "high": 0.95}}
            for i, name in enumerate(names)
        ]
    arm = next(one for one in made.document["arms"] if one["arm"] == "sam")
    arm["searched"] = [arm["searched"][0] | {"parameter": name} for name in reversed(names)]
    info = along_info(made, "sam")
    assert info.drawn == tuple(reversed(names[:MOST_LINES]))
    assert info.shares["parameter"].nunique() == 20
    figure = plot_along(made, "sam")
    assert not bands(figure)
    (first,) = [t for t in figure.data if t.name and "script" in t.name]
    np.testing.assert_allclose(first.error_y.array, 5, atol=0.01)
    np.testing.assert_allclose(first.error_y.arrayminus, 90, atol=0.01)
    assert "<script" not in figure.to_json()
