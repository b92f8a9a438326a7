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
from hpsearch.hyperparameters import finite
from hpsearch.yamlfile import Document

NAME_RULE = "letters, digits, dot, dash and underscore, beginning with a letter or a digit, at most 64 of them"


class Model(BaseModel):
    """Frozen, strict (no "24" for 24), closed (no unknown keys), finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def rule(text: str, allowed: str, *keys: str, near: str | None = None) -> PydanticCustomError:
    """A broken rule inside a validator, for what stands at `keys` below; hpsearch.models turns it into a Mistake."""
    return PydanticCustomError("rule", "{rule}", {"rule": text, "allowed": allowed, "keys": keys, "nearest": near})


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise rule(f"got the name {show(value)}", NAME_RULE)
    return value


def whole(low: int, high: int = 1_000_000_000) -> BeforeValidator:
    """A whole number in [low, high]; 1e3 is one."""

    def check(value: object) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise rule(f"got {show(value)}", f"a whole number >= {low}")
        if value > high:
            raise rule(f"got {show(value)}", f"a whole number from {low} to {high}")
        return value

    return BeforeValidator(check)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not finite(value):
        raise rule(f"got {show(value)}", "a finite number")
    return float(value)


def _scalar(value: object) -> object:
    """Refuses lists, mappings and null in one sentence, where a union of types would print four."""
    if isinstance(value, (int, float)) and not finite(value):
        raise rule(f"got {show(value)}", "a finite number")
    if not isinstance(value, (bool, int, float, str)):
        raise rule(f"got {show(value)}", "a number, true, false or a text")
    return value


Name = Annotated[str, AfterValidator(_name)]
Number = Annotated[float, BeforeValidator(_number)]
Scalar = Annotated[Any, BeforeValidator(_scalar)]
AsTuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], data: object, document: Document, prefix: KeyPath = ()) -> M:
    """Builds the model from a part of a document; raises MistakesError with a line for every mistake."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        mistakes = [_mistake(model, detail, prefix) for detail in error.errors(include_url=False)]
        # A misspelt key is one mistake, not also a missing one.
        meant = {(*mistake.path[:-1], mistake.nearest) for mistake in mistakes if mistake.nearest}
        raise document.error([m for m in mistakes if m.rule != MISSING or m.path not in meant]) from None


MISSING = "is missing"

# pydantic's error type -> what is allowed, in our words.
_ALLOWED = {
    "string_type": "a text",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "list_type": "a list",
    "tuple_type": "a list",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "none_required": "null",
}


def _mistake(model: type[BaseModel], detail: ErrorDetails, prefix: KeyPath) -> Mistake:
    location = tuple(key for key in detail["loc"] if key != "[key]")
    path, kind, given = prefix + location, detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "rule":
        return Mistake((*path, *context["keys"]), context["rule"], context["allowed"], context["nearest"])
    if kind == "extra_forbidden":
        known = _keys(_type_at(model, location[:-1]))
        said = f"unknown key {show(location[-1])} (value {show(given)})"
        return Mistake(path, said, ", ".join(known) or "none", nearest(location[-1], known))
    if kind == "missing":
        return Mistake(path, MISSING)
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return Mistake(path, f"got {show(given)}", ", ".join(choices), nearest(given, choices))
    if kind == "too_short":
        return Mistake(path, "is empty", f"at least {context['min_length']}")
    allowed = _ALLOWED.get(kind, detail["msg"].removeprefix("Input should be ").removeprefix("Value error, "))
    if kind == "string_type" and isinstance(given, (bool, int, float)):
        allowed += ", in quotes where YAML would read something else"
    return Mistake(path, f"got {show(given)}", allowed)


def _keys(model: object) -> list[str]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


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
