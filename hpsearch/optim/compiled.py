"""A list of operations (hpsearch.optim.traced) compiled: up to two fifths less time, and other last bits."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from hpsearch.optim.traced import Compute, Traced

CLOSE = 0.02  # of a tensor, or of what a call changes of it: rounding, and what a ReLU makes of rounding, is less
NUDGED = 8  # times as far apart as the function's own numbers are after its arguments were rounded otherwise
# In this process, that no others are left behind; and torch's own draws. What torch would guard is the list's key, and
# to look at its guards takes a hundredth of a small bundle's step.
OPTIONS: dict[str, Any] = {
    "compile_threads": 1,
    "fallback_random": True,
    "guard_filter_fn": torch.compiler.skip_all_guards_unsafe,
}


class NotCompiled(RuntimeError):
    """What cannot be compiled; says why."""


class OtherNumbers(NotCompiled):
    """What was compiled into something else."""


class Compiled:
    """Calls what torch.compile makes of a function's list of operations; in every call, the first one too, so that the
    bits hang on nothing that was called before.

    A call raises NotCompiled where there is no list, or no compiler, and where what it made gives other numbers: it is
    compared with the function as often as a list is. rounding: of a product in it, where that is less exact than its
    tensors. seconds: that compiling and comparing have taken so far.
    """

    def __init__(self, traced: Traced, rounding: float = 0.0) -> None:
        self._traced, self._rounding = traced, rounding
        self.seconds = 0.0

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        traced = self._traced
        if type(tensors[0]) is not Tensor:  # part of what is being traced
            return traced.compute(*tensors)
        listed, since = traced.key(tensors), time.perf_counter()
        if listed is None:  # it hangs on something that changes often
            return traced.compute(*tensors)
        # Whatever else torch would guard: kernels are made for so many threads.
        key = "compiled", listed, torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
        call = traced.graphs.get(key, lambda: self._compile(listed, tensors))
        assert call is not None
        if key not in traced.checked:
            with _own_draws(tensors):
                _compare(traced.compute, call, tensors, self._rounding)
            traced.checked.add(key)
            self.seconds += time.perf_counter() - since
        with torch.no_grad():
            return call(*tensors)

    def _compile(self, key: Hashable, tensors: Sequence[Tensor]) -> Compute:
        graph, traced = self._traced.trace(tensors), self._traced
        if graph is not None:
            with _own_draws(tensors):
                traced.check(key, graph, _copies(tensors))
        if graph is None or key not in traced.checked:
            raise NotCompiled("its operations cannot be noted down as a list")
        try:
            call: Compute = torch.compile(graph, fullgraph=True, dynamic=False, options=OPTIONS)
            with torch.no_grad(), _own_draws(tensors):
                call(*_copies(tensors))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise NotCompiled(f"torch.compile cannot compile it: {_first_line(error)}") from error
        return call


def _compare(compute: Compute, call: Compute, tensors: Sequence[Tensor], rounding: float) -> None:
    """What each gives, and what it changes of its arguments: on copies, from the generators as they are.

    What is nothing but rounding (the gradient of a bias before a normalisation, which Adam makes as large as any) is
    told by arguments that are rounded otherwise: there the function's own numbers are as far apart.
    """
    expected = _results(compute, tensors)
    nudged = _results(compute, [_nudge(each, rounding) for each in tensors])
    with torch.no_grad():
        found = _results(call, tensors)
    for one, other, mine in zip(expected, nudged, found, strict=True):
        allowed = CLOSE * _size(one) + NUDGED * _size(other - one)
        if not torch.equal(mine.isnan(), one.isnan()) or not _size(mine - one) <= allowed:
            raise OtherNumbers("what torch.compile made of it computes other numbers")


def _results(compute: Compute, tensors: Sequence[Tensor]) -> list[Tensor]:
    copies = _copies(tensors)
    with _own_draws(tensors):
        found = [each.double() for each in compute(*copies)]
    return found + [after.double() - before.double() for after, before in zip(copies, tensors, strict=True)]


def _nudge(tensor: Tensor, rounding: float) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)).to(tensor)
    return tensor * (1 + max(rounding, 2 * torch.finfo(tensor.dtype).eps) * noise)


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [each.clone() for each in tensors]


def _size(tensor: Tensor) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(tensor.nan_to_num())
    return size


def _own_draws(tensors: Sequence[Tensor]) -> AbstractContextManager[None]:
    return torch.random.fork_rng({each.device for each in tensors if each.device.type == "cuda"})


def _first_line(error: BaseException) -> str:
    inner = getattr(error, "inner_exception", error)  # what torch's compiler wraps
    return (str(inner).strip() or type(inner).__name__).splitlines()[0]
