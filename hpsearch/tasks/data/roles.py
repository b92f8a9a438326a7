"""Which of some files, folders or hub splits is the training set, which the validation and which the test set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}


def role(name: str) -> str | None:
    """The split that a name holds as a word: "train-00000-of-00001" is train, "contest" none. None where unclear."""
    words = set(re.findall("[a-z]+", name.lower()))
    found = [split for split, names in SPLITS.items() if words & set(names)]
    return found[0] if len(found) == 1 else None


def by_role(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by split, in sorted order; those of no split are left out."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        split = role(name)
        if split is not None:
            found.setdefault(split, []).append(name)
    return {split: found[split] for split in SPLITS if split in found}
