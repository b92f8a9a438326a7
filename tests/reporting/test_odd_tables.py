"""Tables that anybody's sweep may bring: the report is made, and says nothing false of them."""

import math
from typing import Any

import pandas as pd
import pytest
from synthetic import analyze_tables, small_table, trial

from hpsearch.figures.curves.info import curves_info
from hpsearch.figures.picture import Picture
from hpsearch.figures.result import Result, read_result
from hpsearch.figures.safe.numbers import sensitivity_info
from hpsearch.reporting.build import build_report
from hpsearch.reporting.sections import all_pictures
from tests.reporting.page import Page


def curved(n: int = 6, **curve: Any) -> pd.DataFrame:
    rows = [trial("sam", f"{i}", s, 0.5 + i / 20, rho=0.1 * (i + 1)) for i in range(n) for s in range(2)]
    return small_table(*rows).assign(**{f"curve.{name}": [values] * 2 * n for name, values in curve.items()})


def result(table: pd.DataFrame) -> Result:
    return read_result(analyze_tables(table))


def test_names_that_are_numbers_are_names() -> None:
    table = curved(epoch=[1, 2], val_accuracy=[0.1, 0.5]).assign(arm=7)
    table["configuration_id"] = table["configuration_id"].astype(int)
    found = result(table)
    assert found.arms == ["7"] and found.searched("7") == ["rho"]
    assert curves_info(found, "7").configurations["final"].notna().all()
    page = Page(build_report(found))
    assert "no configuration has a result" not in page.text and page.trials["values"][0][0] == "7"


def test_an_infinite_hyperparameter_is_no_end_of_an_axis() -> None:
    table = curved()
    table.loc[0, "params.rho"] = math.inf
    found = result(table)
    axis = found.axis("rho")
    assert axis.high == pytest.approx(0.6) and "0.1 – 0.6" in Page(build_report(found)).text


def test_more_metrics_than_are_drawn() -> None:
    table = curved(epoch=[1, 2], val_accuracy=[0.1, 0.5], a=[1, 2], b=[1, 2], c=[1, 2], d=[1, 2])
    for column in ("val_accuracy", "a", "b", "c"):  # one configuration has the fifth metric alone
        table[f"curve.{column}"] = [None if i < 2 else v for i, v in enumerate(table[f"curve.{column}"])]
    table.loc[11, "status"] = "diverged"
    info = curves_info(result(table), "sam")
    assert info.metrics[0] == "val_accuracy" and len(info.metrics) == 4
    assert set(info.curves["metric"]) == set(info.metrics)
    build_report(result(table))


def test_text_in_a_curve_is_no_number() -> None:
    page = Page(build_report(result(curved(epoch=[1, 2, 3], val_accuracy=[0.1, "n/a", 0.5]))))
    assert page.trials["curves"]["val_accuracy"][0] == [0.1, None, 0.5]


def test_what_two_regions_of_failure_have_in_common_is_hatched() -> None:
    """Each region of the document holds all that failed."""
    found = result(curved())
    region = {"parameter": "rho", "configurations_inside": 4, "configurations_failing": 2, "nearest_clean": 0.1}
    failures = {"regions": [{**region, "side": "above", "bound": 0.3}, {**region, "side": "below", "bound": 0.4}]}
    (arm,) = found.document["arms"]
    changed = Result({**found.document, "arms": [{**arm, "failures": {**arm["failures"], **failures}}]}, found.trials)
    (row,) = sensitivity_info(changed, "rho").rows
    assert row.fails == ((0.3, 0.4),) and row.n_failing == 2


def test_texts_under_ticks_are_not_escaped_twice() -> None:
    table = curved().assign(**{"params.<b>": ["<i>", "&"] * 6})
    (picture,) = [p for p in all_pictures(result(table)) if isinstance(p, Picture) and p.key == "parallel"]
    axes = {axis["label"]: axis for axis in picture.sketch.plain()["data"][0]["dimensions"]}
    assert axes["&lt;b&gt;"]["ticktext"] == ["<i>", "&"]  # ticks are text to plotly, labels are markup
    assert "<b>" in picture.alt and "<b>" in picture.numbers.columns


def test_an_error_rate_is_a_share_everywhere() -> None:
    table = curved().rename(columns={"metrics.val_accuracy": "metrics.val_error"})
    page = Page(build_report(result(table.drop(columns="metrics.test_accuracy"))))
    kinds = {column["column"]: column["kind"] for column in page.trials["columns"]}
    assert kinds["metrics.val_error"] == "share"
