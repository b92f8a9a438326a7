import copy
import json
from dataclasses import replace

import analysed
import pytest
from synthetic import analyze_tables, small_table, trial

from hpsearch.figures.arms import best
from hpsearch.figures.arms.best_table import best_rows
from hpsearch.figures.picture import Missing, Picture
from hpsearch.figures.result import Result, read_result

EVIL = "<script>alert(1)</script>" + "x" * 200


@pytest.fixture(scope="module")
def result() -> Result:
    return read_result(analysed.analysis())


def edited(result: Result, entries: list[dict[str, object]]) -> Result:
    return replace(result, document=result.document | {"best": entries})


def dots(figure: object) -> list[object]:
    return [t for t in figure.data if t.mode == "markers" and t.hovertext]


def test_filled_marks_are_means_over_fresh_seeds_hollow_ones_selected(result: Result) -> None:
    figure = best.plot_best(result)
    trials = result.trials
    expected = []
    for entry in best.best_info(result).entries:
        rows = trials[trials["configuration_id"] == entry.configuration_id]
        fresh, chosen = rows[rows["sampling.confirm"]], rows[~rows["sampling.confirm"]]
        if len(fresh):
            expected += [(False, fresh["metrics.test_accuracy"].mean()), (False, fresh["metrics.val_accuracy"].mean())]
        expected.append((True, chosen["metrics.val_accuracy"].mean()))
    shown = [(t.marker.symbol.endswith("-open"), t.x[0] / 100) for t in dots(figure)]
    assert [hollow for hollow, _ in shown] == [hollow for hollow, _ in expected]
    assert [x for _, x in shown] == pytest.approx([x for _, x in expected])


def test_bars_are_the_intervals_of_the_document(result: Result) -> None:
    figure = best.plot_best(result)
    expected = []
    for entry in sorted(result.document["best"], key=lambda e: (result.arms.index(e["arm"]), e["rank"])):
        for found in (entry["confirmation"]["test"], entry["confirmation"]["objective"]):
            expected += [100 * found["low"], 100 * found["high"]]
    drawn = [x for t in figure.data if t.mode == "lines" for x in t.x]
    assert drawn == pytest.approx(expected)
    low, high = figure.layout.xaxis.range
    assert low < min(drawn) and max(drawn) < high


def test_what_is_not_confirmed_is_hollow_and_called_optimistic(result: Result) -> None:
    entries = copy.deepcopy(result.document["best"])
    for entry in entries:
        entry["confirmation"] = None
    picture = best.pictures(edited(result, entries))[0]
    assert isinstance(picture, Picture)
    assert all(t.marker.symbol.endswith("-open") for t in dots(picture.figure))
    texts = [a.text for a in picture.figure.layout.annotations]
    assert sum(text.startswith("optimistic: ") for text in texts) == len(entries)
    assert "Not confirmed" in picture.caption
    assert {row.confirmed for row in best_rows(edited(result, entries))} == {"selected, optimistic"}


def test_the_table_says_mean_interval_and_n(result: Result) -> None:
    first = best_rows(result)[0]
    entry = next(e for e in result.document["best"] if e["arm"] == "sgd" and e["rank"] == 1)
    test = entry["confirmation"]["test"]
    low, high = (f"{100 * test[end]:.2f}" for end in ("low", "high"))
    assert first.test.replace("\xa0", " ") == f"{100 * test['value']:.2f} % ({low} to {high}), n = {test['n']}"
    assert first.rank == f"1 of {entry['configurations_tried']}"
    assert len(first.compute) == 3


def test_what_was_lost_is_told(result: Result) -> None:
    entries = copy.deepcopy(result.document["best"])
    entries[0]["not_trained"] = 1
    entries[0]["confirmation"] |= {"not_trained": 2, "failed": 1}
    row = next(r for r in best_rows(edited(result, entries)) if r.arm == entries[0]["arm"] and r.rank.startswith("1 "))
    assert "1 did not train" in row.selection
    assert "2 did not train, 1 failed or stopped, not counted" in row.confirmed


def test_a_number_without_interval_has_no_bar_and_its_reason(result: Result) -> None:
    entries = copy.deepcopy(result.document["best"][:1])
    for found in (entries[0]["confirmation"]["test"], entries[0]["confirmation"]["objective"]):
        found |= {"low": None, "high": None, "why_no_interval": "one run (n 1)"}
    picture = best.pictures(edited(result, entries))[0]
    assert isinstance(picture, Picture)
    assert all(x is None for t in picture.figure.data if t.mode == "lines" for x in t.x)
    assert "No interval: sgd: one run." in picture.caption


def test_a_loss_is_in_its_own_unit_and_lower_is_better() -> None:
    rows = [trial(configuration=str(i), seed=s, rho=0.1 + i) for i in range(2) for s in range(3)]
    losses = [r | {"metrics.val_loss": 2.0 + int(str(r["configuration_id"]))} for r in rows]
    table = small_table(*losses).drop(columns=["metrics.val_accuracy", "metrics.test_accuracy"])
    result = read_result(analyze_tables(table))
    figure = best.plot_best(result)
    assert [t.x[0] for t in dots(figure)] == [2.0]
    assert "lower is better" in figure.layout.xaxis.title.text


def test_hostile_names_and_many_parameters_are_inert_and_short() -> None:
    names = {f"{EVIL}{i}": 0.1 for i in range(20)}
    rows = [trial(arm=EVIL, configuration=str(i), rho=0.1 + i, kind=EVIL, **names) for i in range(2)]
    picture = best.pictures(read_result(analyze_tables(small_table(*rows))))[0]
    assert isinstance(picture, Picture)
    assert "<script" not in picture.figure.to_json()
    assert "\\u003cscript" not in json.dumps([a.text for a in picture.figure.layout.annotations])
    assert all(len(a.text) < 120 for a in picture.figure.layout.annotations)
    assert len(picture.numbers) == 1


def test_nothing_trained_has_its_reason() -> None:
    result = read_result(analyze_tables(small_table(trial(value=None, status="failed", rho=0.1))))
    (missing,) = best.pictures(result)
    assert isinstance(missing, Missing) and missing.reason
    assert best_rows(result) == ()
