"""What was timed on this machine, kept in the cache, so that a run that is made again computes what it computed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from hpsearch.tasks.data.cache import cache_folder


class Figures(Protocol):
    """A dataclass of plain values."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Of what dataclasses.asdict gave. Raises KeyError or TypeError for anything else."""
        ...


F = TypeVar("F", bound=Figures)

_IN_PROCESS: dict[Path, Any] = {}


def kept(like: Mapping[str, Any], kind: type[F], measure: Callable[[], F]) -> F:
    """What was measured before, in this process or another one, for what is like this; else what is now.

    Of processes that measure at once, the first one's counts for all. Kept in the process where the disk refuses.
    """
    key = hashlib.sha256(json.dumps(like, sort_keys=True, default=str).encode()).hexdigest()[:32]
    path = cache_folder() / "bundles" / f"{key}.json"
    if path not in _IN_PROCESS:
        found = _read(path, kind)
        if found is None:
            found = measure()
            with suppress(OSError):
                _write(path, found, kind)
            found = _read(path, kind) or found
        _IN_PROCESS[path] = found
    return _IN_PROCESS[path]  # type: ignore[no-any-return]


def _write(path: Path, found: F, kind: type[F]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w") as file:
            json.dump(asdict(found), file)  # type: ignore[call-overload]
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)
    except OSError:
        if _read(path, kind) is None:  # torn, or a file system without such links
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path, kind: type[F]) -> F | None:
    try:
        return kind.of(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
