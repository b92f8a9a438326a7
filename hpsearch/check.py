"""What a study may say, given its task and its samplers: the checks that the file's structure alone cannot make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpsearch.check_effect import check_effect, check_nesterov, values, whenever
from hpsearch.check_sampling import check_sampling
from hpsearch.check_task import find_task, make_task, name_task, told
from hpsearch.errors import KeyPath, Mistake, nearest, show
from hpsearch.hyperparameters import BASES, HYPERPARAMETERS, check, check_name
from hpsearch.identity import Identity
from hpsearch.optim.sam_on import normalization
from hpsearch.sampling import ADAPTIVE
from hpsearch.space import Parameter, ordered
from hpsearch.streams import GlobalGenerators
from hpsearch.study import Arm, Phase, Study
from hpsearch.tasks import Task, TrainFunction, is_task_class
from hpsearch.tasks.trial_run import try_task
from hpsearch.trackers import check_trackers
from hpsearch.training.engine import SWITCHES
from hpsearch.warm_start import WarmStart, read_warm_start
from hpsearch.yamlfile import Document

COSTS = ("backward_samples", "flops", "seconds", "peak_memory_bytes")


@dataclass(frozen=True)
class Checked:
    """A study that can run: its task is imported, its options are good, its ids can be given."""

    study: Study
    task: type[Task] | TrainFunction
    identity: Identity
    warm: WarmStart = WarmStart()


def check_study(study: Study, document: Document, folder: Path | None = None) -> Checked:
    """Imports the task and checks everything. Raises MistakesError with a line for each mistake."""
    found = find_task(study.task.name, document, folder)
    if is_task_class(found):
        task = make_task(study, found, document)  # type: ignore[arg-type]
        mistakes = [*_check_optimizer(study, task), *_check_objectives(study, task), *_check_stopping(study)]
    else:
        mistakes = list(_check_function(study))
    mistakes += [*_check_conditions(study), *check_sampling(study), *_check_warm_start(study)]
    mistakes += check_trackers(study.tracking)
    if mistakes:
        raise document.error(list(dict.fromkeys(mistakes)))  # arms may share a mistake of the optimizer section
    with told(document):
        named = name_task(study, found)
        if is_task_class(found):
            try_task(task, study.first_seeds[0])
    warm, mistakes = read_warm_start(study, named, folder or Path())
    if mistakes:
        raise document.error(mistakes)
    return Checked(study, found, Identity(study, named, not is_task_class(found)), warm)


def _check_optimizer(study: Study, task: Task) -> Iterator[Mistake]:
    base = study.optimizer.get("base", "sgd")
    for name, value in study.optimizer.items():
        if name in ("epochs", "batch_size"):
            allowed = f"task.{name}, or an arm's fixed or parameters"
            yield Mistake(("optimizer", name), "stands in the wrong section", allowed)
            continue
        yield from _problem(("optimizer", name), name, value, BASES)
    for arm_name, arm in study.arms.items():
        path: KeyPath = ("arms", arm_name)
        bases = tuple(str(value) for value in values(arm, "base", base) if value in BASES) or BASES
        # A shared setting that this arm's base lacks would be dropped in silence.
        for name in study.optimizer:
            if name in HYPERPARAMETERS and not any(b in HYPERPARAMETERS[name].bases for b in bases):
                yield from _problem(("optimizer", name), name, study.optimizer[name], bases)
        for name, value in arm.fixed.items():
            yield from _problem((*path, "fixed", name), name, value, bases)
        for name, parameter in arm.parameters.items():
            at = (*path, "parameters", name)
            base_then = whenever(arm, name).get("base")
            having = (str(base_then),) if base_then in bases else bases
            yield from list(_check_parameter(at, name, parameter, having)) or check_effect(at, name, arm, study)
        yield from check_nesterov(path, arm, study, bases)
        yield from _check_shards(path, arm, study)
        yield from _check_normalization(path, arm, study, task)


def _problem(path: KeyPath, name: str, value: object, bases: tuple[str, ...]) -> Iterator[Mistake]:
    problem = check(name, value, bases)
    if problem is not None:
        yield Mistake(path, problem.rule, problem.allowed, problem.nearest)


def _check_parameter(path: KeyPath, name: str, parameter: Parameter, bases: tuple[str, ...]) -> Iterator[Mistake]:
    unknown = check_name(name, bases)
    if unknown is not None:
        yield Mistake(path, unknown.rule, unknown.allowed, unknown.nearest)
        return
    if HYPERPARAMETERS[name].kind == "whole" and parameter.choices is None and not parameter.integer:
        yield Mistake((*path, "int"), f"{name} takes whole numbers", "int: true, or choices")
        return
    limits = {"low": parameter.low, "high": parameter.high, "default": parameter.default}
    values = [(key, value) for key, value in limits.items() if value is not None]
    values += [("choices", value) for value in parameter.choices or ()]
    values += [("grid", value) for value in parameter.grid or ()]
    for key, value in values:
        problem = check(name, value, bases)
        if problem is not None:
            yield Mistake((*path, key), problem.rule, problem.allowed, problem.nearest)
            return


def _check_shards(path: KeyPath, arm: Arm, study: Study) -> Iterator[Mistake]:
    default = study.task.batch_size or HYPERPARAMETERS["batch_size"].default
    given = whenever(arm, "num_shards")
    batches = [value for value in values(arm, "batch_size", default, given) if isinstance(value, (int, float))]
    shared = study.optimizer.get("num_shards", 1)
    shards = [value for value in values(arm, "num_shards", shared) if isinstance(value, (int, float))]
    if batches and shards and max(shards) > min(batches):
        sections = {"parameters": arm.parameters, "fixed": arm.fixed}
        at = next(((*path, key, "num_shards") for key, part in sections.items() if "num_shards" in part), None)
        rule = f"got num_shards up to {max(shards):g} with a batch_size of {min(batches):g}"
        yield Mistake(at or ("optimizer", "num_shards"), rule, f"a whole number from 1 to {min(batches):g}")


def _check_normalization(path: KeyPath, arm: Arm, study: Study, task: Task) -> Iterator[Mistake]:
    if "normalization" in values(arm, "perturb", study.optimizer.get("perturb", "all")):
        try:
            with GlobalGenerators(0).swapped():
                model = task.model()
        except Exception:  # a user's; try_task tells it in full
            return
        try:
            normalization(model)
        except ValueError as error:
            sections = {"fixed": arm.fixed, "parameters": arm.parameters}
            at = next(((*path, key, "perturb") for key, part in sections.items() if "perturb" in part), None)
            yield Mistake(at or ("optimizer", "perturb"), str(error), "all")


def _check_objectives(study: Study, task: Task) -> Iterator[Mistake]:
    allowed = [*(f"val_{name}" for name in task.metrics), "train_loss", *COSTS]
    for name in study.objectives:
        if name.startswith("test_"):
            rule = f"{name!r}: selecting on the test set would make every reported number optimistic"
            yield Mistake(("objectives", name), rule, ", ".join(allowed), nearest(f"val_{name[5:]}", allowed))
        elif name not in allowed:
            yield Mistake(("objectives", name), f"unknown metric {name!r}", ", ".join(allowed), nearest(name, allowed))
    yield from _check_first_objective(study)


def _check_first_objective(study: Study) -> Iterator[Mistake]:
    if study.objective in COSTS:
        rule = f"{study.objective!r} is a cost and stands first, where it would pick the best configuration"
        yield Mistake(("objectives", study.objective), rule, "a metric first")


def _check_function(study: Study) -> Iterator[Mistake]:
    if study.optimizer:
        allowed = "no optimizer section; use an arm's fixed"
        yield Mistake(("optimizer",), "a training function has its own optimizer", allowed)
    for key in ("epochs", "batch_size"):
        if getattr(study.task, key) is not None:
            yield Mistake(("task", key), "a training function takes no such key", f"name; put {key} in an arm's fixed")
    for key in SWITCHES:
        value = getattr(study.resources, key)
        if value != "auto" and not (key == "compile" and value is False):
            yield Mistake(("resources", key), f"got {show(value)}", "auto: a training function computes as it likes")
    yield from _check_first_objective(study)
    for key in study.task.options:
        yield Mistake(("task", key), f"unknown key {key!r}", "name; a training function's params come from the arms")


def _check_conditions(study: Study) -> Iterator[Mistake]:
    for arm_name, arm in study.arms.items():
        path = ("arms", arm_name, "parameters")
        mistakes = list(_check_whens(path, arm))
        yield from mistakes
        try:
            ordered(arm.parameters)
        except ValueError as error:
            if not mistakes:  # a parameter that names itself is told already
                yield Mistake(path, str(error), "conditions without a circle")
        else:
            if not mistakes:
                yield from _check_single_values(path, arm, study.phases(arm_name))


def _check_whens(path: KeyPath, arm: Arm) -> Iterator[Mistake]:
    for name, parameter in arm.parameters.items():
        for key, value in (parameter.when or {}).items():
            at = (*path, name, "when", key)
            known = [other for other in (*arm.parameters, *arm.fixed) if other != name]
            if key not in known:
                rule = f"{name} names itself" if key == name else f"{show(key)} is not in the arm"
                yield Mistake(at, rule, ", ".join(known) or "none: the arm has no other key", nearest(key, known))
            elif key in arm.parameters and not arm.parameters[key].contains(value):
                yield Mistake(at, f"{key} can never be {show(value)}", arm.parameters[key].allowed())


def _check_single_values(path: KeyPath, arm: Arm, phases: Sequence[Phase]) -> Iterator[Mistake]:
    """One value of a range of numbers is never drawn: what waits for it would never be searched."""
    if any(phase.sampler == "points" for phase in phases):
        return
    for name, parameter in arm.parameters.items():
        for key, value in (parameter.when or {}).items():
            other = arm.parameters.get(key)
            if other is None or other.choices is not None or other.integer or other.step is not None:
                continue
            if not (value in (other.grid or ()) and any(phase.sampler == "grid" for phase in phases)):
                rule = (
                    f"{key} is a range of numbers, of which {show(value)} is never drawn: {name} would not be searched"
                )
                yield Mistake((*path, name, "when", key), rule, f"{key} with choices, int or step; or {key} in fixed")


def _check_warm_start(study: Study) -> Iterator[Mistake]:
    if study.warm_start and not any(phase.sampler in ADAPTIVE for arm in study.arms for phase in study.phases(arm)):
        rule = "has nobody to tell: no phase of the study adapts"
        yield Mistake(("warm_start",), rule, f"a phase of {', '.join(ADAPTIVE)}, or no warm_start")


def _check_stopping(study: Study) -> Iterator[Mistake]:
    """Stopping that could never stop anything is a mistake."""
    if study.stopping is None:
        return
    default = study.task.epochs or HYPERPARAMETERS["epochs"].default
    ends = [v for arm in study.arms.values() for v in values(arm, "epochs", default) if isinstance(v, (int, float))]
    if ends and study.stopping.grace >= max(ends):
        rule = f"got {study.stopping.grace} where no trial has more than {max(ends):g} epochs: nothing would be stopped"
        yield Mistake(("stopping", "grace"), rule, f"a whole number from 1 to {max(ends) - 1:g}")
