"""Search spaces: what may vary, over which range, and when. Frozen pydantic models and the shipped files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from hpsearch.errors import InputError, KeyPath, dotted, nearest, show
from hpsearch.models import AsTuple, Model, Name, Number, Scalar, rule, validate
from hpsearch.yamlfile import Document, read_yaml

Value = bool | int | float | str


MAX_LEVELS = 1_000_000


class Parameter(Model):
    """One searched hyperparameter: a range (low, high, log, int, step) or a list of choices."""

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    integer: bool = Field(default=False, alias="int")
    step: Number | None = None
    choices: Annotated[tuple[Scalar, ...], AsTuple] | None = None
    default: Scalar | None = None
    grid: Annotated[tuple[Scalar, ...], AsTuple] | None = None
    when: dict[str, Scalar] | None = None

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, data: Any) -> Any:
        if not isinstance(data, (dict, Parameter)):
            allowed = "a mapping with low and high, or with choices; what does not vary belongs in `fixed`"
            raise rule(f"got {show(data)}", allowed)
        return data

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
            steps = (self.high - self.low) / self.step if self.step > 0 else 0.0
            if round(steps) < 1 or not math.isclose(steps, round(steps), rel_tol=1e-6):  # else high is never drawn
                allowed = f"a number > 0 that divides high - low = {self.high - self.low:g}"
                raise rule(f"got {self.step:g}", allowed, "step")
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
            more = f", … ({len(self.choices)} in all)" if len(self.choices) > 10 else ""
            return "one of " + ", ".join(show(choice) for choice in self.choices[:10]) + more
        kind = "a whole number" if self.integer else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def levels(self) -> tuple[Value, ...] | None:
        """The values of this parameter on a grid; None when the space names none (a range without grid or step).

        Raises ValueError for steps so small that there are more than a million values.
        """
        if self.grid is not None:
            return self.grid
        if self.choices is not None:
            return self.choices
        step = self.step or (1 if self.integer and not self.log else None)
        if step is None:
            return None
        assert self.low is not None and self.high is not None
        steps = (self.high - self.low) / step
        if steps > MAX_LEVELS:
            raise ValueError(f"a grid of {steps + 1:.3g} values from {self.low:g} to {self.high:g} is too fine")
        # 0.1 + 2 * 0.1 is above 0.3: the last value is cut to the range, as Optuna cuts it.
        values = [min(self.low + index * step, self.high) for index in range(round(steps) + 1)]
        return tuple(int(value) for value in values) if self.integer else tuple(values)


class SearchSpace(Model):
    """The parameters that are searched, and what the space fixes beside them."""

    description: str = ""
    parameters: dict[Name, Parameter] = Field(default_factory=dict)
    fixed: dict[Name, Scalar] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _once(self) -> Self:
        both = [name for name in self.fixed if name in self.parameters]
        if both:
            raise rule(f"{show(both[0])} is both searched and fixed", "one of the two", "fixed", both[0])
        return self


def active(parameters: Mapping[str, Parameter], values: Mapping[str, Any], fixed: Mapping[str, Any]) -> list[str]:
    """The parameters whose `when` holds for these values, in an order in which conditions come first."""
    if not any(parameter.when for parameter in parameters.values()):
        return list(parameters)
    names: list[str] = []
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


def load_space(
    name: str, folders: Iterable[Path], where: KeyPath = (), document: Document | None = None
) -> SearchSpace:
    """Finds a search space by name (or by a path ending in .yaml) and reads it.

    folders: where search_spaces/ is looked for, first to last; the shipped ones come after them.
    Raises InputError, in which `document` and `where` tell who asked, for an unknown name.
    """
    path = find(name, "search_spaces", folders)
    if path is None:
        asked = f"{document.where(where)}: {dotted(where)}: " if document else ""
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
    """The file that `name` means: a name in search_spaces/ (or studies/) of one of the folders, or a path from one."""
    folders = [*folders, Path()]
    candidates = [folder / name for folder in folders]
    if not re.search(r"\.ya?ml$", name) and "/" not in name:
        homes = [*(folder / kind for folder in folders[:-1]), shipped(kind)]
        candidates = [*(home / f"{name}.yaml" for home in homes), *candidates]
    return next((path for path in candidates if name and _exists(path)), None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # e.g. a name that is too long for the file system
        return False


def names(kind: str, folders: Iterable[Path] = ()) -> dict[str, Path]:
    """All that can be named, with its file; a folder earlier in the list hides later ones."""
    found: dict[str, Path] = {}
    for folder in (*(folder / kind for folder in folders), shipped(kind)):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found
