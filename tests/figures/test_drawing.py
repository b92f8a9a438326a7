import json

import numpy as np
import pandas as pd
import pytest
from synthetic import STUDY, digits_table, small_table, trial
from synthetic import analyze_tables as analyze

from hpsearch.analysis import Analysis
from hpsearch.analysis.surface import colour_range
from hpsearch.figures.pareto import draw_pareto, focus
from hpsearch.figures.sensitivity import draw_sensitivity
from hpsearch.figures.style import PALETTE, arm_looks, log_ticks, safe
from hpsearch.figures.surface import CROSS, draw_surface


@pytest.fixture(scope="module")
def whole() -> Analysis:
    return analyze(digits_table(), STUDY)


def looks_of(analysis: Analysis) -> dict[str, object]:
    return arm_looks([arm.name for arm in analysis.arms])


def test_each_arm_has_one_look_and_the_ninth_differs_from_the_first() -> None:
    looks = arm_looks([f"arm{i}" for i in range(len(PALETTE) + 1)])
    assert len(set(looks.values())) == len(PALETTE) + 1


def test_names_are_escaped_for_plotly_and_cut() -> None:
    assert safe("<b>x</b>\n%{y}") == "&lt;b&gt;x&lt;/b&gt; %{y}"
    assert len(safe("x" * 500)) == 40


def test_log_ticks_are_plain_numbers_within_the_range() -> None:
    ticks = log_ticks(0.01, 2.0)
    assert ticks["ticktext"] == ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]
    assert log_ticks(1e-6, 1.0)["tickvals"] == pytest.approx([10.0**i for i in range(-6, 1)])


def test_the_front_is_drawn_from_the_analysis(whole: Analysis) -> None:
    assert whole.objective is not None
    fig = draw_pareto(whole.fronts, whole.objective, looks_of(whole))
    rings = [t for t in fig.data if t.marker.symbol == "circle-open"]
    assert len(rings) == len(whole.fronts)
    for ring, front in zip(rings, whole.fronts, strict=True):
        expected = front.points[front.points["on_front"]].sort_values("compute")["mean"] * 100
        np.testing.assert_allclose(ring.y, expected)


def test_the_switch_shows_one_way_to_count_compute_at_a_time(whole: Analysis) -> None:
    assert whole.objective is not None
    fig = draw_pareto(whole.fronts, whole.objective, looks_of(whole))
    masks = [button.args[0]["visible"] for button in fig.layout.updatemenus[0].buttons]
    legend = len(whole.arms)
    assert [b.label for b in fig.layout.updatemenus[0].buttons] == ["FLOPs", "samples", "seconds"]
    assert all(all(mask[:legend]) for mask in masks)
    shown = np.array([mask[legend:] for mask in masks])
    assert (shown.sum(axis=0) == 1).all()
    assert [bool(t.visible) for t in fig.data[legend:]] == shown[0].tolist()


def test_marks_move_sideways_only_where_compute_is_equal(whole: Analysis) -> None:
    assert whole.objective is not None
    for front in whole.fronts:
        fig = draw_pareto([front], whole.objective, looks_of(whole))
        drawn = [t for t in fig.data if t.mode == "markers" and t.hovertext is not None]
        moved = any(
            list(t.x) != list(front.points.loc[front.points["arm"] == a, "compute"])
            for t, a in zip(drawn, STUDY.arms, strict=True)
        )
        assert moved == (front.compute != "seconds")


def test_the_range_of_what_trained_leaves_out_chance_level(whole: Analysis) -> None:
    assert whole.objective is not None
    near = focus(whole.fronts[0].points, whole.objective)
    assert near is not None and 80 < near[0] < near[1] < 100


def test_marks_of_what_did_not_train_are_crosses(whole: Analysis) -> None:
    assert whole.objective is not None
    info = whole.sensitivities[0]
    fig = draw_sensitivity(info, whole.objective, looks_of(whole))
    dots = [t for t in fig.data if t.hovertext is not None]
    assert len(dots) == len(info.arms)
    for trace, arm in zip(dots, info.arms, strict=True):
        failed = info.points.loc[info.points["arm"] == arm, "n_not_trained"] > 0
        assert [s == "x" for s in trace.marker.symbol] == failed.tolist()
        upper = np.array(trace.y) + np.array(trace.error_y.array)
        assert upper.max() <= 100 + 1e-9  # an accuracy has no bar beyond 100 %


def test_a_line_is_broken_at_an_empty_cell() -> None:
    rows = [
        trial(configuration=f"c{i}", value=0.5 + i / 100, rho=v)
        for i, v in enumerate([*np.geomspace(0.01, 0.05, 8), *np.geomspace(1, 2, 8)])
    ]
    analysis = analyze(small_table(*rows))
    assert analysis.objective is not None
    fig = draw_sensitivity(analysis.sensitivities[0], analysis.objective, looks_of(analysis))
    line = next(t for t in fig.data if t.mode == "lines+markers" and t.name)
    assert None in line.x
    found = [y for y in line.y if y is not None]
    np.testing.assert_allclose(found, analysis.sensitivities[0].lines["mean"] * 100)


def test_the_strip_of_a_choice_counts_what_did_not_train(whole: Analysis) -> None:
    assert whole.objective is not None
    info = next(s for s in whole.sensitivities if s.parameter == "num_shards")
    fig = draw_sensitivity(info, whole.objective, looks_of(whole))
    texts = {t.legendgroup: t.text for t in fig.data if t.mode == "text"}
    lines = info.lines[info.lines["arm"] == "msam"]
    assert list(texts["arm:msam"]) == [
        f"{a}/{b}" for a, b in zip(lines["n_not_trained"], lines["n_ended"], strict=True)
    ]


def test_a_map_shows_its_cells_and_leaves_the_others_empty(whole: Analysis) -> None:
    assert whole.objective is not None
    colours = colour_range(whole.surfaces, True)
    for info in whole.surfaces:
        heat = draw_surface(info, whole.configurations, whole.objective, colours).data[0]
        z = np.array(heat.z, dtype=float)
        assert np.isfinite(z).sum() == len(info.cells)
        for _, cell in info.cells.iterrows():
            at = int(cell["iy"]), int(cell["ix"])
            assert z[at] == pytest.approx(cell["mean"] * 100)
            assert (CROSS in heat.text[at[0]][at[1]]) == (cell["n_not_trained"] > 0)
        assert (heat.zmin, heat.zmax) == (colours.low * 100, colours.high * 100)
    assert "3/3 did not train" in json.dumps([s for row in heat.hovertext for s in row])


def test_lower_is_brighter_for_a_loss() -> None:
    rows = [trial(configuration=str(i), rho=r, lr=r) for i, r in enumerate((0.1, 0.2))]
    table = small_table(*rows).rename(columns={"metrics.val_accuracy": "metrics.val_loss"})
    analysis = analyze(table.drop(columns="metrics.test_accuracy"))
    assert analysis.objective is not None and not analysis.objective.maximize
    colours = colour_range(analysis.surfaces, False)
    heat = draw_surface(analysis.surfaces[0], analysis.configurations, analysis.objective, colours).data[0]
    assert heat.reversescale


def test_hostile_names_are_inert_in_every_text() -> None:
    evil = "<script>alert(1)</script>"
    rows = [
        trial(arm=evil, configuration=str(i), value=0.5, **{evil: r, "lr": r, "kind": evil})
        for i, r in enumerate((0.1, 0.2))
    ]
    analysis = analyze(small_table(*rows))
    assert analysis.objective is not None
    looks = looks_of(analysis)
    figures = [
        draw_pareto(analysis.fronts, analysis.objective, looks),
        *(draw_sensitivity(s, analysis.objective, looks) for s in analysis.sensitivities),
        *(
            draw_surface(s, analysis.configurations, analysis.objective, colour_range(analysis.surfaces, True))
            for s in analysis.surfaces
        ),
    ]
    assert len(figures) == 4
    for figure in figures:
        texts = json.loads(figure.to_json())
        assert "<script" not in json.dumps(texts).replace("arm:" + evil, "")


def test_one_configuration_with_one_seed_draws() -> None:
    table = pd.concat([small_table(trial(value=0.9, rho=0.1)), small_table(trial(arm="sgd", value=0.8))])
    analysis = analyze(table, STUDY)
    assert analysis.objective is not None
    fig = draw_pareto(analysis.fronts, analysis.objective, looks_of(analysis))
    assert fig.layout.yaxis.range is None
    assert not fig.layout.updatemenus
