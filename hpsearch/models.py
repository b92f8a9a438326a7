"""What the pydantic models of the study and search space files share: strictness, the rule for names, messages."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from hpsearch.errors import KeyPath, Mistake, nearest, show
from hpsearch.yamlfile import Document

NAME_RULE = "letters, digits, dot, dash and underscore, beginning with a letter or a digit, at most 64 of them"


class Model(BaseModel):
    """Frozen, strict (no "24" for 24), closed (no unknown keys), finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def rule(text: str, allowed: str, key: str | None = None, near: str | None = None) -> PydanticCustomError:
    """A broken rule inside a validator; hpsearch.models turns it into a Mistake."""
    return PydanticCustomError("rule", "{rule}", {"rule": text, "allowed": allowed, "key": key, "nearest": near})


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise rule(f"got the name {show(value)}", NAME_RULE)
    return value


Name = Annotated[str, AfterValidator(_name)]
AsTuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], data: object, document: Document, prefix: KeyPath = ()) -> M:
    """Builds the model from a part of a document; raises MistakesError with a line for every mistake."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise document.error([_mistake(model, detail, prefix) for detail in details]) from None


def _mistake(model: type[BaseModel], detail: ErrorDetails, prefix: KeyPath) -> Mistake:
    location = tuple(key for key in detail["loc"] if key != "[key]")
    path = prefix + location
    context = detail.get("ctx", {})
    if detail["type"] == "rule":
        key = context.get("key")
        return Mistake((*path, key) if key else path, context["rule"], context["allowed"], context.get("nearest"))
    if detail["type"] == "extra_forbidden":
        known = _keys(_type_at(model, location[:-1]))
        rule = f"unknown key {show(location[-1])} (value {show(detail['input'])})"
        return Mistake(path, rule, ", ".join(known), nearest(location[-1], known))
    if detail["type"] == "missing":
        return Mistake(path, "is missing", f"this key is required beside {show(detail['input'])}")
    message = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    near = None
    if detail["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        message, near = ", ".join(choices), nearest(detail["input"], choices)
    plain = {
        "a valid integer": "a whole number",
        "a valid number": "a number",
        "a valid string": "a text",
        "a valid boolean": "true or false",
        "a valid dictionary": "a mapping (key: value)",
        "a valid tuple": "a list",
        "None": "null",
    }
    return Mistake(path, f"got {show(detail['input'])}", plain.get(message, message), near)


def _keys(model: object) -> list[str]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [field.alias or name for name, field in model.model_fields.items() if not field.exclude]


def _type_at(model: object, path: KeyPath) -> object:
    """The model class that stands at a path of keys: what was allowed where an unknown key was found."""
    for key in path:
        model = _bare(model)
        if isinstance(model, type) and issubclass(model, BaseModel):
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            model = fields[str(key)].annotation if str(key) in fields else None
        else:
            arguments = typing.get_args(model)
            mapping = typing.get_origin(model) in (dict, Mapping)
            model = arguments[1 if mapping else 0] if arguments else None
    return _bare(model)


def _bare(annotation: object) -> object:
    """Annotated[X, …] | None -> X."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (typing.Union, types.UnionType):
            annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
        else:
            return annotation
