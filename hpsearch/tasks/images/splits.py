"""Training, validation and test set of a decoded image set, as tensors that share the cached arrays' memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hpsearch.tasks.data import ImageSet
from hpsearch.tasks.data.split import balanced, held_out
from hpsearch.tasks.images.options import Options
from hpsearch.tasks.protocol import Batch, OptionError

VALIDATION, TEST = 0.1, 0.2  # shares held out of a training set where the set has no such split


@dataclass(frozen=True)
class Splits:
    """Images uint8 (N, C, H, W) and labels (N,). mean, std: of each channel of the training images left, in [0, 1]."""

    train: Batch
    val: Batch
    test: Batch
    mean: tuple[float, ...]
    std: tuple[float, ...]


def split(found: ImageSet, options: Options) -> Splits:
    """The set's own splits, else parts of its training set: first the test set, then validation, then what is left.

    A validation split is the test set where there is no other: those who publish such a set report on it.
    Raises OptionError where an option asks for a split that the set has, or leaves nothing to train on.
    """
    whole, own = _tensors(found, "train"), set(found.splits)
    total = len(whole[1])
    reported = "test" if "test" in own else "validation" if "validation" in own else None
    if reported is not None:
        _refuse("test", options.test, found, reported)
        start, test = 0, _tensors(found, reported)
    else:
        start = held_out("test", TEST if options.test is None else options.test, total, keep=2)
        test = _rows(whole, 0, start)
    if reported == "test" and "validation" in own:
        _refuse("validation", options.validation, found, "validation")
        end, val = start, _tensors(found, "validation")
    else:
        share = VALIDATION if options.validation is None else options.validation
        end = start + held_out("validation", share, total - start)
        val = _rows(whole, start, end)
    train = _used(_rows(whole, end, total), options)
    return Splits(train, val, test, *found.mean_and_std(end, total))


def _refuse(option: str, value: float | None, found: ImageSet, own: str) -> None:
    if value is not None:
        number = len(found.splits[own][1])
        raise OptionError(option, value, f"leave it out: the set has its own {own} split of {number:,} images")


def _used(train: Batch, options: Options) -> Batch:
    """The images that are trained on."""
    total = len(train[1])
    if options.train_fraction is not None:
        number = round(options.train_fraction * total) if 0 < options.train_fraction <= 1 else 0
        if number < 1:
            raise OptionError("train_fraction", options.train_fraction, f"a share in (0, 1] of {total:,} images")
        return _rows(train, 0, number)
    if options.subset is None:
        return train
    if not 1 <= options.subset <= total:
        raise OptionError("subset", options.subset, f"a whole number from 1 to {total:,}, the training images")
    rows = torch.from_numpy(balanced(train[1].numpy(), options.subset))
    if int(rows[-1]) == len(rows) - 1:  # the first ones: nothing need be copied
        return _rows(train, 0, len(rows))
    return tuple(tensor[rows] for tensor in train)


def _tensors(found: ImageSet, name: str) -> Batch:
    return tuple(torch.from_numpy(array) for array in found.splits[name])


def _rows(batch: Batch, start: int, end: int) -> Batch:
    return tuple(tensor[start:end] for tensor in batch)
