"""Whether a network's code can be told from outside: what it computes, and that it keeps nothing that is not seen."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from types import FunctionType

import torch
from torch import nn

from hpsearch.optim.modules import OF_MODULES, has_hooks
from hpsearch.optim.reading import CONSTANTS, PLAIN, Reader, is_known

CONSTANT = frozenset(CONSTANTS)
OFTEN = 4  # times that it may be something else: for each a list is made


class Watched:
    """All that code which was read takes but its arguments: while this is the same, equal calls do the same."""

    def __init__(self, reader: Reader) -> None:
        self._places = list({(id(of), name): (of, name) for of, name in reader.watched}.values())
        self._cells = list({id(cell): cell for cell in reader.cells}.values())
        first = [value for value in self._values() if not _is_constant(value)]
        self._first = {id(value): (_alike(value, index), value) for index, value in enumerate(first)}
        self._seen: set[Hashable] = set()

    def __call__(self) -> Hashable:
        """Alike for networks that are. Raises TypeError for what was not read: an object in another one's place; and
        for what is never the same for long.
        """
        found: list[object] = []
        for value in self._values():
            kind = type(value)
            if kind in CONSTANT:
                found += (kind, value)  # 1 is no 1.0
            elif id(value) in self._first:
                found.append(self._first[id(value)][0])
            elif _is_constant(value):
                found += (kind, value)
            else:
                raise TypeError(f"{kind.__name__} where there was something else")
        self._seen.add(tuple(found))
        if len(self._seen) > OFTEN:
            raise TypeError("it changes often")
        return tuple(found)

    def _values(self) -> list[object]:
        return [of.get(name) for of, name in self._places] + [cell.cell_contents for cell in self._cells]


def _is_constant(value: object) -> bool:
    return type(value) in CONSTANT or (type(value) is tuple and all(map(_is_constant, value)))


def _alike(value: object, index: int) -> Hashable:
    """The same for objects of two networks that do the same, if what they hold is: that is watched, too."""
    if isinstance(value, FunctionType) and not value.__kwdefaults__:
        defaults = value.__defaults__ or ()
        return (value.__code__, repr(defaults)) if _is_constant(defaults) else value
    return value if callable(value) and not isinstance(value, nn.Module) else (type(value), index)


def known(network: nn.Module, task: object) -> Watched | None:
    """None unless all code that a step runs is torch's or this package's, or was read and found to keep nothing: what
    it counts, draws from elsewhere or keeps nobody would see, and a list would go on with what it saw first.

    task: its method measure(network, ...) is what is called.
    """
    modules = list(network.modules())
    if any(map(has_hooks, modules)):
        return None
    try:
        return _watched({id(each): each for each in (*modules, task)})
    except Exception:  # classes may do whatever they like when they are looked at
        return None


def _watched(objects: dict[int, object]) -> Watched | None:
    reader = Reader(list(objects.values()))
    if not reader.vouches("measure"):
        return None
    every = objects | {id(each): each for each in reader.reached}
    return Watched(reader) if len(every) == len(objects) else _watched(every)


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
