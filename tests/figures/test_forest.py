import copy
import json
import math
from dataclasses import replace

import analysed
import pandas as pd
import pytest

from hpsearch.figures.arms import difference, equal_budget, forest
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, read_result

EVIL = "<script>alert(1)</script>" + "x" * 200


@pytest.fixture(scope="module")
def result() -> Result:
    return read_result(analysed.analysis())


def edited(result: Result, **changes: object) -> Result:
    return replace(result, document=copy.deepcopy(result.document) | copy.deepcopy(changes))


def bars(figure: object) -> list[tuple[float, ...]]:
    return [tuple(t.x) for t in figure.data if t.mode == "lines"]


def dots(figure: object) -> list[object]:
    return [t for t in figure.data if t.mode == "markers"]


def side_words(figure: object) -> list[str]:
    return [a.text for a in figure.layout.annotations if "←" in a.text or "→" in a.text]


def test_a_row_is_the_difference_over_the_fresh_seeds(result: Result) -> None:
    trials = result.trials
    fresh = trials[trials["sampling.confirm"]]
    first = {e["arm"]: e["configuration_id"] for e in result.document["best"] if e["rank"] == 1}
    by_seed = {
        arm: fresh[fresh["configuration_id"] == identifier].set_index("seed")["metrics.test_accuracy"]
        for arm, identifier in first.items()
    }
    expected = (by_seed["sam"] - by_seed["sgd"]).dropna()
    info = difference.difference_info(result)
    assert info.differences["sam"].value == pytest.approx(expected.mean())
    assert info.differences["sam"].n == len(expected)
    figure = difference.plot_differences(result)
    assert dots(figure)[0].x[0] == pytest.approx(100 * expected.mean())
    entry = result.document["differences"][0]["difference"]
    assert bars(figure) == [pytest.approx((100 * entry["low"], 100 * entry["high"]))]


def test_a_mark_is_filled_where_the_interval_leaves_out_zero(result: Result) -> None:
    entry = copy.deepcopy(result.document["differences"][0])
    for low, high, filled in ((0.01, 0.03, True), (-0.01, 0.03, False), (-0.03, -0.01, True)):
        entry["difference"] |= {"value": (low + high) / 2, "low": low, "high": high}
        figure = difference.plot_differences(edited(result, differences=[entry]))
        assert dots(figure)[0].marker.symbol.endswith("-open") != filled


def test_the_better_side_turns_where_less_is_better(result: Result) -> None:
    assert side_words(difference.plot_differences(result)) == ["← sgd better", "sam better →"]
    judged = {"name": "test_loss", "direction": "minimize", "unit": "test_loss"}
    trials = result.trials.assign(**{"metrics.test_loss": 1.0})
    entry = copy.deepcopy(result.document["differences"][0])
    entry["difference"]["unit"] = "test_loss"
    loss = replace(edited(result, judged_by=judged, differences=[entry]), trials=trials)
    figure = difference.plot_differences(loss)
    assert side_words(figure) == ["← sam better", "sgd better →"]
    assert dots(figure)[0].x[0] == pytest.approx(entry["difference"]["value"])  # in its own unit


def test_without_an_interval_there_is_no_bar_and_the_reason(result: Result) -> None:
    entry = copy.deepcopy(result.document["differences"][0])
    entry["difference"] |= {"low": None, "high": None, "why_no_interval": "one seed: too few"}
    bare = edited(result, differences=[entry])
    picture = difference.pictures(bare)[0]
    assert isinstance(picture, Picture)
    assert bars(picture.figure) == []
    assert "No interval: sam: one seed." in picture.caption
    assert any("no interval: one seed" in a.text for a in picture.figure.layout.annotations)


def test_the_probability_of_being_better_stands_in_the_row(result: Result) -> None:
    found = result.document["improvements"][0]["probability"]
    texts = [a.text for a in difference.plot_differences(result).layout.annotations]
    assert f"better on a new seed: P {found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})" in texts


def test_every_budget_shows_its_own_rows(result: Result) -> None:
    info = equal_budget.equal_budget_info(result)
    entries = result.document["equal_budgets"]
    figure = equal_budget.plot_equal_budgets(result)
    buttons = figure.layout.updatemenus[0].buttons
    assert [b.label for b in buttons] == ["configurations", "samples", "FLOPs", "seconds"]
    for budget, button in zip(info.found, buttons, strict=True):
        visible = button.args[0]["visible"]
        shown = [t.x[0] for t, on in zip(figure.data, visible, strict=True) if on and t.mode == "markers"]
        expected = [100 * e["difference"]["value"] for e in entries if e["budget"] == budget]
        assert shown == pytest.approx(expected)
        low, high = button.args[1]["xaxis.range"]
        assert all(low < x < high for x in shown) and low < 0 < high
    assert [bool(t.visible) for t in figure.data] == list(buttons[0].args[0]["visible"])


def test_a_quarter_of_the_search_is_told_from_the_whole(result: Result) -> None:
    info = equal_budget.equal_budget_info(result)
    for found in info.found.values():
        part = [one for one in found if one.part]
        whole = [one for one in found if not one.part]
        assert len(whole) == 1 and not whole[0].difference.has_interval
        assert all(p.bought[0] <= whole[0].bought[0] / 2 for p in part)
    picture = equal_budget.pictures(result)[0]
    assert isinstance(picture, Picture)
    assert len(picture.numbers) == len(result.document["equal_budgets"])
    assert picture.numbers["n"].tolist() == [e["difference"]["n"] for e in result.document["equal_budgets"]]


def test_hostile_names_are_inert(result: Result) -> None:
    document = json.loads(json.dumps(result.document).replace('"sam"', json.dumps(EVIL)))
    for picture in forest.pictures(Result(document, result.trials.replace({"arm": {"sam": EVIL}}))):
        assert isinstance(picture, Picture)
        assert "<script" not in picture.figure.to_json()


def test_what_is_missing_has_its_reason(result: Result) -> None:
    bare = edited(result, differences=[], equal_budgets=[], improvements=[])
    missing = forest.pictures(bare)
    assert [(one.key, isinstance(one, Missing)) for one in missing] == [("differences", True), ("equal-budgets", True)]
    one_arm = edited(result, arms=result.document["arms"][:1], differences=[])
    with pytest.raises(NothingToDraw, match="one arm"):
        difference.difference_info(one_arm)


def test_the_tables_hold_what_is_drawn(result: Result) -> None:
    first, second = forest.pictures(result)
    assert isinstance(first, Picture) and isinstance(second, Picture)
    row = first.numbers[first.numbers["quantity"] == "difference"].iloc[0]
    entry = result.document["differences"][0]["difference"]
    assert (row["value"], row["low"], row["n"]) == (entry["value"], entry["low"], entry["n"])
    assert isinstance(second.numbers, pd.DataFrame) and not math.isnan(second.numbers["difference"].sum())
