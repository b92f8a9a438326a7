"""What a study may say, given its task and its samplers: the checks that the file's structure alone cannot make."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import create_model

from hpsearch.errors import InputError, KeyPath, Mistake, MistakesError, nearest, show
from hpsearch.hyperparameters import BASES, HYPERPARAMETERS, check, check_name
from hpsearch.identity import Identity
from hpsearch.models import Model, validate
from hpsearch.sampling import MAX_GRID, SAMPLERS, grid_size, sampler_options, try_options
from hpsearch.space import Parameter, ordered
from hpsearch.study import Arm, Phase, Study
from hpsearch.tasks import Task, TrainFunction, identity, is_task_class, resolve
from hpsearch.tasks.protocol import OptionError
from hpsearch.yamlfile import Document

COSTS = ("backward_samples", "flops", "seconds", "peak_memory_bytes")


@dataclass(frozen=True)
class Checked:
    """A study that can run: its task is imported, its options are good, its ids can be given."""

    study: Study
    task: type[Task] | TrainFunction
    identity: Identity


def check_study(study: Study, document: Document, folder: Path | None = None) -> Checked:
    """Imports the task and checks everything. Raises MistakesError with a line for each mistake."""
    try:
        found = resolve(study.task.name, folder)
    except InputError as error:
        raise InputError(f"{document.where(('task', 'name'))}: task.name: {error}") from None
    if is_task_class(found):
        _check_options(study, found, document)  # type: ignore[arg-type]
        mistakes = [*_check_optimizer(study), *_check_objectives(study, found)]  # type: ignore[arg-type]
    else:
        mistakes = list(_check_function(study))
    mistakes += [*_check_conditions(study), *_check_sampling(study)]
    if mistakes:
        raise document.error(mistakes)
    named = identity(study.task.name, found, study.task.options)
    return Checked(study, found, Identity(study, named, not is_task_class(found)))


def _check_options(study: Study, task: type[Task], document: Document) -> None:
    """The options are the constructor's arguments: their names and types are checked as the rest of the file is."""
    parameters = inspect.signature(task).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        hints = inspect.get_annotations(task.__init__, eval_str=True)
        fields: dict[str, Any] = {
            parameter.name: (hints.get(parameter.name, Any), ... if parameter.default is parameter.empty else parameter.default)
            for parameter in parameters
        }
        model = create_model("TaskOptions", __base__=Model, **fields)
        try:
            validate(model, study.task.options, document, ("task",))
        except MistakesError as error:
            # epochs and batch_size are keys of the section, though no options of the task
            raise document.error([_with_section_keys(mistake) for mistake in error.mistakes]) from None
    try:
        task(**study.task.options)
    except OptionError as error:
        raise document.error([Mistake(("task", error.option), f"got {show(error.value)}", error.allowed)]) from None
    except (TypeError, ValueError) as error:
        raise document.error([Mistake(("task",), f"{study.task.name} refuses its options: {error}")]) from None


def _with_section_keys(mistake: Mistake) -> Mistake:
    if not mistake.rule.startswith("unknown key"):
        return mistake
    known = ["name", "epochs", "batch_size", *(name for name in mistake.allowed.split(", ") if name)]
    return Mistake(mistake.path, mistake.rule, ", ".join(known), nearest(mistake.path[-1], known))


def _check_optimizer(study: Study) -> Iterator[Mistake]:
    base = study.optimizer.get("base", "sgd")
    for name, value in study.optimizer.items():
        if name in ("epochs", "batch_size"):
            yield Mistake(("optimizer", name), "stands in the wrong section", f"task.{name}, or an arm's fixed or parameters")
            continue
        yield from _problem(("optimizer", name), name, value, BASES)
    for arm_name, arm in study.arms.items():
        path: KeyPath = ("arms", arm_name)
        bases = _values(arm, "base", base)
        bases = tuple(str(value) for value in bases if value in BASES) or BASES
        # A shared setting that this arm's base lacks would be dropped in silence.
        for name in study.optimizer:
            if name in HYPERPARAMETERS and not any(b in HYPERPARAMETERS[name].bases for b in bases):
                yield from _problem(("optimizer", name), name, study.optimizer[name], bases)
        for name, value in arm.fixed.items():
            yield from _problem((*path, "fixed", name), name, value, bases)
        for name, parameter in arm.parameters.items():
            yield from _check_parameter((*path, "parameters", name), name, parameter, bases)
        yield from _check_shards(path, arm, study)


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
    batches = [value for value in _values(arm, "batch_size", default) if isinstance(value, (int, float))]
    shards = [v for v in _values(arm, "num_shards", study.optimizer.get("num_shards", 1)) if isinstance(v, (int, float))]
    if batches and shards and max(shards) > min(batches):
        where = "parameters" if "num_shards" in arm.parameters else "fixed"
        rule = f"num_shards up to {max(shards):g} with a batch_size of {min(batches):g}"
        yield Mistake((*path, where, "num_shards"), rule, f"a whole number from 1 to {min(batches):g}")


def _values(arm: Arm, name: str, default: object) -> tuple[object, ...]:
    """Values that bound what the arm gives a hyperparameter."""
    if name in arm.fixed:
        return (arm.fixed[name],)
    parameter = arm.parameters.get(name)
    if parameter is None:
        return (default,)
    found = parameter.choices if parameter.choices is not None else (parameter.low, parameter.high)
    return (*found, default) if parameter.when else tuple(found)


def _check_objectives(study: Study, task: type[Task]) -> Iterator[Mistake]:
    allowed = [*(f"val_{name}" for name in task.metrics), "train_loss", *COSTS]
    for name in study.objectives:
        if name.startswith("test_"):
            rule = f"{name!r}: selecting on the test set would make every reported number optimistic"
            yield Mistake(("objectives", name), rule, ", ".join(allowed), f"val_{name[5:]}")
        elif name not in allowed:
            yield Mistake(("objectives", name), f"unknown metric {name!r}", ", ".join(allowed), nearest(name, allowed))
    if study.objective in COSTS:
        yield Mistake(("objectives", study.objective), f"{study.objective!r} is a cost and stands first", "a metric first")


def _check_function(study: Study) -> Iterator[Mistake]:
    if study.optimizer:
        yield Mistake(("optimizer",), "a training function has its own optimizer", "no optimizer section; use an arm's fixed")
    for key in ("epochs", "batch_size"):
        if getattr(study.task, key) is not None:
            yield Mistake(("task", key), "a training function takes no such key", f"name; put {key} in an arm's fixed")
    for key in study.task.options:
        yield Mistake(("task", key), f"unknown key {key!r}", "name; a training function's params come from the arms")


def _check_conditions(study: Study) -> Iterator[Mistake]:
    for arm_name, arm in study.arms.items():
        for name, parameter in arm.parameters.items():
            for key, value in (parameter.when or {}).items():
                path = ("arms", arm_name, "parameters", name, "when", key)
                known = [other for other in (*arm.parameters, *arm.fixed) if other != name]
                if key not in known:
                    yield Mistake(path, f"{key!r} is not in the arm", ", ".join(known) or "(none)", nearest(key, known))
                elif key in arm.parameters and not arm.parameters[key].contains(value):
                    yield Mistake(path, f"{key} can never be {show(value)}", arm.parameters[key].allowed())
        try:
            ordered(arm.parameters)
        except ValueError as error:
            yield Mistake(("arms", arm_name, "parameters"), str(error), "conditions without a circle")


def _check_sampling(study: Study) -> Iterator[Mistake]:
    for number, phase in enumerate(study.sampling):
        arms = [arm for arm in study.arms.values() if arm.sampling is None]
        yield from _check_phase(("sampling", number), phase, arms)
    for arm_name, arm in study.arms.items():
        for number, phase in enumerate(arm.sampling or ()):
            yield from _check_phase(("arms", arm_name, "sampling", number), phase, [arm])


def _check_phase(path: KeyPath, phase: Phase, arms: list[Arm]) -> Iterator[Mistake]:
    if phase.sampler not in SAMPLERS:
        near = nearest(phase.sampler, SAMPLERS)
        yield Mistake((*path, "sampler"), f"unknown sampler {show(phase.sampler)}", ", ".join(SAMPLERS), near)
        return
    if phase.configurations is None and phase.sampler != "grid":
        yield Mistake((*path, "configurations"), "is missing", "a whole number >= 1 (only grid may leave it out)")
    options = sampler_options(phase.sampler)
    for key in phase.options:
        if key not in options:
            what = ", ".join(options) or f"none: {phase.sampler} has no options"
            yield Mistake((*path, "options", key), f"unknown option {show(key)}", what, nearest(key, options))
            return
    try:
        try_options(phase)
    except (TypeError, ValueError) as error:
        yield Mistake((*path, "options"), f"{phase.sampler} refuses its options: {error}")
    if phase.sampler != "grid":
        return
    for arm in arms:
        try:
            size = grid_size(arm.parameters, arm.fixed)
        except ValueError as error:
            yield Mistake((*path, "sampler"), str(error), "a grid for each parameter, or another sampler")
            return
        if size > MAX_GRID:
            yield Mistake((*path, "sampler"), f"a grid of {size:,} cells", f"at most {MAX_GRID:,} cells")
            return
