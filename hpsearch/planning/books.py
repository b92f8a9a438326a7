"""The books of one arm: which trials are planned, which have ended, and with what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from hpsearch.planning.means import mean_of, stopped_at, values_of
from hpsearch.planning.pack import Configuration
from hpsearch.results import Result
from hpsearch.sampling import ADAPTIVE, Params
from hpsearch.seeds import Spent

if TYPE_CHECKING:
    from hpsearch.check import Checked


class Books:
    """Every change is entered once and every question answered from what was entered: neither walks all trials.

    planned: the configurations of the plan so far, in order. waiting: configuration_id -> its trials that are not back.
    Of what an earlier run did, settled: trials that are done, with all that the same program trained; halves: those
    that are done without it -> the bundle's key; one_by_one: keys of bundles that no program trains.
    """

    def __init__(self, checked: Checked, arm: str, known: Iterable[Result]) -> None:
        self.planned: dict[str, Configuration] = {}
        self.waiting: dict[str, set[str]] = {}
        self._study, self._identity, self._arm = checked.study, checked.identity, arm
        self._results = {result.trial_id: result for result in known}
        self.settled, self.halves, self.one_by_one = _by_bundle(self._results.values())
        self._ids: dict[str, Mapping[int, str]] = {}  # configuration_id -> first seeds -> trial_id
        self._trials: set[str] = set()  # planned
        self._ended = 0  # of them
        self._before = set(self._results)  # what was known at first and is not planned (yet)
        self._ended_before = sum(map(self.is_done, self._before))

    def identify(self, params: Params) -> str:
        """The configuration_id of a point; the ids of its first seeds are kept beside it."""
        key, ids = self._identity.ids(self._arm, params, self._study.first_seeds)
        self._ids.setdefault(key, ids)
        return key

    def suggested(self) -> dict[tuple[int, int, str], tuple[Params, int | None]]:
        """What adaptive samplers suggested in earlier runs: (phase, index, sampler) -> parameters and generation."""
        places = {}
        for result in self._results.values():
            where = result.sampling
            if where["sampler"] in ADAPTIVE and not where["confirm"]:
                places[(where["phase"], where["index"], where["sampler"])] = (dict(result.params), where["generation"])
        return places

    def known(self) -> dict[str, Configuration]:
        """What has a result, planned or not, in the order of arrival."""
        found: dict[str, Configuration] = {}
        for result in self._results.values():
            key = result.configuration_id
            if key not in found and not result.sampling["confirm"]:
                found[key] = Configuration(self._arm, dict(result.params), key, result.sampling)
        return found

    def first(self, configuration: Configuration) -> Mapping[int, str]:
        """The trials that every configuration has: seed -> trial_id."""
        key = configuration.configuration_id
        if key not in self._ids:
            self._ids[key] = self.trials(configuration, self._study.first_seeds)
        return self._ids[key]

    def more(self, configuration: Configuration) -> Mapping[int, str]:
        """The trials that its spread over the first seeds asks for besides: a function of their results alone.

        None as long as one of these is missing: their values fix the number once.
        """
        rule, values = self._study.two_stage, self._first_values(configuration)
        if rule is None or values is None:
            return {}
        return self.trials(configuration, self._study.all_seeds[rule.min : rule.number(values)])

    def trials(self, configuration: Configuration, seeds: Iterable[int]) -> Mapping[int, str]:
        return self._identity.ids(self._arm, configuration.params, seeds)[1]

    def plan(self, trials: Iterable[str]) -> None:
        for trial_id in trials:
            if trial_id not in self._trials:
                self._trials.add(trial_id)
                done = self.is_done(trial_id)
                self._ended += done
                if trial_id in self._before:
                    self._before.remove(trial_id)
                    self._ended_before -= done

    def take(self, result: Result) -> None:
        """The latest result of a trial."""
        change = result.done - self.is_done(result.trial_id)
        self._results[result.trial_id] = result
        if result.trial_id in self._trials:
            self._ended += change
        elif result.trial_id in self._before:
            self._ended_before += change

    def is_done(self, trial_id: str) -> bool:
        return trial_id in self._results and self._results[trial_id].done

    def attempt(self, trial_id: str) -> int:
        """The one that comes next, from 1."""
        return self._results[trial_id].attempt + 1 if trial_id in self._results else 1

    def count(self, whole: bool) -> tuple[int, int]:
        """Trials planned, and those of them that have ended.

        whole: all is planned; until then what an earlier run did is taken to be part of the plan.
        """
        return len(self._trials), self._ended + (0 if whole else self._ended_before)

    def means(self, configuration: Configuration) -> tuple[float, ...] | None:
        """What the sampler is told: of each objective the mean over the first seeds; None when one is not known."""
        results = [self._results.get(trial_id) for trial_id in self.first(configuration).values()]
        means = [mean_of(results, name) for name in self._study.objectives]
        known = [mean for mean in means if mean is not None]
        return tuple(known) if len(known) == len(means) else None

    def stopped(self, configuration: Configuration) -> tuple[int, float] | None:
        """Where early stopping ended it: the epoch, and the mean of the first objective after it. No final value."""
        results = [self._results.get(trial_id) for trial_id in self.first(configuration).values()]
        return stopped_at(results, self._study.objective)

    def best(self) -> list[Configuration]:
        """The configurations to confirm: the best means of the first objective over all of their seeds."""
        if self._study.confirm is None:
            return []
        sign = 1 if self._study.objectives[self._study.objective] == "minimize" else -1
        scored = []
        for configuration in {**self.known(), **self.planned}.values():
            trials = [*self.first(configuration).values(), *self.more(configuration).values()]
            mean = mean_of([self._results.get(trial_id) for trial_id in trials], self._study.objective)
            if mean is not None:
                scored.append((sign * mean, configuration))
        # Of equal means the one planned first, whatever order they ended in: a resumed run confirms the same one.
        scored.sort(key=lambda pair: (pair[0], pair[1].sampling["phase"], pair[1].sampling["index"]))
        return [configuration for _, configuration in scored[: self._study.confirm.top]]

    def spent(self) -> Spent | None:
        """What the two stages came to over the planned configurations."""
        rule = self._study.two_stage
        if rule is None:
            return None
        firsts = map(self._first_values, self.planned.values())
        return Spent.of(rule, (rule.wanted(first) for first in firsts if first is not None))

    def _first_values(self, configuration: Configuration) -> list[float] | None:
        results = [self._results.get(trial_id) for trial_id in self.first(configuration).values()]
        return values_of(results, self._study.objective)


def _by_bundle(results: Iterable[Result]) -> tuple[set[str], dict[str, str], set[str]]:
    done = [result for result in results if result.done]
    seen = Counter(result.bundle["key"] for result in done if result.bundle)
    halves = {
        result.trial_id: result.bundle["key"]
        for result in done
        if result.bundle and seen[result.bundle["key"]] < result.bundle["trials"]
    }
    one_by_one = {result.bundle["key"] for result in done if result.bundle and not result.bundle["together"]}
    return {result.trial_id for result in done} - halves.keys(), halves, one_by_one
