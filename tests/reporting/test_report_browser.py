"""The report in a real browser: nothing loaded, nothing logged, everything can be used, the page fits."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import analysed
import numpy as np
import pandas as pd
import pytest
from synthetic import analyze_tables, digits_table, small_table, trial

from hpsearch.analysis.document import to_document
from hpsearch.figures.across.across import compare
from hpsearch.figures.result import Result, read_result
from hpsearch.identity import Identity
from hpsearch.reporting import live
from hpsearch.reporting.build import write_report
from hpsearch.reporting.compare import build_comparison
from hpsearch.study import Recorded, load_study, parse_study

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine's path")

EVIL = "</script><script>document.title = 'stolen'</script><img src=x onerror=\"document.title='stolen'\">"
SECTIONS = ["findings", "arms", "matters", "safe", "maps", "curves", "trials", "made"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
# Of the parallel coordinates on a machine without a GPU; the page can do nothing about it.
SOFTWARE = "GL Driver Message"


class Visit:
    """A loaded page with what it logged and requested."""

    def __init__(self, browser: "playwright.Browser", url: str, width: int, scheme: str = "light") -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.on("console", self._logged)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.set_default_timeout(600_000)  # ms; on a busy machine drawing takes more than the usual 30 s
        self.page.goto(url)
        self.page.wait_for_selector("body[data-drawn=yes]")
        self.page.evaluate("async () => { await hpsearch.trials; }")

    def draw(self) -> None:
        """All figures, not only those that are near the screen."""
        self.page.evaluate("hpsearch.drawAll()")

    def _logged(self, message: "playwright.ConsoleMessage") -> None:
        if message.type in ("error", "warning") and SOFTWARE not in message.text:
            self.problems.append(message.text)


@pytest.fixture(scope="module")
def result() -> Result:
    found = read_result(analysed.analysis())
    table = found.trials.astype({"error": object})
    row = table.index[table["status"] == "complete"][0]
    table.loc[row, "status"] = "failed"
    table.loc[row, "error"] = f"Traceback\n{EVIL}"
    return Result(found.document, table)


@pytest.fixture(scope="module")
def url(result: Result, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, result)
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def wide(browser: "playwright.Browser", url: str) -> Visit:
    """A page on a desktop's screen, drawn once for all that look at it: its table and its figures are apart."""
    visit = Visit(browser, url, 1280)
    visit.draw()
    return visit


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_is_quiet_alone_and_fits(
    browser: "playwright.Browser", url: str, wide: Visit, width: int, scheme: str
) -> None:
    visit = wide if width == 1280 else Visit(browser, url, width, scheme)
    visit.draw()
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title() != "stolen"
    assert page.eval_on_selector_all("section", "all => all.map(s => s.id)") == SECTIONS
    boxes = "all => all.filter(p => p.offsetParent).map(p => [p.id, p.querySelectorAll('.main-svg').length])"
    figures = page.eval_on_selector_all(".plot", boxes)
    assert len(figures) > 10 and all(drawn for _, drawn in figures)
    cut = "all => all.filter(p => p.offsetParent && p.scrollWidth > p.clientWidth + 1).map(p => p.id)"
    assert page.eval_on_selector_all(".plot", cut) == []
    titles = page.eval_on_selector_all(".modebar-btn", "all => all.map(b => b.dataset.title)")
    assert not any("Share" in title for title in titles)  # plotly's own upload
    assert visit.requests == [url]
    assert visit.problems == []


def test_dark_and_light_are_the_readers_setting(wide: Visit) -> None:
    page = wide.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.getElementById('best').layout.paper_bgcolor === '#151a21'")
    assert page.evaluate(ground) == "rgb(21, 26, 33)" != light
    page.emulate_media(color_scheme="light")
    page.wait_for_function("() => document.getElementById('best').layout.paper_bgcolor === '#ffffff'")
    assert wide.problems == []


def column(page: "playwright.Page", label: str) -> list[str]:
    names = page.eval_on_selector_all("#trial-table th", "all => all.map(t => t.textContent)")
    at = names.index(label) + 1
    return list(page.eval_on_selector_all(f"#trial-table td:nth-child({at})", "all => all.map(t => t.textContent)"))


def test_the_table_sorts_and_filters(wide: Visit, result: Result) -> None:
    page = wide.page

    def click(label: str) -> None:
        page.locator("#trial-table th button").get_by_text(label, exact=True).click()

    assert len(column(page, "arm")) == 100  # the first hundred
    page.click("#more")
    everything = len(column(page, "arm"))
    assert everything == len(result.trials)

    click("test accuracy")
    values = [float(v.rstrip(" %")) for v in column(page, "test accuracy") if v]
    assert values == sorted(values) and len(values) < everything
    assert column(page, "test accuracy")[-1] == ""  # what is not known comes last
    click("test accuracy")
    assert [float(v.rstrip(" %")) for v in column(page, "test accuracy") if v] == sorted(values, reverse=True)

    page.select_option("#filter-status", "diverged")
    assert set(column(page, "status")) == {"diverged"}
    page.select_option("#filter-status", "")
    page.fill("#filter-text", "sgd complete")
    assert set(column(page, "arm")) == {"sgd"} and set(column(page, "status")) == {"complete"}
    page.fill("#filter-text", "")
    page.select_option("#filter-arm", "sam")
    assert set(column(page, "arm")) == {"sam"}
    page.select_option("#filter-arm", "")
    assert len(column(page, "arm")) == everything
    assert wide.problems == []


def test_a_row_tells_the_whole_trial(wide: Visit, result: Result) -> None:
    page = wide.page
    page.select_option("#filter-status", "failed")
    row = page.locator("#trial-table tbody tr").filter(has_text="stolen").first
    row.locator("button").focus()
    page.keyboard.press("Enter")  # by the keyboard, as by a click
    panel = page.locator("#trial-detail")
    assert EVIL in (panel.locator("pre").first.text_content() or "")
    page.select_option("#filter-status", "complete")
    row = page.locator("#trial-table tbody tr").first
    first = result.trials.iloc[int(row.get_attribute("data-row") or -1)]
    assert first["status"] == "complete"
    row.click()
    assert str(first["trial_id"]) in panel.inner_text()
    assert panel.locator(".main-svg").count()  # its curve
    snippet = panel.locator("#snippet").text_content() or ""
    assert f"seeds: [{first['seed']}]" in snippet and json.dumps(str(first["arm"])) in snippet
    page.click("#copy")
    assert page.locator("#copy").text_content() == "Copied"
    panel.get_by_text("Close").click()
    assert not panel.is_visible()
    page.select_option("#filter-status", "")
    assert wide.problems == []


def test_a_brush_on_the_parallel_coordinates_filters_the_table(wide: Visit, result: Result) -> None:
    page = wide.page
    if not page.evaluate("() => !!document.createElement('canvas').getContext('webgl')"):
        pytest.skip("this browser draws no WebGL")
    brush = """() => {
      const box = document.getElementById("parallel"), axes = box.data[0].dimensions;
      const i = axes.findIndex((d) => d.label === "rho");
      return Plotly.restyle(box, {[`dimensions[${i}].constraintrange`]: [[Math.log10(0.1), Math.log10(0.5)]]});
    }"""
    page.evaluate(brush)
    rho = result.trials["params.rho"]
    wanted = int(rho.between(0.1, 0.5).sum())
    assert 0 < wanted < len(rho)
    assert f"{wanted} found" in (page.locator("#filter-count").text_content() or "")
    page.click("#clear")
    assert f"{len(rho)} found" in (page.locator("#filter-count").text_content() or "")
    assert wide.problems == []


def test_switches_are_buttons_and_do_what_they_say(wide: Visit) -> None:
    page = wide.page
    front = page.locator("figure", has=page.locator("#front"))
    title = page.evaluate("document.getElementById('front').layout.xaxis.title.text")
    button = front.get_by_role("button", name="seconds", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("old => document.getElementById('front').layout.xaxis.title.text !== old", arg=title)
    assert button.get_attribute("aria-pressed") == "true"
    assert not page.locator(".updatemenu-button").count()  # plotly's own can't be reached by the keyboard
    assert wide.problems == []


def test_the_overview_chooses_the_maps_and_one_switch_is_for_all(wide: Visit, result: Result) -> None:
    page = wide.page
    assert page.locator(".thumb").count() == page.locator(".map").count() > 0
    painted = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)"
    assert page.locator(".thumb canvas").first.evaluate(painted)
    page.locator(".thumb").last.click()
    assert page.locator(".maps:not([hidden])").count() == 1
    raw = page.locator("#map-switches button", has_text="raw")
    surrogate = [a for a in result.arms if result.answers(a) and result.answers(a)["pair_maps"]]  # type: ignore[index]
    assert surrogate and raw.count() == 1
    shown = (
        "() => [...document.querySelectorAll('.map .plot')].filter(p => p.data).map(p => p.data.map(t => t.visible))"
    )
    before = page.evaluate(shown)
    raw.click()
    page.wait_for_function(f"old => JSON.stringify(({shown})()) !== old", arg=json.dumps(before, separators=(",", ":")))
    assert wide.problems == []


def test_findings_lead_to_their_pictures(wide: Visit) -> None:
    page = wide.page
    link = page.locator(".findings dt a").first
    target = link.get_attribute("href")
    link.click()
    page.wait_for_function("id => Math.abs(document.querySelector(id).getBoundingClientRect().top) < 900", arg=target)
    page.evaluate("scrollTo(0, 0)")


def test_the_copied_study_is_the_same_trial(browser: "playwright.Browser", tmp_path: Path) -> None:
    """What a row gives to copy, read as a study, has the trial's id."""
    known = Recorded(versions={}, task={"name": "digits", "semantics": 1, "options": {}, "function": False})
    study = load_study("quickstart")[0].model_copy(update={"recorded": known})
    params = {"rho": 1e-7 / 3, "ema_decay": 0.9123456789012345, "epochs": 20}
    identifier = Identity.recorded(study).trial_id("fsam", params, 2)
    row = trial("fsam", seed=2, **params) | {"trial_id": identifier, "fixed.sigma": 1.0}
    path = tmp_path / "report.html"
    write_report(path, Result(to_document(analyze_tables(small_table(row), study), study), small_table(row), study))
    page = Visit(browser, path.as_uri(), 1280).page
    page.locator("#trial-table tbody tr").first.click()
    again = parse_study(page.locator("#snippet").text_content() or "").model_copy(update={"recorded": known})
    assert list(again.arms) == ["fsam"] and again.seeds == (2,) and not again.arms["fsam"].parameters
    assert Identity.recorded(again).trial_id("fsam", {}, 2) == identifier
    page.close()


def test_a_live_page_takes_up_new_trials_and_keeps_what_the_reader_set(
    browser: "playwright.Browser", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [trial("sam", str(i), s, 0.5 + i / 20 + s / 100, rho=0.1 * (i + 1)) for i in range(4) for s in range(2)]
    tables = [small_table(*rows[:n]) for n in (4, 6, 8)]
    made = iter([analyze_tables(table) for table in tables])
    prints = iter("aabbccdd")
    monkeypatch.setattr(live, "fingerprint", lambda folder: next(prints))
    monkeypatch.setattr(live, "read_result", lambda folder, told=None: read_result(next(made)))
    monkeypatch.setattr(live.LiveReport, "_quick", lambda self: read_result(analyze_tables(tables[1])))
    report = live.LiveReport(tmp_path, print)
    server = live.open_server(report, 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        visit = Visit(browser, live.address(server), 1280)
        page = visit.page
        assert "4 in all" in (page.locator("#filter-count").text_content() or "")
        page.fill("#filter-text", "sam")
        report.look()  # nothing new
        report._rest_until = 0.0
        report.look()
        page.wait_for_function("() => document.getElementById('filter-count').textContent.includes('6 in all')")
        assert page.input_value("#filter-text") == "sam"
        page.wait_for_function("() => document.getElementById('live').textContent.startsWith('Not running')")
        assert page.locator("#made td.n").nth(1).inner_text() == "6"
        assert visit.problems == []
        page.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_comparison_works_in_the_browser(browser: "playwright.Browser", tmp_path: Path) -> None:
    def run(shift: float) -> Result:
        rows = [
            trial("sam", str(i), s, 0.9 - (i - 3 - shift) ** 2 / 100 + s / 500, rho=0.1 * (i + 1), **{EVIL: i % 2})
            for i in range(8)
            for s in range(3)
        ]
        return read_result(analyze_tables(small_table(*rows)))

    path = tmp_path / "comparison.html"
    path.write_text(build_comparison(compare({"a task": run(0), EVIL: run(2)})), encoding="utf-8")
    for width, scheme in ((1280, "light"), (390, "dark")):
        visit = Visit(browser, path.as_uri(), width, scheme)
        visit.draw()
        page = visit.page
        assert page.title() != "stolen" and not page.locator("img[src=x]").count()
        assert page.eval_on_selector_all("section", "all => all.map(s => s.id)") == [
            "findings",
            "across",
            "runs",
            "made",
        ]
        assert "sam: one setting for both tasks" in page.locator("#findings").inner_text()
        assert page.locator("#across-loss .main-svg").count()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.requests == [path.as_uri()] and visit.problems == []
        page.close()


HOSTILE = [
    trial(
        arm=EVIL,
        configuration=str(i),
        seed=s,
        value=0.5 + i / 20,
        **{EVIL: 0.1 * i + 0.1, "kind": EVIL if i % 2 else "b"},
    )
    for i in range(4)
    for s in range(2)
]


def many() -> pd.DataFrame:
    """10,008 trials: 4 arms, 834 configurations of 3 seeds each, a curve of 20 epochs each."""
    rng = np.random.default_rng(0)
    n, seeds, epochs = 834, 3, 20
    made = []
    for arm in ("sgd", "sam", "msam", "fsam"):
        rho, lr = np.repeat(10 ** rng.uniform(-2, 0.3, n), seeds), np.repeat(10 ** rng.uniform(-2, 0, n), seeds)
        value = 0.9 - 0.05 * np.log10(rho / 0.1) ** 2 - 0.03 * np.log10(lr / 0.1) ** 2 + rng.normal(0, 0.01, n * seeds)
        curves = np.linspace(0.1, 1, epochs) * value[:, None]
        part = pd.DataFrame({"arm": arm, "params.rho": rho, "params.lr": lr, "metrics.val_accuracy": value})
        part["configuration_id"] = [f"{arm}-{i // seeds}" for i in range(n * seeds)]
        part["seed"] = np.tile(np.arange(seeds), n)
        part["trial_id"] = part["configuration_id"] + "-" + part["seed"].astype(str)
        part["status"] = np.where(rho > 1.5, "diverged", "complete")
        part["cost.seconds"] = rng.uniform(1, 5, n * seeds)
        part["curve.epoch"] = [list(range(1, epochs + 1))] * len(part)
        part["curve.val_accuracy"] = list(curves.tolist())
        made.append(part)
    return pd.concat(made, ignore_index=True)


CASES: dict[str, Callable[[], pd.DataFrame]] = {
    "empty": pd.DataFrame,
    "one trial": lambda: small_table(trial(rho=0.1)),
    "nothing trained": lambda: small_table(
        *(trial(configuration=str(i), value=0.1, status="diverged", rho=i + 1.0, lr=0.1) for i in range(3))
    ),
    "one arm": lambda: digits_table(24).query("arm == 'sam'").reset_index(drop=True),
    "six arms": lambda: digits_table(24),
    "ten thousand trials": many,
    "hostile names": lambda: small_table(*HOSTILE),
    "twenty hyperparameters": lambda: small_table(
        *(
            trial(
                configuration=str(i),
                value=0.5 + i / 40,
                **{f"hyperparameter_{k}": (i * (k + 3)) % 7 / 7 for k in range(20)},
            )
            for i in range(12)
        )
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_any_table_makes_a_page_that_works(browser: "playwright.Browser", tmp_path: Path, case: str) -> None:
    path = tmp_path / "report.html"
    write_report(path, analyze_tables(CASES[case]()))
    assert path.stat().st_size < 15_000_000
    visit = Visit(browser, path.as_uri(), 1280)
    visit.draw()
    page = visit.page
    assert page.title() != "stolen" and not page.locator("img[src=x]").count()
    assert page.eval_on_selector_all("section", "all => all.map(s => s.id)") == SECTIONS
    empty = "all => all.filter(s => !s.querySelector('.plot, .reason, table, dd')).map(s => s.id)"
    assert page.eval_on_selector_all("section", empty) == []  # what is not there says why
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert visit.requests == [path.as_uri()]
    assert visit.problems == []
    page.close()
