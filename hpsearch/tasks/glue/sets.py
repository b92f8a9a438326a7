"""The nine GLUE sets: columns, classes, scores (Wang et al. 2018, arXiv 1804.07461, table 1), in the hub's schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

HUB = "nyu-mll/glue"

Name = Literal["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"]


@dataclass(frozen=True)
class GlueSet:
    """texts: one or two columns. classes: 1 is regression, on labels in [0, 5]. heldout: the split that is our test."""

    texts: tuple[str, ...]
    classes: int
    metrics: tuple[str, ...] = ("loss", "accuracy")
    heldout: tuple[str, ...] = ("validation",)

    @property
    def labels(self) -> str:
        """What a label may be, in words."""
        return "a number from 0 to 5" if self.classes == 1 else f"a whole number from 0 to {self.classes - 1}"


PAIR = ("sentence1", "sentence2")

SETS: Mapping[str, GlueSet] = {
    "cola": GlueSet(("sentence",), 2, ("loss", "accuracy", "matthews")),
    "sst2": GlueSet(("sentence",), 2),
    "mrpc": GlueSet(PAIR, 2, ("loss", "accuracy", "f1")),
    "qqp": GlueSet(("question1", "question2"), 2, ("loss", "accuracy", "f1")),
    "stsb": GlueSet(PAIR, 1, ("loss", "pearson")),
    "mnli": GlueSet(("premise", "hypothesis"), 3, heldout=("validation_matched", "validation")),
    "qnli": GlueSet(("question", "sentence"), 2),
    "rte": GlueSet(PAIR, 2),
    "wnli": GlueSet(PAIR, 2),
}
