"""What the report's file holds: sections, findings, figures, trials; nothing that runs or loads but its own scripts."""

import base64
import dataclasses
import errno
import hashlib
import json
import re
from html import unescape
from pathlib import Path

import analysed
import pandas as pd
import pytest
from synthetic import STUDY, analyze_tables, digits_table, small_table, trial

from hpsearch.errors import RunError
from hpsearch.figures.picture import Picture
from hpsearch.figures.result import Result, read_result
from hpsearch.reporting.build import build_report, write_report
from hpsearch.reporting.page import embed
from hpsearch.reporting.sections import SENTENCE, all_pictures
from hpsearch.study import load_study
from tests.reporting.page import Page

SECTIONS = ["findings", "arms", "matters", "safe", "maps", "curves", "trials", "made"]
EVIL = "</script><script>window.stolen = 1</script><img src=x onerror=alert(1)>"


def tables(table: pd.DataFrame, study: object = None) -> Result:
    """Without the questions that need a model."""
    return dataclasses.replace(read_result(analyze_tables(table, study)), study=None)


@pytest.fixture(scope="module")
def result() -> Result:
    return read_result(analysed.analysis())


@pytest.fixture(scope="module")
def whole(result: Result) -> Page:
    return Page(build_report(result))


def test_sections_in_order(whole: Page) -> None:
    assert whole.sections == SECTIONS
    assert len(set(whole.ids)) == len(whole.ids)  # links lead to one place


def test_plotly_is_inside_once_and_nothing_is_loaded(whole: Page) -> None:
    assert sum("plotly.js v" in source[:200] for source in whole.code) == 1
    loading = [(tag, key, value) for tag, key, value in whole.attributes if key in ("src", "href", "srcset", "action")]
    assert all(value.startswith(("#", "data:")) for _, _, value in loading)
    style = whole.html[whole.html.index("<style>") : whole.html.index("</style>")]
    assert "url(" not in style and "@import" not in style


def test_only_the_two_scripts_of_the_report_may_run(whole: Page) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', whole.html)
    assert policy is not None
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in whole.code]
    assert re.findall(r"'sha256-([^']*)'", unescape(policy[1])) == digests and len(digests) == 2
    assert "default-src 'none'" in unescape(policy[1]) and "connect-src" not in policy[1]


def test_findings_are_the_documents_and_lead_to_what_is_on_the_page(whole: Page, result: Result) -> None:
    document = result.document
    for sentence in [*document["findings"], *document["warnings"]]:
        for clause in re.split(r"[;:] ", sentence["text"]):
            assert " ".join(clause.split()).strip(" ;:") in whole.text
    links = [value[1:] for tag, key, value in whole.attributes if tag == "a" and key == "href"]
    assert links and set(links) <= {*whole.ids, "main"}
    assert "sensitivity-rho" in links and "differences" in links


def test_every_figure_is_on_the_page_with_its_words(whole: Page, result: Result) -> None:
    made = [one for one in all_pictures(result) if isinstance(one, Picture)]
    assert {one.key for one in made} == set(whole.figures)
    labels = [value for _, key, value in whole.attributes if key == "aria-label"]
    for one in made:
        assert len(one.alt) > 20 and one.alt in labels
        for part in SENTENCE.split(one.caption):  # those that cards share are told once
            assert " ".join(part.split()) in whole.text
        assert len(one.numbers)


def test_hover_texts_are_held_once_and_found_again(whole: Page, result: Result) -> None:
    texts = whole.unpacked("texts")
    assert len(set(texts)) == len(texts)

    def named(value: object) -> object:
        return (
            [named(one) for one in value] if isinstance(value, list) else texts[value] if type(value) is int else value
        )

    made = {one.key: json.loads(one.figure.to_json()) for one in all_pictures(result) if isinstance(one, Picture)}
    for key, figure in whole.figures.items():
        for ours, theirs in zip(figure["data"], made[key]["data"], strict=True):
            if "hovertext" in theirs:
                assert named(ours["hovertext"]) == theirs["hovertext"]


def test_every_trial_is_there_with_its_curve_and_details(whole: Page) -> None:
    table, found = analysed.table(), whole.trials
    columns = {column["column"]: values for column, values in zip(found["columns"], found["values"], strict=True)}
    assert columns["arm"] == table["arm"].tolist()
    assert columns["params.rho"] == [None if pd.isna(v) else v for v in table["params.rho"]]
    assert found["details"]["trial_id"] == table["trial_id"].tolist()
    row = int(table.index[table["status"] == "complete"][0])
    assert found["curves"]["epoch"][row] == [1, 40]
    assert found["curves"]["val_accuracy"][row] == pytest.approx(table.loc[row, "curve.val_accuracy"], rel=1e-4)


def test_methods_and_their_sources_are_told(whole: Page, result: Result) -> None:
    for method in result.document["methods"].values():
        assert " ".join(method["text"].rstrip(".").split()) in whole.text
    assert "arXiv 2403.12350" in whole.text and "Agarwal et al. 2021" in whole.text


def test_no_ranking_without_confirmation() -> None:
    rows = [
        trial(arm=a, configuration=f"{a}{i}", value=0.9 - i / 10, rho=i + 1.0) for a in ("x", "y") for i in range(2)
    ]
    text = Page(build_report(tables(small_table(*rows)))).text
    assert "optimistic" in text and "not confirmed on fresh seeds" in text
    assert "no arm is shown to be better" in text
    assert "guessed from the columns" in text


def test_everything_from_outside_is_escaped() -> None:
    row = trial(arm=EVIL, value=0.9, **{EVIL: 0.1, "lr": 0.2, "kind": EVIL})
    other = trial(arm=EVIL, configuration="b", value=0.8, status="failed", **{EVIL: 0.2, "lr": 0.3, "kind": EVIL})
    table = small_table(
        row | {"host": EVIL},
        other | {"error": EVIL, "configuration_id": EVIL},
        trial(arm=EVIL, configuration="c", **{EVIL: 0.3, "lr": 0.4, "kind": "<b>"}),
    )
    table["metrics." + EVIL] = 0.5
    table["curve.epoch"] = [[1, 2]] * 3
    table["curve." + EVIL] = [[0.1, 0.2]] * 3
    study = load_study("quickstart")[0].model_copy(update={"name": EVIL, "description": EVIL})
    found = read_result(analyze_tables(table))
    for result in (found, Result({**found.document, "study": EVIL, "note": EVIL}, found.trials, study)):
        page = Page(build_report(result))
        assert page.sections == SECTIONS
        assert len(page.code) == 2 and not any("window.stolen" in source for source in page.code)
        assert "img" not in page.tags
        for kind, _, content in page.scripts:
            if kind == "application/json":
                assert "<" not in content and json.loads(content) is not None
        if result.study is not None:
            assert page.text.count(EVIL) >= 3  # title, description and note, as text


def test_the_batch_size_stands_beside_the_task() -> None:
    found, study = read_result(analyze_tables(small_table(trial(arm="sam", value=0.9)))), load_study("quickstart")[0]
    text = Page(build_report(Result(found.document, found.trials, study))).text
    assert study.task.epochs is None and f", batch_size = {study.task.batch_size})" in text


def test_embedded_json_keeps_its_meaning() -> None:
    value = {"a": "</script> <!-- & >"}
    text = str(embed(json.dumps(value)))
    assert not set("<>&") & set(text)
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pd.DataFrame(), "there are no trials yet"),
        (small_table(trial(value=None, status="failed")), "no trial has a metric"),
        (
            small_table(trial(value=None, status="failed")).assign(**{"metrics.val_loss": "x"}),
            "no trial has a metric",
        ),
    ],
)
def test_what_cannot_be_made_says_why(table: pd.DataFrame, reason: str) -> None:
    page = Page(build_report(tables(table)))
    assert page.sections == SECTIONS
    for section in page.html.split("<section")[1:-1]:  # all but how it was made
        assert reason in section or 'id="trials"' in section[:20]


def test_only_failed_trials_of_a_study() -> None:
    rows = [trial(value=None, status="failed", rho=0.1), trial(seed=1, value=None, status="stopped", rho=0.1)]
    text = Page(build_report(tables(small_table(*rows), STUDY))).text
    assert "no selection trial ended with a value of validation accuracy (1 failed, 1 stopped)" in text


def test_a_study_without_trials_shows_its_plan() -> None:
    page = Page(build_report(tables(pd.DataFrame(), STUDY)))
    assert page.sections == SECTIONS
    assert "rho 0.01 – 2 (log)" in page.text and "there are no trials yet" in page.text


def test_all_diverged_one_trial_and_no_search_are_reports_too() -> None:
    diverged = [trial(configuration=f"c{i}", value=0.1, status="diverged", rho=i + 1.0, lr=0.1 * i) for i in range(3)]
    assert "all 3 trials" in Page(build_report(tables(small_table(*diverged)))).text
    one = Page(build_report(tables(small_table(trial(value=0.9, rho=0.1)))))
    assert one.sections == SECTIONS and "1 trial, 1 configuration, 1 arm" in one.text


def test_without_compute_there_is_no_front() -> None:
    page = Page(build_report(tables(small_table(trial(samples=None)))))
    assert "front" not in page.figures and "compute" in page.html.split('id="arms"')[1].split("</section>")[0]


def test_infinite_values_do_not_break_the_table_of_trials() -> None:
    html = build_report(tables(small_table(trial(value=0.9, samples=float("inf")), trial(seed=1, value=float("-inf")))))
    assert "Infinity" not in json.dumps(Page(html).trials)


def test_a_large_report_keeps_its_size() -> None:
    table = digits_table()
    curves = [[0.1 + i / 100 for i in range(40)]] * len(table)
    table = table.assign(**{"curve.epoch": [list(range(1, 41))] * len(table), "curve.val_accuracy": curves})
    page = build_report(tables(table, STUDY))
    assert len(table) > 500 and len(page.encode()) < 8_000_000


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, result = tmp_path / "report.html", tables(small_table(trial()))
    write_report(path, result)
    first = path.read_text(encoding="utf-8")
    assert first.rstrip().endswith("</html>")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hpsearch.results.os.fsync", full)
    with pytest.raises(RunError, match="No space left"):
        write_report(path, result)
    assert path.read_text(encoding="utf-8") == first
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_lone_surrogates_are_written(tmp_path: Path) -> None:
    found = tables(small_table(trial()))
    write_report(tmp_path / "r.html", Result({**found.document, "note": "\ud800"}, found.trials))
    assert "</html>" in (tmp_path / "r.html").read_text(encoding="utf-8")
