import copy
import json
from dataclasses import replace

import analysed
import numpy as np
import pytest

from hpsearch.figures.arms import tuning
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, read_result

EVIL = "<script>alert(1)</script>" + "x" * 200


@pytest.fixture(scope="module")
def result() -> Result:
    return read_result(analysed.analysis())


def edited(result: Result, entries: list[dict[str, object]], **more: object) -> Result:
    return replace(result, document=result.document | {"tuning_curves": entries} | more)


def entries_of(result: Result) -> list[dict[str, object]]:
    return copy.deepcopy(result.document["tuning_curves"])


def overview(figure: object, arm: str) -> list[object]:
    """The lines of an arm in the plot of all, of every view."""
    found = [t for t in figure.data if t.legendgroup == f"arm:{arm}" and t.hovertext and t.xaxis == "x"]
    assert found
    return found


def bands(figure: object) -> list[object]:
    return [t for t in figure.data if t.fill == "toself"]


def test_lines_are_the_curves_of_the_document_for_every_budget(result: Result) -> None:
    figure = tuning.plot_tuning(result)
    labels = [b.label for b in figure.layout.updatemenus[0].buttons]
    assert labels == ["configurations", "samples", "FLOPs", "seconds"]
    for entry in result.document["tuning_curves"]:
        spent = [entry["configurations"], *entry["compute"].values()]
        for line, x in zip(overview(figure, entry["arm"]), spent, strict=True):
            np.testing.assert_allclose(line.x, x, rtol=1e-4)
            np.testing.assert_allclose(line.y, 100 * np.array(entry["best"]), rtol=1e-4)


def test_the_best_of_all_configurations_ends_the_curve(result: Result) -> None:
    for one in tuning.tuning_info(result).curves:
        means = result.configurations.loc[result.configurations["arm"] == one.arm, "mean"]
        assert one.best[-1] == pytest.approx(means.max(), rel=1e-5)


def test_a_view_shows_its_own_traces(result: Result) -> None:
    figure = tuning.plot_tuning(result)
    masks = np.array([b.args[0]["visible"] for b in figure.layout.updatemenus[0].buttons])
    legend = len(result.arms)
    assert masks[:, :legend].all()
    assert (masks[:, legend:].sum(axis=0) == 1).all()
    assert [t.visible is not False for t in figure.data] == masks[0].tolist()


def test_bounds_of_every_share_are_no_bounds(result: Result) -> None:
    entries = entries_of(result)
    k = len(entries[0]["configurations"])
    entries[0] |= {"low": [0.0] * k, "high": [1.0] * k}
    picture = tuning.pictures(edited(result, entries))[0]
    assert isinstance(picture, Picture)
    arm, n = entries[0]["arm"], entries[0]["n"]
    assert f"bound next to nothing: {arm} ({n})." in picture.caption
    assert all(t.legendgroup != f"arm:{arm}" for t in bands(picture.figure))
    rows = picture.numbers[picture.numbers["arm"] == arm]
    assert rows["low"].isna().all() and rows["high"].isna().all()
    assert f"no band: n = {n}" in [a.text for a in picture.figure.layout.annotations]


def test_a_band_lies_between_its_bounds(result: Result) -> None:
    entries = entries_of(result)
    best = np.array(entries[1]["best"])
    entries[1] |= {"low": (best - 0.02).tolist(), "high": (best + 0.01).tolist()}
    figure = tuning.plot_tuning(edited(result, entries))
    band = next(t for t in bands(figure) if t.legendgroup == f"arm:{entries[1]['arm']}")
    np.testing.assert_allclose(band.y[: len(best)], 100 * (best - 0.02), rtol=1e-4)
    np.testing.assert_allclose(band.y[len(best) :], 100 * (best + 0.01)[::-1], rtol=1e-4)
    assert band.xaxis != "x"  # not in the plot of all, where bands would hide each other


def test_an_order_as_tried_is_a_thin_staircase_beside_the_other(result: Result) -> None:
    entries = entries_of(result)
    methods = copy.deepcopy(result.document["methods"])
    text = "observed order; adaptive, no band: one search"
    methods["tried"] = {"text": text, "n_counts": "configurations", "assumes": None}
    entries.append(copy.deepcopy(entries[0]) | {"low": None, "high": None, "band": "none", "method": "tried"})
    picture = tuning.pictures(edited(result, entries, methods=methods))[0]
    assert isinstance(picture, Picture)
    lines = overview(picture.figure, entries[0]["arm"])
    assert [t.line.shape for t in lines[:2]] == ["linear", "hv"]
    assert lines[1].line.width < lines[0].line.width
    assert "as tried" in picture.caption and text[1:] in picture.caption


def test_a_loss_goes_down_in_its_own_unit(result: Result) -> None:
    entries = entries_of(result)
    for entry in entries:
        entry["best"] = [3.0 - b for b in entry["best"]]
        entry |= {"low": None, "high": None, "band": "none", "unit": "val_loss"}
    goal = [{"name": "val_loss", "direction": "minimize", "unit": "val_loss"}]
    figure = tuning.plot_tuning(edited(result, entries, objectives=goal))
    line = overview(figure, "sam")[0]
    assert line.y[0] > line.y[-1] and line.y[-1] == pytest.approx(entries[1]["best"][-1], rel=1e-4)
    low, high = figure.layout.yaxis.range
    assert low < min(line.y) and max(line.y) < high


def test_one_arm_has_its_band_in_the_one_plot(result: Result) -> None:
    entries = [e for e in entries_of(result) if e["arm"] == "sam"]
    figure = tuning.plot_tuning(edited(result, entries))
    assert {t.xaxis for t in bands(figure)} == {"x"}


def test_hostile_names_are_inert(result: Result) -> None:
    document = json.loads(json.dumps(result.document).replace('"sam"', json.dumps(EVIL)))
    figure = tuning.plot_tuning(Result(document, result.trials.replace({"arm": {"sam": EVIL}})))
    assert "<script" not in figure.to_json().replace(f"arm:{EVIL}", "")


def test_what_is_missing_has_its_reason(result: Result) -> None:
    (missing,) = tuning.pictures(edited(result, []))
    assert isinstance(missing, Missing) and "no configuration" in missing.reason
    with pytest.raises(NothingToDraw, match="means only"):
        tuning.tuning_info(edited(result, [], options=None))
