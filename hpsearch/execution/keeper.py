"""Checkpoints of workers that cannot write the run folder: an actor beside the driver keeps them there."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hpsearch.training.store import File

WAIT = 600.0  # seconds for which a trial waits for a checkpoint to be written or read
START = 300.0  # seconds; on a busy machine a process of Ray's starts for a minute
AT_ONCE = 4  # checkpoints


class Keeper:
    """Writes and reads files of one folder; on the driver's machine, without a CPU of its own, gone with the driver."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def read(self, name: str) -> bytes | None:
        file = File(self._file(name)).read()
        if file is None:
            return None
        with file:
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        File(self._file(name)).write(lambda file: file.write(content))

    def problem(self) -> str | None:
        """Why nothing can be written, where nothing can: Ray may run as another user here than the driver."""
        probe = File(self._file(".probe"))
        try:
            probe.write(lambda file: file.write(b""))
        except OSError as error:
            return str(error)
        probe.path.unlink(missing_ok=True)
        return None

    def _file(self, name: str) -> Path:
        return self._folder / Path(name).name


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """A keeper for the time of the block, on this machine. folder: of the checkpoints."""
    here = ray.get_runtime_context().get_node_id()
    keeper: Any = (
        ray.remote(Keeper)
        .options(
            name=_name(),
            num_cpus=0,
            max_concurrency=AT_ONCE,
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
        )
        .remote(str(folder))
    )
    try:
        problem: str | None = ray.get(keeper.problem.remote(), timeout=START)
    except RayError as error:
        problem = " ".join(str(error).split())
    if problem:
        print(f"hpsearch: long trials cannot be kept, so lost ones will start anew: {problem}", file=sys.stderr)
    yield
    del keeper  # it lives as long as its handle, or the driver


class Kept:
    """A store (hpsearch.training.store) of one trial, at the keeper. Bytes go through Ray's object store, once."""

    def __init__(self, path: Path) -> None:
        self._name = path.name

    def read(self) -> BinaryIO | None:
        try:
            content = ray.get(self._keeper().read.remote(self._name), timeout=WAIT)
        except (RayError, ValueError):  # no keeper: the trial starts anew
            return None
        return None if content is None else io.BytesIO(content)

    def write(self, dump: Callable[[BinaryIO], object]) -> None:
        buffer = io.BytesIO()
        dump(buffer)
        try:
            ray.get(self._keeper().write.remote(self._name, buffer.getvalue()), timeout=WAIT)
        except (RayError, ValueError) as error:
            raise OSError(f"the keeper of checkpoints did not take it: {error}") from None

    def _keeper(self) -> Any:
        return ray.get_actor(_name())


def _name() -> str:
    """The same in the driver and in its workers, another one in every other driver."""
    return f"keeper of checkpoints, job {ray.get_runtime_context().get_job_id()}"
