"""The study file: frozen models, and the reader that turns every mistake into one message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hpsearch import __version__
from hpsearch.errors import InputError, dotted, nearest, one_line, show
from hpsearch.hyperparameters import Settings, finite
from hpsearch.models import AsTuple, Model, Name, Scalar, rule, validate, whole
from hpsearch.seeds import MAX_SEED, Seeds, TwoStage, read_seeds
from hpsearch.space import Parameter, SearchSpace, find, load_space, names
from hpsearch.trackers import read_trackers
from hpsearch.yamlfile import Document, dump_yaml, override, parse_override, parse_yaml, read_yaml

CONFIRM_SEEDS_FROM = 10_000  # confirmation runs take the first seeds from here on that the study does not use
IMPORTED_TASK = "imported"  # of a folder that was made from a table: there is no such task, so `run` refuses it

Whole = Annotated[int, whole(1)]


def _all_finite(value: Any) -> bool:
    if isinstance(value, (dict, list)):
        return all(_all_finite(part) for part in (value.values() if isinstance(value, dict) else value))
    return not isinstance(value, (int, float)) or finite(value)


def _options(options: Any) -> Any:
    """A sampler's or task's options: any YAML value, but no number that cannot be hashed and written back."""
    for key, value in options.items() if isinstance(options, dict) else ():
        if not _all_finite(value):
            raise rule(f"got {show(value)}", "finite numbers", key)
    return options


Options = Annotated[dict[str, Any], BeforeValidator(_options)]


def _task_name(value: str) -> str:
    if not value or len(value) > 200:
        raise rule(f"got {show(value)}", "a task's name, or your own as package.module:ClassName or module:function")
    return value


class TaskSection(Model):
    """What is trained: the task's name, how long and with what batches, and the task's own options."""

    name: Annotated[str, AfterValidator(_task_name)]
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
        return {**own, "options": _options({key: value for key, value in data.items() if key not in own})}


class Phase(Model):
    """One sampler with a number of configurations; None means the whole grid."""

    sampler: str
    configurations: Annotated[int, whole(1, 1_000_000)] | None = None
    options: Options = Field(default_factory=dict)


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
            raise rule(f"{show(both[0])} is both searched and fixed", "one of the two", "fixed", both[0])
        if isinstance(space, SearchSpace):
            fixed = {**{key: value for key, value in space.fixed.items() if key not in own}, **fixed}
            own = {**space.parameters, **own}
        if not own and not fixed:
            raise rule("the arm is empty", "a space, parameters or fixed values")
        searched = {key: value for key, value in own.items() if key not in fixed}
        return {**data, "space": None, "fixed": fixed, "parameters": searched}


class Confirm(Model):
    """Each arm's `top` best configurations run again on `seeds` fresh seeds."""

    top: Whole = 1
    seeds: Annotated[int, whole(2, 1000)] = 5


class Resources(Model):
    """What one pack gets: CPUs (and torch threads), GPUs or a share of one, and how many packs run at once.

    retries: of a trial that raised an exception, and of a pack whose worker died.

    pack: trials of several configurations that one program trains, at most; auto: as many as leave no place idle, and
    where that is quicker on the machine at hand; 1: none.

    channels_last, tf32, compile: how a device computes (hpsearch.training.engine); no part of a trial's id.
    """

    cpus: Whole = 1
    gpus: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    concurrent: Literal["auto"] | Whole = "auto"
    pack: Literal["auto"] | Whole = "auto"
    retries: Annotated[int, whole(0, 100)] = 2
    channels_last: Literal["auto"] | bool = "auto"
    tf32: Literal["auto"] | bool = "auto"
    compile: Literal["auto"] | bool = "auto"

    @model_validator(mode="before")
    @classmethod
    def _one_sentence(cls, data: Any) -> Any:
        """A union would print a line for each of its types."""
        kinds = {"gpus": (float, 0, "number"), "concurrent": (int, 1, "whole number"), "pack": (int, 1, "whole number")}
        for key, (kind, low, noun) in kinds.items():
            value: Any = data.get(key, "auto") if isinstance(data, dict) else "auto"
            number = isinstance(value, (int, kind)) and not isinstance(value, bool)
            if value != "auto" and not (number and low <= value <= 1_000_000):
                raise rule(f"got {show(value)}", f"auto, or a {noun} >= {low}", key, near=nearest(value, ["auto"]))
        for key in ("channels_last", "tf32", "compile"):
            value = data.get(key, "auto") if isinstance(data, dict) else "auto"
            if value != "auto" and not isinstance(value, bool):
                raise rule(f"got {show(value)}", "auto, true or false", key, near=nearest(value, ["auto"]))
        return data


class Stopping(Model):
    """Early stopping: ends configurations that look bad at `grace` epochs or later.

    asha: asynchronous successive halving; of those that reach grace, grace * reduction, ... epochs the best
    1 / reduction goes on. median: ends what is below the median of the others. What is stopped has no final value.
    """

    scheduler: Literal["asha", "median"]
    grace: Whole = 5
    reduction: Annotated[float, Field(gt=1, le=100)] = 3.0

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.scheduler == "median" and "reduction" in self.model_fields_set:
            raise rule("is a key of asha", "scheduler and grace", "reduction")
        return self


class Bundles(Model):
    """How large `pack: auto` made bundles for a study of so many trials."""

    size: Annotated[int, whole(1, 1000)]
    trials: Annotated[int, whole(0, 10**9)]


class Recorded(Model):
    """Written into the run folder's study.yaml; not meant to be written by hand."""

    versions: dict[str, str]
    commit: str | None = None
    task: dict[str, Any] = Field(default_factory=dict)
    task_source: str | None = None
    bundles: Bundles | None = None


def _folders(value: Any) -> Any:
    """One folder, or a list of them."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(name, str) and name for name in listed):
        raise rule(f"got {show(value)}", "the folder of an earlier run, or a list of them")
    if len(set(listed)) < len(listed):
        raise rule(f"got {show(value)}", "each folder once")
    return tuple(listed)


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
    sampling_seed: Annotated[int, whole(0, MAX_SEED - 1)] = 0
    seeds: Annotated[Seeds, BeforeValidator(read_seeds)]
    confirm: Confirm | None = None
    warm_start: Annotated[tuple[str, ...], BeforeValidator(_folders)] = ()  # earlier runs, relative to where it runs
    objectives: Annotated[dict[Name, Literal["maximize", "minimize"]], AfterValidator(_objectives)]
    resources: Resources = Resources()
    stopping: Stopping | None = None
    tracking: Annotated[tuple[str, ...], BeforeValidator(read_trackers)] = ()
    recorded: Recorded | None = None

    @property
    def objective(self) -> str:
        return next(iter(self.objectives))

    @property
    def two_stage(self) -> TwoStage | None:
        """Where each configuration has its own number of seeds."""
        return self.seeds if isinstance(self.seeds, TwoStage) else None

    @property
    def first_seeds(self) -> tuple[int, ...]:
        """What every configuration runs, and whose mean the sampler is told."""
        return tuple(range(self.seeds.min)) if isinstance(self.seeds, TwoStage) else self.seeds

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """What a configuration may run."""
        return tuple(range(self.seeds.max)) if isinstance(self.seeds, TwoStage) else self.seeds

    @property
    def confirm_seeds(self) -> tuple[int, ...]:
        """Seeds that no other run of the study uses."""
        wanted, used = self.confirm.seeds if self.confirm else 0, self.all_seeds
        free = (seed for seed in range(CONFIRM_SEEDS_FROM, CONFIRM_SEEDS_FROM + wanted + len(used)))
        return tuple(seed for seed in free if seed not in used)[:wanted]

    def phases(self, arm: str) -> tuple[Phase, ...]:
        return self.arms[arm].sampling or self.sampling

    def settings(self, arm: str, params: Mapping[str, Any]) -> Settings:
        """All hyperparameters of a configuration: task section, optimizer section, what the arm fixes, params."""
        section = {"epochs": self.task.epochs, "batch_size": self.task.batch_size}
        given = {key: value for key, value in section.items() if value is not None}
        return Settings.merge(given, self.optimizer, self.arms[arm].fixed, params)

    def to_yaml(self) -> str:
        """The study as a file that reads back equal, with every space written out."""
        data = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        data["task"] = {**{k: v for k, v in data["task"].items() if k != "options"}, **self.task.options}
        return dump_yaml(data)


def load_study(
    reference: str | Path, overrides: Sequence[str] = (), folder: Path | None = None
) -> tuple[Study, Document]:
    """Reads a study by path or by the name of one that ships with the package, with --set overrides applied.

    The structure is checked here, what the task and the samplers allow in hpsearch.check; the document tells on which
    line a key stands. folder: the working directory. Raises InputError with a line for each mistake; those in an arm's
    space come before those of the study itself.
    """
    folder = folder or Path()
    path = find(str(reference), "studies", [folder])
    if path is None:
        known = sorted(names("studies", [folder]))
        near = nearest(str(reference), known)
        hint = f"; did you mean {near!r}?" if near else ""
        allowed = ", ".join([*known, "or a path"])
        raise InputError(f"{show(reference)}: no such file, and no study of that name; allowed: {allowed}{hint}")
    return build_study(read_yaml(path), overrides, [path.parent, path.parent.parent, folder])


def build_study(document: Document, overrides: Iterable[str], folders: Sequence[Path]) -> tuple[Study, Document]:
    """The study of a document; `folders` may hold a search_spaces/ of their own."""
    for text in overrides:
        _check_arm(document, text)
        override(document, text)
    data = dict(document.data)
    if isinstance(data.get("arms"), dict):
        data["arms"] = {name: _with_space(arm, name, document, folders) for name, arm in data["arms"].items()}
    return validate(Study, data, document), document


def _check_arm(document: Document, text: str) -> None:
    """A slip in an arm's name must not make another arm, which would be trained."""
    parts, _ = parse_override(text)
    arms = document.data.get("arms")
    if len(parts) > 2 and parts[0] == "arms" and isinstance(arms, dict) and parts[1] not in arms:
        known = [str(name) for name in arms]
        near = nearest(parts[1], known)
        hint = f"; did you mean {near!r}?" if near else ""
        allowed = ", ".join([*known, f"or all of a new arm: arms.{parts[1]}={{…}}"])
        raise InputError(f"--set {one_line(text, 120)}: no arm is called {show(parts[1])}; allowed: {allowed}{hint}")


def read_study(path: Path) -> Study:
    """The study.yaml of a run folder: its spaces are written out, and its task is not imported."""
    document = read_yaml(path)
    try:
        study, _ = build_study(document, (), [])
    except InputError as error:
        recorded = document.data.get("recorded")
        later = _later(recorded.get("versions")) if isinstance(recorded, dict) else None
        if later is None:
            raise
        raise InputError(
            f"{path}: was written by hpsearch {later}, which knows more than this one, {__version__}: use that\n{error}"
        ) from None
    return study


def later_version(study: Study) -> str | None:
    """The hpsearch that wrote a run folder's study.yaml, where it is later than this one."""
    return None if study.recorded is None else _later(study.recorded.versions)


def _later(versions: Any) -> str | None:
    wrote = versions.get("hpsearch") if isinstance(versions, dict) else None
    if not isinstance(wrote, str) or len(wrote) > 40:
        return None
    there, here = ([int(part) for part in re.findall(r"[0-9]+", text)[:3]] for text in (wrote, __version__))
    return wrote if there > here else None


def parse_study(text: str, label: str = "study") -> Study:
    """As load_study, for text in hand."""
    study, _ = build_study(parse_yaml(text, label), (), [Path.cwd()])
    return study


def _with_space(arm: Any, name: str, document: Document, folders: Sequence[Path]) -> Any:
    """The arm with its space read, where it has one."""
    space = arm.get("space") if isinstance(arm, dict) else None
    if space is None:
        return arm
    where = ("arms", name, "space")
    if isinstance(space, str):
        read = load_space(space, folders, where, document)
    elif isinstance(space, dict):
        read = validate(SearchSpace, space, document, where)
    else:
        label = f"{document.where(where)}: {dotted(where)}"
        raise InputError(f"{label}: got {show(space)}; allowed: the name of a search space, or the space written out")
    return {**arm, "space": read}
