"""Search spaces: what may vary, over which range, and when. Frozen pydantic models and the shipped files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from hpsearch.errors import InputError, KeyPath, nearest, show
from hpsearch.models import AsTuple, Model, Name, rule, validate
from hpsearch.yamlfile import Document, read_yaml

Value = bool | int | float | str


def _scalar(value: object) -> object:
    """Refuses lists, mappings and null in one sentence, where a union of types would print four."""
    if isinstance(value, float) and not math.isfinite(value):
        raise rule(f"got {show(value)}", "a finite number")
    if not isinstance(value, (bool, int, float, str)):
        raise rule(f"got {show(value)}", "a number, true, false or a text")
    return value


Scalar = Annotated[Any, BeforeValidator(_scalar)]


class Parameter(Model):
    """One searched hyperparameter: a range (low, high, log, int, step) or a list of choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = Field(default=False, alias="int")
    step: float | None = None
    choices: Annotated[tuple[Scalar, ...], AsTuple] | None = None
    default: Scalar | None = None
    grid: Annotated[tuple[Scalar, ...], AsTuple] | None = None
    when: dict[str, Scalar] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.choices is not None:
            self._check_choices()
        else:
            self._check_range()
        if self.default is not None and not self.contains(self.default):
            raise rule(f"default {show(self.default)} is outside", self.allowed(), "default")
        for value in self.grid or ():
            if not self.contains(value, on_step=False):
                raise rule(f"the grid value {show(value)} is outside", self.allowed(), "grid")
        if self.grid is not None and (not self.grid or len(set(self.grid)) < len(self.grid)):
            raise rule(f"got {show(list(self.grid))}", "a list of at least one value, each once", "grid")
        return self

    def _check_choices(self) -> None:
        for key in ("low", "high", "step"):
            if getattr(self, key) is not None:
                raise rule(f"{key} stands beside choices", "either choices, or low and high", key)
        if self.log or self.integer:
            key = "log" if self.log else "int"
            raise rule(f"{key} stands beside choices", "either choices, or low and high", key)
        if not self.choices or len({(type(v) is bool, v) for v in self.choices}) < len(self.choices):
            raise rule(f"got {show(list(self.choices or ()))}", "a list of at least one value, each once", "choices")

    def _check_range(self) -> None:
        if self.low is None or self.high is None:
            missing = "low" if self.low is None else "high"
            raise rule(f"{missing} is missing", "low and high, or choices", missing)
        if self.low >= self.high:
            raise rule(f"`low < high` must hold, but got low={self.low:g}, high={self.high:g}", "low < high", "low")
        if self.log and self.low <= 0:
            raise rule(f"a log scale needs `low > 0`, but got low={self.low:g}", "low > 0, or log: false", "low")
        if self.integer and (self.low != int(self.low) or self.high != int(self.high)):
            raise rule(f"int: true, but got low={self.low:g}, high={self.high:g}", "whole numbers", "low")
        if self.step is not None:
            if self.log:
                raise rule("step stands beside log: true", "one of the two", "step")
            if not 0 < self.step <= self.high - self.low:
                raise rule(f"got {self.step:g}", f"a number > 0 and <= high - low = {self.high - self.low:g}", "step")
            if self.integer and self.step != int(self.step):
                raise rule(f"int: true, but got {self.step:g}", "a whole number", "step")

    def contains(self, value: object, on_step: bool = True) -> bool:
        """Whether the value is one that this parameter can take."""
        if self.choices is not None:
            return any(type(value) is type(choice) and value == choice for choice in self.choices) or (
                not isinstance(value, (bool, str)) and value in [c for c in self.choices if not isinstance(c, bool)]
            )
        if isinstance(value, (bool, str)) or not isinstance(value, (int, float)):
            return False
        assert self.low is not None and self.high is not None
        if not self.low <= value <= self.high or (self.integer and value != int(value)):
            return False
        if self.step is None or not on_step:
            return True
        steps = (value - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-6)

    def allowed(self) -> str:
        """The values that this parameter can take, in words."""
        if self.choices is not None:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        kind = "a whole number" if self.integer else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def levels(self) -> tuple[Value, ...] | None:
        """The values of this parameter on a grid; None when the space names none (a range without grid or step)."""
        if self.grid is not None:
            return self.grid
        if self.choices is not None:
            return self.choices
        step = self.step or (1 if self.integer and not self.log else None)
        if step is None:
            return None
        assert self.low is not None and self.high is not None
        count = int((self.high - self.low) / step + 1e-9) + 1
        values = [self.low + index * step for index in range(count)]
        return tuple(int(value) for value in values) if self.integer else tuple(values)


class SearchSpace(Model):
    """The parameters that are searched, and what the space fixes beside them."""

    description: str = ""
    parameters: dict[Name, Parameter] = Field(default_factory=dict)
    fixed: dict[Name, Scalar] = Field(default_factory=dict)


def active(parameters: Mapping[str, Parameter], values: Mapping[str, Any], fixed: Mapping[str, Any]) -> list[str]:
    """The parameters whose `when` holds for these values, in an order in which conditions come first."""
    names = []
    for name in ordered(parameters):
        when = parameters[name].when or {}
        known = {**fixed, **{seen: values[seen] for seen in names if seen in values}}
        if all(key in known and known[key] == value for key, value in when.items()):
            names.append(name)
    return names


def ordered(parameters: Mapping[str, Parameter]) -> list[str]:
    """Parameter names, each after those that its `when` names. Raises ValueError for a circle."""
    done: list[str] = []
    left = list(parameters)
    while left:
        ready = [name for name in left if not any(key in left for key in parameters[name].when or {})]
        if not ready:
            raise ValueError(f"the conditions of {', '.join(left)} go round in a circle")
        done.extend(ready)
        left = [name for name in left if name not in ready]
    return done


def load_space(name: str, folders: Iterable[Path], where: KeyPath = (), document: Document | None = None) -> SearchSpace:
    """Finds a search space by name (or by a path ending in .yaml) and reads it.

    folders: where search_spaces/ is looked for, first to last; the shipped ones come after them.
    Raises InputError, in which `document` and `where` tell who asked, for an unknown name.
    """
    path = find(name, "search_spaces", folders)
    if path is None:
        asked = f"{document.where(where)}: {'.'.join(map(str, where))}: " if document else ""
        known = sorted(names("search_spaces", folders))
        near = nearest(name, known)
        hint = f"; did you mean {near!r}?" if near else ""
        raise InputError(f"{asked}no search space named {show(name)}; allowed: {', '.join(known)}, or a path{hint}")
    space_file = read_yaml(path)
    return validate(SearchSpace, space_file.data, space_file)


def shipped(kind: str) -> Path:
    """The folder of the studies or search_spaces that come with the package (installed, or in a checkout)."""
    package = Path(__file__).resolve().parent
    inside = package / "shipped" / kind
    return inside if inside.is_dir() else package.parent / kind


def find(name: str, kind: str, folders: Iterable[Path]) -> Path | None:
    """The file that `name` means: a path when it ends in .yaml or .yml, else a name in one of the folders."""
    roots = [folder / kind for folder in folders]
    if re.search(r"\.ya?ml$", name) or "/" in name:
        candidates = [Path(name), *(folder.parent / name for folder in roots)]
        return next((path for path in candidates if path.exists()), None)
    candidates = [folder / f"{name}.yaml" for folder in (*roots, shipped(kind))]
    return next((path for path in candidates if path.is_file()), None)


def names(kind: str, folders: Iterable[Path] = ()) -> dict[str, Path]:
    """All that can be named, with its file; a folder earlier in the list hides later ones."""
    found: dict[str, Path] = {}
    for folder in (*(folder / kind for folder in folders), shipped(kind)):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found
