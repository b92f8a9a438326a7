"""The report: seconds to build once the analysis is there, its size, and seconds until a browser can use it.

    python -m tests.benchmarks.report [300 10000]

Aims on two cores: 5 s and 8 MB at 300 trials, 20 s and 15 MB at 10,000; usable 2 s after it is opened. The peer in the
same run is the smallest page that plotly itself writes of one figure: its script alone.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import plotly.graph_objects as go

from hpsearch.analysis import analyze
from hpsearch.figures.result import Result, read_result
from hpsearch.reporting.build import build_report
from tests.benchmarks.analysis import table

READY = "() => document.body.dataset.drawn === 'yes'"
RUNS = 3


def opened(path: Path, ready: str) -> list[float]:
    """Seconds from the request to a page whose first figures are drawn, RUNS times."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        for _ in range(RUNS):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            begun = time.perf_counter()
            page.goto(path.as_uri())
            page.wait_for_function(ready)
            found.append(time.perf_counter() - begun)
            page.close()
        browser.close()
    return found


def line(name: str, size: int, built: list[float], seen: list[float]) -> str:
    ends = "–".join(f"{v:.2f}" for v in (min(built), max(built))) if built else ""
    told = "–".join(f"{v:.2f}" for v in (min(seen), max(seen)))
    return f"{name:24} {ends:>14} {size / 1e6:>8.1f} {told:>14}"


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    print(f"{'':24} {'built (s)':>14} {'MB':>8} {'usable (s)':>14}")
    smallest = folder / "smallest.html"
    go.Figure(go.Scatter(x=[1], y=[1])).write_html(smallest, include_plotlyjs=True)
    seen = opened(smallest, "() => document.querySelector('.main-svg') !== null")
    print(line("one figure of plotly's", smallest.stat().st_size, [], seen))
    for n in map(int, sys.argv[1:] or ("300", "10000")):
        rows, study = table(n)
        result = read_result(analyze(rows, study))  # type: ignore[arg-type]
        built = []
        for _ in range(RUNS):
            begun = time.perf_counter()
            html = build_report(Result(result.document, result.trials))  # nothing of it is kept from run to run
            built.append(time.perf_counter() - begun)
        path = folder / f"{n}.html"
        path.write_text(html, encoding="utf-8")
        print(line(f"{len(rows)} trials", path.stat().st_size, built, opened(path, READY)))


if __name__ == "__main__":
    main()
