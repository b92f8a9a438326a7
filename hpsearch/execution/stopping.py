"""Early stopping: which configurations end before their last epoch. Decided in the driver, once for all seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy

from hpsearch.planning import Configuration, Pack
from hpsearch.results import Result
from hpsearch.study import Stopping, Study
from hpsearch.training.milestones import Milestones

Trace = Sequence[float | None]  # the first objective after each epoch, from the first on
MEDIAN_OF = 3  # configurations that the median rule needs to have seen at an epoch


class Rule(Protocol):
    def judge(self, arm: str, key: str, trace: numpy.ndarray) -> bool:
        """Whether a configuration with this trace (one value an epoch, larger is better) ends here; it is noted, in the
        place of what was noted of it before.
        """
        ...


class Asha:
    """Asynchronous successive halving (Li et al., arXiv 1810.05934) as Ray Tune has it: at a rung the best
    1 / reduction of what has reached it goes on. One bracket; each arm has rungs of its own, so that a study of
    methods does not stop whole methods.
    """

    def __init__(self, reduction: float) -> None:
        self._share = 1 - 1 / reduction
        self._rungs: defaultdict[tuple[str, int], dict[str, float]] = defaultdict(dict)

    def judge(self, arm: str, key: str, trace: numpy.ndarray) -> bool:
        rung, value = self._rungs[arm, len(trace)], float(trace[-1])
        rung.pop(key, None)
        if math.isnan(value):
            return False
        stops = bool(rung) and value < float(numpy.quantile(list(rung.values()), self._share))
        rung[key] = value
        return stops


class Median:
    """The median rule of Vizier (Golovin et al., KDD 2017): a configuration ends when its best value so far is below
    the median of the others' means from `grace` to this epoch. Within an arm.
    """

    def __init__(self, grace: int) -> None:
        self._grace = grace
        self._means: defaultdict[tuple[str, int], dict[str, float]] = defaultdict(dict)

    def judge(self, arm: str, key: str, trace: numpy.ndarray) -> bool:
        means = self._means[arm, len(trace)]
        means.pop(key, None)
        counted = trace[self._grace - 1 :]
        if numpy.isnan(trace).all() or numpy.isnan(counted).all():
            return False
        others = list(means.values())
        stops = len(others) >= MEDIAN_OF and float(numpy.nanmax(trace)) < float(numpy.median(others))
        means[key] = float(numpy.nanmean(counted))
        return stops


class Stopper:
    """Applies a study's rule, and knows again what it decided in earlier runs: rungs are rebuilt from the curves.

    Only a configuration's first seeds are judged; what was decided then holds for seeds that are added, and a
    confirmation always runs to its end.
    """

    def __init__(self, study: Study, stopping: Stopping, results: Iterable[Result]) -> None:
        self.milestones = Milestones(stopping.grace, stopping.reduction if stopping.scheduler == "asha" else None)
        self._rule: Rule = Asha(stopping.reduction) if stopping.scheduler == "asha" else Median(stopping.grace)
        self._objective, self._seeds = study.objective, study.first_seeds
        self._sign = 1.0 if study.objectives[study.objective] == "maximize" else -1.0
        self._stopped: dict[str, int] = {}  # configuration_id -> the epoch at which it was
        self._spared: set[str] = set()  # ran to the end
        self._begun: dict[str, list[Mapping[str, Any]]] = {}  # some seeds are known, the others are still to come
        self._decided: dict[tuple[str, int], bool] = {}  # also where a pack is trained again
        self._replay(results)

    def may_stop(self, pack: Pack) -> bool:
        """Seeds that a spread asks for besides are of a configuration that ran to its end."""
        judged = not pack.configuration.sampling["confirm"] and any(seed in self._seeds for seed in pack.seeds)
        key = pack.configuration.configuration_id
        return judged and (key not in self._spared or key in self._begun)

    def stops(self, configuration: Configuration, epoch: int, seeds: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the configuration ends at this epoch. seeds: status, curve and metrics of each, as far as it is."""
        key = configuration.configuration_id
        decided = key in self._spared or key in self._stopped
        if decided and key not in self._begun:
            return epoch >= self._stopped.get(key, math.inf)
        traces = [self._trace(seed, epoch) for seed in (*self._begun.get(key, ()), *seeds)]
        stops = self._rule.judge(configuration.arm, key, self._mean(traces, epoch))  # noted in any case, for others
        if decided:
            return epoch >= self._stopped.get(key, math.inf)
        stops = self._decided.setdefault((key, epoch), stops)
        if stops:
            self._stopped[key] = epoch
        return stops

    def _trace(self, seed: Mapping[str, Any], epoch: int) -> Trace:
        """The first objective after each of the first epochs; of a diverged seed it goes on at the chance level."""
        values = list(seed["curve"].get(self._objective, []))
        if seed["status"] == "diverged":
            values = values[:-1]  # not finite
        values = values[:epoch]
        return values + [seed["metrics"].get(self._objective)] * (epoch - len(values))

    def _mean(self, traces: Sequence[Trace], epoch: int) -> numpy.ndarray:
        """Over the seeds that have a value, (epoch,), turned so that larger is better; NaN where none has one."""
        values = numpy.array([[math.nan if v is None else v for v in trace[:epoch]] for trace in traces], dtype=float)
        known = ~numpy.isnan(values)
        with numpy.errstate(invalid="ignore", divide="ignore"):
            mean: numpy.ndarray = numpy.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
        return mean * self._sign

    def _replay(self, results: Iterable[Result]) -> None:
        configurations: dict[str, list[Result]] = {}
        for result in results:
            if result.done and not result.sampling["confirm"] and result.seed in self._seeds:
                configurations.setdefault(result.configuration_id, []).append(result)
        for key, seeds in configurations.items():
            stopped = [result.epochs or 0 for result in seeds if result.status == "stopped"]
            if stopped:
                self._stopped[key] = min(stopped)
            elif any(result.status != "diverged" for result in seeds):
                self._spared.add(key)
            if len(seeds) < len(self._seeds):  # rungs get the mean over all when these come
                self._begun[key] = [vars(result) for result in seeds]
            last = min(stopped, default=max(result.epochs or 0 for result in seeds) - 1)
            epoch = self.milestones.after(0)
            while epoch <= last:
                traces = [self._trace(vars(result), epoch) for result in seeds]
                self._rule.judge(seeds[0].arm, key, self._mean(traces, epoch))
                epoch = self.milestones.after(epoch)
