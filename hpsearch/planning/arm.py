"""One arm: its phases in order, the seeds that a spread asks for, then the confirmation of its best."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from hpsearch.planning.books import Books
from hpsearch.planning.bundles import chunks
from hpsearch.planning.pack import ArmCount, Bundle, Configuration, Pack, place
from hpsearch.planning.sizes import MAX_REPEATS, expected_sizes, new_ones, phase_sizes, shapes_of, trials_of
from hpsearch.planning.suggestions import Suggestions
from hpsearch.results import Result
from hpsearch.sampling import ADAPTIVE, FINITE, Sequence

if TYPE_CHECKING:
    from hpsearch.check import Checked


class ArmPlan:
    """The plan of one arm: see Planner for next() and tell()."""

    def __init__(self, checked: Checked, arm: str, known: Iterable[Result], bundles: int) -> None:
        self.name = arm
        self.finished = False
        self._bundles = bundles
        self._study = checked.study
        self._books = Books(checked, arm, known)
        self._suggestions = Suggestions(checked, arm, self._books)
        self._recorded = self._books.suggested()
        self._expected = expected_sizes(self._study, arm)
        self._of_a_shape = trials_of(self._study, sum(self._expected)) // shapes_of(self._study, arm)
        self._notes: list[str] = []
        self._settled: set[str] = set()  # configurations whose first seeds are back
        self._second: deque[Configuration] = deque()  # those of which more seeds wait to be given
        self._more = 0  # trials that spreads have asked for
        self._upcoming: tuple[int, int] | None = None  # the phase and index that the sampler is asked for next
        self._refused: set[tuple[Hashable, int, int]] = set()  # kinds of bundles
        self._packs = self._plan()
        self._exhausted = False

    @property
    def notes(self) -> list[str]:
        spent = self._books.spent()
        return self._notes if spent is None else [*self._notes, f"{self.name}: {spent}"]

    def next(self) -> Pack | Bundle | None:
        """First seeds come before more seeds: a run that is cut off then knows something of more configurations."""
        if self.finished:
            return None
        pack = self._next_first() or self._next_second()
        if pack is not None and self._upcoming is not None:  # what it trains is planned now
            self._suggestions.prepare(*self._upcoming)
        if pack is None and self._exhausted:
            self.finished = not self._books.waiting
        return pack

    def ask_ahead(self) -> None:
        self._suggestions.ask_ahead()

    def tell(self, result: Result) -> None:
        self._books.take(result)
        waiting = self._books.waiting
        open_trials = waiting.get(result.configuration_id)
        if open_trials is None:
            return
        open_trials.discard(result.trial_id)
        if not open_trials:
            del waiting[result.configuration_id]
            self._settle(self._books.planned[result.configuration_id])

    def refuse(self, bundle: Bundle) -> None:
        """Those that are like this one are given pack by pack from now on."""
        self._refused.add(self._kind(bundle))

    def count(self) -> ArmCount:
        seen, ended = self._books.count(self._exhausted)
        planned = max(trials_of(self._study, sum(self._expected)) + self._more, seen)
        return ArmCount(planned, min(planned, ended))

    def _next_first(self) -> Pack | Bundle | None:
        """Of the phases, or of the confirmation; None where the plan must wait."""
        try:
            return None if self._exhausted else next(self._packs)
        except StopIteration:
            self._exhausted = True
            return None

    def _next_second(self) -> Pack | None:
        if not self._second:
            return None
        configuration = self._second.popleft()
        return self._pack(configuration, self._books.more(configuration))

    def _plan(self) -> Iterator[Pack | Bundle | None]:
        for phase, size in enumerate(phase_sizes(self._study, self.name)):
            adapts = self._study.phases(self.name)[phase].sampler in ADAPTIVE
            found = self._adapt(phase, size) if adapts else self._sequence(phase, size)
            if self._bundles > 1 and not adapts and self._study.stopping is None:
                yield from self._together([self._first(each) for each in found if each is not None])
                continue
            for configuration in found:
                if configuration is None:
                    yield None
                    continue
                first = self._first(configuration)
                if self._bundles > 1:  # of its seeds: it is judged, or the next one asked for, by their results
                    yield from self._together([first])
                    continue
                pack = self._pack(*first)
                if pack is None:
                    self._settle(configuration)
                else:
                    yield pack
        while self._books.waiting or self._second:
            yield None
        confirmed = [self._confirmed(best) for best in self._books.best()]
        if self._bundles > 1:
            yield from self._together(confirmed)
            return
        for configuration, trials in confirmed:
            pack = self._pack(configuration, trials)
            if pack is not None:
                yield pack

    def _first(self, configuration: Configuration) -> tuple[Configuration, Mapping[int, str]]:
        """Enters the configuration; with its first seeds."""
        self._books.planned[configuration.configuration_id] = configuration
        return configuration, self._books.first(configuration)

    def _confirmed(self, best: Configuration) -> tuple[Configuration, Mapping[int, str]]:
        self._books.planned.setdefault(best.configuration_id, best)
        self._settled.add(best.configuration_id)  # also one that a larger study left
        sampling = {**best.sampling, "confirm": True}
        confirmed = Configuration(self.name, best.params, best.configuration_id, sampling)
        return confirmed, self._books.trials(best, self._study.confirm_seeds)

    def _together(self, planned: list[tuple[Configuration, Mapping[int, str]]]) -> Iterator[Pack | Bundle]:
        """Bundles of the configurations' trials; a pack where one trial is alone with its shape."""
        found = chunks(self._study, self._bundles, planned, self._books.settled, self._books.halves)
        left = [
            [self._pack(each, chunk.trials[each.configuration_id]) for each in chunk.configurations] for chunk in found
        ]
        for configuration, trials in planned:
            self._books.plan(trials.values())
            if configuration.configuration_id not in self._books.waiting:
                self._settle(configuration)
        for chunk, packs in zip(found, left, strict=True):
            missing = tuple(pack for pack in packs if pack is not None)
            bundle = Bundle(missing, chunk.members, self._alike(len(chunk.members)))
            if len(chunk.members) == 1:
                yield from missing
            elif bundle.key in self._books.one_by_one or (missing and self._kind(bundle) in self._refused):
                yield from bundle.one_by_one()
            elif missing:
                yield bundle

    def _alike(self, trials: int) -> int:
        """Of a bundle with so many: all trials of a shape where this is what most have; its own where it is a rest."""
        seeds = len(self._study.first_seeds)
        usual = seeds, seeds * -(-self._bundles // seeds)
        return max(trials, self._of_a_shape) if trials in usual else trials

    def _kind(self, bundle: Bundle) -> tuple[Hashable, int, int]:
        """Shape, trials and epochs: whether one program is quicker hangs on nothing else, so that a run which is cut
        off, and knows of no refusal when it goes on, decides as it would have.
        """
        settings = [self._study.settings(self.name, member.params) for member in bundle.members]
        return settings[0].shape(), len(settings), sum(each.epochs for each in settings)

    def _pack(self, configuration: Configuration, trials: Mapping[int, str]) -> Pack | None:
        """What is left of these trials; None where that is nothing."""
        self._books.plan(trials.values())
        left = {seed: trial_id for seed, trial_id in trials.items() if not self._books.is_done(trial_id)}
        if not left:
            return None
        self._books.waiting.setdefault(configuration.configuration_id, set()).update(left.values())
        return Pack(configuration, left, {trial_id: self._books.attempt(trial_id) for trial_id in left.values()})

    def _settle(self, configuration: Configuration) -> None:
        """The first seeds are back: the sampler is told, and the number of seeds is fixed. Once."""
        if configuration.configuration_id in self._settled:
            return
        self._settled.add(configuration.configuration_id)
        self._suggestions.tell(configuration)
        more = self._books.more(configuration)
        self._more += len(more)
        self._books.plan(more.values())
        if not all(map(self._books.is_done, more.values())):
            self._second.append(configuration)

    def _sequence(self, phase: int, size: int) -> Iterator[Configuration]:
        """The first `size` new points of a phase that does not adapt."""
        if size == 0:
            return
        sampler = self._study.phases(self.name)[phase].sampler
        drawn = ((params, self._books.identify(params)) for params in Sequence(self._study, self.name, phase))
        found = 0
        for params, key in new_ones(drawn, size, lambda point: point[1] not in self._books.planned, sampler in FINITE):
            yield Configuration(self.name, params, key, place(phase, found, sampler))
            found += 1
        self._found(phase, found, size)

    def _adapt(self, phase: int, size: int) -> Iterator[Configuration | None]:
        """Configurations as the sampler suggests them; those of an earlier run first come from their results."""
        sampler = self._study.phases(self.name)[phase].sampler
        for index in range(size):
            configuration = self._again(phase, index, sampler)
            if configuration is None:
                while not self._suggestions.ready(phase, index):
                    yield None
                self._upcoming = None
                configuration = self._suggestions.ask(phase, index, sampler)
            if configuration is None:
                self._found(phase, index, size, f": it suggested known ones {MAX_REPEATS} times in a row")
                return
            new = index + 1 < size and (phase, index + 1, sampler) not in self._recorded
            self._upcoming = (phase, index + 1) if new else None
            yield configuration

    def _again(self, phase: int, index: int, sampler: str) -> Configuration | None:
        """What the sampler suggested there in an earlier run, where that is still new."""
        params, generation = self._recorded.get((phase, index, sampler), (None, None))
        key = None if params is None else self._books.identify(params)
        if params is None or key is None or key in self._books.planned:
            return None
        return Configuration(self.name, params, key, place(phase, index, sampler, generation))

    def _found(self, phase: int, found: int, size: int, why: str = "") -> None:
        self._expected[phase] = found
        if found < size:
            sampler = self._study.phases(self.name)[phase].sampler
            said = f"{self.name}: phase {phase} ({sampler}) found {found} different configurations, not {size}"
            self._notes.append(said + why)
