import copy
import json
from typing import Any

import analysed
import numpy as np
import pytest
from synthetic import small_table, trial

from hpsearch.analysis import analyze
from hpsearch.figures.maps.maps import colour_bar, colour_range, map_groups, pictures, plot_map
from hpsearch.figures.maps.marks import MOST_MARKS, shown_points
from hpsearch.figures.maps.numbers import map_info, pairs_of
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, read_result

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def result() -> Result:
    return read_result(analysed.analysis(), analysed.STUDY)


def edited(result: Result) -> Result:
    return Result(copy.deepcopy(result.document), result.trials.copy(), result.study)


def entry(result: Result, arm: str = "sam") -> dict[str, Any]:
    return next(one for one in result.document["arms"] if one["arm"] == arm)


def heats(figure: Any) -> list[Any]:
    return [t for t in figure.data if t.type == "heatmap"]


def test_colours_are_the_surrogates_means_at_their_values(result: Result) -> None:
    wanted = entry(result)["answers"]["pair_maps"][0]
    assert (wanted["x"], wanted["y"]) == ("rho", "lr")
    heat = heats(plot_map(result, "sam", "rho", "lr"))[0]
    np.testing.assert_allclose(np.array(heat.z), 100 * np.array(wanted["mean"]).T, rtol=1e-3)
    for edges, name in ((heat.x, "x"), (heat.y, "y")):
        values = wanted[f"{name}_values"]
        assert len(edges) == len(values) + 1
        assert all(a < v < b for a, v, b in zip(edges[:-1], values, edges[1:], strict=True))
    np.testing.assert_allclose([heat.x[0], heat.x[-1]], [0.01, 2.0], rtol=1e-3)  # the range that was searched
    np.testing.assert_allclose(np.array(heat.customdata), 100 * np.array(wanted["interval_width"]).T, rtol=1e-3)


def test_a_turned_map_is_the_same_map(result: Result) -> None:
    one, other = (heats(plot_map(result, "sam", *pair)) for pair in (("rho", "lr"), ("lr", "rho")))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(np.array(first.z, dtype=float), np.array(second.z, dtype=float).T)
        assert list(first.x) == list(second.y)


def test_raw_means_are_those_of_the_configurations_in_each_cell(result: Result) -> None:
    raw = heats(plot_map(result, "sam", "rho", "lr"))[1]
    sums: dict[tuple[int, int], list[float]] = {}
    for one in result.document["configurations"]:
        if one["arm"] == "sam" and one["mean"] is not None:
            at = tuple(int(np.searchsorted(e, one["params"][p]) - 1) for e, p in ((raw.y, "lr"), (raw.x, "rho")))
            sums.setdefault(at, []).append(100 * one["mean"])
    z = np.array(raw.z, dtype=float)
    assert np.isfinite(z).sum() == len(sums)
    for at, values in sums.items():
        assert z[at] == pytest.approx(np.mean(values), rel=1e-3)
        assert f"mean of {len(values)} configuration" in raw.hovertext[at[0]][at[1]]
    failing = [i for i, row in enumerate(raw.hovertext) for text in row if "did not train" in text]
    assert failing


def test_every_configuration_is_marked_and_crosses_are_those_that_failed(result: Result) -> None:
    fig = plot_map(result, "sam", "rho", "lr")
    rows = result.configurations
    rows = rows[(rows["arm"] == "sam") & (rows["n_trained"] + rows["n_not_trained"] > 0)]
    failed = rows["n_not_trained"] > 0
    for symbol, part in (("circle", rows[~failed]), ("x", rows[failed])):
        marks = next(t for t in fig.data if t.type == "scatter" and t.marker.symbol == symbol)
        assert len(part) > 0
        np.testing.assert_allclose(sorted(marks.x), sorted(part["params.rho"]), rtol=1e-4)
        assert all("sd over seeds" in text for text in marks.hovertext)


def test_lines_are_of_the_intervals_width_in_points(result: Result) -> None:
    lines = [t for t in plot_map(result, "sam", "rho", "lr").data if t.type == "contour"]
    width = 100 * np.array(entry(result)["answers"]["pair_maps"][0]["interval_width"]).T
    for line in lines:
        np.testing.assert_allclose(np.array(line.z), width, rtol=1e-3)
        assert width.min() <= line.contours.start and 2 <= np.ptp(width) / line.contours.size <= 6


def test_a_withheld_width_is_not_drawn_and_told(result: Result) -> None:
    made = edited(result)
    entry(made)["answers"]["pair_maps"][0].update(interval_width=None, why_no_interval="too few (24): held 91 %")
    picture = map_groups(made)[0].pictures[0]
    assert not [t for t in picture.figure.data if t.type == "contour"]
    assert "No interval: too few." in picture.caption
    assert "no interval" in heats(picture.figure)[0].hovertemplate
    assert picture.numbers.loc[picture.numbers["view"] == "surrogate", "width"].isna().all()


def test_without_a_surrogate_raw_means_stand_alone(result: Result) -> None:
    made = edited(result)
    entry(made)["answers"].update(pair_maps=[], why_no_surrogate="6 configurations: a surface needs 8")
    picture = map_groups(made)[0].pictures[0]
    assert len(heats(picture.figure)) == 1 and heats(picture.figure)[0].visible
    assert (
        not picture.figure.layout.updatemenus
        and "No surrogate: 6 configurations: a surface needs 8." in picture.caption
    )
    entry(made)["cell_maps"] = []
    found = pictures(made)
    assert [type(p) for p in found] == [Missing] and pairs_of(made, "sam") == []


def test_the_switch_shows_one_view_at_a_time(result: Result) -> None:
    fig = plot_map(result, "sam", "rho", "lr")
    menu = fig.layout.updatemenus[0]
    assert [b.label for b in menu.buttons] == ["surrogate", "raw means"]
    for shown, button in enumerate(menu.buttons):
        change, traces = button.args
        visible = dict(zip(traces, change["visible"], strict=True))
        assert [visible[i] for i, t in enumerate(fig.data) if t.type == "heatmap"] == [shown == 0, shown == 1]
    assert [bool(t.visible) for t in heats(fig)] == [True, False]


def test_all_maps_have_the_same_colours_from_what_trained(result: Result) -> None:
    found = colour_range(result)
    assert found is not None and found.clipped and 0.5 < found.low < found.high < 1
    cells = entry(result)["cell_maps"][0]["cells"]
    trained = [m for m, n in zip(cells["mean"], cells["n_not_trained"], strict=True) if not n and m is not None]
    surrogate = np.array(entry(result)["answers"]["pair_maps"][0]["mean"])
    assert found.high >= max(trained) and found.high in (max(trained), surrogate.max())
    for heat in (h for p in pictures(result) if isinstance(p, Picture) for h in heats(p.figure)):
        np.testing.assert_allclose([heat.zmin, heat.zmax], [100 * found.low, 100 * found.high], rtol=1e-4)
    bar = colour_bar(result)
    assert bar is not None and bar.low.startswith("\N{LESS-THAN OR EQUAL TO} ") and bar.high.endswith("%")


def test_failures_are_hatched(result: Result) -> None:
    region = next(r for r in entry(result)["failures"]["regions"] if r["parameter"] == "rho")
    traces = plot_map(result, "sam", "rho", "lr").data
    hatched = next(t for t in traces if t.type == "scatter" and t.fillpattern.shape)
    assert min(v for v in hatched.x if v is not None) == pytest.approx(region["bound"], rel=1e-4)


def test_groups_are_by_the_largest_interaction(result: Result) -> None:
    made = edited(result)
    sam = entry(made)
    sam["searched"].append({**sam["searched"][0], "parameter": "beta"})
    for old in ("answers", "cell_maps"):
        maps = sam["cell_maps"] if old == "cell_maps" else sam["answers"]["pair_maps"]
        maps.append({**copy.deepcopy(maps[0]), "y": "beta"})
    for one in made.document["configurations"]:
        one["params"]["beta"] = one["params"].get("lr")
    shares = sam["answers"]["importances"]["interactions"]
    share = copy.deepcopy(shares[0])
    share["share"]["value"] = shares[0]["share"]["value"] + 0.1
    shares.append({**share, "x": "beta", "y": "rho"})
    groups = map_groups(made)
    assert [(g.x, g.y) for g in groups] == [("rho", "beta"), ("rho", "lr")]
    assert [p.key for g in groups for p in g.pictures] == ["map-sam-rho-beta", "map-sam-rho-lr"]


def test_a_loss_is_bright_where_it_is_low_and_choices_have_a_cell_each() -> None:
    rows = [
        trial(configuration=f"{rho}{kind}", seed=s, value=v + s / 10, rho=rho, kind=kind)
        for s in (0, 1)
        for rho, kind, v in ((0.1, "a", 2.0), (0.2, "a", 3.0), (0.1, True, 4.0))
    ]
    table = small_table(*rows).rename(columns={"metrics.val_accuracy": "metrics.val_loss"})
    made = read_result(analyze(table.drop(columns="metrics.test_accuracy"), options=None))
    info = map_info(made, "sam", "rho", "kind")
    heat = heats(plot_map(made, "sam", "rho", "kind"))[0]
    assert heat.reversescale and info.y.choices == ("a", True)
    assert [[v for v in row] for row in heat.z] == [
        [pytest.approx(2.05), pytest.approx(3.05)],
        [pytest.approx(4.05), None],
    ]
    bar = colour_bar(made)
    assert bar is not None and (bar.low, bar.high) == ("2.05", "4.05")
    alt = map_groups(made)[0].pictures[0].alt
    assert "best 2.05 at rho 0.1 and kind a, worst 4.05 at rho 0.1 and kind true" in alt


def test_very_many_configurations_are_marked_in_part(result: Result) -> None:
    made = edited(result)
    more = [one for one in made.document["configurations"] if one["arm"] == "sam"] * 30
    made.document["configurations"] = more
    info = map_info(made, "sam", "rho", "lr")
    assert len(shown_points(info)) == MOST_MARKS < len(info.points)
    assert f"({MOST_MARKS} of {len(info.points)})" in map_groups(made)[0].pictures[0].caption


def test_hostile_names_are_inert_and_constant_values_have_colours() -> None:
    rows = [
        trial(arm=EVIL, configuration=str(i), value=0.5, **{EVIL: r, "kind": EVIL + str(i)})
        for i, r in enumerate((0.1, 0.2))
    ]
    made = read_result(analyze(small_table(*rows), options=None))
    found = [p for p in pictures(made) if isinstance(p, Picture)]
    assert len(found) == 1 and found[0].key.replace("-", "").isalnum()
    assert "<script" not in json.dumps(found[0].figure.to_dict(), default=str)
    heat = heats(found[0].figure)[0]
    assert heat.zmin < 50 < heat.zmax


def test_what_cannot_be_drawn_has_a_reason(result: Result) -> None:
    with pytest.raises(NothingToDraw, match="sam has no map over rho and beta; there are: rho and lr"):
        plot_map(result, "sam", "rho", "beta")
    with pytest.raises(NothingToDraw, match="there is no arm adam; arms are: sgd, sam"):
        plot_map(result, "adam", "rho", "lr")
    nothing = [trial(configuration=str(i), value=None, status="failed", rho=r, lr=r) for i, r in enumerate((0.1, 0.2))]
    found = pictures(read_result(analyze(small_table(*nothing), options=None)))
    assert len(found) == 1 and isinstance(found[0], Missing) and found[0].reason
