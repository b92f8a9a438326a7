"""The task that a study names: found, made from its options, named for ids; every mistake of it told with its line."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, create_model

from hpsearch.errors import InputError, Mistake, MistakesError, nearest, one_line, show
from hpsearch.models import Model, validate
from hpsearch.study import Study
from hpsearch.tasks import Task, TrainFunction, identity, resolve
from hpsearch.tasks.protocol import DataError, OptionError
from hpsearch.yamlfile import Document


def name_task(study: Study, found: type[Task] | TrainFunction) -> dict[str, Any]:
    """What of the task enters ids. Raises what `told` takes."""
    try:
        named = identity(study.task.name, found, study.task.options)
        json.dumps(named, allow_nan=False)
        return named
    except (OptionError, DataError):
        raise
    except Exception as error:  # whatever a user's class makes of its options
        what = f"{study.task.name}: identity(options) failed: {type(error).__name__}: {one_line(error, 200)}"
        rule = "it is given the options that differ from their defaults, and must give a mapping of plain values"
        raise InputError(f"{what}; {rule}") from None


def find_task(name: str, document: Document, folder: Path | None) -> type[Task] | TrainFunction:
    """Imports it, from `folder` too. Raises MistakesError."""
    path = ("task", "name")
    try:
        return resolve(name, folder)
    except InputError as error:
        raise document.error([Mistake(path, one_line(error))]) from None
    except SystemExit as error:
        rule = f"importing {show(name)} ended the program (exit code {show(error.code)})"
        raise document.error([Mistake(path, rule, "a module that can be imported")]) from None


def make_task(study: Study, task: type[Task], document: Document) -> Task:
    """The options are the constructor's arguments: their names and types are checked as the rest of the file is."""
    parameters = inspect.signature(task).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        hints = _hints(task)
        fields: dict[str, Any] = {
            # Aliases: an option may have a name that a pydantic field may not have.
            f"option_{number}": (
                hints.get(parameter.name, Any),
                Field(... if parameter.default is parameter.empty else parameter.default, alias=parameter.name),
            )
            for number, parameter in enumerate(parameters)
        }
        model = create_model("TaskOptions", __base__=Model, **fields)
        try:
            validate(model, study.task.options, document, ("task",))
        except MistakesError as error:
            # epochs and batch_size are keys of the section, though no options of the task
            raise document.error([_with_section_keys(mistake) for mistake in error.mistakes]) from None
    try:
        with told(document):
            return task(**study.task.options)
    except MistakesError:
        raise
    except Exception as error:  # whatever a user's constructor does
        rule = f"{study.task.name} refuses its options: {type(error).__name__}: {one_line(error)}"
        raise document.error([Mistake(("task",), rule)]) from None


@contextmanager
def told(document: Document) -> Iterator[None]:
    """What a task says of its options and data, with the line of the file that led there."""
    try:
        yield
    except OptionError as error:
        rule = f"got {show(error.value)}"
        raise document.error([Mistake(("task", error.option), rule, one_line(error.allowed))]) from None
    except DataError as error:
        raise document.error([Mistake(("task", error.option), f"{error.problem}; {error.remedy}")]) from None
    except MistakesError:
        raise
    except InputError as error:
        raise document.error([Mistake(("task",), one_line(error))]) from None


def _hints(task: type[Task]) -> dict[str, Any]:
    """The types of the options, as far as YAML can give a value of that very type; others are the task's to check."""
    try:
        hints = inspect.get_annotations(task.__init__, eval_str=True)
    except Exception:  # e.g. a name that is imported for type checkers only
        return {}
    return {name: hint for name, hint in hints.items() if _is_plain(hint)}


def _is_plain(hint: object) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return all(part is type(None) or _is_plain(part) for part in typing.get_args(hint))
    return hint in (bool, int, float, str, list, dict) or typing.get_origin(hint) in (Literal, list, dict)


def _with_section_keys(mistake: Mistake) -> Mistake:
    if not mistake.rule.startswith("unknown key"):
        return mistake
    known = ["name", "epochs", "batch_size", *(name for name in mistake.allowed.split(", ") if name != "none")]
    return Mistake(mistake.path, mistake.rule, ", ".join(known), nearest(mistake.path[-1], known))
