"""A list of operations (hpsearch.optim.traced) compiled: a fifth to two fifths less time, and other last bits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from hpsearch.optim.traced import Compute, Traced

CLOSE = 0.02  # of a tensor, or of what a call changes of it: rounding, and what a ReLU makes of rounding, is less
# In this process, that no others are left behind; and torch's own draws.
OPTIONS: dict[str, Any] = {"compile_threads": 1, "fallback_random": True}


class NotCompiled(RuntimeError):
    """What cannot be compiled, or was compiled into something else; says why."""


class Compiled:
    """Calls what torch.compile makes of a function's list of operations; in every call, the first one too, so that the
    bits hang on nothing that was called before.

    A call raises NotCompiled where there is no list, or no compiler, and where what it made gives other numbers: it is
    compared with the function as often as a list is. seconds: that both have taken so far.
    """

    def __init__(self, traced: Traced) -> None:
        self._traced = traced
        self.seconds = 0.0

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        traced = self._traced
        if type(tensors[0]) is not Tensor:  # part of what is being traced
            return traced.compute(*tensors)
        key, since = ("compiled", traced.key(tensors)), time.perf_counter()
        call = traced.graphs.get(key, lambda: self._compile(tensors))
        assert call is not None
        if key not in traced.checked:
            _compare(traced.compute, call, tensors)
            traced.checked.add(key)
            self.seconds += time.perf_counter() - since
        with torch.no_grad():
            return call(*tensors)

    def _compile(self, tensors: Sequence[Tensor]) -> Compute:
        graph = self._traced.trace(tensors)
        if graph is None:
            raise NotCompiled("its operations cannot be noted down as a list")
        call: Compute = torch.compile(graph, fullgraph=True, dynamic=False, options=OPTIONS)
        try:
            with torch.no_grad(), _own_draws(tensors):
                call(*(each.clone() for each in tensors))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise NotCompiled(f"torch.compile cannot compile it: {_first_line(error)}") from error
        return call


def _compare(compute: Compute, call: Compute, tensors: Sequence[Tensor]) -> None:
    """On copies, each from the generators as they are."""
    ways = []
    for way in (compute, call):
        copies = [each.clone() for each in tensors]
        with torch.set_grad_enabled(way is compute), _own_draws(tensors):
            found = [each.double() for each in way(*copies)]
        ways.append(found + [after.double() - before.double() for after, before in zip(copies, tensors, strict=True)])
    for found, expected in zip(*ways, strict=True):
        apart = torch.linalg.vector_norm((found - expected).nan_to_num())
        if not torch.equal(found.isnan(), expected.isnan()) or not apart <= CLOSE * _size(expected):
            raise NotCompiled("what torch.compile made of it computes other numbers")


def _size(tensor: Tensor) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(tensor.nan_to_num())
    return size


def _own_draws(tensors: Sequence[Tensor]) -> AbstractContextManager[None]:
    return torch.random.fork_rng({each.device for each in tensors if each.device.type == "cuda"})


def _first_line(error: BaseException) -> str:
    inner = getattr(error, "inner_exception", error)  # what torch's compiler wraps
    return (str(inner).strip() or type(inner).__name__).splitlines()[0]
