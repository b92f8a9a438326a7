"""Reads others' code: whether all that a call does, it does with tensors, and hangs on nothing that may change.

Bytecode tells which attributes and globals are read and written, and what else is called, which is read, too. Code that
writes anywhere but in its own variables, or takes what is not read here, is not vouched for: it may be as good.
"""

from __future__ import annotations

import builtins
import dis
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import nn

KNOWN = ("torch", "hpsearch")  # packages whose code keeps nothing that operations do not show
PLAIN = (bool, int, float, complex, type(None))
CONSTANTS = (*PLAIN, str, range, torch.dtype, torch.device, torch.Size, torch.memory_format)

ROUTINES = (FunctionType, staticmethod, classmethod, property)
LOCAL = ("FAST", "DEREF")
WRITES = {
    name for name in dis.opname if name.startswith(("STORE_", "DELETE_")) and not any(each in name for each in LOCAL)
}
REFUSED = WRITES | {"IMPORT_NAME", "IMPORT_FROM", "LOAD_BUILD_CLASS", "LOAD_LOCALS"}
BUILTINS = set(
    "abs all any bool dict divmod enumerate filter float int isinstance issubclass len list map max min pow range "
    "reversed round set slice sorted str sum super tuple zip NotImplemented".split()
)
NOT_CALLED = set(
    "init post_init repr str eq hash getstate setstate reduce deepcopy replace subclasshook init_subclass "
    "class_getitem".split()
)


def is_known(what: object) -> bool:
    """Whether a class or function is torch's, this package's, or no Python at all."""
    module = getattr(what, "__module__", None) or ""
    if isinstance(what, BuiltinFunctionType):  # a method of an object, such as a generator's, is not known
        return module == "math" or module.startswith("torch.") or getattr(torch, what.__name__, None) is what
    return module.partition(".")[0] in KNOWN


class Reader:
    """objects: all whose methods are called; their classes are read, where these are not known."""

    def __init__(self, objects: Sequence[object]) -> None:
        self._objects = objects
        every = dict.fromkeys(kind for each in objects for kind in type(each).__mro__ if kind is not object)
        self._kinds = [kind for kind in every if not is_known(kind) and kind.__module__ not in ("abc", "typing")]
        # What a class has of torch's, torch may call.
        self._called = {name for kind in every if issubclass(kind, nn.Module) and is_known(kind) for name in dir(kind)}
        self._read: set[CodeType] = set()
        self._names: set[str] = set()

    def vouches(self, method: str) -> bool:
        """For calls of networks, and of other objects' method of this name."""
        roots = [
            member
            for kind in self._kinds
            for name, member in vars(kind).items()
            if name == method or (isinstance(member, ROUTINES) and (_is_special(name) or name in self._called))
            if name.strip("_") not in NOT_CALLED
        ]
        return (
            all(map(self.allows, roots))
            and all(map(self._allows_attributes, self._objects))
            and self._names.isdisjoint(self._written())
        )

    @property
    def reached(self) -> list[object]:
        """Plain objects, such as a configuration, that are attributes which the code reads."""
        values = (value for each in self._objects for name, value in _attributes(each) if name in self._names)
        return [value for value in values if is_plain(value)]

    def allows(self, value: object) -> bool:
        """Whether code may take it: it does not change, or is called and good."""
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if isinstance(value, property):
            value = value.fget
        if isinstance(value, FunctionType):
            return self._allows_call(value)
        if isinstance(value, ModuleType):
            return value.__name__.partition(".")[0] in (*KNOWN, "math")
        if type(value) is tuple:
            return all(map(self.allows, value))
        if isinstance(value, type):
            return is_known(value) or issubclass(value, BaseException)
        return isinstance(value, CONSTANTS) or is_known(value if callable(value) else type(value))

    def _allows_attributes(self, of: object) -> bool:
        """Those that are read; of a network also what torch may call."""
        return all(
            self.allows(value) or is_plain(value)
            for name, value in _attributes(of)
            if name in self._names or (isinstance(of, nn.Module) and callable(value))
        )

    def _allows_call(self, function: FunctionType) -> bool:
        code = function.__code__
        if code in self._read:
            return True
        self._read.add(code)
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        cells.pop("__class__", None)  # of super()
        given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        if not all(map(self.allows, [*given, *(cell.cell_contents for cell in cells.values())])):
            return False
        if str(function.__globals__.get("__name__")).partition(".")[0] in KNOWN:
            return True
        return all(self._allows_operation(each, function) for each in _instructions(code))

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
            members = [vars(kind)[name] for kind in self._kinds if name in vars(kind)]
            return not _is_special(name) and all(map(self.allows, members))
        return True

    def _allows_global(self, name: str, scope: Mapping[str, Any]) -> bool:
        if name not in scope:
            value = getattr(builtins, name, None)
            return name in BUILTINS or (isinstance(value, type) and issubclass(value, BaseException))
        value = scope[name]
        constant = name.isupper() or not isinstance(value, (tuple, *CONSTANTS))  # else it may be a variable
        return constant and self.allows(value)

    def _written(self) -> Iterator[str]:
        """Attributes that other methods write, which may be called between steps."""
        for kind in self._kinds:
            for name, member in vars(kind).items():
                code = getattr(getattr(member, "__func__", member), "__code__", None)
                if code is not None and name.strip("_") not in NOT_CALLED and code not in self._read:
                    yield from (each.argval for each in _instructions(code) if each.opname in WRITES)


def _attributes(of: object) -> Iterable[tuple[str, object]]:
    return getattr(of, "__dict__", {}).items()


def is_plain(value: object) -> bool:
    """Whether it is no more than attributes and methods."""
    return hasattr(value, "__dict__") and not callable(value) and not is_known(type(value))


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    """Also of functions within."""
    yield from dis.get_instructions(code)
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _instructions(each)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
