"""trials.jsonl: the one truth of a run folder. Append-only, one result a line, on disk before it counts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from hpsearch.errors import InputError, RunError
from hpsearch.identity import Identity
from hpsearch.line import parse_line
from hpsearch.lock import FolderLock, is_held
from hpsearch.space import active
from hpsearch.study import Study, read_study

if TYPE_CHECKING:
    import pandas

TRIALS = "trials.jsonl"
DONE = ("complete", "diverged", "collapsed", "stopped")
DID_NOT_TRAIN = ("diverged", "collapsed")


@dataclass(frozen=True)
class Result:
    """One ended trial, good or bad: a line of trials.jsonl. Keys that are not known are null."""

    trial_id: str
    configuration_id: str
    arm: str
    params: Mapping[str, Any]
    fixed: Mapping[str, Any]
    seed: int
    sampling: Mapping[str, Any]  # phase, index, sampler, generation, confirm
    status: str
    epochs: int | None = None
    epochs_planned: int | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    cost: Mapping[str, float | None] = field(default_factory=dict)
    curve: Mapping[str, list[float | None]] = field(default_factory=dict)
    error: str | None = None
    stopping: Mapping[str, Any] | None = None  # of a stopped trial: the study's rule
    attempt: int = 1
    host: str | None = None
    device: str | None = None
    threads: int | None = None
    engine: Mapping[str, bool] = field(default_factory=dict)  # channels_last, tf32, compile
    bundle: Mapping[str, Any] | None = None  # that it was planned in: key, trials, together: trained by one program
    concurrent: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    started: str | None = None
    seconds_waiting: float | None = None

    @property
    def done(self) -> bool:
        """Whether another run would not train it again."""
        return self.status in DONE

    def to_line(self) -> bytes:
        return json.dumps(vars(self), allow_nan=False, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Raises ValueError for a line that is torn or not a result."""
        data = parse_line(line)
        if not data.keys() <= cls.__dataclass_fields__.keys():  # of a later version
            data = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        return cls(**data)


class RunFolder:
    """A run folder held by one driver: locked while open, results appended and synced one by one.

    Raises InputError for a place that cannot be one, or that another driver holds; RunError where the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._file = (path / TRIALS).open("ab+")
        except OSError as error:
            where = TRIALS if path.is_dir() else "not a folder that can be made"
            raise InputError(f"{path}: cannot be used as a run folder: {where}: {error.strerror}") from None
        try:
            self._lock = FolderLock(path)
        except BaseException:
            self._file.close()
            raise
        try:
            self._end_torn_line()
        except OSError as error:
            self.close()
            raise RunError(f"{path / TRIALS}: cannot write: {error.strerror}; what is there is kept") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        try:
            self._file.close()
        except OSError:
            pass  # what a full disk did not take is flushed again here; append() has raised already
        finally:
            self._lock.close()  # the lock goes with it

    def append(self, results: Iterable[Result]) -> None:
        """Writes the results and returns when they are on disk. Raises RunError when the disk refuses."""
        try:
            self._file.write(b"".join(result.to_line() for result in results))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunError(f"{self.path / TRIALS}: cannot write: {error.strerror}; what is there is kept") from error

    def write_study(self, study: Study) -> None:
        for torn in self.path.glob(".study.yaml.*"):  # of a driver that was killed while it wrote
            torn.unlink(missing_ok=True)
        write_atomically(self.path / "study.yaml", study.to_yaml().encode())

    def _end_torn_line(self) -> None:
        """A crash may have left half a line: end it, so that the next result begins on its own."""
        size = self._file.seek(0, os.SEEK_END)
        if size:
            self._file.seek(size - 1)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
                self._file.flush()


def is_running(path: Path) -> bool:
    """Whether a driver holds the run folder now."""
    return is_held(path)


def read_results(path: Path) -> tuple[list[Result], list[str]]:
    """The last result of every trial in a run folder, in order of arrival, and a warning for each unreadable line.

    Raises InputError where the file cannot be read.
    """
    file = path / TRIALS
    latest: dict[str, Result] = {}
    warnings = []
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            result = Result.from_line(line)
        except ValueError as error:
            warnings.append(f"{file}:{number}: {error}; that trial counts as not run")
            continue
        latest.pop(result.trial_id, None)
        latest[result.trial_id] = result
    return list(latest.values()), warnings


def belonging(results: Iterable[Result], study: Study, identity: Identity) -> list[Result]:
    """The results that the study as it now stands contains: same task and optimizer, arm, fixed values, space; of
    stopped ones those that its rule stopped.

    What is searched now may have been fixed then, and the other way round: `params` and `fixed` are as they stand now.
    """
    rule = None if study.stopping is None else vars(study.stopping)
    results = [result for result in results if result.status != "stopped" or result.stopping == rule]
    seeds: dict[str, list[Result]] = {}  # of one configuration: what they share is looked at once
    for result in results:
        seeds.setdefault(repr((result.arm, result.fixed, result.params)), []).append(result)
    adopted = {result.trial_id: result for group in seeds.values() for result in _adopt(group, study, identity)}
    return [adopted[result.trial_id] for result in results if result.trial_id in adopted]


def _adopt(group: list[Result], study: Study, identity: Identity) -> list[Result]:
    """The seeds of one configuration, those that belong."""
    first = group[0]
    arm = study.arms.get(first.arm)
    if arm is None:
        return []
    had = {**first.fixed, **first.params}
    names = active(arm.parameters, had, arm.fixed)
    if not all(name in had and arm.parameters[name].contains(had[name], on_step=False) for name in names):
        return []
    params = {name: had[name] for name in names}
    try:  # the id says whether all the rest is the same
        _, ids = identity.ids(first.arm, params, {result.seed for result in group})
    except ValueError:
        return []
    mine = [result for result in group if result.trial_id == ids[result.seed]]
    if params == first.params and arm.fixed == first.fixed:
        return mine
    return [replace(result, params=params, fixed=arm.fixed) for result in mine]


def load(path: str | Path, all: bool = False) -> pandas.DataFrame:
    """The table of a run folder: one row a trial, the last result of each.

    Columns: trial_id, configuration_id, arm, seed, status, epochs, epochs_planned, error, attempt, host, device,
    threads, concurrent, started, seconds_waiting, together (trials that one program trained, with this one),
    sampling.*, params.*, fixed.*, metrics.*, cost.*, versions.*, engine.*, and curve.*: lists with one value per
    recorded epoch (curve.epoch says which), None where a trial has none. all: also the rows that the folder's
    study.yaml no longer contains. Raises InputError where there is no run.
    """
    folder = Path(path)
    study = read_run(folder)
    results, _ = read_results(folder)
    if not all:
        identity = Identity.recorded(study)
        results = belonging(results, study, identity)
    return to_table(results)


def read_run(folder: Path) -> Study:
    """The study.yaml of a run folder; raises InputError where there is none."""
    if not (folder / "study.yaml").is_file():
        what = "has no study.yaml: it is not a run folder" if folder.is_dir() else "no such run folder"
        if folder.is_file():
            raise InputError(f"{folder}: is a file; give the run folder, {folder.parent}, say")
        raise InputError(f"{folder}: {what}; `hpsearch run STUDY --out {folder}` makes one")
    study = read_study(folder / "study.yaml")
    if study.recorded is None or "function" not in study.recorded.task:
        raise InputError(f"{folder / 'study.yaml'}: has no key `recorded`: it was not written by a run")
    return study


def to_table(results: Iterable[Result]) -> pandas.DataFrame:
    """Results as a table; every column of the contract is there, also when no row has a value."""
    import pandas

    nested = ("sampling", "params", "fixed", "metrics", "cost", "versions", "engine", "curve")
    plain = [known.name for known in fields(Result) if known.name not in (*nested, "stopping", "bundle")]
    rows = []
    for result in results:
        row = {name: getattr(result, name) for name in plain}
        for group in nested:
            row.update({f"{group}.{key}": value for key, value in getattr(result, group).items()})
        bundle = result.bundle if result.bundle and result.bundle["together"] else {"trials": 1}
        row["together"] = bundle["trials"] if "hpsearch" in result.versions else None  # others' rows do not say
        rows.append(row)
    columns = [
        *plain,
        "together",
        *(f"sampling.{key}" for key in ("phase", "index", "sampler", "generation", "confirm")),
    ]
    table = pandas.DataFrame(rows)
    curves = [column for column in table.columns if str(column).startswith("curve.")]
    absent = {column: table[column].astype(object).where(table[column].notna(), None) for column in curves}
    others = (column for column in table.columns if column not in (*columns, *curves))
    return table.assign(**absent).reindex(columns=[*columns, *others, *curves])


def write_atomically(path: Path, content: bytes) -> None:
    """The file is the old one or the new one, whatever happens between. Raises RunError when the disk refuses."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):  # where a folder of the path is a file, say
            beside.unlink()
        raise RunError(f"{path}: cannot write: {error.strerror}") from error
