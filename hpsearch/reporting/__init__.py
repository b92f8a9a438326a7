"""figures -> one offline HTML file. Importing this is light; plotly comes with the first report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

    from hpsearch.analysis import Analysis
    from hpsearch.study import Study


def report(
    source: str | Path | pandas.DataFrame | Analysis,
    out: str | Path | None = None,
    study: Study | None = None,
    told: Callable[[str], None] = lambda step: None,
) -> Path:
    """Writes the report of a run folder, a table of trials or an analysis of one, and gives its path.

    source: a run folder, whose study.yaml gives ranges and objectives, and whose analysis.json is drawn where it is of
    these trials, else made first; or a table like hpsearch.load's, or what hpsearch.analyze made of it, for which
    ranges and objectives are taken from `study`, else guessed from the values, and the report says so.
    out: the file; DIR/report.html for a folder, report.html for a table, unless given. told: called with each step.
    Raises InputError for a folder without a run or a table without the columns, RunError when it cannot be written.
    """
    from hpsearch.figures.result import read_result
    from hpsearch.reporting.build import write_report

    folder = Path(source) if isinstance(source, (str, Path)) else None
    result = read_result(source, study, told)
    target = Path(out) if out is not None else (folder or Path()) / "report.html"
    told("drawing")
    write_report(target, result)
    return target


def write_figures(
    folder: str | Path,
    figures: Path,
    kind: str = "svg",
    told: Callable[[str], None] = lambda step: None,
) -> list[Path]:
    """Every figure of a run folder's report as a file of its own: see hpsearch.reporting.files."""
    from hpsearch.figures.result import read_result
    from hpsearch.reporting.files import Format
    from hpsearch.reporting.files import write_figures as write

    return write(read_result(folder, told=told), figures, Format(kind), told)
