"""Asks an arm's sampler for the next new configuration: at once, or in a thread while packs run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from hpsearch.sampling.adaptive import Adaptive, Asked
from hpsearch.sampling.distributions import Params


class Ahead:
    """An Adaptive that need not be waited for, once begin() is called: tell() and add() return at once, prepare() asks
    for what comes next, and ready() says whether take() would wait.

    A suggestion that was prepared does not know what was told since. So with one pack at a time nothing is prepared:
    then begin() is never called, every call is done where it stands, and a run can be repeated exactly.
    """

    def __init__(self, adaptive: Adaptive, is_new: Callable[[Params], bool], repeats: int) -> None:
        """is_new: whether a configuration is not planned yet; called in the thread.

        repeats: suggestions of planned ones, in a row, after which there is nothing new.
        """
        self._adaptive, self._is_new, self._repeats = adaptive, is_new, repeats
        self._told: deque[Callable[[], None]] = deque()  # what the sampler has not heard yet
        self._jobs: SimpleQueue[tuple[int, int, Future[Asked | None]]] = SimpleQueue()
        self._next: tuple[tuple[int, int], Future[Asked | None]] | None = None
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """From now on the sampler is asked in a thread. It ends with the process, whatever it is at."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="sampler", daemon=True)
            self._thread.start()

    def tell(self, asked: Asked, values: tuple[float, ...] | None) -> None:
        self._do(lambda: self._adaptive.tell(asked, values))

    def tell_stopped(self, asked: Asked, epoch: int, value: float) -> None:
        self._do(lambda: self._adaptive.tell_stopped(asked, epoch, value))

    def add(self, params: Params, values: tuple[float, ...], sampling: Mapping[str, Any] | None = None) -> None:
        self._do(lambda: self._adaptive.add(params, values, sampling))

    def add_stopped(self, params: Params, epoch: int, value: float, sampling: Mapping[str, Any] | None = None) -> None:
        self._do(lambda: self._adaptive.add_stopped(params, epoch, value, sampling))

    def prepare(self, phase: int, index: int) -> None:
        """Begins to ask for this place; nothing where begin() was not called."""
        if self._thread is not None and (self._next is None or self._next[0] != (phase, index)):
            self._next = ((phase, index), Future())
            self._jobs.put((phase, index, self._next[1]))

    def ready(self, phase: int, index: int) -> bool:
        """Whether take() of this place need not wait; begins to ask where it must."""
        self.prepare(phase, index)
        return self._next is None or self._next[1].done()

    def take(self, phase: int, index: int) -> Asked | None:
        """A new configuration, or None where there is nothing new. Raises what the sampler raised."""
        self.prepare(phase, index)
        if self._next is None:
            return self._ask(phase, index)
        (_, future), self._next = self._next, None
        return future.result()

    def _do(self, call: Callable[[], None]) -> None:
        if self._thread is None:
            call()
        else:
            self._told.append(call)

    def _work(self) -> None:
        while True:
            phase, index, future = self._jobs.get()
            try:
                while self._told:
                    self._told.popleft()()
                future.set_result(self._ask(phase, index))
            except BaseException as error:  # it is raised where the suggestion is taken
                future.set_exception(error)

    def _ask(self, phase: int, index: int) -> Asked | None:
        for repeat in range(self._repeats + 1):
            asked = self._adaptive.ask(phase, index, repeat)
            if self._is_new(asked.params):
                return asked
            self._adaptive.tell(asked, None)  # its mean is told already, and a resumed run would not tell it twice
        return None
