"""Files as a trial's identity and a process's caches know them: by content, or by size and time of change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

Stamp = tuple[tuple[str, int, int], ...]  # (path, bytes, nanoseconds of the last change) of each file


def stamp(files: Iterable[Path]) -> Stamp:
    """Changes when a file does; cheap, so that it can be a cache's key. Raises OSError."""
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files))


def fingerprint(files: Iterable[Path]) -> str:
    """16 hexadecimal digits of SHA-256 over the files' names and contents, wherever they lie. Raises OSError."""
    return _fingerprint(stamp(files))


@lru_cache(maxsize=32)
def _fingerprint(files: Stamp) -> str:
    whole = hashlib.sha256()
    for path, _, _ in files:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{Path(path).name}\n{digest}\n".encode())
    return whole.hexdigest()[:16]
