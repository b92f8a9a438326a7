"""What earlier runs found, for the samplers that adapt: their configurations' means, never trials of this study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.errors import InputError, Mistake, nearest, show
from hpsearch.identity import Identity
from hpsearch.planning.means import mean_of
from hpsearch.results import Result, belonging, read_results, read_run
from hpsearch.space import active
from hpsearch.study import Study

if TYPE_CHECKING:
    from hpsearch.sampling import Params

Point = tuple["Params", tuple[float, ...]]  # a configuration and its means, one an objective


@dataclass(frozen=True)
class WarmStart:
    """points: by arm, in the order of arrival. notes: a line a folder."""

    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Earlier:
    """A run folder. means: of each configuration that has all objectives here."""

    study: Study
    identity: Identity
    means: tuple[tuple[Result, tuple[float, ...]], ...]
    metrics: tuple[str, ...]


def read_warm_start(study: Study, task: Mapping[str, Any], folder: Path) -> tuple[WarmStart, list[Mistake]]:
    """Of the folders that study.warm_start names, relative to `folder`. task: of the study, as ids have it.

    A configuration is taken where the arm of that name exists here, its parameters lie in the arm's space, and whatever
    else it searched has here the value that it had there: a projection onto fewer parameters would be another response.
    Its values are means over its seeds; what was stopped early has none. Another task is a transfer: that is said.
    """
    points: dict[str, list[Point]] = {arm: [] for arm in study.arms}
    notes, mistakes = [], []
    for number, name in enumerate(study.warm_start):
        path = ("warm_start", number)
        try:
            earlier = _read(folder / name, study)
        except InputError as error:
            said = str(error).removeprefix(f"{folder / name}: ")
            mistakes.append(Mistake(path, f"got {show(name)}: {said}", "the folder of an earlier run"))
            continue
        unknown = [objective for objective in study.objectives if objective not in earlier.metrics]
        if unknown:
            said = f"got {show(name)}, where no trial has the objective {unknown[0]!r}"
            near = nearest(unknown[0], earlier.metrics)
            mistakes.append(Mistake(path, said, "a run that measured every objective of this study", near))
            continue
        taken = list(_taken(earlier, study))
        for arm, point in taken:
            points[arm].append(point)
        if not taken:
            said = f"got {show(name)}: none of its {len(earlier.means)} configurations lies in an arm of this study"
            allowed = f"runs with an arm {' or '.join(study.arms)} that searched the same hyperparameters"
            mistakes.append(Mistake(path, said, allowed))
        found = f"{len(taken)} of {len(earlier.means)} configurations of {name}"
        notes.append(f"warm start: {found}{_apart(earlier, study, task)}")
    return WarmStart({arm: tuple(found) for arm, found in points.items()}, tuple(notes)), mistakes


def _read(folder: Path, study: Study) -> _Earlier:
    before = read_run(folder)
    identity = Identity.recorded(before)
    seeds: dict[tuple[str, str], list[Result]] = {}
    metrics: dict[str, None] = {}
    for result in belonging(read_results(folder)[0], before, identity):
        if not result.sampling["confirm"]:
            seeds.setdefault((result.arm, result.configuration_id), []).append(result)
            metrics |= dict.fromkeys(name for values in (result.metrics, result.cost) for name in values)
    means = []
    for results in seeds.values():
        found = [mean_of(results, name) for name in study.objectives]
        known = tuple(mean for mean in found if mean is not None)
        if len(known) == len(found):
            means.append((results[0], known))
    return _Earlier(before, identity, tuple(means), tuple(metrics))


def _taken(earlier: _Earlier, study: Study) -> Iterator[tuple[str, Point]]:
    for result, values in earlier.means:
        arm = study.arms.get(result.arm)
        if arm is None:
            continue
        had = _all_values(earlier.study, earlier.identity.function, result.arm, result.params)
        names = active(arm.parameters, had, arm.fixed)
        if not all(name in had and arm.parameters[name].contains(had[name], on_step=False) for name in names):
            continue
        params = {name: had[name] for name in names}
        has = _all_values(study, earlier.identity.function, result.arm, params)
        if all(name in has and has[name] == value for name, value in result.params.items()):
            yield result.arm, (params, values)


def _all_values(study: Study, function: bool, arm: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**study.arms[arm].fixed, **params} if function else vars(study.settings(arm, params))


def _apart(earlier: _Earlier, study: Study, task: Mapping[str, Any]) -> str:
    """What else differs: allowed, since samplers adapt, but the user should know."""
    apart = []
    if dict(earlier.identity.task) != dict(task):
        same = earlier.study.task.name == study.task.name
        apart.append("other options" if same else f"another task, {earlier.study.task.name}")
    if earlier.study.optimizer != study.optimizer:
        apart.append("other shared settings")
    return f" ({', '.join(apart)}: taken as a transfer)" if apart else ""
