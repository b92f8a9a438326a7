"""One thread a process: on a busy machine torch's idle threads cost more than these small tests do. And a cache of the
tests' own: what is kept there decides how a study's trials are computed.
"""

import atexit
import os
import shutil
import tempfile

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
if "HPSEARCH_CACHE" not in os.environ:
    os.environ["HPSEARCH_CACHE"] = tempfile.mkdtemp(prefix="hpsearch-tests-")
    atexit.register(shutil.rmtree, os.environ["HPSEARCH_CACHE"], ignore_errors=True)

# Folders and files that take half a minute or more begin first: at the end no process waits for the other for long.
LONG = (
    "tests/execution/",
    "tests/optim/test_compiled.py",
    "tests/tasks/test_template.py",
    "tests/test_wheel.py",
    "tests/training/test_compiling.py",
    "tests/training/test_engine.py",
    "tests/training/test_packed.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
