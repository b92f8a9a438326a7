"""Decides what to train next: arms in turn, each through its phases, then the confirmation of its best.

The planner keeps no files: given the results that are there it plans again from the start, and what is done is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpsearch.check import Checked
from hpsearch.results import Result
from hpsearch.sampling import ADAPTIVE, FINITE, Adaptive, Asked, Params, Sequence, grid_size
from hpsearch.study import Study

MAX_REPEATS = 20  # of a configuration that was planned before, in a row; then a phase has nothing new to offer


@dataclass(frozen=True)
class Configuration:
    """One point of an arm's search space and where it came from."""

    arm: str
    params: Params
    configuration_id: str
    sampling: Mapping[str, Any]  # phase, index, sampler, generation, confirm


@dataclass(frozen=True)
class Pack:
    """Trials that run together: those seeds of one configuration that have no result yet."""

    configuration: Configuration
    seeds: Mapping[int, str]  # seed -> trial_id
    attempts: Mapping[str, int]  # trial_id -> the attempt that this is, from 1


@dataclass(frozen=True)
class ArmCount:
    """Trials of an arm: planned in all, and ended."""

    planned: int
    ended: int


def phase_sizes(study: Study, arm: str) -> list[int]:
    """Configurations in each phase of an arm, after the cut to study.configurations.

    An arm that searches nothing has one.
    """
    left = study.configurations
    searched, fixed = study.arms[arm].parameters, study.arms[arm].fixed
    if not searched:
        left = 1
    sizes = []
    for phase in study.phases(arm):
        size = phase.configurations
        if phase.sampler == "grid":
            cells = grid_size(searched, fixed)
            size = cells if size is None else min(size, cells)
        elif phase.sampler == "points" and "points" in phase.options:  # an imported study does not know them
            listed = len(phase.options["points"])
            size = listed if size is None else min(size, listed)
        assert size is not None  # hpsearch.check has seen to it
        if left is not None:
            size = min(size, left)
            left -= size
        sizes.append(size)
    return sizes


def planned_trials(study: Study, arm: str) -> int:
    """Trials of an arm if every phase finds as many configurations as it was asked for."""
    return _trials(study, sum(phase_sizes(study, arm)))


def _trials(study: Study, configurations: int) -> int:
    confirm = min(study.confirm.top, configurations) * study.confirm.seeds if study.confirm else 0
    return configurations * len(study.seeds) + confirm


class Planner:
    """next() gives packs until `finished`; between, None means: wait for a result. tell() takes the results."""

    def __init__(self, checked: Checked, results: Iterable[Result]) -> None:
        known = {result.trial_id: result for result in results}
        self._arms = [_ArmPlan(checked, arm, known) for arm in checked.study.arms]
        self._turn = 0
        self._returned: list[Pack] = []

    @property
    def finished(self) -> bool:
        return not self._returned and all(arm.finished for arm in self._arms)

    @property
    def notes(self) -> list[str]:
        """What the user should know of how the plan went, e.g. that a phase ran out of new configurations."""
        return [note for arm in self._arms for note in arm.notes]

    def next(self) -> Pack | None:
        if self._returned:
            return self._returned.pop()
        for _ in self._arms:
            arm = self._arms[self._turn % len(self._arms)]
            self._turn += 1
            pack = arm.next()
            if pack is not None:
                return pack
        return None

    def put_back(self, pack: Pack | None) -> None:
        """The pack will be given again by next()."""
        if pack is not None:
            self._returned.append(pack)

    def tell(self, result: Result) -> None:
        for arm in self._arms:
            if arm.name == result.arm:
                arm.tell(result)

    def counts(self) -> dict[str, ArmCount]:
        return {arm.name: arm.count() for arm in self._arms}


class _ArmPlan:
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
        planned = max(_trials(self._study, sum(self._sizes)), len(self._planned_trials))
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
            configuration = self._configuration(params, phase, index, sampler)
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
            params = self._recorded.get((phase, index, sampler))
            configuration = None if params is None else self._configuration(params, phase, index, sampler)
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
            params, trial = adaptive.ask(phase, index, repeat)
            configuration = self._configuration(params, phase, index, sampler)
            if configuration.configuration_id not in self._planned:
                self._asked[configuration.configuration_id] = trial
                return configuration
            adaptive.tell(trial, self._means(configuration))
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
            self._adaptive.add(configuration.params, values)
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
        means = [_mean(done, name) for name in self._study.objectives]
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
            mean = _mean(done, self._study.objective) if None not in results else None
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

    def _recorded_adaptive(self) -> dict[tuple[int, int, str], Params]:
        places = {}
        for result in self._known.values():
            where = result.sampling
            if where["sampler"] in ADAPTIVE and not where["confirm"]:
                places[(where["phase"], where["index"], where["sampler"])] = dict(result.params)
        return places

    def _configuration(self, params: Params, phase: int, index: int, sampler: str) -> Configuration:
        sampling = {"phase": phase, "index": index, "sampler": sampler, "generation": None, "confirm": False}
        return Configuration(self.name, params, self._identity.configuration_id(self.name, params), sampling)

    def _ids(self, configuration: Configuration) -> list[str]:
        return [self._identity.trial_id(self.name, configuration.params, seed) for seed in self._study.seeds]

    def _is_done(self, trial_id: str) -> bool:
        return trial_id in self._known and self._known[trial_id].done


def _mean(results: list[Result], objective: str) -> float | None:
    """The mean of a metric or cost; None when there is no result, or one does not know it."""
    values = [_value(result, objective) for result in results]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if values and len(known) == len(values) else None


def _value(result: Result, objective: str) -> float | None:
    """A diverged trial's cost is what it would have cost in full: it must not look cheap because it ended early."""
    if objective in result.metrics:
        return result.metrics[objective]
    cost = result.cost.get(objective)
    if cost is None or result.status != "diverged" or objective == "peak_memory_bytes":
        return cost
    return cost * (result.epochs_planned or 1) / (result.epochs or 1)
