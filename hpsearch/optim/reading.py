"""Reads others' code: whether all that a call does, it does with tensors, and where it finds whatever else it takes.

Bytecode tells which attributes and globals are read and written, and what else is called, which is read, too. Code that
writes anywhere but in its own variables, or takes what is not read here, is not vouched for: it may be as good.
"""

from __future__ import annotations

import builtins
import dis
from collections.abc import Iterator, Mapping, Sequence
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.optim.modules import has_hooks

KNOWN = ("torch", "hpsearch")  # packages whose code keeps nothing that operations do not show
PLAIN = (bool, int, float, complex, type(None))
CONSTANTS = (*PLAIN, str, range, torch.dtype, torch.device, torch.Size, torch.memory_format)  # hashable, none changes

HEAP = 1 << 9  # the flag of classes that are not part of an extension, Py_TPFLAGS_HEAPTYPE
ROUTINES = (FunctionType, staticmethod, classmethod, property)
CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)  # which call nothing that is an attribute
LOCAL = ("FAST", "DEREF", "SUBSCR", "SLICE")  # what has items comes from nowhere else, unless it is a tensor
WRITES = {
    name for name in dis.opname if name.startswith(("STORE_", "DELETE_")) and not any(each in name for each in LOCAL)
}
REFUSED = WRITES | {"IMPORT_NAME", "IMPORT_FROM", "LOAD_BUILD_CLASS", "LOAD_LOCALS"}
BUILTINS = set(
    "abs all any bool dict divmod enumerate filter float int isinstance issubclass iter len list map max min next pow "
    "range reversed round set slice sorted str sum super tuple zip NotImplemented".split()
)
NOT_IN_STEPS = {f"__{name}__" for name in "init repr str eq hash getstate setstate reduce deepcopy replace".split()} | {
    *("__init_subclass__", "__subclasshook__", "__class_getitem__", "__setattr__", "__delattr__"),
    *("data", "model", "augment", "crop", "chance", "summarize", "identity", "extra_repr"),
}


def is_known(what: object) -> bool:
    """Whether a class or function is torch's, this package's, or no Python at all; of other objects their class."""
    if isinstance(what, BuiltinFunctionType):  # a method of an object, such as a generator's, is not known
        module = what.__module__ or ""
        return module == "math" or module.startswith("torch.") or getattr(torch, what.__name__, None) is what
    named = what if isinstance(what, (type, FunctionType)) else type(what)
    return str(named.__module__).partition(".")[0] in KNOWN


class Reader:
    """objects: all whose methods are called; their classes are read, where these are not known.

    watched: where that code finds what it takes but its arguments: names in mappings, and cells of functions. It may do
    something else as soon as there is something else.
    """

    def __init__(self, objects: Sequence[object]) -> None:
        self._objects = objects
        every = dict.fromkeys(kind for each in objects for kind in type(each).__mro__ if kind is not object)
        self._kinds = [kind for kind in every if not is_known(kind) and kind.__module__ not in ("abc", "typing")]
        self._called = {name for kind in every if is_known(kind) for name in dir(kind)} - NOT_IN_STEPS  # by others
        self._read: set[FunctionType] = set()
        self._names: set[str] = set()
        self.watched: list[tuple[Mapping[str, object], str]] = []
        self.cells: list[CellType] = []

    def vouches(self, method: str) -> bool:
        """For calls of networks, and of other objects' method of this name."""
        if any(method in _attributes(each) for each in self._objects):
            return False
        roots = [
            member
            for kind in self._kinds
            for name, member in vars(kind).items()
            if name == method or (isinstance(member, ROUTINES) and (_is_special(name) or name in self._called))
        ]
        if not all(map(self._allows, roots)):
            return False
        names = -1
        while names < len(self._names):  # functions that are attributes read others
            names = len(self._names)
            if not all(map(self._allows_attributes, self._objects)):
                return False
        return True

    def _allows(self, value: object) -> bool:
        """Whether code may take it: it does not change, or is called and good."""
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if isinstance(value, property):
            value = value.fget
        if isinstance(value, FunctionType):
            return self._allows_call(value)
        if isinstance(value, MethodType):  # torch.no_grad's, say
            return is_known(value.__self__) and is_known(value.__func__)
        if isinstance(value, ModuleType):
            return value.__name__.partition(".")[0] in (*KNOWN, "math")
        if type(value) is tuple:
            return all(map(self._allows, value))
        if isinstance(value, type):
            return is_known(value) or issubclass(value, BaseException)
        if isinstance(value, nn.Module):
            return self._allows_layer(value)
        return isinstance(value, CONSTANTS) or (callable(value) and not isinstance(value, Tensor) and is_known(value))

    def _allows_layer(self, layer: nn.Module) -> bool:
        """Beside the network: a loss, say."""
        self.watched += [(vars(layer), name) for name, value in vars(layer).items() if isinstance(value, CONSTANTS)]
        tensors = any(each is not None for each in (*layer._parameters.values(), *layer._buffers.values()))
        holds = tensors or layer._modules or has_hooks(layer)
        return not holds and is_known(layer) and self._allows_attributes(layer)

    def _allows_attributes(self, of: object) -> bool:
        """Those that are read, and those of a network that others than its own code may call."""
        kinds = type(of).__mro__[:-1]
        others = isinstance(of, nn.Module) and any(is_known(kind) and kind not in CONTAINERS for kind in kinds)
        of_class = {name for kind in kinds if kind in self._kinds for name in vars(kind)}
        self.watched += [(_attributes(of), name) for name in of_class & self._names]  # it may get one of its own
        for name, value in _attributes(of).items():
            if name in self._names and name != "training":
                self.watched.append((_attributes(of), name))
            elif not (callable(value) and isinstance(of, nn.Module) and (others or name in self._called)):
                continue
            if not self._allows(value) and not is_plain(value):
                return False
        return True

    @property
    def reached(self) -> list[object]:
        """Plain objects, such as a configuration, that are attributes which the code reads."""
        values = (value for each in self._objects for name, value in _attributes(each).items() if name in self._names)
        return [value for value in values if is_plain(value)]

    def _allows_call(self, function: FunctionType) -> bool:
        if function in self._read:
            return True
        self._read.add(function)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        cells.pop("__class__", None)  # of super()
        self.cells += cells.values()
        given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        if not all(map(self._allows, [*given, *(cell.cell_contents for cell in cells.values())])):
            return False
        if str(function.__globals__.get("__name__")).partition(".")[0] in KNOWN:
            return True
        if vars(function).keys() - {"__wrapped__"}:  # a place to keep things in
            return False
        return all(self._allows_operation(each, function) for each in _instructions(function.__code__))

    def _allows_operation(self, operation: dis.Instruction, function: FunctionType) -> bool:
        name = operation.argval
        if operation.opname in REFUSED:
            return False
        if operation.opname in ("STORE_DEREF", "DELETE_DEREF"):
            return name not in function.__code__.co_freevars
        if operation.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            return self._allows_global(name, function.__globals__)
        if operation.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            self._names.add(name)
            kinds = [kind for kind in self._kinds if name in vars(kind)]
            self.watched += [(vars(kind), name) for kind in kinds]
            return not _is_special(name) and all(self._allows(vars(kind)[name]) for kind in kinds)
        return True

    def _allows_global(self, name: str, scope: Mapping[str, Any]) -> bool:
        if name not in scope:
            value = getattr(builtins, name, None)
            return name in BUILTINS or (isinstance(value, type) and issubclass(value, BaseException))
        self.watched.append((scope, name))
        return self._allows(scope[name])


def is_plain(value: object) -> bool:
    """Whether it is attributes and methods that were written in Python, and nothing else."""
    kinds = type(value).__mro__[:-1]
    return type(value) is SimpleNamespace or (
        hasattr(value, "__dict__")
        and not callable(value)
        and all(kind.__flags__ & HEAP and not is_known(kind) for kind in kinds)
    )


def _attributes(of: object) -> Mapping[str, object]:
    return getattr(of, "__dict__", {})


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    """Also of functions within."""
    yield from dis.get_instructions(code)
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _instructions(each)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in NOT_IN_STEPS
