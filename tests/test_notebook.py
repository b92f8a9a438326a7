"""The notebook runs from top to bottom and says what it says in the file."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "studies" / "any-sweep.ipynb"


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """What each code cell printed, without figures that another processor may round otherwise."""
    texts = []
    for cell in notebook.cells:
        streams = [o.text for o in cell.get("outputs", []) if o.output_type == "stream" and o.name == "stdout"]
        texts.append("".join(c for c in "".join(streams) if not c.isdigit() and c not in ".+-e"))
    return texts


def test_the_notebook_runs_and_prints_what_it_shows(monkeypatch) -> None:
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    stored = nbformat.read(NOTEBOOK, as_version=4)
    ran = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(ran, timeout=1200, startup_timeout=600).execute()
    assert printed(ran) == printed(stored)
    assert "guessed: True" in "".join(o.text for c in ran.cells for o in c.get("outputs", []) if "text" in o)
