"""What the adaptive sampler of an arm suggests, and what it is told: each configuration's means, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpsearch.planning.books import Books
from hpsearch.planning.pack import Configuration, place
from hpsearch.planning.sizes import MAX_REPEATS
from hpsearch.sampling import Adaptive, Asked

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
        self._adaptive: Adaptive | None = None

    def ask(self, phase: int, index: int, sampler: str) -> Configuration | None:
        """A configuration that is not planned yet; None after so many in a row that are."""
        adaptive = self._get_adaptive()
        for repeat in range(MAX_REPEATS + 1):
            asked = adaptive.ask(phase, index, repeat)
            key = self._books.identify(asked.params)
            if key not in self._books.planned:
                self._asked[key] = asked
                return Configuration(self._arm, asked.params, key, place(phase, index, sampler, asked.generation))
            adaptive.tell(asked, None)  # its mean is told already, and a resumed run would not tell it twice
        return None

    def tell(self, configuration: Configuration) -> None:
        """Its first seeds are back."""
        if self._adaptive is None:
            return
        key, params, sampling = configuration.configuration_id, configuration.params, configuration.sampling
        asked = self._asked.pop(key, None)
        values = None if key in self._told else self._books.means(configuration)
        stopped = None if key in self._told else self._books.stopped(configuration)
        if values is not None or stopped is not None:
            self._told.add(key)
        if asked is not None and stopped is not None:
            self._adaptive.tell_stopped(asked, *stopped)
        elif asked is not None:
            self._adaptive.tell(asked, values)
        elif stopped is not None:
            self._adaptive.add_stopped(params, *stopped, sampling)
        elif values is not None:
            self._adaptive.add(params, values, sampling)

    def _get_adaptive(self) -> Adaptive:
        if self._adaptive is None:
            self._adaptive = Adaptive(self._study, self._arm)
            for params, values in self._warm:
                self._adaptive.add(params, values)
            for configuration in self._books.known().values():
                if configuration.configuration_id not in self._books.waiting:
                    self.tell(configuration)
        return self._adaptive
