"""Which images are held out and used: the same for every seed, with each class in proportion."""

from __future__ import annotations

import numpy
import torch

from hpsearch.streams import generator
from hpsearch.tasks.protocol import OptionError

Ids = numpy.ndarray[tuple[int], numpy.dtype[numpy.int64]]


def spread_order(labels: Ids) -> Ids:
    """A fixed random order (N,) whose every prefix holds each class in proportion, to within one image.

    Images are cached in this order, so a held-out set and what is left are slices, which no process has to copy.
    """
    shuffled = torch.randperm(len(labels), generator=generator(0, "images split")).numpy()
    classes = labels[shuffled]
    counts = numpy.bincount(classes)
    # The k-th image of a class of n stands at (k + 1/2) / n of the whole; ties stay in their random order.
    by_class = numpy.argsort(classes, kind="stable")
    rank = numpy.empty(len(labels), numpy.int64)
    rank[by_class] = numpy.arange(len(labels)) - (numpy.cumsum(counts) - counts)[classes[by_class]]
    place = (rank + 0.5) / counts[classes]
    found: Ids = shuffled[numpy.argsort(place, kind="stable")]
    return found


def balanced(labels: Ids, number: int) -> Ids:
    """Ascending rows of the first images of each class: `number` in all, as many of each class as of any other.

    A class that has too few gives all it has. Smaller subsets lie within larger ones.
    """
    classes = int(labels.max()) + 1
    by_class = numpy.argsort(labels, kind="stable")
    counts = numpy.bincount(labels, minlength=classes)
    rank = numpy.empty(len(labels), numpy.int64)
    rank[by_class] = numpy.arange(len(labels)) - (numpy.cumsum(counts) - counts)[labels[by_class]]
    # In rounds: the first image of each class, then the second of each.
    return numpy.sort(numpy.argsort(rank, kind="stable")[:number])


def held_out(option: str, value: int | float, total: int, keep: int = 1) -> int:
    """How many of `total` images a number, or a share as a fraction, means; `keep` at least must be left."""
    allowed = f"a share in (0, 1), or a whole number from 1 to {total - keep:,}"
    if isinstance(value, bool) or not 0 < value <= total - keep or (isinstance(value, float) and value >= 1):
        raise OptionError(option, value, allowed)
    number = round(value * total) if isinstance(value, float) else value
    if not 1 <= number <= total - keep:
        raise OptionError(option, value, f"{allowed}; the share would be {number} of {total:,} images")
    return number
