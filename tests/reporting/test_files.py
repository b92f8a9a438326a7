"""`report --figures`: every figure as a file."""

import shutil
from pathlib import Path

import analysed
import choreographer.errors
import pandas as pd
import plotly.graph_objects as go
import pytest
from typer.testing import CliRunner

from hpsearch.cli import app
from hpsearch.errors import InputError
from hpsearch.figures.picture import Picture
from hpsearch.figures.result import Result, read_result
from hpsearch.reporting.files import Format, for_paper, write_figures
from hpsearch.reporting.sections import all_pictures


@pytest.fixture(scope="module")
def result() -> Result:
    return read_result(analysed.analysis())


def test_csv_holds_the_numbers_behind_each_figure(result: Result, tmp_path: Path) -> None:
    written = write_figures(result, tmp_path / "new" / "folder", Format.csv)
    pictures = {one.key: one for one in all_pictures(result) if isinstance(one, Picture)}
    assert {path.name for path in written} == {f"{key}.csv" for key in pictures}
    for path in written:
        table = pd.read_csv(path)
        assert len(table) == len(pictures[path.stem].numbers) > 0
        assert list(table.columns) == list(map(str, pictures[path.stem].numbers.columns))


def test_pictures_are_drawn_by_chrome(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [one for one in all_pictures(result) if one.key in ("best", "front")]
    monkeypatch.setattr("hpsearch.reporting.files.all_pictures", lambda result: kept)
    starts = {Format.svg: b"<svg", Format.png: b"\x89PNG", Format.pdf: b"%PDF"}
    if not any(map(shutil.which, ("chromium", "google-chrome", "chrome"))):
        pytest.skip("no Chrome on this machine's path")
    for kind, start in starts.items():
        for path in write_figures(result, tmp_path, kind):
            assert path.read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 6


def test_without_chrome_it_says_what_to_do(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**options: object) -> None:
        raise choreographer.errors.ChromeNotFoundError

    monkeypatch.setattr("kaleido.start_sync_server", none)
    with pytest.raises(InputError, match="--format pdf: needs Chrome .* BROWSER_PATH .* csv needs none"):
        write_figures(result, tmp_path, Format.pdf)


def test_on_paper_there_are_no_buttons_and_a_map_has_its_colour_bar() -> None:
    figure = go.Figure(go.Heatmap(z=[[1, 2]], showscale=False), layout={"updatemenus": [{"buttons": []}]})
    made = for_paper(figure)
    assert not made.layout.updatemenus and made.data[0].showscale
    assert figure.layout.updatemenus and not figure.data[0].showscale  # the report's own stays as it is


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "svg"], "--format: is of --figures"),
        (["--watch", "--figures", "x"], "--watch: serves the report and writes no file"),
        (["--figures", "file/x", "--format", "csv"], "cannot be used as a folder of figures"),
    ],
)
def test_wrong_options(options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "t.csv").write_text("lr,accuracy\n0.1,0.5\n0.2,0.6\n")
    CliRunner().invoke(app, ["import", "t.csv", "run"])
    found = CliRunner().invoke(app, ["report", "run", *options])
    assert found.exit_code == 2 and message in found.stderr
