"""figures -> one offline HTML file. Importing this is light; plotly comes with the first report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

    from hpsearch.study import Study


def report(source: str | Path | pandas.DataFrame, out: str | Path | None = None, study: Study | None = None) -> Path:
    """Writes the report of a run folder, or of a table of trials, and gives its path.

    source: a run folder, whose study.yaml gives ranges and objectives; or a table like hpsearch.load's, for which they
    are taken from `study`, else guessed from the values, and the report says so.
    out: the file; DIR/report.html for a folder, report.html for a table, unless given.
    Raises InputError for a folder without a run or a table without the columns, RunError when it cannot be written.
    """
    from hpsearch.reporting.build import write_report
    from hpsearch.results import load, read_run

    if isinstance(source, (str, Path)):
        folder = Path(source)
        study = read_run(folder)
        table, target = load(folder), folder / "report.html"
    else:
        table, target = source, Path("report.html")
    if out is not None:
        target = Path(out)
    write_report(target, table, study, study.to_yaml() if study is not None else None)
    return target
