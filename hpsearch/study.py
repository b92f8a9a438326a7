"""The study file: frozen models, and the reader that turns every mistake into one message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hpsearch.errors import InputError, nearest, show
from hpsearch.hyperparameters import Settings
from hpsearch.models import AsTuple, Model, Name, rule, validate
from hpsearch.space import Parameter, Scalar, SearchSpace, find, load_space, names
from hpsearch.yamlfile import Document, override, parse_yaml, read_yaml

CONFIRM_SEEDS_FROM = 10_000  # confirmation runs take the first seeds from here on that the study does not use

Whole = Annotated[int, Field(ge=1)]


class TaskSection(Model):
    """What is trained: the task's name, how long and with what batches, and the task's own options."""

    name: str
    epochs: Whole | None = None
    batch_size: Whole | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, data: Any) -> Any:
        """Every key but name, epochs and batch_size is an option of the task."""
        if not isinstance(data, dict):
            return data
        own = {key: data[key] for key in ("name", "epochs", "batch_size") if key in data}
        return {**own, "options": {key: value for key, value in data.items() if key not in own}}


class Phase(Model):
    """One sampler with a number of configurations; None means the whole grid."""

    sampler: str
    configurations: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class Arm(Model):
    """One optimizer family: what is searched and what is fixed, the space and the arm's own keys merged.

    In the file an arm has `space` (a name or a space written out), `parameters` (searched besides, or instead of the
    space's) and `fixed` (which takes its keys out of the search); `sampling` replaces the study's phases.
    """

    parameters: dict[Name, Parameter] = Field(default_factory=dict)
    fixed: dict[Name, Scalar] = Field(default_factory=dict)
    sampling: Annotated[tuple[Phase, ...], AsTuple, Field(min_length=1)] | None = None
    space: SearchSpace | None = Field(default=None, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _merge(cls, data: Any) -> Any:
        """The arm's own keys win over the space's; what the arm fixes is not searched."""
        if not isinstance(data, dict):
            return data
        space = data.get("space")
        own, fixed = data.get("parameters", {}), data.get("fixed", {})
        if not isinstance(own, dict) or not isinstance(fixed, dict):
            return data  # the fields' own checks say what is wrong
        both = [key for key in own if key in fixed]
        if both:
            raise rule(f"{show(both[0])} is both searched and fixed", "one of the two", "fixed")
        if isinstance(space, SearchSpace):
            fixed = {**{key: value for key, value in space.fixed.items() if key not in own}, **fixed}
            own = {**space.parameters, **own}
        if not own and not fixed:
            raise rule("the arm is empty", "a space, parameters or fixed values")
        return {**data, "fixed": fixed, "parameters": {key: value for key, value in own.items() if key not in fixed}}


class Confirm(Model):
    """Each arm's `top` best configurations run again on `seeds` fresh seeds."""

    top: Whole = 1
    seeds: Annotated[int, Field(ge=2)] = 5


class Resources(Model):
    """What one pack gets: CPUs (and torch threads), GPUs or a share of one, and how many packs run at once."""

    cpus: Whole = 1
    gpus: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    concurrent: Literal["auto"] | Whole = "auto"

    @model_validator(mode="before")
    @classmethod
    def _one_sentence(cls, data: Any) -> Any:
        """A union would print a line for each of its types."""
        for key in ("gpus", "concurrent"):
            value = data.get(key, "auto") if isinstance(data, dict) else "auto"
            whole = key == "concurrent"
            number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            if value != "auto" and not (number and value >= (1 if whole else 0)):
                raise rule(f"got {show(value)}", "auto, or a " + ("whole number >= 1" if whole else "number >= 0"), key)
        return data


class Recorded(Model):
    """Written into the run folder's study.yaml; not meant to be written by hand."""

    versions: dict[str, str]
    commit: str | None = None
    task: dict[str, Any] = Field(default_factory=dict)
    task_source: str | None = None


def _seeds(value: Any) -> Any:
    """3 -> (0, 1, 2); a list is taken as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 1000:
            raise rule(f"got {value}", "a number of seeds from 1 to 1000, or a list of seeds")
        return tuple(range(value))
    listed = tuple(value) if isinstance(value, (list, tuple)) else ()
    if not listed or not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in listed):
        raise rule(f"got {show(value)}", "a number of seeds >= 1, or a list of whole numbers >= 0")
    if len(set(listed)) < len(listed):
        raise rule(f"got {show(value)}", "each seed once")
    return listed


def _objectives(value: dict[str, str]) -> dict[str, str]:
    if not value:
        raise rule("got an empty mapping", "at least one objective, e.g. val_accuracy: maximize")
    return value


class Study(Model):
    """The whole experiment. The first objective is the one that picks the best configuration."""

    name: Name
    description: str = ""
    task: TaskSection
    optimizer: dict[str, Scalar] = Field(default_factory=dict)
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    sampling: Annotated[tuple[Phase, ...], AsTuple, Field(min_length=1)]
    configurations: Whole | None = None  # at most so many an arm: its phases are cut in order
    sampling_seed: Annotated[int, Field(ge=0)] = 0
    seeds: Annotated[tuple[int, ...], BeforeValidator(_seeds)]
    confirm: Confirm | None = None
    objectives: Annotated[dict[str, Literal["maximize", "minimize"]], AfterValidator(_objectives)]
    resources: Resources = Resources()
    stopping: None = None
    recorded: Recorded | None = None

    @property
    def objective(self) -> str:
        return next(iter(self.objectives))

    @property
    def confirm_seeds(self) -> tuple[int, ...]:
        """Seeds that no other run of the study uses."""
        wanted = self.confirm.seeds if self.confirm else 0
        free = (seed for seed in range(CONFIRM_SEEDS_FROM, CONFIRM_SEEDS_FROM + wanted + len(self.seeds)))
        return tuple(seed for seed in free if seed not in self.seeds)[:wanted]

    def phases(self, arm: str) -> tuple[Phase, ...]:
        return self.arms[arm].sampling or self.sampling

    def settings(self, arm: str, params: Mapping[str, Any]) -> Settings:
        """All hyperparameters of a configuration: task section, optimizer section, what the arm fixes, params."""
        section = {"epochs": self.task.epochs, "batch_size": self.task.batch_size}
        given = {key: value for key, value in section.items() if value is not None}
        return Settings.merge(given, self.optimizer, self.arms[arm].fixed, params)

    def to_yaml(self) -> str:
        """The study as a file that reads back equal, with every space written out."""
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        data["task"] = {**{k: v for k, v in data["task"].items() if k != "options"}, **self.task.options}
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)


def load_study(reference: str | Path, overrides: Sequence[str] = (), folder: Path | None = None) -> tuple[Study, Document]:
    """Reads a study by path or by the name of one that ships with the package, with --set overrides applied.

    The structure is checked here, what the task and the samplers allow in hpsearch.check; the document tells on which
    line a key stands. folder: the working directory. Raises InputError for every mistake, all in one message.
    """
    folder = folder or Path.cwd()
    path = find(str(reference), "studies", [folder])
    if path is None:
        known = sorted(names("studies", [folder]))
        near = nearest(str(reference), known)
        hint = f"; did you mean {near!r}?" if near else ""
        raise InputError(f"{reference}: no such file, and no study of that name; allowed: {', '.join(known)}, or a path{hint}")
    return build_study(read_yaml(path), overrides, [path.parent, path.parent.parent, folder])


def build_study(document: Document, overrides: Iterable[str], folders: Sequence[Path]) -> tuple[Study, Document]:
    """The study of a document; `folders` may hold a search_spaces/ of their own."""
    for text in overrides:
        override(document, text)
    arms = document.data.get("arms")
    for name, arm in arms.items() if isinstance(arms, dict) else ():
        if isinstance(arm, dict) and arm.get("space") is not None:
            arm["space"] = _read_space(arm["space"], str(name), document, folders)
    return validate(Study, document.data, document), document


def read_study(path: Path) -> Study:
    """The study.yaml of a run folder: its spaces are written out, and its task is not imported."""
    study, _ = build_study(read_yaml(path), (), [])
    return study


def parse_study(text: str, label: str = "study") -> Study:
    """As load_study, for text in hand."""
    study, _ = build_study(parse_yaml(text, label), (), [Path.cwd()])
    return study


def _read_space(space: object, arm: str, document: Document, folders: Sequence[Path]) -> SearchSpace:
    where = ("arms", arm, "space")
    if isinstance(space, str):
        return load_space(space, folders, where, document)
    if not isinstance(space, dict):
        label = f"{document.where(where)}: {'.'.join(where)}"
        raise InputError(f"{label}: got {show(space)}; allowed: the name of a search space, or the space written out")
    return validate(SearchSpace, space, document, where)
