"""Random streams: every draw of a trial comes from a named stream of its seed, so nothing beside it can disturb it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch

from hpsearch.stream_seeds import stream_seed as stream_seed


def generator(seed: int, *names: object) -> torch.Generator:
    """A torch generator on the CPU for one stream, e.g. generator(3, "batch order")."""
    return torch.Generator().manual_seed(stream_seed(seed, *names))


class GlobalGenerators:
    """Swaps the global generators of random, numpy and torch in and out, for code that draws from them.

    Dropout and default initialisation do. Between two `swapped()` blocks the trial's generators keep their place.
    """

    def __init__(self, seed: int) -> None:
        self._states: tuple[Any, ...] | None = None
        self._seed = stream_seed(seed, "global generators")

    @contextmanager
    def swapped(self) -> Iterator[None]:
        outside = _get_states()
        if self._states is None:
            _seed(self._seed)
        else:
            _set_states(self._states)
        try:
            yield
        finally:
            self._states = _get_states()
            _set_states(outside)

    def state(self, inside: bool = False) -> dict[str, Any]:
        """As tensors and plain values, for a checkpoint. inside: called within `swapped()`."""
        python, numbers, cpu, cuda = _get_states() if inside or self._states is None else self._states
        return {
            "python": list(python[1]),
            "gauss": python[2],
            "numpy": [torch.from_numpy(numbers[1].astype("int64")), *numbers[2:]],
            "cpu": cpu,
            "cuda": cuda,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """What `state` gave, here or in another process: `swapped()` goes on from there."""
        keys, *rest = state["numpy"]
        numbers = ("MT19937", keys.cpu().numpy().astype("uint32"), *rest)
        cuda = None if state["cuda"] is None else [part.cpu() for part in state["cuda"]]
        self._states = ((3, tuple(state["python"]), state["gauss"]), numbers, state["cpu"].cpu(), cuda)


def _seed(seed: int) -> None:
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    # torch.manual_seed also leaves a note, with a traceback, for every kind of accelerator that may start later: on a
    # machine that has none this costs 0.3 ms, and the notes pile up.
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _get_states() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    return random.getstate(), numpy.random.get_state(), torch.random.get_rng_state(), cuda


def _set_states(states: tuple[Any, ...]) -> None:
    python, numbers, cpu, cuda = states
    random.setstate(python)
    numpy.random.set_state(numbers)
    torch.random.set_rng_state(cpu)
    if cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(cuda)
