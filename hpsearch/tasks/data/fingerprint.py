"""Content hashes: of files, remembered within the process, and of plain values."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_KNOWN: dict[tuple[str, int, int], str] = {}


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex. Read again only when its size or modification time has changed.

    Raises OSError where it cannot be read.
    """
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if key not in _KNOWN:
        with path.open("rb") as file:
            _KNOWN[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _KNOWN[key]


def digest(value: object) -> str:
    """SHA-256 of a plain value's canonical JSON, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
