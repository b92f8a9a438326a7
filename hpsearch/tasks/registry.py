"""Finds a task by the name that a study gives it: a shipped one, a class, or a plain training function."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpsearch.errors import InputError, nearest
from hpsearch.tasks.interface import class_problem
from hpsearch.tasks.protocol import Task

SHIPPED: Mapping[str, str] = {
    "digits": "hpsearch.tasks.digits:Digits",
    "breast_cancer": "hpsearch.tasks.breast_cancer:BreastCancer",
    "pydoc_lm": "hpsearch.tasks.pydoc_lm:PydocLM",
    "cifar10": "hpsearch.tasks.images:Cifar10",
    "cifar100": "hpsearch.tasks.images:Cifar100",
    "fashion_mnist": "hpsearch.tasks.images:FashionMnist",
    "images": "hpsearch.tasks.images:Images",
    "glue": "hpsearch.tasks.glue:Glue",
    "tabular": "hpsearch.tasks.tabular:Tabular",
}

TrainFunction = Callable[[dict[str, Any], int, Callable[..., None]], object]  # train(params, seed, report)


def resolve(name: str, folder: Path | None = None) -> type[Task] | TrainFunction:
    """The class or function that `name` means: a shipped task, or module:attribute, found from `folder` too.

    Raises InputError that says what is missing and what a task needs.
    """
    target = SHIPPED.get(name, name)
    if ":" not in target:
        near = nearest(name, SHIPPED)
        hint = f"; did you mean {near!r}?" if near else ""
        known = ", ".join(SHIPPED)
        raise InputError(
            f"no task named {name!r}; allowed: {known}, or your own as package.module:ClassName or "
            f"module:function{hint}"
        )
    module_name, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise InputError(f"task {name!r} must look like package.module:ClassName or module:function")
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    module = _import(module_name, name, folder)
    found = getattr(module, attribute, None)
    if found is None:
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        near = nearest(attribute, public)
        hint = f"; did you mean {near!r}?" if near else ""
        raise InputError(f"task {name!r}: {module.__file__} has no {attribute!r}{hint}")
    _check(name, found)
    return found  # type: ignore[no-any-return]  # _check has looked at it


def is_task_class(found: object) -> bool:
    """Whether `resolve` found a Task class; else it is a training function."""
    return isinstance(found, type)


def identity(name: str, found: type[Task] | TrainFunction, options: Mapping[str, Any]) -> dict[str, Any]:
    """What of the task determines a trial's result: its name, semantics number and the options other than defaults."""
    defaults = {key: parameter.default for key, parameter in inspect.signature(found).parameters.items()}
    changed = {key: value for key, value in options.items() if key not in defaults or value != defaults[key]}
    if hasattr(found, "identity"):
        changed = dict(found.identity(changed))
    return {"name": name, "semantics": int(getattr(found, "semantics", 1)), "options": changed}


def _import(module_name: str, name: str, folder: Path | None) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(missing + "."):
            where = f" (looked in {folder} and on Python's path)" if folder else ""
            raise InputError(f"task {name!r}: there is no module {missing!r}{where}") from None
        raise InputError(f"task {name!r}: importing {module_name} failed: no module {missing!r}; install it") from None
    except Exception as error:  # whatever a user's module does when it is imported
        raise InputError(f"task {name!r}: importing {module_name} failed: {type(error).__name__}: {error}") from None


def _check(name: str, found: object) -> None:
    if isinstance(found, type):
        problem = class_problem(found)
        if problem:
            raise InputError(f"task {name!r}: {problem}")
        return
    if not callable(found):
        raise InputError(
            f"task {name!r} is a {type(found).__name__}; allowed: a class, or a function train(params, seed, report)"
        )
    try:
        signature = inspect.signature(found)
    except ValueError:  # e.g. a function of a C extension: it is what it is
        return
    try:
        signature.bind({}, 0, print)
    except TypeError:
        raise InputError(
            f"task {name!r}: the function must take (params, seed, report), but takes {signature}"
        ) from None
