"""The report in a real browser: nothing loaded, nothing logged, the table works, the page fits."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic import STUDY, digits_table

from hpsearch.reporting.build import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine's path")

EVIL = "</script><script>document.title = 'stolen'</script>"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


class Visit:
    """A loaded page with what it logged and requested."""

    def __init__(self, browser: "playwright.Browser", url: str, width: int) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.on("console", lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.set_default_timeout(120_000)  # ms; on a busy machine drawing takes more than the usual 30 s
        self.page.goto(url)
        self.page.wait_for_selector("body[data-drawn=yes]")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    table = digits_table(configurations=24)
    table.loc[table["status"] == "failed", "error"] = f"Traceback\n{EVIL}"
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, table, STUDY, f"name: {EVIL}\n")
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
    return Visit(browser, url, 1280)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_quiet_alone_and_fits(browser: "playwright.Browser", url: str, wide: Visit, width: int) -> None:
    visit = wide if width == 1280 else Visit(browser, url, width)
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title().startswith("digits-noise")
    found = page.eval_on_selector_all("section", "all => all.map(s => s.id)")
    assert found == ["findings", "run", "pareto", "best", "sensitivity", "maps", "trials", "methods"]
    figures = page.eval_on_selector_all(".plot", "all => all.map(p => p.querySelectorAll('.main-svg').length)")
    assert len(figures) == 1 + 4 + 10 and all(figures)
    titles = page.eval_on_selector_all(".modebar-btn", "all => all.map(b => b.dataset.title)")
    assert not any("Share" in title for title in titles)  # plotly's own upload
    assert visit.requests == [url]
    assert visit.problems == []


def test_the_table_sorts_and_filters(wide: Visit) -> None:
    page = wide.page

    def column(label: str) -> list[str]:
        names = page.eval_on_selector_all("#trial-table th", "all => all.map(t => t.textContent)")
        at = names.index(label) + 1
        return list(page.eval_on_selector_all(f"#trial-table td:nth-child({at})", "all => all.map(t => t.textContent)"))

    def click(label: str) -> None:
        page.locator("#trial-table th button").get_by_text(label, exact=True).click()

    assert len(column("arm")) == 100  # the first hundred
    page.click("#more")
    everything = len(column("arm"))
    assert everything == len(digits_table(configurations=24))

    click("test accuracy")
    values = [float(v.rstrip(" %")) for v in column("test accuracy") if v]
    assert values == sorted(values) and len(values) < everything
    assert column("test accuracy")[-1] == ""  # what is not known comes last
    click("test accuracy")
    assert [float(v.rstrip(" %")) for v in column("test accuracy") if v] == sorted(values, reverse=True)

    page.select_option("#filter-status", "diverged")
    assert set(column("status")) == {"diverged"}
    page.fill("#filter-text", "fsam")
    assert set(column("arm")) <= {"fsam", "fmsam"} and column("arm")
    page.select_option("#filter-arm", "fsam")
    assert set(column("arm")) == {"fsam"}

    page.select_option("#filter-arm", "")
    page.fill("#filter-text", "")
    page.select_option("#filter-status", "failed")
    error = page.locator("#trial-table details").first
    assert EVIL in (error.locator("summary").text_content() or "")
    assert wide.problems == []


def test_the_switches_of_the_figures_work(wide: Visit) -> None:
    page = wide.page
    front = page.locator(".plot").first
    title = ".xtitle"
    assert "FLOPs" in (front.locator(title).text_content() or "")
    front.locator(".updatemenu-button").nth(2).click()
    page.wait_for_function("document.querySelector('.plot .xtitle').textContent.includes('seconds')")
    assert wide.problems == []
