"""How many configurations and trials a study has: as asked for, and as many as there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from typing import TYPE_CHECKING, TypeVar

from hpsearch.hyperparameters import NOT_SHAPE
from hpsearch.sampling import ADAPTIVE, FINITE, MAX_GRID, SAMPLERS, grid_size
from hpsearch.space import Parameter, Value, active
from hpsearch.study import Phase, Study

if TYPE_CHECKING:
    from hpsearch.sampling import Params

MAX_REPEATS = 20  # of a configuration that was planned before, in a row; then a phase has nothing new to offer
ROOM = 4  # times as many configurations as are asked for: 20 repeats in a row then have a chance below 1e-12

T = TypeVar("T")


def phase_sizes(study: Study, arm: str) -> list[int]:
    """Configurations that each phase of an arm asks for, after the cut to study.configurations.

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
    """Trials of an arm; with seeds by spread the fewest that it can have."""
    return trials_of(study, sum(expected_sizes(study, arm)))


def most_trials(study: Study, arm: str) -> int:
    """As planned_trials, if every configuration takes all the seeds that it may."""
    configurations = sum(expected_sizes(study, arm))
    return trials_of(study, configurations) + configurations * (len(study.all_seeds) - len(study.first_seeds))


def trials_of(study: Study, configurations: int) -> int:
    confirm = min(study.confirm.top, configurations) * study.confirm.seeds if study.confirm else 0
    return configurations * len(study.first_seeds) + confirm


def shapes_of(study: Study, arm: str) -> int:
    """Shapes of a step (hpsearch.hyperparameters.Settings.shape) that an arm's trials may have."""
    searched = study.arms[arm].parameters
    levels = [_levels(parameter) or () for name, parameter in searched.items() if name not in NOT_SHAPE]
    return math.prod(max(1, len(each)) for each in levels)


def expected_sizes(study: Study, arm: str) -> list[int]:
    """Different configurations that each phase will find.

    Exact for phases that do not adapt, which are gone through where the space may run out of configurations. What a
    sampler that adapts will suggest is not known: of a space of so many configurations it finds those that are left.
    """
    sizes, phases = phase_sizes(study, arm), study.phases(arm)
    parameters, fixed = study.arms[arm].parameters, study.arms[arm].fixed
    total = _different(parameters, fixed)
    endless = any(_levels(parameter) is None and not parameter.when for parameter in parameters.values())
    roomy = endless or (total is not None and total >= ROOM * sum(sizes))
    seen: set[object] = set()
    unseen = 0  # configurations that are found, but are not known here
    for number, (phase, asked) in enumerate(zip(phases, sizes, strict=True)):
        left = asked if total is None else min(asked, total - len(seen) - unseen)
        listed_later = any(later.sampler in FINITE for later in phases[number + 1 :])
        if asked and not _passes_over(phase, roomy and (endless or not listed_later)):
            from hpsearch.sampling import Sequence  # Optuna, which is seldom needed here

            draw, finite = Sequence(study, arm, number), phase.sampler in FINITE
            points = itertools.islice(new_ones(draw, asked, lambda point: _key(point) not in seen, finite), left)
            before = len(seen)
            for point in points:
                seen.add(_key(point))
            sizes[number] = len(seen) - before
        else:
            sizes[number] = left
            unseen += left
    return sizes


def new_ones(points: Iterable[T], size: int, is_new: Callable[[T], bool], finite: bool) -> Iterator[T]:
    """The first `size` points that are new when they come; of endless ones none after too many known in a row."""
    found = repeats = 0
    for point in points:
        if not is_new(point):
            repeats += 1
            if repeats > MAX_REPEATS and not finite:
                return
            continue
        repeats = 0
        yield point
        found += 1
        if found == size:
            return


def _passes_over(phase: Phase, roomy: bool) -> bool:
    """Whether the phase finds all it asks for, or nobody knows: then its points need not be drawn.

    Nobody knows of an imported study's phases, whose sampler may be none of ours.
    """
    on_lattice = phase.sampler == "qmc" and phase.options.get("scramble") is False
    return (
        phase.sampler in ADAPTIVE
        or phase.sampler not in SAMPLERS
        or (roomy and phase.sampler not in FINITE and not on_lattice)
    )


def _different(parameters: Mapping[str, Parameter], fixed: Mapping[str, Value]) -> int | None:
    """How many configurations a space has; None where they cannot be counted."""
    levels = {name: _levels(parameter) for name, parameter in parameters.items()}
    counted = {name: values for name, values in levels.items() if values is not None}
    if len(counted) < len(levels):
        return None
    cells = math.prod(len(values) for values in counted.values())
    if not any(parameter.when for parameter in parameters.values()):
        return cells
    if cells > MAX_GRID:
        return None
    points = (dict(zip(counted, values, strict=True)) for values in itertools.product(*counted.values()))
    return len({_key({name: point[name] for name in active(parameters, point, fixed)}) for point in points})


def _levels(parameter: Parameter) -> SequenceOf[Value] | None:
    """All values that a sampler may give it; None for a continuous range, or one of so many steps."""
    if parameter.choices is not None:
        return parameter.choices
    assert parameter.low is not None and parameter.high is not None
    if parameter.integer:
        return range(int(parameter.low), int(parameter.high) + 1, int(parameter.step or 1))
    if parameter.step is None or (parameter.high - parameter.low) / parameter.step > MAX_GRID:
        return None
    return [
        parameter.low + i * parameter.step for i in range(round((parameter.high - parameter.low) / parameter.step) + 1)
    ]


def _key(point: Params) -> object:
    """Equal for points with the same id: 1 is 1.0, but true is not 1."""
    return frozenset((name, isinstance(value, bool), value) for name, value in point.items())
