"""Whether one network can stand for those of all trials: alike but for weights and buffers, and keeping nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType

import torch
from torch import Tensor, nn

from hpsearch.optim.known import OF_MODULES

Attributes = Mapping[str, object]


def difference(models: Sequence[nn.Module]) -> str | None:
    """The name of what the networks do not have in common beside weights and buffers; None where they have all."""
    first = list(models[0].named_modules(remove_duplicate=False))
    for other in models[1:]:
        modules = list(other.named_modules(remove_duplicate=False))
        if [(name, type(each)) for name, each in first] != [(name, type(each)) for name, each in modules]:
            return "layers"
        for (name, one), (_, two) in zip(first, modules, strict=True):
            mine, theirs = own(one), own(two)
            for key in sorted(mine.keys() | theirs.keys()):
                if key not in mine or key not in theirs or not _same(mine[key], theirs[key], set()):
                    return f"{name}.{key}" if name else key
    return None


def own(module: nn.Module) -> Attributes:
    """Its attributes that are no weights, buffers or modules."""
    return {key: value for key, value in vars(module).items() if key not in OF_MODULES}


class Kept:
    """What a network keeps beside its weights and what is changed in place of its buffers."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._before = model, dict(_marks(model))

    def changed(self) -> str | None:
        """The name of what has changed since; None where nothing has."""
        after = dict(_marks(self._model))
        names = sorted(self._before.keys() | after.keys())
        return next((name for name in names if self._before.get(name) != after.get(name)), None)


def _marks(model: nn.Module) -> Iterator[tuple[str, object]]:
    for prefix, module in model.named_modules():
        dot = "." if prefix else ""
        for name, value in own(module).items():
            yield prefix + dot + name, _mark(value)
        for name, buffer in module.named_buffers(recurse=False):
            yield prefix + dot + name, id(buffer)  # another one in its place is not seen by those that hold the first


def _mark(value: object) -> object:
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, (list, tuple)):
        return id(value), [_mark(each) for each in value]
    if isinstance(value, dict):
        return id(value), [(key, _mark(each)) for key, each in value.items()]
    return (type(value), repr(value)) if isinstance(value, (int, float, complex, str, bytes)) else id(value)


def _same(one: object, other: object, seen: set[tuple[int, int]]) -> bool:
    """seen: pairs that are being compared."""
    if one is other or (id(one), id(other)) in seen:
        return True
    if type(one) is not type(other):
        return False
    seen = seen | {(id(one), id(other))}
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, torch.Generator) and isinstance(other, torch.Generator):
        return torch.equal(one.get_state(), other.get_state())
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(_same(a, b, seen) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[key], other[key], seen) for key in one)
    if isinstance(one, FunctionType) and isinstance(other, FunctionType):
        cells = [[cell.cell_contents for cell in each.__closure__ or ()] for each in (one, other)]
        defaults = [(each.__defaults__, each.__kwdefaults__) for each in (one, other)]
        return (
            one.__code__ is other.__code__ and _same(cells[0], cells[1], seen) and _same(defaults[0], defaults[1], seen)
        )
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        return False  # kept where nobody finds its weights
    if hasattr(one, "__dict__") and type(one).__eq__ is object.__eq__:
        return _same(vars(one), vars(other), seen)
    return repr(one) == repr(other) and bool(one == other or one != one)
