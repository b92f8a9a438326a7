import copy
import json
from dataclasses import replace
from typing import Any

import analysed
import numpy as np
import pandas as pd
import pytest
from synthetic import small_table, trial

from hpsearch.analysis import analyze
from hpsearch.figures.picture import Missing, NothingToDraw, Picture
from hpsearch.figures.result import Result, read_result
from hpsearch.figures.safe.numbers import MOST_TRIALS, RAW, SURROGATE, sensitivity_info
from hpsearch.figures.safe.ranges import pictures, plot_sensitivity
from hpsearch.figures.safe.words import keys

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def result() -> Result:
    return read_result(analysed.analysis(), analysed.STUDY)


def edited(result: Result) -> Result:
    return Result(copy.deepcopy(result.document), result.trials.copy(), result.study)


def without_surrogate(result: Result, arm: str) -> Result:
    made = edited(result)
    answers = entry(made, arm)["answers"]
    answers |= {"marginal_curves": [], "pair_maps": [], "safe_ranges": [], "reference": None}
    answers["why_no_surrogate"] = "6 configurations: a surface needs 8"
    return made


def entry(result: Result, arm: str) -> dict[str, Any]:
    return next(one for one in result.document["arms"] if one["arm"] == arm)


def of(entries: list[dict[str, Any]], parameter: str) -> dict[str, Any]:
    return next(one for one in entries if one["parameter"] == parameter)


def only(result: Result, parameter: str) -> Picture:
    found = next(p for p in pictures(result) if p.key == f"sensitivity-{parameter}")
    assert isinstance(found, Picture)
    return found


def test_curves_are_those_of_the_document(result: Result) -> None:
    info = sensitivity_info(result, "rho")
    wanted = of(entry(result, "sam")["answers"]["marginal_curves"], "rho")
    drawn = info.curves[info.curves["arm"] == "sam"]
    assert set(drawn["source"]) == {SURROGATE}
    for name, column in (("values", "position"), ("mean", "mean"), ("low", "low"), ("high", "high")):
        np.testing.assert_allclose(drawn[column], wanted[name])
    band = next(t for t in plot_sensitivity(result, "rho").data if t.fill == "toself" and t.fillcolor)
    np.testing.assert_allclose(band.y, 100 * np.array(wanted["high"] + wanted["low"][::-1]), rtol=1e-4)


def test_every_ended_selection_trial_is_drawn_once(result: Result) -> None:
    table = result.trials
    own = table[(table["arm"] == "sam") & ~table["sampling.confirm"]]
    info = sensitivity_info(result, "rho")
    for trained, statuses in ((True, ["complete"]), (False, ["diverged", "collapsed"])):
        wanted = own[own["status"].isin(statuses) & own["metrics.val_accuracy"].notna()]
        drawn = info.trials[info.trials["trained"] == trained]
        assert sorted(drawn["metric"]) == pytest.approx(sorted(wanted["metrics.val_accuracy"]))
        assert sorted(drawn["position"]) == pytest.approx(sorted(wanted["params.rho"]))
    crosses = [t for t in plot_sensitivity(result, "rho").data if t.marker.symbol == "x-thin-open" and t.hovertext]
    assert len(crosses[0].x) == (~info.trials["trained"]).sum() > 0
    assert "did not train" in crosses[0].hovertext[0]


def test_the_strip_holds_the_safe_range_its_intervals_and_its_ratio(result: Result) -> None:
    wanted = of(entry(result, "sam")["answers"]["safe_ranges"], "rho")
    row = next(r for r in sensitivity_info(result, "rho").rows if r.arm == "sam")
    assert row.low is not None and row.high is not None
    assert (row.low.value, row.high.value) == (wanted["low"]["value"], wanted["high"]["value"])
    assert (row.low.low, row.low.high) == (wanted["low"]["low"], wanted["low"]["high"])
    fig = plot_sensitivity(result, "rho")
    bar = next(t for t in fig.data if t.line.width == 9)
    np.testing.assert_allclose(bar.x, [wanted["low"]["value"], wanted["high"]["value"]], rtol=1e-4)
    whiskers = [t for t in fig.data if t.line.width == 1.5 and t.mode == "lines+markers" and t.yaxis == "y2"]
    np.testing.assert_allclose(
        [list(t.x) for t in whiskers], [[wanted[e]["low"], wanted[e]["high"]] for e in ("low", "high")], rtol=1e-4
    )
    text = next(a.text for a in fig.layout.annotations if "sam" in a.text)
    assert f"\N{MULTIPLICATION SIGN}{wanted['ratio']['value']:.2g}" in text and "95 %" in text


def test_failures_are_hatched_from_the_first_failing_value_on(result: Result) -> None:
    region = of(entry(result, "sam")["failures"]["regions"], "rho")
    assert region["side"] == "above"
    row = next(r for r in sensitivity_info(result, "rho").rows if r.arm == "sam")
    assert row.fails == ((region["bound"], 2.0),)
    hatched = [t for t in plot_sensitivity(result, "rho").data if t.fillpattern.shape and t.x[0] is not None]
    assert all(min(v for v in t.x if v is not None) == pytest.approx(region["bound"], rel=1e-4) for t in hatched)
    # In the upper panel, too: sam is the only arm here, so that all arms fail there.
    assert {t.yaxis for t in hatched} == {"y2", "y3"}


def test_where_an_interval_is_withheld_nothing_stands_for_it_and_the_reason_is_told(result: Result) -> None:
    made = edited(result)
    answers = entry(made, "sam")["answers"]
    why = "too few configurations (16, 3 seeds): checked from 24 on"
    of(answers["marginal_curves"], "rho").update(low=None, high=None, why_no_interval=why)
    for name in ("low", "high", "ratio"):
        of(answers["safe_ranges"], "rho")[name].update(low=None, high=None, why_no_interval=why)
    picture = only(made, "rho")
    assert not [t for t in picture.figure.data if t.fill == "toself" and t.fillcolor]
    assert not [t for t in picture.figure.data if t.line.width == 1.5 and t.yaxis == "y2" and t.mode == "lines+markers"]
    assert picture.caption.count("too few configurations") == 2
    assert "no interval" in next(a.text for a in picture.figure.layout.annotations if "sam" in a.text)
    assert (picture.numbers["why_no_interval"] == why).sum() >= 3 + 25


def test_without_a_surrogate_the_line_goes_through_raw_means(result: Result) -> None:
    made = without_surrogate(result, "sgd")
    info = sensitivity_info(made, "lr")
    raw = info.curves[info.curves["arm"] == "sgd"]
    assert set(raw["source"]) == {RAW} and raw["low"].isna().all()
    rows = [c for c in result.document["configurations"] if c["arm"] == "sgd" and c["mean"] is not None]
    assert len(rows) == raw["n"].sum()
    mean = sum(raw["mean"] * raw["n"]) / sum(raw["n"])
    assert mean == pytest.approx(np.mean([c["mean"] for c in rows]))
    picture = only(made, "lr")
    assert "sgd: 6 configurations" in picture.caption
    assert "no safe range" in next(a.text for a in picture.figure.layout.annotations if "sgd" in a.text)


def test_choices_have_a_probability_each(result: Result) -> None:
    made = edited(result)
    sam = entry(made, "sam")
    of(sam["searched"], "rho").update(scale="choice", low=None, high=None, choices=["a", True, 2])
    made.trials["params.rho"] = pd.Series(["a", True, 2] * (len(made.trials) // 3 + 1), dtype=object)[
        : len(made.trials)
    ]
    for one in made.document["configurations"]:
        if "rho" in one["params"]:
            one["params"]["rho"] = "a"
    sam["failures"]["regions"] = []
    levels = [{"level": v, "within_epsilon": p} for v, p in (("a", 0.25), (True, 0.5), (2, 1.0))]
    found = of(sam["answers"]["safe_ranges"], "rho")
    found.update(low=None, high=None, ratio=None, trains_from=None, trains_to=None, best=2)
    found["levels"] = {"method": "safe_range", "n": 24, "why_not_checked": "few (24)", "probabilities": levels}
    curve = {"values": ["a", True, 2], "mean": [0.9, 0.91, 0.92], "low": None, "high": None}
    of(sam["answers"]["marginal_curves"], "rho").update(curve)
    sam["answers"]["reference"]["rho"] = "a"
    row = next(r for r in sensitivity_info(made, "rho").rows if r.arm == "sam")
    assert row.levels is not None
    assert row.levels["probability"].tolist() == [0.25, 0.5, 1.0] and row.levels["position"].tolist() == [0, 1, 2]
    assert (row.best, row.reference) == (2.0, 0.0)
    picture = only(made, "rho")
    texts = next(t for t in picture.figure.data if t.mode == "text")
    assert [text.strip("\xa0 ") for text in texts.text] == ["25\xa0%", "50\xa0%", "100\xa0%"]
    assert "25 % at a, 50 % at true, 100 % at 2" in picture.alt and "Not checked: sam: few" in picture.caption


def test_the_zoom_shows_what_trained_and_the_other_switch_hides_the_trials(result: Result) -> None:
    fig = plot_sensitivity(result, "rho")
    zoom, trials = fig.layout.updatemenus
    low, high = zoom.buttons[1].args[0]["yaxis.range"]
    info = sensitivity_info(result, "rho")
    trained = info.trials.loc[info.trials["trained"], "metric"] * 100
    assert low < np.quantile(trained, 0.1) and trained.max() < high and low > 50
    hidden = [fig.data[i] for i in trials.buttons[1].args[1]]
    assert sum(len(t.x) for t in hidden) == len(info.trials)


def test_many_trials_are_thinned_and_that_is_told(result: Result) -> None:
    made = edited(result)
    many = pd.concat([made.trials] * 40, ignore_index=True)
    picture = only(replace(made, trials=many), "rho")
    info = sensitivity_info(Result(made.document, many, made.study), "rho")
    assert len(info.trials) == MOST_TRIALS < info.n_trials
    assert f"{MOST_TRIALS:,} of {info.n_trials:,} trials" in picture.caption
    failed = sensitivity_info(result, "rho").n_not_trained
    assert f"{40 * failed:,} in all" in picture.caption and failed > 0
    share = (~info.trials["trained"]).mean()
    assert share == pytest.approx((~sensitivity_info(result, "rho").trials["trained"]).mean(), abs=0.01)


def test_epsilon_the_reference_and_n_are_told(result: Result) -> None:
    caption = only(result, "rho").caption
    assert "within 1.0 points of the best" in caption and "n = 24 configurations" in caption
    reference = entry(result, "sam")["answers"]["reference"]
    assert f"sam rho {reference['rho']:.3g}" in caption


def test_a_loss_is_told_in_its_own_unit() -> None:
    rows = [trial(configuration=str(i), value=v, rho=r) for i, (r, v) in enumerate(((0.1, 2.0), (0.2, 3.5)))]
    table = small_table(*rows).rename(columns={"metrics.val_accuracy": "metrics.val_loss"})
    made = read_result(analyze(table.drop(columns="metrics.test_accuracy"), options=None))
    picture = only(made, "rho")
    assert picture.figure.layout.yaxis.title.text == "Validation loss"
    line = next(t for t in picture.figure.data if t.mode == "lines+markers")
    assert list(line.y) == [2.0, 3.5]
    assert "no surrogate was asked for" in picture.caption
    assert not picture.figure.layout.annotations  # no strip without a safe range


def test_hostile_names_are_inert_and_keys_differ() -> None:
    rows = [
        trial(arm=EVIL, configuration=str(i), value=0.5, **{EVIL: r, "kind": EVIL + str(i)}, status=s)
        for i, (r, s) in enumerate(((0.1, "complete"), (0.2, "diverged")))
    ]
    made = read_result(analyze(small_table(*rows), options=None))
    found = [p for p in pictures(made) if isinstance(p, Picture)]
    assert len(found) == 2
    for picture in found:
        picture.figure.update_traces(legendgroup=None)  # which nobody sees
        assert "<script" not in json.dumps(picture.figure.to_dict(), default=str)
    assert len(set(keys([EVIL, "-script-alert-1-script-", "a b", "a_b"]).values())) == 4


def test_what_cannot_be_drawn_has_a_reason(result: Result) -> None:
    with pytest.raises(NothingToDraw, match="no arm searched beta; searched were: rho, lr"):
        sensitivity_info(result, "beta")
    nothing = [trial(configuration=str(i), value=None, status="failed", rho=r) for i, r in enumerate((0.1, 0.2))]
    made = read_result(analyze(small_table(*nothing), options=None))
    assert all(isinstance(p, Missing) and p.reason for p in pictures(made))
