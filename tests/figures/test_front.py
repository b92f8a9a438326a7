import copy
import json
from dataclasses import replace

import analysed
import numpy as np
import pandas as pd
import pytest
from synthetic import analyze_tables, small_table, trial

from hpsearch.figures.arms import attainment, front
from hpsearch.figures.arms.front_info import front_info
from hpsearch.figures.arms.front_places import places
from hpsearch.figures.picture import Missing, Picture
from hpsearch.figures.result import Result, read_result

EVIL = "<script>alert(1)</script>" + "x" * 200


@pytest.fixture(scope="module")
def result() -> Result:
    return read_result(analysed.analysis())


def marks(figure: object) -> list[object]:
    return [t for t in figure.data if t.mode == "markers" and t.hovertext]


def stairs(figure: object) -> list[object]:
    return [t for t in figure.data if t.mode == "lines" and t.x[0] is not None]


def best_for_cost(rows: pd.DataFrame) -> list[float]:
    """Means on the front, by compute: no other one that trained is at least as good for no more."""
    rows = rows[rows["n_not_trained"] == 0]
    found = []
    for _, row in rows.iterrows():
        cheaper = rows[rows["cost.flops"] <= row["cost.flops"]]
        if (
            not (cheaper["mean"] > row["mean"]).any()
            and not ((cheaper["mean"] == row["mean"]) & (cheaper["cost.flops"] < row["cost.flops"])).any()
        ):
            found.append((row["cost.flops"], row["mean"]))
    return [mean for _, mean in sorted(found)]


def test_the_staircase_goes_through_the_front_and_ends_at_its_last(result: Result) -> None:
    figure = front.plot_front(result)
    costs = front_info(result).costs
    line = stairs(figure)[costs.index("flops")]
    expected = [100 * m for m in best_for_cost(result.configurations)]
    assert list(line.y) == pytest.approx([m for m in expected for _ in range(2)], rel=1e-4)
    rings = [t for t in figure.data if t.marker.symbol == "circle-open"][costs.index("flops")]
    assert line.x[-1] in rings.x


def test_every_configuration_is_a_mark_with_its_interval(result: Result) -> None:
    figure = front.plot_front(result)
    rows = result.configurations
    for trace, arm in zip(marks(figure), result.arms, strict=True):
        part = rows[rows["arm"] == arm]
        np.testing.assert_allclose(trace.y, 100 * part["mean"], rtol=1e-4)
        top = np.array(trace.y) + np.array(trace.error_y.array)
        np.testing.assert_allclose(top, 100 * part["high"].clip(upper=1.0), rtol=1e-3)
        symbols = trace.marker.symbol if isinstance(trace.marker.symbol, tuple) else [trace.marker.symbol] * len(part)
        assert [s == "x-thin-open" for s in symbols] == (part["n_not_trained"] > 0).tolist()


def test_rings_are_on_the_front_or_likely_and_sized_by_probability(result: Result) -> None:
    figure = front.plot_front(result)
    rings = [t for t in figure.data if t.marker.symbol == "circle-open"]
    for ring, entry in zip(rings, result.document["fronts"], strict=True):
        kept = [p for p in entry["points"] if p["on_observed_front"] or p["probability"] >= 0.1]
        assert list(ring.y) == pytest.approx([100 * p["mean"] for p in kept], rel=1e-4)
        order = np.argsort([p["probability"] for p in kept], kind="stable")
        assert (np.diff(np.array(ring.marker.size)[order]) >= 0).all()


def test_probabilities_are_in_the_hover(result: Result) -> None:
    texts = [text for trace in marks(front.plot_front(result)) for text in trace.hovertext]
    named = {p["configuration_id"] for e in result.document["fronts"] for p in e["points"]}
    assert sum("probability on the front of" in text for text in texts) == len(named)


def test_a_switch_moves_the_marks_and_shows_its_own_front(result: Result) -> None:
    figure = front.plot_front(result)
    costs = front_info(result).costs
    buttons = figure.layout.updatemenus[0].buttons
    assert [b.label for b in buttons] == ["samples", "FLOPs", "seconds"]
    at = [i for i, t in enumerate(figure.data) if t.hovertext]
    for cost, button in zip(costs, buttons, strict=True):
        x, visible = button.args[0]["x"], button.args[0]["visible"]
        assert len(x) == len(visible) == len(figure.data)
        for i, arm in zip(at, result.arms, strict=True):
            real = result.configurations.loc[result.configurations["arm"] == arm, f"cost.{cost}"]
            if cost == "seconds":
                np.testing.assert_allclose(x[i], real, rtol=1e-4)
            assert visible[i] and len(x[i]) == len(real)
        assert sum(on for on, t in zip(visible, figure.data, strict=True) if t.marker.symbol == "circle-open") == 1


def test_equal_compute_stands_side_by_side_and_amounts_do_not_mix() -> None:
    compute = pd.Series([100.0] * 8 + [200.0] * 8)
    arm = pd.Series((["a"] * 4 + ["b"] * 4) * 2)
    mean = pd.Series(np.linspace(0.1, 0.9, 16))
    placed = places(compute, pd.Series([True] * 16), arm, mean)
    assert len(set(placed.x)) == 16
    assert placed.x[:4].max() < placed.x[4:8].min() and placed.x[:8].max() < placed.x[8:].min()
    assert ((placed.x[:8] > placed.ends[0, 0]) & (placed.x[:8] < placed.ends[0, 1])).all()
    np.testing.assert_allclose(placed.stacks, [100.0, 200.0])


def test_compute_that_varies_and_what_ended_early_stay_where_they_are() -> None:
    compute = pd.Series(np.geomspace(1, 100, 12))
    placed = places(compute, pd.Series([True] * 12), pd.Series(["a"] * 12), compute)
    np.testing.assert_array_equal(placed.x, compute)
    early = pd.Series([100.0] * 4 + [37.0, np.nan])
    trained = pd.Series([True] * 4 + [False] * 2)
    placed = places(early, trained, pd.Series(["a"] * 6), pd.Series(range(6)))
    assert placed.x[4] == 37.0 and np.isnan(placed.x[5])


def test_the_range_shown_first_leaves_out_what_did_not_train(result: Result) -> None:
    figure = front.plot_front(result)
    low, high = figure.layout.yaxis.range
    rows = result.configurations
    failed = rows.loc[rows["n_not_trained"] == rows["n"], "mean"] * 100
    assert failed.max() < low < 100 * rows["mean"].max() < high
    last = figure.layout.updatemenus[-1].buttons
    assert last[0].args[0]["yaxis.range"] == [low, high] and last[1].args[0] == {"yaxis.autorange": True}


def test_the_table_has_a_row_a_configuration_and_cost(result: Result) -> None:
    picture = front.pictures(result)[0]
    assert isinstance(picture, Picture)
    assert len(picture.numbers) == 3 * len(result.configurations)
    flops = picture.numbers[picture.numbers["cost"] == "flops"]
    expected = [p for e in result.document["fronts"] if e["compute"] == "flops" for p in e["points"]]
    assert flops["on_front"].sum() == sum(p["on_observed_front"] for p in expected)
    assert flops["probability"].sum() == pytest.approx(sum(p["probability"] for p in expected))


def test_a_loss_without_a_front_is_drawn_in_its_own_unit() -> None:
    rows = [trial(configuration=str(i), rho=0.1 + i, samples=1000.0 * (i + 1)) for i in range(4)]
    table = small_table(*(r | {"metrics.val_loss": 2.0 + i} for i, r in enumerate(rows)))
    found = read_result(analyze_tables(table.drop(columns=["metrics.val_accuracy", "metrics.test_accuracy"])))
    picture, missing = front.pictures(found)
    assert isinstance(picture, Picture) and isinstance(missing, Missing)
    assert list(marks(picture.figure)[0].y) == [2.0, 3.0, 4.0, 5.0]
    assert "were not computed" in picture.caption and "means only" in missing.reason


def test_a_minimised_front_goes_down(result: Result) -> None:
    document = copy.deepcopy(result.document)
    document["objectives"] = [{"name": "val_accuracy", "direction": "minimize", "unit": "val_accuracy"}]
    figure = front.plot_front(Result(document, result.trials))
    low, high = figure.layout.yaxis.range or (0, 1)
    assert low < result.configurations["mean"].min() < high


def test_nothing_trained_and_no_compute_have_a_reason_or_crosses() -> None:
    diverged = [trial(configuration=str(i), value=0.1, status="diverged", rho=0.1 + i) for i in range(2)]
    picture = front.pictures(read_result(analyze_tables(small_table(*diverged))))[0]
    assert isinstance(picture, Picture)
    assert set(marks(picture.figure)[0].marker.symbol) == {"x-thin-open"}
    missing = front.pictures(read_result(analyze_tables(small_table(trial(samples=None, rho=0.1)))))[0]
    assert isinstance(missing, Missing) and "compute" in missing.reason


def test_hostile_names_are_inert(result: Result) -> None:
    document = json.loads(json.dumps(result.document).replace('"sam"', json.dumps(EVIL)))
    for picture in front.pictures(Result(document, result.trials.replace({"arm": {"sam": EVIL}}))):
        assert isinstance(picture, Picture)
        assert "<script" not in picture.figure.to_json().replace(f"arm:{EVIL}", "")


def test_half_of_the_seeds_reach_the_line(result: Result) -> None:
    """By definition, from the trials: at each corner, and for no less compute and no more quality."""
    trials = result.trials
    rows = trials[~trials["sampling.confirm"] & (trials["status"] == "complete")]
    for one in attainment.attainment_info(result).of("flops"):
        part = rows[rows["arm"] == one.arm]

        def share(compute: float, value: float, part: pd.DataFrame = part) -> float:
            good = part[(part["cost.flops"] <= compute) & (part["metrics.val_accuracy"] >= value)]
            return good["seed"].nunique() / part["seed"].nunique()

        for percent, (x, y) in one.stairs.items():
            for compute, value in zip(x, y, strict=True):
                assert share(compute * 1.00001, value - 1e-5) >= percent / 100
                assert share(compute * 0.99999, value - 1e-5) < percent / 100
                assert share(compute * 1.00001, value + 1e-5) < percent / 100


def test_a_band_is_between_a_quarter_and_three_quarters(result: Result) -> None:
    figure = attainment.plot_attainment(result)
    info = attainment.attainment_info(result)
    bands = [t for t in figure.data if t.fill == "toself"]
    assert len(bands) == len(info.found)
    by_key = {(t.legendgroup, i): t for i, t in enumerate(bands)}
    for one, (_, band) in zip(info.found, by_key.items(), strict=True):
        upper, lower = one.stairs[25][1], one.stairs[75][1]
        assert max(band.y) == pytest.approx(100 * upper[-1], rel=1e-4)
        assert min(band.y) == pytest.approx(100 * lower[0], rel=1e-4)


def test_hypervolumes_stand_with_their_intervals(result: Result) -> None:
    picture = attainment.pictures(result)[0]
    assert isinstance(picture, Picture)
    entry = next(e for e in result.document["attainment"] if e["arm"] == "sam")["hypervolume"]
    text = f"HV {entry['value']:.2f} ({entry['low']:.2f}–{entry['high']:.2f})"
    assert text in [a.text for a in picture.figure.layout.annotations]
    volumes = picture.numbers[picture.numbers["quantity"] == "hypervolume"]
    assert len(volumes) == len(result.document["attainment"])
    assert volumes["n"].tolist() == [e["hypervolume"]["n"] for e in result.document["attainment"]]


def test_an_unknown_probability_is_drawn_as_the_front_alone(result: Result) -> None:
    document = copy.deepcopy(result.document)
    for entry in document["fronts"]:
        entry["points"] = [p | {"probability": None} for p in entry["points"]]
        entry["monte_carlo_error"] = None
    figure = front.plot_front(replace(result, document=document))
    rings = [t for t in figure.data if t.marker.symbol == "circle-open"]
    for ring, entry in zip(rings, document["fronts"], strict=True):
        assert len(ring.x) == sum(p["on_observed_front"] for p in entry["points"])
