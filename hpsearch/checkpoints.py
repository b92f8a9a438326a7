"""The files of a run folder that trials in training are kept in: where they are, and when they go."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hpsearch.results import Result


def checkpoint_of(path: Path, key: str) -> Path:
    """The file in the run folder that a trial in training is kept in, where it takes long enough. key: of a bundle, or
    the trial's ID.
    """
    return path / "checkpoints" / f"{key}.pt"


def remove_checkpoints(path: Path, ended: Sequence[Result], *, begins: bool = False) -> None:
    """Of trials whose results are on disk. A failed one starts anew: what made it fail may be in there.

    begins: a run begins, and trains bundles again of which it has only some of the results.
    """
    keys = {result.trial_id for result in ended}
    bundles = [result.bundle for result in ended if result.bundle]
    known = Counter(bundle["key"] for bundle in bundles)
    keys |= {
        bundle["key"]
        for bundle in bundles
        if not (begins and bundle["together"] and known[bundle["key"]] < bundle["trials"])
    }
    folder = checkpoint_of(path, "").parent
    if not keys or not folder.is_dir():
        return
    with os.scandir(folder) as files:  # only trials in training have one: far fewer than have ended
        names = [file.name for file in files]
    for name in names:  # ID.pt; .ID.pt.* of a worker that was killed while it wrote
        if name.removeprefix(".").partition(".pt")[0] in keys:
            (folder / name).unlink(missing_ok=True)
