"""Looks at what a task's data() gave: splits of tensors, as many samples in each, numbers that are finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from hpsearch.errors import InputError, show
from hpsearch.tasks.protocol import Classification, Data, Task

SPLITS = ("train", "val", "test")
LOOKED_AT = 10_000_000  # numbers of a tensor that are looked at for NaN


def check_data(what: str, data: object, task: Task) -> None:
    if not isinstance(data, Data):
        wrong(what, kind_of(data), "hpsearch.tasks.Data(train, val, test)")
    widths = {}
    for name in SPLITS:
        split = getattr(data, name)
        if not isinstance(split, (tuple, list)) or not split or not all(isinstance(part, Tensor) for part in split):
            kinds = ", ".join(map(kind_of, split)) if isinstance(split, (tuple, list)) else kind_of(split)
            wrong(what, f"the split {name} as {kinds or 'nothing'}", "a tuple of tensors, e.g. (inputs, targets)")
        sizes = [len(part) if part.dim() else 0 for part in split]
        if 0 in sizes:
            wrong(what, f"a split {name} without samples (shapes {shapes(split)})", "at least one sample in each")
        if len(set(sizes)) > 1:
            rule = "tensors with the samples along dimension 0, as many in each"
            wrong(what, f"tensors of different lengths in {name} (shapes {shapes(split)})", rule)
        for place, part in enumerate(split):
            few = part[: max(1, LOOKED_AT // max(1, part[0].numel()))]
            if few.is_floating_point() and not few.isfinite().all():
                at = int((~few.isfinite()).reshape(len(few), -1).any(1).nonzero()[0])
                wrong(what, f"NaN or infinite numbers in {name}, tensor {place}, sample {at}", "finite numbers")
        widths[name] = len(split)
    if len(set(widths.values())) > 1:
        wrong(what, f"splits of different numbers of tensors ({show(widths)})", "as many in each split")
    _check_lengths(what, data, task)
    if isinstance(task, Classification):
        _check_classes(what, data)


def _check_classes(what: str, data: Data) -> None:
    for name in SPLITS:
        split = getattr(data, name)
        targets = split[1] if len(split) > 1 else None
        if targets is None or targets.dim() != 1 or targets.dtype != torch.int64 or targets.min() < 0:
            kind = "no targets" if targets is None else f"targets of shape {tuple(targets.shape)} and {targets.dtype}"
            low = "" if targets is None or targets.is_floating_point() else f", from {int(targets.min())} on"
            rule = "(inputs, targets) with targets (N,) of torch.int64, class numbers from 0"
            wrong(what, f"{kind}{low} in {name}", rule)


def _check_lengths(what: str, data: Data, task: Task) -> None:
    for name, lengths in data.lengths.items():
        if name not in SPLITS or len(lengths) != len(getattr(data, name)[0]):
            wrong(what, f"lengths[{name!r}] of shape {tuple(lengths.shape)}", "a length for each sample of a split")
    if data.lengths and not hasattr(task, "crop"):
        wrong(what, "lengths, but the class has no crop", "def crop(self, batch, length) -> batch beside them")


def wrong(what: str, got: str, must: str) -> NoReturn:
    raise InputError(f"{what} gave {got}; it must give {must}")


def kind_of(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


def shapes(split: Sequence[Tensor]) -> str:
    return ", ".join(str(tuple(part.shape)) for part in split)
