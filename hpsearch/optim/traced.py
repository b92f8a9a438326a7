"""A function of tensors as the list of operations that it comes to, so that a call costs no more than these.

Autograd, torch.func and Python take 0.1 to 0.6 ms to find out the same operations at every call: as much as a small
network's arithmetic. torch.fx's make_fx notes them down once; nothing is compiled, and the operations, so the bits, are
the same. A list is used only once a call of the function itself has given the same bits.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from hpsearch.optim.reading import PLAIN

KEPT = 64  # lists of operations, the ones used last
WORTH = 64  # calls, from which on a list is worth noting down: that takes 0.1 to 0.2 s for a small network

FRESH = {torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default}  # of a number, made in the call

Compute = Callable[..., Sequence[Tensor]]  # also a list of operations


class Graphs:
    """Lists of operations by what they were made for, so that networks that are alike share them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Compute | None] = OrderedDict()
        self._calls: Counter[Hashable] = Counter()  # without a list
        self.checked: set[Hashable] = set()  # of networks whose structure says what they compute
        self.learned: dict[Hashable, frozenset[str]] = {}  # of these, what whoever makes the functions keeps here

    def get(self, key: Hashable, make: Callable[[], Compute | None]) -> Compute | None:
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
    need not be checked again. ahead: calls that will follow. watched: what else compute hangs on; may raise TypeError.
    """

    def __init__(
        self,
        compute: Compute,
        held: Iterable[object],
        graphs: Graphs | None = None,
        kind: Hashable = None,
        alike: bool = False,
        ahead: Callable[[], int] = lambda: WORTH,
        watched: Callable[[], Hashable] = tuple,
    ) -> None:
        self.compute, self._held, self._kind, self._ahead = compute, list(held), kind, ahead
        self.graphs = Graphs() if graphs is None else graphs
        self.checked: set[Hashable] = self.graphs.checked if alike else set()
        self._last: Compute | None = None
        self._watched = watched

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        if type(tensors[0]) is not Tensor:  # part of what is being traced
            return self.compute(*tensors)
        key = self.key(tensors)
        if key is None or not self.graphs.has(key, self._ahead()):
            return self.compute(*tensors)
        graph = self.graphs.get(key, lambda: self.trace(tensors))
        self._last = graph
        if graph is None:
            return self.compute(*tensors)
        if key not in self.checked:
            return self.check(key, graph, tensors)
        with torch.no_grad():
            return graph(*tensors)

    @property
    def operations(self) -> int:
        """Of the list that was called last; 0 where none was."""
        return len(self._last.graph.nodes) if isinstance(self._last, GraphModule) else 0

    def key(self, tensors: Sequence[Tensor]) -> Hashable | None:
        """Of the list; None where there is none."""
        try:
            watched = self._watched()
        except TypeError:
            return None
        return self._kind, watched, tuple((each.shape, each.stride(), each.dtype, each.device) for each in tensors)

    def trace(self, tensors: Sequence[Tensor]) -> GraphModule | None:
        """The list; None where it would not say all."""
        before = self._outside()
        try:
            # With tensors that have no numbers, whatever depends on numbers raises.
            graph = make_fx(self.compute, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)
        except Exception:  # what cannot be noted down is computed as it is
            return None
        if not _same(before, self._outside()):
            return None
        nodes = list(graph.graph.nodes)
        if any(node.op == "get_attr" and not FRESH.issuperset(user.target for user in node.users) for node in nodes):
            return None  # a tensor that is no argument: what it will be in a later call cannot be known
        for node in nodes:
            if node.target is torch.ops.aten.detach.default:  # the list runs without autograd
                node.replace_all_uses_with(node.args[0])
        graph.graph.eliminate_dead_code()
        graph.recompile()
        return graph

    def check(self, key: Hashable, graph: Compute, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Both ways, from the same generators. What `compute` does to the arguments is what holds."""
        before, found = self._outside(), []
        try:
            copies = [each.clone() for each in tensors]
            devices = {each.device for each in tensors if each.device.type == "cuda"}
            with torch.random.fork_rng(devices), torch.no_grad():
                found = [*graph(*copies), *copies]
        except Exception:  # out of memory, say
            copies = []
        expected = self.compute(*tensors)
        after = [*expected, *tensors]
        same = len(found) == len(after) and all(map(_equal, found, after))
        if same and _same(before, self._outside()):
            self.checked.add(key)
        else:
            self.graphs.refuse(key)
        return expected

    def _outside(self) -> list[object]:
        """What operations do not show."""
        values: list[object] = [random.getstate(), numpy.random.get_state()]
        for each in self._held:
            for owner in each.modules() if isinstance(each, nn.Module) else [each]:
                named = getattr(owner, "__dict__", {}).items()
                values += [value for name, value in named if isinstance(value, PLAIN) and name != "training"]
        return values


def _same(one: Sequence[object], other: Sequence[object]) -> bool:
    return repr(one) == repr(other)  # NaN is like itself


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())
