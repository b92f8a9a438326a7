"""Whether one network, and one task, can stand for those of all trials: alike but for weights, and keeping nothing."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Mapping, Sequence
from types import CellType, FunctionType, ModuleType

import numpy
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from hpsearch.optim.modules import HOOKS, OF_MODULES

Attributes = Mapping[str, object]
GENERATORS = (random.Random, numpy.random.Generator, numpy.random.RandomState, torch.Generator)


def difference(models: Sequence[nn.Module]) -> str | None:
    """The name of what the networks do not have in common beside weights and buffers; None where they have all."""
    first = list(models[0].named_modules(remove_duplicate=False))
    for other in models[1:]:
        modules = list(other.named_modules(remove_duplicate=False))
        if [name for name, _ in first] != [name for name, _ in modules]:
            return "layers"
        pairs = {(_kind(one), _kind(two)) for (_, one), (_, two) in zip(first, modules, strict=True)}
        if not all(_same(one, two, set()) for one, two in pairs):
            return "layers"
        for (name, one), (_, two) in zip(first, modules, strict=True):
            mine, theirs = own(one) | _hooks(one) | _shapes(one), own(two) | _hooks(two) | _shapes(two)
            for key in sorted(mine.keys() | theirs.keys()):
                if key not in mine or key not in theirs or not _same(mine[key], theirs[key], set()):
                    return f"{name}.{key}" if name else key
    return None


def _kind(module: nn.Module) -> object:
    """A module that is parametrized (weight_norm, say) has a class that was made for it alone."""
    kind = type(module)
    return (kind.__name__, kind.__bases__) if is_parametrized(module) else kind


def own(module: nn.Module) -> dict[str, object]:
    """Its attributes that are no weights, buffers or modules."""
    return {key: value for key, value in vars(module).items() if key not in OF_MODULES}


def _hooks(module: nn.Module) -> dict[str, object]:
    return {kind: list(getattr(module, kind).values()) for kind in HOOKS}


def _shapes(module: nn.Module) -> dict[str, object]:
    named = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    return {name: (tuple(each.shape), str(each.dtype), str(each.layout), each.requires_grad) for name, each in named}


class Kept:
    """What a network keeps beside its weights and what is changed in place of its buffers; weights that change, too."""

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
        for name, weight in module.named_parameters(recurse=False):
            yield prefix + dot + name, _mark(weight)  # nn.Embedding's max_norm shortens its rows as they are used


class Held:
    """What a task holds: what it keeps of each seed's data must be alike, where one task measures all trials."""

    def __init__(self, task: object) -> None:
        self._task, self._before = task, _leaves(task)

    def changed(self) -> str | None:
        """The name of what is another now; None where there is only more, as of a cache that has grown, or was None."""
        after = _leaves(self._task)
        for name, value in self._before.items():
            if value is not None and (name not in after or not _same_leaf(value, after[name])):
                return name
        return None


def _leaves(task: object) -> dict[str, object]:
    """All that is reached by attributes and containers, by name; tensors with the version that tells of changes."""
    found: dict[str, object] = {}
    seen: set[int] = set()
    ahead: list[tuple[str, object]] = [("", task)]
    while ahead:
        name, value = ahead.pop()
        if isinstance(value, Tensor):
            found[name] = value, _version(value)
            continue
        if isinstance(value, GENERATORS):  # where they stand is no data
            continue
        parts = _parts(value)
        if parts is None:
            found[name] = value
        elif id(value) not in seen:
            seen.add(id(value))
            ahead += [(f"{name}{part}", each) for part, each in parts]
    return {name.removeprefix("."): value for name, value in found.items()}


def _parts(value: object) -> list[tuple[str, object]] | None:
    """None of what has none."""
    if isinstance(value, dict):
        return [(f"[{key!r}]", each) for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", each) for index, each in enumerate(value)]
    if isinstance(value, (type, FunctionType, ModuleType)) or not hasattr(value, "__dict__"):
        return None
    return [(f".{key}", each) for key, each in vars(value).items()]


def _same_leaf(one: object, other: object) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):  # tensors
        if one[0] is not other[0] and one[0].requires_grad:
            return False  # a trial's network, which the task keeps: the next one's begins alike
        return (one[0] is other[0] and one[1] == other[1]) or (
            one[0] is not other[0] and _same(one[0], other[0], set())
        )
    return _same(one, other, set())


def _version(tensor: Tensor) -> int:
    """Another one when it has changed in place; an inference tensor has none."""
    return -1 if tensor.is_inference() else tensor._version


def _mark(value: object) -> object:
    if isinstance(value, Tensor):
        return id(value), _version(value)
    if isinstance(value, GENERATORS):  # it draws for each trial as if it were alone
        return _state(value)
    if isinstance(value, (list, tuple)):
        return id(value), [_mark(each) for each in value]
    if isinstance(value, dict):
        return id(value), [(key, _mark(each)) for key, each in value.items()]
    return (type(value), repr(value)) if isinstance(value, (int, float, complex, str, bytes)) else id(value)


def _held(function: FunctionType) -> object:
    """What a function computes with beside its arguments and globals."""
    return [_content(cell) for cell in function.__closure__ or ()], function.__defaults__, function.__kwdefaults__


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _body(kind: type) -> dict[str, object]:
    return {key: value for key, value in vars(kind).items() if key not in ("__dict__", "__weakref__")}


def _state(generator: object) -> bytes:
    if isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    return pickle.dumps(generator)


def _same(one: object, other: object, seen: set[tuple[int, int]]) -> bool:
    """seen: pairs that are being compared."""
    if one is other or (id(one), id(other)) in seen:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, type) and isinstance(other, type) and "<locals>" not in one.__qualname__:
        return False  # classes that a function makes are others each time
    seen = seen | {(id(one), id(other))}
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = one.shape == other.shape and one.dtype == other.dtype
        return alike and bool(((one == other) | ((one != one) & (other != other))).all())  # NaN is like itself
    if isinstance(one, torch.Generator) and isinstance(other, torch.Generator):
        return torch.equal(one.get_state(), other.get_state())
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(_same(a, b, seen) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[key], other[key], seen) for key in one)
    if isinstance(one, FunctionType) and isinstance(other, FunctionType):
        return one.__code__ is other.__code__ and _same(_held(one), _held(other), seen)
    if isinstance(one, property) and isinstance(other, property):
        return _same((one.fget, one.fset, one.fdel), (other.fget, other.fset, other.fdel), seen)
    if isinstance(one, (staticmethod, classmethod)) and isinstance(other, (staticmethod, classmethod)):
        return _same(one.__func__, other.__func__, seen)
    if isinstance(one, type) and isinstance(other, type):
        return _same((one.__name__, one.__bases__, _body(one)), (other.__name__, other.__bases__, _body(other)), seen)
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        return False  # kept where nobody finds its weights
    if hasattr(one, "__dict__") and type(one).__eq__ is object.__eq__:
        return _same(vars(one), vars(other), seen)
    if isinstance(one, numpy.ndarray) and isinstance(other, numpy.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    try:
        return repr(one) == repr(other) and bool(one == other or one != one)
    except Exception:  # a class may compare as it likes
        return False
