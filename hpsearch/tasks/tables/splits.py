"""Which rows of a table train, validate and test: as given, or drawn once and for all, the same for every seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hpsearch.streams import generator
from hpsearch.tasks.protocol import DataError, OptionError

NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Shares:
    """Of the rows, for the parts that are not given; subset: so many of the training rows are used."""

    validation: float = 0.2
    test: float = 0.2
    subset: int | None = None

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            if not 0 < getattr(self, name) < 1:
                raise OptionError(name, getattr(self, name), "a share of the rows above 0 and below 1")
        if self.validation + self.test >= 1:
            allowed = f"less than {1 - self.validation:g}: with validation {self.validation:g} no row is left to train"
            raise OptionError("test", self.test, allowed)
        if self.subset is not None and self.subset < 1:
            raise OptionError("subset", self.subset, "a whole number of training rows >= 1")


def split_rows(given: Tensor, classes: Tensor | None, shares: Shares) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of train, validation and test, each ascending.

    given (N,): 0, 1, 2 for a row that is in train, validation, test. A part that no row is in is drawn from train.
    classes (N,): of each row; each part then has the same share of each class, as far as whole rows allow.
    """
    part = given.clone()
    if not (part == 0).any():
        raise DataError("split", "no row is in the training part", "give the training rows")
    left = 1.0
    for number, share in ((2, shares.test), (1, shares.validation)):
        if not (given == number).any():
            train = (part == 0).nonzero().flatten()
            count = round(len(train) * share / left)
            part[train[draw(count, _of(classes, train), len(train), f"table {NAMES[number]}")]] = number
            left -= share
    if classes is not None:  # a class of one row or two is learnt, not tested
        trained = classes[part == 0]
        for label in [label for label in set(classes.tolist()) if label not in trained]:
            part[((classes == label) & (given == 0)).nonzero().flatten()[:1]] = 0
    train = (part == 0).nonzero().flatten()
    if shares.subset is not None:
        if shares.subset > len(train):
            raise OptionError("subset", shares.subset, f"at most the {len(train)} training rows")
        train = train[draw(shares.subset, _of(classes, train), len(train), "table subset")]
    rows = (train, (part == 1).nonzero().flatten(), (part == 2).nonzero().flatten())
    for name, found in zip(NAMES, rows, strict=True):
        if not len(found):
            problem = f"the {name} split has no row: the table has {len(given)}"
            raise DataError("path", problem, "give more rows, or a larger share")
    return rows


def draw(count: int, classes: Tensor | None, rows: int, stream: str) -> Tensor:
    """`count` of the rows 0 to rows - 1, ascending, drawn without replacement.

    With classes (rows,), every (rows/count)-th of the shuffled rows sorted by class: systematic sampling, so that the
    share of each class is that of all rows to within one row.
    """
    order = torch.randperm(rows, generator=generator(0, stream))
    if classes is not None:
        order = order[classes[order].argsort(stable=True)]
    steps = torch.arange(rows + 1) * count // rows
    return order[steps[1:] > steps[:-1]].sort().values


def _of(classes: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if classes is None else classes[rows]
