"""figures -> one offline HTML file. Importing this is light; plotly comes with the first report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

    from hpsearch.analysis import Analysis
    from hpsearch.figures.result import Result
    from hpsearch.study import Study


def report(
    source: str | Path | pandas.DataFrame | Analysis | Result,
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


def write_all(
    folder: Path, out: Path | None, figures: Path | None, kind: str, told: Callable[[str], None]
) -> tuple[Path, list[Path]]:
    """The report of a run folder and, where a folder for them is given, its figures as files of a kind (see
    hpsearch.reporting.files): all of the same trials, which are read once.
    """
    from hpsearch.figures.result import read_result

    result = read_result(folder, told=told)
    path = report(result, out or folder / "report.html", told=told)
    if figures is None:
        return path, []
    from hpsearch.reporting.files import Format, write_figures

    return path, write_figures(result, figures, Format(kind), told)
