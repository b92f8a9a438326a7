"""The cache of decoded data: whole or not there, whatever happens to those who write it."""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy
import pytest
import torch

from hpsearch.tasks.data.cache import cache_folder, open_entry
from hpsearch.tasks.protocol import DataError

FORK = multiprocessing.get_context("fork")  # starts in milliseconds


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build(writer):
    writer.array("numbers", (1000,), "int64")[:] = numpy.arange(1000)
    writer.array("pixels", (10, 3, 8, 8), "uint8")[:] = 7
    return {"names": ["a", "b"]}


def entry(key="key", builder=build):
    return open_entry("test", key, builder, "path")


def refuse(writer):
    raise AssertionError("built again")


def test_what_is_built_is_read():
    for found in (entry(), entry(builder=refuse)):
        assert found.meta == {"names": ["a", "b"]}
        assert found.array("numbers").tolist() == list(range(1000))
        assert found.array("pixels").shape == (10, 3, 8, 8) and int(found.array("pixels").min()) == 7


def test_torch_takes_the_arrays_without_a_warning_and_writes_no_file():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(entry().array("numbers"))
        tensor[0] = 5
    assert int(entry(builder=refuse).array("numbers")[0]) == 0


def test_its_place(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("HPSEARCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "hpsearch"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "hpsearch"


def damaged(folder):
    """Ways in which an entry may be found."""
    (place,) = (path for path in (folder / "test").iterdir() if path.is_dir())
    numbers, meta = place / "numbers.npy", place / "meta.json"
    yield lambda: os.truncate(numbers, 4000)
    yield lambda: os.truncate(numbers, 0)
    yield numbers.unlink
    yield meta.unlink
    yield lambda: meta.write_text("{")
    yield lambda: meta.write_text("[]")
    yield lambda: meta.write_text(json.dumps({"sizes": {}, "meta": {}}))
    yield lambda: numbers.write_bytes(numbers.read_bytes() + b"more")


def test_a_damaged_entry_is_built_again(folder):
    entry()
    for number, damage in enumerate(damaged(folder)):
        damage()
        built = []
        found = entry(builder=lambda writer: (built.append(1), build(writer))[1])  # noqa: B023
        assert built == [1], f"damage {number} went unnoticed"
        assert found.array("numbers").tolist() == list(range(1000))
        entry(builder=refuse)


def test_ten_processes_at_once_build_once(folder, tmp_path):
    marks, barrier = tmp_path / "marks", FORK.Barrier(10)

    def slow(writer):
        with marks.open("a") as file:
            file.write("built\n")
        time.sleep(0.2)
        return build(writer)

    def work():
        barrier.wait(600)
        found = entry(builder=slow)
        os._exit(0 if found.array("numbers").tolist() == list(range(1000)) else 3)

    workers = [FORK.Process(target=work) for _ in range(10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(600)
    assert [worker.exitcode for worker in workers] == [0] * 10
    assert marks.read_text() == "built\n"
    assert sorted(path.name for path in (folder / "test").iterdir() if path.is_dir()) == ["key"]


def test_a_writer_that_was_killed_leaves_nothing_behind(folder):
    ready = FORK.Event()

    def hang(writer):
        build(writer)
        ready.set()
        time.sleep(600)

    worker = FORK.Process(target=entry, args=("key", hang))
    worker.start()
    assert ready.wait(600)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(600)
    left = [path.name for path in (folder / "test").iterdir() if path.is_dir()]
    assert len(left) == 1 and left[0].endswith(".tmp")  # or this test would show nothing
    assert entry().array("numbers").tolist() == list(range(1000))
    assert [path.name for path in (folder / "test").iterdir() if path.is_dir()] == ["key"]


def test_a_builder_that_fails_leaves_nothing_behind(folder):
    def fail(writer):
        build(writer)
        raise DataError("path", "is wrong", "mend it")

    with pytest.raises(DataError, match="is wrong"):
        entry(builder=fail)
    assert not [path for path in (folder / "test").iterdir() if path.is_dir()]
    entry()


def test_a_full_disk_is_one_message_and_no_dead_process(folder):
    """A limit on the size of files stands in for the disk: the same call reports it."""

    def work(results):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            entry()
        except DataError as error:
            results.put(str(error))

    results = FORK.SimpleQueue()
    worker = FORK.Process(target=work, args=(results,))
    worker.start()
    worker.join(600)
    assert worker.exitcode == 0
    message = results.get()
    assert f"the cache {folder} cannot be written: File too large" in message and "HPSEARCH_CACHE" in message
    assert not [path for path in (folder / "test").iterdir() if path.is_dir()]


@pytest.mark.parametrize("call", [True, False])
def test_room_is_taken_before_anything_is_written(folder, monkeypatch, call):
    """A file with holes would end the process when the disk is full."""
    if not call:  # as on macOS
        monkeypatch.delattr(os, "posix_fallocate")
    blocks = []

    def look(writer):
        writer.array("large", (2**20 + 5,), "uint8")[-1] = 3
        blocks.append((writer.folder / "large.npy").stat().st_blocks * 512)
        return {}

    found = entry(builder=look).array("large")
    assert blocks[0] >= 2**20 and found.shape == (2**20 + 5,) and int(found[-1]) == 3


def test_a_place_that_cannot_be_written_is_one_message(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="cannot be written: Not a directory; free some room .* HPSEARCH_CACHE"):
        entry()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_message(folder):
    folder.mkdir(mode=0o500)
    with pytest.raises(DataError, match="cannot be written: Permission denied"):
        entry()


def test_what_is_cached_needs_no_data_library(tmp_path):
    """In a process of its own, as a worker would."""
    from PIL import Image

    from hpsearch.tasks.images import Images

    for split, number in (("train", 12), ("test", 4)):
        for label in ("a", "b"):
            (tmp_path / "set" / split / label).mkdir(parents=True)
            for row in range(number):
                Image.new("L", (8, 8), row).save(tmp_path / "set" / split / label / f"{row}.png")
    code = """
        import sys
        from hpsearch.tasks.images import Images
        task = Images(path=sys.argv[1], model="resnet-fast", width=0.125)
        assert len(task.data(0).test[0]) == 8
        print([name for name in ("datasets", "pyarrow", "PIL", "pandas", "filelock") if name in sys.modules])
    """
    Images(path=str(tmp_path / "set"), model="resnet-fast", width=0.125)
    code = "\n".join(line.strip() for line in code.splitlines())
    command = [sys.executable, "-c", code, str(tmp_path / "set")]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip() == "[]"
