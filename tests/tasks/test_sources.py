"""The fingerprint of a task's code follows the files that it is made of, and no others."""

import importlib
import itertools
import sys

import pytest

from hpsearch.tasks.digits import Digits
from hpsearch.tasks.sources import source_hash

NAMES = (f"sourced_{number}" for number in itertools.count())
FORGOTTEN = ("mine", "nets", "blocks", "project", "late", "deco")
TRAIN = "def train(params, seed, report):\n    pass\n"


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    """Writes the files into a new folder, imports one's function `train` from there, and gives its fingerprint."""

    def make(files, module, base=""):
        folder = tmp_path / next(NAMES) / base
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        monkeypatch.syspath_prepend(folder)
        forget()
        importlib.invalidate_caches()
        return source_hash(importlib.import_module(module).train)

    yield make
    forget()


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] in FORGOTTEN]:
        del sys.modules[name]


FLAT = {"mine.py": f"import nets\n{TRAIN}", "nets.py": "from blocks import a\n", "blocks.py": "a = 1\n", "other.py": ""}
PACKAGE = {
    "project/__init__.py": "",
    "project/tasks/__init__.py": "",
    "project/tasks/mine.py": f"from ..nets import build\nfrom . import data\n{TRAIN}",
    "project/tasks/data.py": "",
    "project/nets/__init__.py": "from .blocks import build\n",
    "project/nets/blocks.py": "import late\nbuild = 1\n",
    "project/unused.py": "",
    "late.py": "",
}


@pytest.mark.parametrize(
    ("files", "module", "follows"),
    [
        ({"mine.py": TRAIN, "nets.py": ""}, "mine", {"mine.py"}),
        (FLAT, "mine", {"mine.py", "nets.py", "blocks.py"}),
        (PACKAGE, "project.tasks.mine", set(PACKAGE) - {"project/unused.py"}),
    ],
    ids=["one file", "files beside it", "packages"],
)
def test_it_follows_the_files_that_it_imports_and_no_others(files, module, follows, hashed):
    before = hashed(files, module)
    assert hashed(files, module) == before  # in another folder
    for name in files:
        changed = hashed({**files, name: files[name] + "\n# more\n"}, module)
        assert (changed != before) == (name in follows), name


@pytest.mark.parametrize(
    "inside",
    [
        "    import nets",
        "    if params:\n        pass\n    else:\n        from nets import a",
        "    try:\n        import nets as b\n    except ImportError:\n        raise",
        "    with open('a'):\n        import os, nets",
        "    match params:\n        case 1:\n            import nets",
    ],
)
def test_imports_within_a_function_count(inside, hashed):
    files = {"mine.py": f"def train(params, seed, report):\n{inside}\n", "nets.py": "a = 1"}
    assert hashed(files, "mine") != hashed({**files, "nets.py": "a = 2"}, "mine")


def test_imports_in_a_circle_and_files_that_cannot_be_read_as_python_end(hashed):
    files = {"mine.py": f"import nets\n{TRAIN}    import late\n", "nets.py": "import mine\n", "late.py": "no python"}
    assert hashed(files, "mine") != hashed({**files, "late.py": "nor this"}, "mine")


def test_of_an_installed_package_only_itself_counts(hashed):
    files = {"project/__init__.py": "", "project/mine.py": f"import nets, project.a\n{TRAIN}", "project/a.py": ""}
    files["nets.py"] = ""
    before = hashed(files, "project.mine", "site-packages")
    assert hashed({**files, "nets.py": "# more"}, "project.mine", "site-packages") == before
    assert hashed({**files, "project/a.py": "# more"}, "project.mine", "site-packages") != before


def test_what_it_says_of_one_file_is_that_of_the_file_alone(hashed):
    """So that older run folders are not told of a change."""
    import hashlib

    assert hashed({"mine.py": TRAIN}, "mine") == hashlib.sha256(TRAIN.encode()).hexdigest()[:16]
    assert len(source_hash(Digits)) == 16


DECORATED = """
import functools
import torch
from deco import logged

@logged
def train(params, seed, report):
    pass

@torch.enable_grad()
def other(params, seed, report):
    pass

class Trains:
    def __call__(self, params, seed, report):
        pass

partial = functools.partial(train, seed=0)
called = Trains()
"""
LOGGED = """
import functools

def logged(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)
    return wrapper
"""


@pytest.mark.parametrize("name", ["train", "other", "partial", "called"])
def test_what_is_wrapped_is_followed_to_where_it_was_written(name, hashed):
    files = {"mine.py": f"{DECORATED}\ntrain = {name}\n", "deco.py": LOGGED}
    before = hashed(files, "mine")
    assert hashed({**files, "mine.py": f"{files['mine.py']}# more"}, "mine") != before
    assert hashed({**files, "deco.py": f"{LOGGED}# more"}, "mine") != before


def test_the_neighbours_of_a_link_are_those_beside_it(hashed, tmp_path, monkeypatch):
    elsewhere = tmp_path / "mine.py"
    elsewhere.write_text(f"import nets\n{TRAIN}")
    found = []
    for text in ("a = 1", "a = 2"):
        folder = tmp_path / f"linked_{len(found)}"
        folder.mkdir()
        (folder / "mine.py").symlink_to(elsewhere)
        (folder / "nets.py").write_text(text)
        monkeypatch.syspath_prepend(folder)
        forget()
        found.append(source_hash(importlib.import_module("mine").train))
    forget()
    assert found[0] != found[1]
