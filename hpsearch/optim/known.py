"""Whether a network's code can be told from outside: what it computes, and that it keeps nothing that is not seen."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from types import BuiltinFunctionType

import torch
from torch import nn

from hpsearch.optim.folded import has_hooks

PLAIN = (bool, int, float, complex, type(None))
KNOWN = ("torch", "hpsearch")  # packages whose modules keep no state that operations do not show


def known(network: nn.Module) -> bool:
    """Whether all code that a call of the network runs is torch's or this package's. Others' may count calls, draw
    numbers or keep tensors in ways that nobody sees from outside, and a list would go on with what it saw first.
    """
    for module in network.modules():
        called = [value for value in vars(module).values() if callable(value) and not isinstance(value, nn.Module)]
        if has_hooks(module) or not all(map(is_known, [type(module), *called])):
            return False
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


def is_known(what: object) -> bool:
    """Whether a class or function is torch's, this package's, or no Python at all."""
    module = getattr(what, "__module__", None) or ""
    return isinstance(what, BuiltinFunctionType) or module.partition(".")[0] in KNOWN
