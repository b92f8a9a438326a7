"""A function of tensors as the list of operations that it comes to, so that a call costs no more than these.

Autograd, torch.func and Python take 0.1 to 0.6 ms to find out the same operations at every call: as much as a small
network's arithmetic. torch.fx's make_fx notes them down once; nothing is compiled, and the operations, so the bits, are
the same. A list is used only once a call of the function itself has given the same bits.
"""

from __future__ import annotations

import random
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from types import BuiltinFunctionType

import numpy
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from hpsearch.optim.folded import has_hooks

KEPT = 64  # lists of operations, the ones used last
WORTH = 64  # calls, from which on a list is worth noting down: that takes 0.1 to 0.2 s for a small network

Compute = Callable[..., Sequence[Tensor]]


class Graphs:
    """Lists of operations by what they were made for, so that networks that are alike share them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, GraphModule | None] = OrderedDict()
        self._calls: Counter[Hashable] = Counter()  # without a list
        self.checked: set[Hashable] = set()  # of networks whose structure says what they compute

    def get(self, key: Hashable, make: Callable[[], GraphModule | None]) -> GraphModule | None:
        """None: what has this key is not to be had as a list of operations."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            old, _ = self._kept.popitem(last=False)
            self.checked.discard(old)
        return self._kept[key]

    def has(self, key: Hashable, ahead: int) -> bool:
        """Whether there is a list, or ought to be one. ahead: calls that will follow."""
        self._calls[key] += key not in self._kept
        return key in self._kept or self._calls[key] + ahead > WORTH

    def refuse(self, key: Hashable) -> None:
        self._kept[key] = None


class Traced:
    """Calls `compute`, or the operations that it came to for tensors of such shapes, strides and kinds.

    compute(*tensors) -> tensors. It may change its arguments in place and draw from torch's generators; all else that
    it does must hang on its arguments' shapes alone: code that is not known to be so should not come here (`known`).
    Some that is not is noticed and called as it is: what decides by numbers in its arguments, uses tensors that are no
    arguments, draws from Python's or numpy's generators, or changes a number that is an attribute of what it is made
    of. held: these objects; modules' modes are set by compute. graphs: also those of other functions that do the same
    with such arguments, if their `kind` is the same. alike: those are so for certain, and what one of them has checked
    need not be checked again. ahead: calls that will follow.
    """

    def __init__(
        self,
        compute: Compute,
        held: Iterable[object],
        graphs: Graphs | None = None,
        kind: Hashable = None,
        alike: bool = False,
        ahead: Callable[[], int] = lambda: WORTH,
    ) -> None:
        self._compute, self._held, self._kind, self._ahead = compute, list(held), kind, ahead
        self._graphs = Graphs() if graphs is None else graphs
        self._checked: set[Hashable] = self._graphs.checked if alike else set()

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        if type(tensors[0]) is not Tensor:  # part of what is being traced
            return self._compute(*tensors)
        shapes = tuple((each.shape, each.stride(), each.dtype, each.device) for each in tensors)
        key = self._kind, shapes
        if not self._graphs.has(key, self._ahead()):
            return self._compute(*tensors)
        graph = self._graphs.get(key, lambda: self._trace(tensors))
        if graph is None:
            return self._compute(*tensors)
        if key not in self._checked:
            return self._check(key, graph, tensors)
        with torch.no_grad():
            found: Sequence[Tensor] = graph(*tensors)
        return found

    def _trace(self, tensors: Sequence[Tensor]) -> GraphModule | None:
        before = self._outside()
        try:
            # With tensors that have no numbers, whatever depends on numbers raises.
            graph = make_fx(self._compute, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)
        except Exception:  # what cannot be noted down is computed as it is
            return None
        if not _same(before, self._outside()):
            return None
        if any(node.op == "get_attr" for node in graph.graph.nodes):
            return None  # a tensor that is no argument: what it will be in a later call cannot be known
        for node in graph.graph.nodes:
            if node.target is torch.ops.aten.detach.default:  # the list runs without autograd
                node.replace_all_uses_with(node.args[0])
        graph.graph.eliminate_dead_code()
        graph.recompile()
        return graph

    def _check(self, key: Hashable, graph: GraphModule, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Both ways, from the same generators. What `compute` does to the arguments is what holds."""
        before, found = self._outside(), []
        try:
            copies = [each.clone() for each in tensors]
            devices = {each.device for each in tensors if each.device.type == "cuda"}
            with torch.random.fork_rng(devices), torch.no_grad():
                found = [*graph(*copies), *copies]
        except Exception:  # out of memory, say
            copies = []
        expected = self._compute(*tensors)
        after = [*expected, *tensors]
        same = len(found) == len(after) and all(map(_equal, found, after))
        if same and _same(before, self._outside()):
            self._checked.add(key)
        else:
            self._graphs.refuse(key)
        return expected

    def _outside(self) -> list[object]:
        """What operations do not show."""
        values: list[object] = [random.getstate(), numpy.random.get_state()]
        for each in self._held:
            for owner in each.modules() if isinstance(each, nn.Module) else [each]:
                named = getattr(owner, "__dict__", {}).items()
                values += [value for name, value in named if isinstance(value, PLAIN) and name != "training"]
        return values


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


def _same(one: Sequence[object], other: Sequence[object]) -> bool:
    return repr(one) == repr(other)  # NaN is like itself


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())
