import base64
import dataclasses
import errno
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from synthetic import STUDY, Arm, digits_table, small_table, trial

from hpsearch.errors import RunError
from hpsearch.reporting.build import build_report, embed, write_report

SECTIONS = ["findings", "run", "pareto", "best", "sensitivity", "maps", "trials", "methods"]
EVIL = "</script><script>window.stolen = 1</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Tags, section ids and the contents of scripts, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self._script: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        if tag == "section":
            self.sections.append(str(named["id"]))
        if tag == "script":
            self._script = named.get("type") or "javascript"

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts.append((self._script, data))
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).replace("\N{NO-BREAK SPACE}", " ").split())


def trials_of(page: Page) -> dict[str, list[list[object]]]:
    return next(d for d in (json.loads(s) for kind, s in page.scripts if kind == "application/json") if "rows" in d)


@pytest.fixture(scope="module")
def whole() -> tuple[str, Page]:
    html = build_report(digits_table(), STUDY, "name: digits-noise\n# <b>comment</b>\n")
    return html, Page(html)


def test_sections_in_order(whole: tuple[str, Page]) -> None:
    assert whole[1].sections == SECTIONS


def test_plotly_is_inside_once_and_nothing_is_loaded(whole: tuple[str, Page]) -> None:
    html, page = whole
    code = [s for kind, s in page.scripts if kind == "javascript"]
    assert sum("plotly.js v" in s[:200] for s in code) == 1
    markup = html
    for _, script in page.scripts:
        markup = markup.replace(script, "")
    assert not re.search(r'(src|href)="(?!#|data:)', markup)
    assert "url(" not in markup and "@import" not in markup


def test_only_the_two_scripts_of_the_report_may_run(whole: tuple[str, Page]) -> None:
    html, page = whole
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    code = [s for kind, s in page.scripts if kind == "javascript"]
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in code]
    allowed = re.findall(r"'sha256-([^']*)'", unescape(policy[1]))
    assert allowed == digests and len(code) == 2
    assert "default-src 'none'" in unescape(policy[1])


def test_findings_say_what_was_confirmed_and_where_training_failed(whole: tuple[str, Page]) -> None:
    text = whole[1].text
    assert re.search(
        r"confirmed test accuracy 9\d\.\d\d ± \d\.\d\d % \(95 % t interval, 5 fresh seeds(; of runs that train)?\)",
        text,
    )
    assert re.search(r"some in every configuration with rho ≥ 0\.\d+, none at rho ≤ 0\.\d+", text)
    assert "this study does not rank them" in text


def test_the_study_file_and_every_trial_are_there(whole: tuple[str, Page]) -> None:
    _, page = whole
    assert "# <b>comment</b>" in page.text
    assert len(trials_of(page)["rows"]) == len(digits_table())


def test_no_ranking_without_confirmation() -> None:
    rows = [
        trial(arm=a, configuration=f"{a}{i}", value=0.9 - i / 10, rho=i + 1.0) for a in ("x", "y") for i in range(2)
    ]
    text = Page(build_report(small_table(*rows))).text
    assert "selected, optimistic" in text
    assert "The arms are not ranked" in text
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
    study = dataclasses.replace(
        STUDY, name=EVIL, description=EVIL, arms={EVIL: Arm({}, {EVIL: EVIL})}, optimizer={EVIL: [EVIL]}
    )
    for given in (None, study):
        page = Page(build_report(table, given, EVIL))
        assert page.sections == SECTIONS
        code = [s for kind, s in page.scripts if kind == "javascript"]
        assert len(code) == 2 and not any("window.stolen" in s for s in code)
        assert "img" not in page.tags
        for kind, script in page.scripts:
            if kind == "application/json":
                assert "<" not in script and json.loads(script)


def test_embedded_json_keeps_its_meaning() -> None:
    value = {"a": "</script> <!-- & >"}
    text = str(embed(json.dumps(value)))
    assert not set("<>&") & set(text)
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pd.DataFrame(), "This run has no trials yet."),
        (small_table(trial(value=None, status="failed")), "No trial has a metric"),
        (
            small_table(trial(value=None, status="failed")).assign(**{"metrics.val_loss": "x"}),
            "No trial has a metric",
        ),
    ],
)
def test_what_cannot_be_made_says_why(table: pd.DataFrame, reason: str) -> None:
    page = Page(build_report(table))
    assert page.sections == SECTIONS
    assert page.text.count(reason) >= 4


def test_only_failed_trials_of_a_study() -> None:
    rows = [trial(value=None, status="failed", rho=0.1), trial(seed=1, value=None, status="stopped", rho=0.1)]
    text = Page(build_report(small_table(*rows), STUDY)).text
    assert "No trial ended with validation accuracy (1 failed, 1 stopped)." in text


def test_a_study_without_trials_shows_its_plan() -> None:
    page = Page(build_report(pd.DataFrame(), STUDY))
    assert page.sections == SECTIONS
    assert "rho 0.01 – 2 (log)" in page.text and "This run has no trials yet." in page.text


def test_all_diverged() -> None:
    rows = [trial(configuration=f"c{i}", value=0.1, status="diverged", rho=i + 1.0, lr=0.1 * i) for i in range(3)]
    text = Page(build_report(small_table(*rows))).text
    assert "None of the 3 selection trials that ended trained." in text


def test_one_arm_without_parameters_says_that_nothing_was_searched() -> None:
    study = dataclasses.replace(STUDY, arms={"sgd": Arm({}, {"lr": 0.1})}, confirm=None)
    text = Page(build_report(small_table(trial(arm="sgd", value=0.9)), study)).text
    assert "No hyperparameter was searched." in text
    assert "sgd: nothing was searched" in text
    assert (
        "not confirmed" in text
        and "optimistic" not in text.split("What was run")[1].split("Best configurations")[0].split("Each mark")[0]
    )


def test_without_compute_there_is_no_front() -> None:
    assert "No trial recorded its compute" in Page(build_report(small_table(trial(samples=None)))).text


def test_infinite_values_do_not_break_the_table_of_trials() -> None:
    html = build_report(small_table(trial(value=0.9, samples=float("inf")), trial(seed=1, value=float("-inf"))))
    assert "Infinity" not in json.dumps(trials_of(Page(html)))


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_report(path, small_table(trial()))
    first = path.read_text(encoding="utf-8")
    assert first.endswith("</html>")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hpsearch.results.os.fsync", full)
    with pytest.raises(RunError, match="No space left"):
        write_report(path, pd.DataFrame())
    assert path.read_text(encoding="utf-8") == first
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_lone_surrogates_are_written(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", small_table(trial()), study_text="name: \ud800")
    assert "</html>" in (tmp_path / "r.html").read_text(encoding="utf-8")
