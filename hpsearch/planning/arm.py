"""One arm: its phases in order, then the confirmation of its best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hpsearch.check import Checked
from hpsearch.planning.means import mean_of
from hpsearch.planning.pack import ArmCount, Configuration, Pack
from hpsearch.planning.sizes import phase_sizes, trials_of
from hpsearch.results import Result
from hpsearch.sampling import ADAPTIVE, FINITE, Adaptive, Asked, Params, Sequence

MAX_REPEATS = 20  # of a configuration that was planned before, in a row; then a phase has nothing new to offer


class ArmPlan:
    """The plan of one arm: see Planner for next() and tell()."""

    def __init__(self, checked: Checked, arm: str, known: dict[str, Result]) -> None:
        self.name = arm
        self.notes: list[str] = []
        self.finished = False
        self._study, self._identity = checked.study, checked.identity
        self._known = {key: result for key, result in known.items() if result.arm == arm}
        self._before = frozenset(self._known)
        self._sizes = phase_sizes(self._study, arm)
        self._planned: dict[str, Configuration] = {}
        self._planned_trials: set[str] = set()
        self._waiting: dict[str, set[str]] = {}  # configuration_id -> its trials that are not back yet
        self._asked: dict[str, Asked] = {}  # configurations that the adaptive sampler waits for
        self._told: set[str] = set()
        self._adaptive: Adaptive | None = None
        self._recorded = self._recorded_adaptive()
        self._packs = self._plan()
        self._exhausted = False

    def next(self) -> Pack | None:
        if self.finished:
            return None
        if not self._exhausted:
            try:
                return next(self._packs)  # None where the plan must wait
            except StopIteration:
                self._exhausted = True
        self.finished = not self._waiting
        return None

    def tell(self, result: Result) -> None:
        self._known[result.trial_id] = result
        open_trials = self._waiting.get(result.configuration_id)
        if open_trials is None:
            return
        open_trials.discard(result.trial_id)
        if not open_trials:
            del self._waiting[result.configuration_id]
            self._tell_sampler(self._planned[result.configuration_id])

    def count(self) -> ArmCount:
        planned = max(trials_of(self._study, sum(self._sizes)), len(self._planned_trials))
        # Until all is planned, what an earlier run did is taken to be part of the plan.
        counted = self._planned_trials if self._exhausted else self._planned_trials | self._before
        return ArmCount(planned, min(planned, sum(self._is_done(trial_id) for trial_id in counted)))

    def _plan(self) -> Iterator[Pack | None]:
        for phase, size in enumerate(self._sizes):
            adapts = self._study.phases(self.name)[phase].sampler in ADAPTIVE
            found = self._adapt(phase, size) if adapts else self._sequence(phase, size)
            for configuration in found:
                yield from self._train(configuration, self._study.seeds)
        while self._waiting:
            yield None
        for configuration in self._best():
            sampling = {**configuration.sampling, "confirm": True}
            confirmed = Configuration(self.name, configuration.params, configuration.configuration_id, sampling)
            yield from self._train(confirmed, self._study.confirm_seeds)

    def _train(self, configuration: Configuration, seeds: Iterable[int]) -> Iterator[Pack]:
        ids = {seed: self._identity.trial_id(self.name, configuration.params, seed) for seed in seeds}
        self._planned_trials.update(ids.values())
        self._planned.setdefault(configuration.configuration_id, configuration)
        left = {seed: trial_id for seed, trial_id in ids.items() if not self._is_done(trial_id)}
        if not left:
            self._tell_sampler(configuration)
            return
        self._waiting.setdefault(configuration.configuration_id, set()).update(left.values())
        attempts = {t: self._known[t].attempt + 1 if t in self._known else 1 for t in left.values()}
        yield Pack(configuration, left, attempts)

    def _sequence(self, phase: int, size: int) -> Iterator[Configuration]:
        """The first `size` new points of a phase that does not adapt."""
        sampler = self._study.phases(self.name)[phase].sampler
        index = repeats = 0
        if size == 0:
            return
        for params in Sequence(self._study, self.name, phase):
            configuration = self._configuration(params, None, phase, index, sampler)
            if configuration.configuration_id in self._planned:
                repeats += 1
                if repeats > MAX_REPEATS and sampler not in FINITE:
                    break
                continue
            repeats = 0
            self._planned[configuration.configuration_id] = configuration
            yield configuration
            index += 1
            if index == size:
                return
        self._sizes[phase] = index
        self.notes.append(f"{self.name}: phase {phase} ({sampler}) found {index} different configurations, not {size}")

    def _adapt(self, phase: int, size: int) -> Iterator[Configuration]:
        """Configurations as the sampler suggests them; those of an earlier run first come from their results."""
        sampler = self._study.phases(self.name)[phase].sampler
        for index in range(size):
            recorded = self._recorded.get((phase, index, sampler))
            configuration = None if recorded is None else self._configuration(*recorded, phase, index, sampler)
            if configuration is None or configuration.configuration_id in self._planned:
                configuration = self._ask(phase, index, sampler)
            if configuration is None:
                self._sizes[phase] = index
                self.notes.append(
                    f"{self.name}: phase {phase} ({sampler}) found {index} different configurations, not {size}: "
                    f"it suggested known ones {MAX_REPEATS} times in a row"
                )
                return
            self._planned[configuration.configuration_id] = configuration
            yield configuration

    def _ask(self, phase: int, index: int, sampler: str) -> Configuration | None:
        adaptive = self._get_adaptive()
        for repeat in range(MAX_REPEATS + 1):
            asked = adaptive.ask(phase, index, repeat)
            configuration = self._configuration(asked.params, asked.generation, phase, index, sampler)
            if configuration.configuration_id not in self._planned:
                self._asked[configuration.configuration_id] = asked
                return configuration
            adaptive.tell(asked, None)  # its mean is told already, and a resumed run would not tell it twice
        return None

    def _get_adaptive(self) -> Adaptive:
        """Made at the first ask, and told of every configuration of the arm that is known by then."""
        if self._adaptive is None:
            self._adaptive = Adaptive(self._study, self.name)
            for configuration in self._known_configurations().values():
                if configuration.configuration_id not in self._waiting:
                    self._tell_sampler(configuration)
        return self._adaptive

    def _tell_sampler(self, configuration: Configuration) -> None:
        if self._adaptive is None:
            return
        key = configuration.configuration_id
        values = None if key in self._told else self._means(configuration)
        asked = self._asked.pop(key, None)
        if asked is not None:
            self._adaptive.tell(asked, values)
        elif values is not None:
            self._adaptive.add(configuration.params, values, configuration.sampling)
        if values is not None:
            self._told.add(key)

    def _means(self, configuration: Configuration) -> tuple[float, ...] | None:
        """The mean of each objective over the study's seeds; None when a seed is missing or an objective not known.

        Failed seeds are left out. A seed without a value is not: it did not train, and the others are the lucky ones.
        """
        results = [self._known.get(trial_id) for trial_id in self._ids(configuration)]
        done = [result for result in results if result is not None and result.done]
        if not done or None in results:
            return None
        means = [mean_of(done, name) for name in self._study.objectives]
        known = [mean for mean in means if mean is not None]
        return tuple(known) if len(known) == len(means) else None

    def _best(self) -> list[Configuration]:
        """The configurations to confirm: the best means of the first objective over the study's seeds."""
        if self._study.confirm is None:
            return []
        sign = 1 if self._study.objectives[self._study.objective] == "minimize" else -1
        scored = []
        for configuration in {**self._known_configurations(), **self._planned}.values():
            results = [self._known.get(trial_id) for trial_id in self._ids(configuration)]
            done = [result for result in results if result is not None and result.done]
            mean = mean_of(done, self._study.objective) if None not in results else None
            if mean is not None:
                scored.append((sign * mean, configuration))
        # Of equal means the one planned first, whatever order they ended in: a resumed run confirms the same one.
        scored.sort(key=lambda pair: (pair[0], pair[1].sampling["phase"], pair[1].sampling["index"]))
        return [configuration for _, configuration in scored[: self._study.confirm.top]]

    def _known_configurations(self) -> dict[str, Configuration]:
        found: dict[str, Configuration] = {}
        for result in self._known.values():
            if not result.sampling["confirm"]:
                key = result.configuration_id
                found.setdefault(key, Configuration(self.name, dict(result.params), key, result.sampling))
        return found

    def _recorded_adaptive(self) -> dict[tuple[int, int, str], tuple[Params, int | None]]:
        """Where the rows say that a configuration was suggested -> its parameters and generation."""
        places = {}
        for result in self._known.values():
            where = result.sampling
            if where["sampler"] in ADAPTIVE and not where["confirm"]:
                places[(where["phase"], where["index"], where["sampler"])] = (dict(result.params), where["generation"])
        return places

    def _configuration(
        self, params: Params, generation: int | None, phase: int, index: int, sampler: str
    ) -> Configuration:
        sampling = {"phase": phase, "index": index, "sampler": sampler, "generation": generation, "confirm": False}
        return Configuration(self.name, params, self._identity.configuration_id(self.name, params), sampling)

    def _ids(self, configuration: Configuration) -> list[str]:
        return [self._identity.trial_id(self.name, configuration.params, seed) for seed in self._study.seeds]

    def _is_done(self, trial_id: str) -> bool:
        return trial_id in self._known and self._known[trial_id].done
