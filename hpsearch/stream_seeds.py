"""The seeds of random streams, by name. For what draws numbers without torch, too."""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, *names: object) -> int:
    """A 63-bit seed that depends on the seed and the stream's names alone, in any process and on any machine."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
