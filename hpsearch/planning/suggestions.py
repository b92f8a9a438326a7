"""What the adaptive sampler of an arm suggests, and what it is told: each configuration's means, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpsearch.planning.books import Books
from hpsearch.planning.pack import Configuration, place
from hpsearch.planning.sizes import MAX_REPEATS
from hpsearch.sampling import Adaptive, Ahead, Asked, Params

if TYPE_CHECKING:
    from hpsearch.check import Checked


class Suggestions:
    """The sampler is made at the first ask, and told of every configuration of the arm that is known by then: of
    a warm start's first.
    """

    def __init__(self, checked: Checked, arm: str, books: Books) -> None:
        self._study, self._arm, self._books = checked.study, arm, books
        self._warm = checked.warm.points.get(arm, ())
        self._asked: dict[str, Asked] = {}  # configurations that the sampler waits for
        self._told: set[str] = set()
        self._sampler: Ahead | None = None
        self._threaded = False

    def ask_ahead(self) -> None:
        """From now on suggestions are prepared in a thread: see Ahead."""
        self._threaded = True
        if self._sampler is not None:
            self._sampler.begin()

    def prepare(self, phase: int, index: int) -> None:
        """ask() will come for this place."""
        if self._threaded:
            self._get_sampler().prepare(phase, index)

    def ready(self, phase: int, index: int) -> bool:
        """Whether ask() need not wait for the thread."""
        return self._get_sampler().ready(phase, index)

    def ask(self, phase: int, index: int, sampler: str) -> Configuration | None:
        """A configuration that is not planned yet; None after so many in a row that are."""
        asked = self._get_sampler().take(phase, index)
        if asked is None:
            return None
        key = self._books.identify(asked.params)
        self._asked[key] = asked
        return Configuration(self._arm, asked.params, key, place(phase, index, sampler, asked.generation))

    def tell(self, configuration: Configuration) -> None:
        """Its first seeds are back."""
        if self._sampler is None:
            return
        key, params, sampling = configuration.configuration_id, configuration.params, configuration.sampling
        asked = self._asked.pop(key, None)
        values = None if key in self._told else self._books.means(configuration)
        stopped = None if key in self._told else self._books.stopped(configuration)
        if values is not None or stopped is not None:
            self._told.add(key)
        if asked is not None and stopped is not None:
            self._sampler.tell_stopped(asked, *stopped)
        elif asked is not None:
            self._sampler.tell(asked, values)
        elif stopped is not None:
            self._sampler.add_stopped(params, *stopped, sampling)
        elif values is not None:
            self._sampler.add(params, values, sampling)

    def _get_sampler(self) -> Ahead:
        if self._sampler is None:
            self._sampler = Ahead(Adaptive(self._study, self._arm), self._is_new, MAX_REPEATS)
            for params, values in self._warm:
                self._sampler.add(params, values)
            for configuration in self._books.known().values():
                if configuration.configuration_id not in self._books.waiting:
                    self.tell(configuration)
            if self._threaded:
                self._sampler.begin()
        return self._sampler

    def _is_new(self, params: Params) -> bool:
        return self._books.identify(params) not in self._books.planned
