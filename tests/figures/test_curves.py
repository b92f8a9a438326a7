from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import analyze_tables, small_table, trial

from hpsearch.analysis.axis import Axis
from hpsearch.errors import InputError
from hpsearch.figures.curves.colours import colouring
from hpsearch.figures.curves.curves import curves_info, pictures, plot_curves
from hpsearch.figures.curves.info import MOST_CONFIGURATIONS, MOST_POINTS, MOST_POINTS_IN_ALL
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, read_result
from hpsearch.figures.style import FAINT, RAMP


def recorded(values: list[float | None], loss: list[float | None] | None = None, **more: Any) -> dict[str, Any]:
    """A trial with curves; `more` goes to `trial`."""
    epochs = list(range(1, len(values) + 1))
    curves = {"curve.epoch": epochs, "curve.val_accuracy": values, "curve.backward_samples": [100 * e for e in epochs]}
    return trial(value=values[-1], **more) | curves | {"curve.train_loss": loss or [1.0] * len(values)}


def result_of(*trials: dict[str, Any], objectives: dict[str, str] | None = None) -> Result:
    table = small_table(*trials)
    return read_result(analyze_tables(table, objectives=objectives or {"val_accuracy": "maximize"}))


@pytest.fixture
def small() -> Result:
    """Two configurations: a trains, of b one seed diverges after two epochs; and a confirmation run."""
    return result_of(
        recorded([0.2, 0.5, 0.8], configuration="a", seed=0, rho=0.1),
        recorded([0.4, 0.7, 0.9], configuration="a", seed=1, rho=0.1),
        recorded([0.1, 0.3, 0.5], configuration="b", seed=0, rho=1.0),
        recorded([0.2, 0.1], [2.0, None], configuration="b", seed=1, rho=1.0, status="diverged"),
        recorded([0.9, 0.9, 0.9], configuration="a", seed=10000, rho=0.1, confirm=True),
        recorded([0.9, 0.9, 0.9], configuration="b", seed=2, rho=1.0, status="failed"),
    )


def lines(figure: Any) -> list[Any]:
    return [t for t in figure.data if t.mode == "lines" and t.meta]


def test_means_and_ends_over_the_seeds_of_each_epoch(small: Result) -> None:
    curves = curves_info(small, "sam").curves
    rows = curves[curves["metric"] == "val_accuracy"].set_index(["configuration_id", "epoch"])
    assert rows.loc[("a", 2), ["mean", "low", "high", "n"]].tolist() == pytest.approx([0.6, 0.5, 0.7, 2])
    assert rows.loc[("b", 2), ["mean", "low", "high", "n"]].tolist() == pytest.approx([0.2, 0.1, 0.3, 2])
    # One seed is left behind the end of the other; confirmation and crashed runs are in nothing.
    assert rows.loc[("b", 3), ["mean", "low", "high", "n"]].tolist() == pytest.approx([0.5, 0.5, 0.5, 1])
    assert rows["backward_samples"].loc["a"].tolist() == [100, 200, 300]
    loss = curves[(curves["metric"] == "train_loss") & (curves["configuration_id"] == "b")].set_index("epoch")
    assert loss["n"].tolist() == [2, 1, 1] and loss.loc[1, "mean"] == pytest.approx(1.5)


def test_a_stopped_seed_counts_until_it_stops_and_is_said() -> None:
    result = result_of(recorded([0.2, 0.4, 0.6], seed=0, rho=0.1), recorded([0.4], seed=1, rho=0.1, status="stopped"))
    rows = curves_info(result, "sam").curves
    assert rows[rows["metric"] == "val_accuracy"]["mean"].tolist() == pytest.approx([0.3, 0.4, 0.6])
    picture = pictures(result)[0]
    assert isinstance(picture, Picture) and "1 trial stopped early" in picture.caption


def test_lines_are_percent_and_crosses_stand_where_seeds_ended(small: Result) -> None:
    figure = plot_curves(small, "sam")
    worst, best = lines(figure)  # the best one lies on top
    assert list(best.y) == pytest.approx([30, 60, 85]) and list(worst.y) == pytest.approx([15, 20, 50])
    assert [list(row) for row in best.customdata] == [[20, 40, 2], [50, 70, 2], [80, 90, 2]]
    assert "rho = 0.1" in best.meta and "1 of 2 seeds did not train" in worst.meta
    crosses = [t for t in figure.data if t.mode == "markers"]
    assert [list(t.x) for t in crosses] == [[2], [2]]
    low, high = figure.layout.yaxis.range
    inside, beyond = (t.y[0] for t in crosses)
    assert inside is None and low > 20 and beyond == 0.03  # the axis shows what trained; its mark is at the edge
    assert crosses[1].yaxis == "y2"


def test_bands_go_from_the_lowest_to_the_highest_seed(small: Result) -> None:
    bands = [t for t in plot_curves(small, "sam").data if t.fill == "toself" and t.visible]
    assert list(bands[1].x) == [1, 2, 3, 3, 2, 1]
    assert list(bands[1].y) == pytest.approx([40, 70, 90, 80, 50, 20])


def test_the_switch_of_metrics_gives_each_its_lines_and_its_axis(small: Result) -> None:
    figure = plot_curves(small, "sam")
    menu = next(m for m in figure.layout.updatemenus if m.buttons[0].label == "validation accuracy")
    update, layout, traces = menu.buttons[1].args
    at = traces.index(list(figure.data).index(lines(figure)[0]))
    assert update["y"][at] == [1.5, 1, 1]
    assert [list(row) for row in update["customdata"][at]] == [[1, 2, 2], [1, 1, 1], [1, 1, 1]]
    assert layout["yaxis"]["title"]["text"] == "Training loss"
    assert menu.buttons[0].args[0]["y"][at] == list(lines(figure)[0].y)
    shown = [v for v, i in zip(update["visible"], traces, strict=True) if figure.data[i].fill == "toself"]
    assert shown == [False, False, True, True]
    assert all(len(value) == len(traces) for value in update.values())


def test_the_switch_of_places_puts_the_lines_over_samples(small: Result) -> None:
    figure = plot_curves(small, "sam")
    menu = next(m for m in figure.layout.updatemenus if m.buttons[0].label == "over epochs")
    update, layout, traces = menu.buttons[1].args
    assert update["x"][traces.index(list(figure.data).index(lines(figure)[1]))] == [100, 200, 300]
    assert layout["xaxis.title.text"] == "Samples through backward"
    assert menu.buttons[0].args[0]["x"] == [list(figure.data[i].x) for i in traces]


def test_the_switch_of_colours_has_a_button_for_each_hyperparameter() -> None:
    trials = [
        recorded([0.1, 0.2 + 0.1 * i], configuration=f"c{i}", rho=0.02 * 10**i, schedule=schedule)
        for i, schedule in enumerate(("cosine", "<i>step</i>", "cosine"))
    ]
    result = result_of(*trials)
    figure = plot_curves(result, "sam")
    menu = figure.layout.updatemenus[0]
    assert [b.label for b in menu.buttons] == ["rho", "schedule"]
    assert [t.line.color for t in lines(figure)] == [RAMP[0], menu.buttons[0].args[0]["line.color"][4], RAMP[-1]]
    update, layout, traces = menu.buttons[1].args
    colours = dict(zip(traces, update["line.color"], strict=True))
    by_schedule = [colours[list(figure.data).index(t)] for t in lines(figure)]
    assert by_schedule[0] == by_schedule[2] != by_schedule[1]
    shown = [name for name, shown in zip(update["name"], update["showlegend"], strict=True) if shown]
    assert sorted(shown) == ["&lt;i&gt;step&lt;/i&gt;", "cosine"]
    assert layout == {"legend.title.text": "schedule"}
    assert "<i>" not in figure.to_json()
    assert lines(plot_curves(result, "sam", colour_by="schedule"))[0].line.color == by_schedule[0]
    with pytest.raises(InputError, match="must be one of rho and schedule, but got 'lr'"):
        plot_curves(result, "sam", colour_by="lr")


def test_colours_follow_the_logarithm_on_a_log_axis() -> None:
    axis = Axis("rho", "log", 0.01, 1.0)
    found = colouring(axis, pd.Series([0.01, 0.1, 1.0, np.nan]))
    assert [colour for colour, _ in found.lines] == [RAMP[0], *[found.lines[1][0]], RAMP[-1], FAINT]
    labels = {label: colour for label, colour, _ in found.legend}
    assert labels["0.1"] == found.lines[1][0] and list(labels) == ["0.01", "0.032", "0.1", "0.32", "1", "no value"]
    linear = colouring(Axis("rho", "linear", 0.01, 1.0), pd.Series([0.01, 0.1, 1.0]))
    assert linear.lines[1] != found.lines[1]


@pytest.mark.parametrize(
    ("axis", "values", "distinct"),
    [
        (Axis("m", "choice", choices=(1, 2, 4)), [1, 2, 4], 3),
        (Axis("a", "choice", choices=(True, False)), [True, False, True], 2),
        (Axis("c", "linear", 3.0, 3.0), [3.0, 3.0], 1),
        (Axis("z", "linear", 0.0, 1.0), [0.0, 0.0], 1),
        (Axis("n", "choice", choices=()), [None, None], 1),
    ],
)
def test_any_kind_of_values_has_colours(axis: Axis, values: list[Any], distinct: int) -> None:
    found = colouring(axis, pd.Series(values, dtype=object))
    assert len({look for look in found.lines}) == distinct
    assert {colour for colour, _ in found.lines} <= {colour for _, colour, _ in found.legend}


def test_a_minimised_loss_is_ranked_the_other_way_and_may_be_logarithmic() -> None:
    falls, stays = [2.0, 0.2, 0.002], [2.0, 1.9, 1.8]
    trials = [
        trial(configuration=name, value=None, rho=rho) | {"metrics.val_loss": loss[-1], "curve.val_loss": loss}
        for name, rho, loss in (("good", 0.1, falls), ("bad", 1.0, stays))
    ]
    result = result_of(*trials, objectives={"val_loss": "minimize"})
    info = curves_info(result, "sam")
    assert info.configurations["configuration_id"].tolist() == ["bad", "good"]
    assert info.curves["epoch"].unique().tolist() == [1, 2, 3]  # counted, where they are not recorded
    figure = plot_curves(result, "sam")
    assert figure.layout.yaxis.type == "log" and figure.layout.yaxis.title.text == "Validation loss"
    assert list(lines(figure)[1].y) == falls
    assert [m.buttons[0].label for m in figure.layout.updatemenus] == []
    picture = pictures(result)[0]
    assert isinstance(picture, Picture) and "from 1.8 (worst) to 0.002 (best)" in picture.alt


def test_many_configurations_and_epochs_are_thinned_evenly_over_the_ranking() -> None:
    count, epochs = 100, 120
    trials = [
        recorded([0.5 * e / epochs + i / 1000 for e in range(epochs)], configuration=f"c{i}", rho=1.0 + i)
        for i in range(count)
    ]
    result = result_of(*trials)
    info = curves_info(result, "sam")
    drawn = info.configurations["configuration_id"].tolist()
    assert len(drawn) == MOST_CONFIGURATIONS and (drawn[0], drawn[-1]) == ("c0", "c99")
    steps = np.diff([int(name[1:]) for name in drawn])
    assert steps.min() >= 1 and steps.max() <= 2
    sizes = info.curves.groupby(["configuration_id", "metric"]).size()
    assert sizes.max() == MOST_POINTS_IN_ALL // MOST_CONFIGURATIONS <= MOST_POINTS
    assert {1, epochs} <= set(info.curves["epoch"])
    picture = pictures(result)[0]
    assert isinstance(picture, Picture) and "60 of 100 configurations, evenly over the ranking" in picture.caption
    assert len(picture.figure.to_json()) < 400_000


def test_lists_that_lack_values_or_lengths_do_no_harm() -> None:
    result = result_of(
        recorded([0.1, None, float("nan"), 0.4], configuration="a", rho=0.1),
        recorded([0.1], configuration="b", rho=0.2),
        recorded([float("inf")], configuration="c", rho=0.3, status="diverged"),
        recorded([0.2, 0.3], configuration="d", rho=0.4) | {"curve.train_loss": None, "curve.backward_samples": [7]},
        trial(configuration="e", rho=0.5) | {"curve.val_accuracy": np.array([0.1, 0.2], dtype=np.float32)},
    )
    info = curves_info(result, "sam")
    rows = info.curves[info.curves["metric"] == "val_accuracy"]
    assert rows[rows["configuration_id"] == "a"]["epoch"].tolist() == [1, 4]
    assert rows[rows["configuration_id"] == "e"]["mean"].tolist() == pytest.approx([0.1, 0.2])
    figure = plot_curves(result, "sam")
    assert [m.buttons[0].label for m in figure.layout.updatemenus] == ["validation accuracy"]  # samples are not known
    assert all(trace.connectgaps for trace in lines(figure))


@pytest.mark.parametrize(
    ("trials", "why"),
    [
        ([trial(rho=0.1)], "nothing was recorded along training"),
        ([recorded([0.5], rho=0.1), recorded([0.6], configuration="b", rho=0.2)], "less than two epochs"),
        ([recorded([float("nan")] * 3, [float("nan")] * 3, rho=0.1)], "less than two epochs"),
    ],
)
def test_without_curves_there_is_a_reason(trials: list[dict[str, Any]], why: str) -> None:
    result = result_of(*trials)
    with pytest.raises(NothingToDraw, match=why):
        curves_info(result, "sam")
    (missing,) = pictures(result)
    assert isinstance(missing, Missing) and why in missing.reason and missing.key == "curves"


def test_hostile_names_reach_no_template() -> None:
    name = "<script>%{y}</script>" + "z" * 200
    result = result_of(recorded([0.1, 0.2], arm=name, **{name: 0.1}), recorded([0.1, 0.3], arm=name, **{name: 0.2}))
    figure = plot_curves(result, name)
    assert "<script" not in figure.to_json() and "z" * 41 not in figure.to_json()
    assert all("script" not in t.hovertemplate for t in lines(figure))
    assert pictures(result)[0].key.startswith("curves-script-y-script-z")


def test_an_arm_without_curves_and_one_that_searched_nothing() -> None:
    result = result_of(recorded([0.1, 0.5], configuration="only"), trial("msam", configuration="m", rho=0.1))
    found = pictures(result)
    assert [p.key for p in found] == ["curves-sam", "curves"]
    assert isinstance(found[1], Missing) and found[1].reason.startswith("msam: its trials recorded less")
    figure = plot_curves(result, "sam")
    assert [t.line.color for t in lines(figure)] == [result.looks["sam"].colour]
    assert [m.buttons[0].label for m in figure.layout.updatemenus] == ["validation accuracy", "over epochs"]
