"""Whether a network's code can be told from outside: what it computes, and that it keeps nothing that is not seen."""

from __future__ import annotations

import sys
from collections.abc import Hashable

import torch
from torch import nn

from hpsearch.optim.folded import has_hooks
from hpsearch.optim.reading import PLAIN, Reader, is_known


def known(network: nn.Module, task: object) -> bool:
    """Whether all code that a step runs is torch's or this package's, or was read and found to keep nothing: what it
    counts, draws from elsewhere or keeps nobody would see, and a list would go on with what it saw first.

    task: its method measure(network, ...) is what is called.
    """
    modules = list(network.modules())
    if any(map(has_hooks, modules)):
        return False
    objects = {id(each): each for each in (*modules, task)}
    while True:
        reader, before = Reader(list(objects.values())), len(objects)
        if not reader.vouches("measure"):
            return False
        objects |= {id(each): each for each in reader.reached}
        if len(objects) == before:
            return True


def structure(network: nn.Module) -> Hashable | None:
    """What decides what a known network computes, its weights and buffers aside; None where that cannot be told."""
    found: list[Hashable] = []
    first: dict[int, int] = {}  # of what is in several places, which ones these are
    for name, module in network.named_modules(remove_duplicate=False):
        if not _has_name(type(module)):
            return None
        found.append((name, type(module), first.setdefault(id(module), len(first))))
        for key, value in vars(module).items():
            if key in OF_MODULES:
                continue
            if not isinstance(value, (*PLAIN, str, tuple, torch.dtype)) and not is_known(value):
                return None
            found.append((key, value if callable(value) else repr(value)))
    weights = [
        *network.named_parameters(remove_duplicate=False),
        *network.named_buffers(remove_duplicate=False),
    ]
    for name, each in weights:
        found.append((name, each.shape, each.dtype, each.requires_grad, first.setdefault(id(each), len(first))))
    return tuple(found)


def _has_name(kind: type) -> bool:
    """A class that was made for one object, as torch.nn.utils.parametrize does, is not found in its module."""
    found: object = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind


OF_MODULES = frozenset(vars(nn.Module()))  # what each has: its mode, its weights, buffers, modules and hooks
