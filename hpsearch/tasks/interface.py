"""What a user's task class must look like, as far as it can be seen without making an object of it."""

from __future__ import annotations

import inspect
from typing import Any

from hpsearch.errors import nearest, show

SIGNATURES = {
    "data": "def data(self, seed: int) -> Data",
    "model": "def model(self) -> nn.Module",
    "measure": "def measure(self, model: nn.Module, *batch: Tensor) -> dict[str, Tensor]",
    "chance": "def chance(self, data: Data) -> dict[str, float]",
    "augment": "def augment(self, batch: Batch, generator: torch.Generator) -> Batch",
    "crop": "def crop(self, batch: Batch, length: int) -> Batch",
    "summarize": "def summarize(self, means: dict[str, float]) -> dict[str, float]",
    "identity": "@classmethod def identity(cls, options: dict[str, Any]) -> dict[str, Any]",
}
ARGUMENTS = {"data": 1, "model": 0, "measure": 2, "chance": 1, "augment": 2, "crop": 2, "summarize": 1, "identity": 1}
REQUIRED = ("semantics", "metrics", "data", "model", "measure", "chance")
EXAMPLES = {"semantics": "semantics = 1", "metrics": 'metrics = ("loss", "accuracy")', **SIGNATURES}
MOST_TENSORS = 16  # of a batch


def class_problem(found: type) -> str | None:
    """What a class lacks to be a task, in one sentence with what to write; None where it lacks nothing."""
    lacks = [key for key in REQUIRED if not hasattr(found, key)]
    lacks += sorted(getattr(found, "__abstractmethods__", ()))
    if lacks:
        return _lacking(found, lacks)
    return _wrong_number(found) or _wrong_metrics(found) or _wrong_method(found)


def _lacking(found: type, lacks: list[str]) -> str:
    own = [key for key, value in vars(found).items() if callable(value)]
    near = next(
        (other for key in lacks if (other := nearest(key, [name for name in own if name not in REQUIRED]))), None
    )
    hint = f" (it has {near!r})" if near else ""
    said = f"the class lacks {', '.join(lacks)}{hint}"
    if len(lacks) <= 2:
        return f"{said}; write {', and '.join(EXAMPLES[key] for key in lacks if key in EXAMPLES)}" + _or_derive(lacks)
    return f"{said}; derive it from hpsearch.tasks.Classification, or give all of hpsearch.tasks.Task"


def _or_derive(lacks: list[str]) -> str:
    """Classification has measure and chance, but no data and model."""
    derived = set(lacks) <= {"semantics", "metrics", "measure", "chance"}
    return ", or derive it from hpsearch.tasks.Classification" if derived else " (see hpsearch.tasks.Classification)"


def _wrong_number(found: type) -> str | None:
    number = found.semantics  # type: ignore[attr-defined]
    if isinstance(number, int) and not isinstance(number, bool):
        return None
    return f"semantics is {show(number)}; it must be a whole number: semantics = 1, raised when results change"


def _wrong_metrics(found: type) -> str | None:
    names = found.metrics  # type: ignore[attr-defined]
    must = 'it must be a tuple of names, the loss among them: metrics = ("loss", "accuracy")'
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        return f"metrics is {show(names)}; {must}"
    if "loss" not in names or len(set(names)) < len(names):
        return f"metrics is {show(names)}, {'which names one twice' if 'loss' in names else 'without the loss'}; {must}"
    return None


def _wrong_method(found: type) -> str | None:
    for name, must in SIGNATURES.items():
        if not hasattr(found, name):
            continue
        kept = inspect.getattr_static(found, name, None)
        if name == "identity" and not isinstance(kept, (classmethod, staticmethod)):
            return f"identity is no class method; it must be: {must}"
        method = getattr(found, name)
        if not callable(method):
            return f"{name} is {show(method)}; it must be a method: {must}"
        bound = 0 if isinstance(kept, (classmethod, staticmethod)) or not inspect.isfunction(kept) else 1
        problem = _refused(method, bound + ARGUMENTS[name], MOST_TENSORS if name == "measure" else 0)
        if problem is not None:
            return f"{name}{problem} cannot be called as it will be; it must be: {must}"
        if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
            return f"{name} is a coroutine or a generator; it must be a plain method: {must}"
    return None


def _refused(method: Any, arguments: int, more: int) -> str | None:
    """The signature where so many positional arguments, or up to `more` besides, do not fit it."""
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # it cannot be looked at: it is what it is
        return None
    for count in range(arguments, arguments + more + 1):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return None
    return str(signature)
