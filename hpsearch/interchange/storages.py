"""An Optuna storage as trials: an Optuna study is an arm, its distributions are the arm's space."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from hpsearch.analysis.axis import key
from hpsearch.analysis.columns import STATUSES
from hpsearch.errors import InputError, one_line, show
from hpsearch.interchange.content import Content, Trial, Wishes, plain, renamed, split_metric, unknown, valid_names
from hpsearch.interchange.roles import is_seed_name

DATABASES = (".db", ".sqlite", ".sqlite3")
STATUS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}
OURS = ("configuration_id", "n", "statuses", "seeds", "confirmation")  # user attributes of an exported storage


def is_storage(source: str) -> bool:
    """Whether the source is an Optuna storage: a URL, a database file, or a journal by its first line."""
    if "://" in source or Path(source).suffix.lower() in DATABASES:
        return True
    try:
        with Path(source).open("rb") as file:
            first = json.loads(file.readline(1_000_000))
    except (OSError, ValueError, RecursionError):
        return Path(source).suffix.lower() in (".log", ".journal")
    return isinstance(first, dict) and {"op_code", "worker_id"} <= first.keys()


def read_storage(source: str, wishes: Wishes) -> Content:
    """Raises InputError for a storage that cannot be read, or wishes that it cannot meet."""
    for option, given in (("--params", wishes.params), ("--arm", wishes.arm)):
        if given:
            raise InputError(f"{option}: an Optuna storage says itself which they are; allowed: only for tables")
    label = _label(source)
    studies = _studies(source, label, wishes.study)
    goals = {tuple(study.directions): study.study_name for study in studies}
    metrics = {tuple(_metric_names(study)) for study in studies}
    if len(goals) > 1 or len(metrics) > 1:
        listed = ", ".join(show(study.study_name) for study in studies)
        raise InputError(f"{label}: its studies have different objectives; choose one with --study: {listed}")
    prefix = _prefix([study.study_name for study in studies])
    told = [f"arms: {len(studies)} Optuna {'studies' if len(studies) > 1 else 'study'}, with their distributions"]
    trials: list[Trial] = []
    declared = {}
    arms = valid_names([study.study_name.removeprefix(f"{prefix}/") for study in studies])
    told += renamed(arms, "arms")
    found = {study.study_name: study.get_trials(deepcopy=False) for study in studies}
    names = valid_names(dict.fromkeys(name for each in found.values() for trial in each for name in trial.params))
    told += renamed(names, "hyperparameters")
    objectives = _objectives(studies[0], [trial for each in found.values() for trial in each], wishes, told, label)
    seed = _seed_attribute([trial for each in found.values() for trial in each], wishes, told, label)
    for study, arm in zip(studies, arms.values(), strict=True):
        ended = [trial for trial in found[study.study_name] if trial.state in STATUS]
        if len(ended) < len(found[study.study_name]):
            told.append(f"{arm}: {len(found[study.study_name]) - len(ended)} trials left out: they have not ended")
        declared[arm] = _declared(ended, names)
        for trial in ended:
            trials += _trials(trial, arm, names, study, objectives, seed)
    if not trials:
        raise InputError(f"{label}: no trial has ended")
    told += _tell(trials, objectives)
    name = prefix or (studies[0].study_name if len(studies) == 1 else Path(label).stem)
    return Content(label, name, tuple(trials), objectives, tuple(told), declared)


def _label(source: str) -> str:
    """The file's or the database's name: a URL may hold a password."""
    path = urlsplit(source).path if "://" in source else source
    return path.rpartition("/")[2] or "storage"


def _studies(source: str, label: str, wish: str | None) -> list[optuna.Study]:
    """The studies of the storage that hold trials, or the one asked for. Nothing is written."""
    try:
        storage = _open(source)
        names = optuna.get_all_study_names(storage)
        if wish is not None and wish not in names:
            raise unknown("--study", wish, label, "Optuna study", names)
        studies = [optuna.load_study(study_name=name, storage=storage) for name in ([wish] if wish else names)]
    except InputError:
        raise
    except Exception as error:  # whatever a database driver or a damaged file brings up
        said = f"{type(error).__name__}: {one_line(error, 200)}".replace(source, label)
        raise InputError(f"{label}: is not an Optuna storage that can be read: {said}") from None
    holding = [study for study in studies if study.get_trials(deepcopy=False)]
    if not holding:
        raise InputError(f"{label}: holds no trials")
    return holding


def _open(source: str) -> optuna.storages.BaseStorage:
    path = Path(source.removeprefix("sqlite:///")) if source.startswith("sqlite:///") else Path(source)
    if "://" in source and not source.startswith("sqlite:///"):
        return optuna.storages.RDBStorage(source, skip_table_creation=True)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if not (source.startswith("sqlite:///") or path.suffix.lower() in DATABASES):
        return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    logging.getLogger("alembic").setLevel(logging.WARNING)
    url = f"sqlite:///file:{path.resolve().as_posix()}?mode=ro&uri=true"  # opened as it is, not made
    return optuna.storages.RDBStorage(url, skip_table_creation=True)


def _prefix(names: Sequence[str]) -> str:
    """What stands before the slash in all names: hpsearch names its Optuna studies study/arm."""
    prefixes = {name.partition("/")[0] for name in names}
    return prefixes.pop() if len(prefixes) == 1 and all("/" in name for name in names) else ""


def _metric_names(study: optuna.Study) -> list[str]:
    if study.metric_names:
        return list(study.metric_names)
    return ["value"] if len(study.directions) == 1 else [f"value_{i}" for i in range(len(study.directions))]


def _objectives(
    study: optuna.Study, trials: Sequence[FrozenTrial], wishes: Wishes, told: list[str], label: str
) -> dict[str, str]:
    """name -> direction. A wish may name the single objective, choose among several, or take a user attribute."""
    named = _metric_names(study)
    stored = {name: direction.name.lower() for name, direction in zip(named, study.directions, strict=True)}
    if not wishes.metrics:
        told.append(f"metric: {', '.join(f'{name} ({direction})' for name, direction in stored.items())}, as stored")
        return _valid_objectives(stored)
    attributes = dict.fromkeys(name for trial in trials for name in _numbers(trial.user_attrs))
    chosen: dict[str, str] = {}
    for text in wishes.metrics:
        name, direction = split_metric(text, [*stored, *attributes])
        given = stored.get(name)
        if name not in stored and name not in attributes:
            if named != ["value"] or len(wishes.metrics) > 1:
                raise unknown("--metric", name, label, "objective or user attribute", [*stored, *attributes])
            given = stored["value"]
        if given is not None and direction not in (None, given):
            raise InputError(f"--metric {text}: the storage says {given}; allowed: {name}:{given}, or {name}")
        chosen[name] = given or direction or "maximize"
    return _valid_objectives(chosen)


def _valid_objectives(objectives: Mapping[str, str]) -> dict[str, str]:
    names = valid_names(objectives, "_")
    return {names[name]: direction for name, direction in objectives.items()}


def _seed_attribute(trials: Sequence[FrozenTrial], wishes: Wishes, told: list[str], label: str) -> str | None:
    attributes = dict.fromkeys(name for trial in trials for name in trial.user_attrs)
    if wishes.seed is not None:
        if wishes.seed not in attributes and wishes.seed.lower() != "none":
            raise unknown("--seed", wishes.seed, label, "user attribute", attributes)
        return wishes.seed if wishes.seed in attributes else None
    if any("configuration_id" in trial.user_attrs for trial in trials):
        return None  # an export of hpsearch lists its seeds
    found = next((name for name in attributes if name != "seeds" and is_seed_name(name)), None)
    told.append(
        f"seed: user attribute {found}, guessed from its name"
        if found
        else "seed: not stored; trials with equal parameters are replicates"
    )
    return found


def _trials(
    trial: FrozenTrial,
    arm: str,
    names: Mapping[str, str],
    study: optuna.Study,
    objectives: Mapping[str, str],
    seed: str | None,
) -> Iterator[Trial]:
    """One trial; of an export of hpsearch, one for each seed of the configuration."""
    given = ((names[name], plain(value)) for name, value in trial.params.items())
    values = dict(zip(_metric_names(study), trial.values or (), strict=False))
    attributes = {k: v for k, v in _numbers(trial.user_attrs).items() if k not in (*OURS, seed)}
    metrics = {"_".join(name.split("/")): value for name, value in {**attributes, **values}.items()}
    first = next(iter(objectives))
    if len(objectives) == 1 and first not in metrics and "value" in values:
        metrics[first] = metrics.pop("value")
    duration = trial.duration.total_seconds() if trial.duration is not None else None
    made = Trial(
        arm=arm,
        params={name: "None" if value is None else value for name, value in given},
        seed=_whole(trial.user_attrs.get(seed)) if seed else None,
        status=_status(STATUS[trial.state], metrics.get(first)),
        metrics={
            name: metrics.get(name) if _is_finite(metrics.get(name)) else None for name in {**objectives, **metrics}
        },
        where=f"trial {trial.number} of {study.study_name}",
        cost={} if duration is None else {"seconds": duration},
        rest={
            "curve": _curve(trial, first),
            "started": trial.datetime_start.isoformat() if trial.datetime_start else None,
        },
    )
    seeds = trial.user_attrs.get("seeds") if "configuration_id" in trial.user_attrs else None
    runs = [(seeds, False), (trial.user_attrs.get("confirmation"), True)] if isinstance(seeds, dict) else []
    ours = [(number, run, confirm) for group, confirm in runs for number, run in (group or {}).items()]
    if not ours or not all(str(n).isdecimal() and isinstance(run, dict) and "status" in run for n, run, _ in ours):
        yield made
        return
    for number, run, confirm in ours:
        status = run["status"] if run["status"] in STATUSES else "failed"
        sampling = {"phase": 0, "index": trial.number, "sampler": "unknown", "generation": None, "confirm": confirm}
        measured = {name: run.get(name) if _is_finite(run.get(name)) else None for name in objectives}
        where = f"{made.where}, seed {number}"
        yield replace(
            made, seed=int(number), status=status, metrics=measured, where=where, cost={}, rest={}, sampling=sampling
        )


def _status(status: str, value: float | None) -> str:
    """A complete trial without a finite value has diverged; Optuna itself makes NaN a failed trial."""
    if status != "complete" or _is_finite(value):
        return status
    return "failed" if value is None else "diverged"


def _curve(trial: FrozenTrial, metric: str) -> dict[str, list[float | None]]:
    steps = sorted(trial.intermediate_values.items())
    if not steps:
        return {}
    values = [value if _is_finite(value) else None for _, value in steps]
    return {"epoch": [step for step, _ in steps], metric: values}


def _declared(trials: Sequence[FrozenTrial], names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """hyperparameter -> the keys that its distributions have in a study file; ranges that changed are united."""
    seen: dict[str, list[Any]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            known = seen.setdefault(name, [])
            if distribution not in known:
                known.append(distribution)
    united = {names[name]: _unite(found) for name, found in seen.items()}
    return {name: keys for name, keys in united.items() if keys is not None}


def _unite(found: Sequence[Any]) -> dict[str, Any] | None:
    """None where there is nothing to vary, or one name had both choices and ranges."""
    if all(isinstance(each, CategoricalDistribution) for each in found):
        values = ["None" if plain(choice) is None else plain(choice) for each in found for choice in each.choices]
        choices = list({key(value): value for value in values if value is not None}.values())
        return {"choices": choices} if len(choices) > 1 else None
    if not all(isinstance(each, (FloatDistribution, IntDistribution)) for each in found):
        return None
    low, high = min(each.low for each in found), max(each.high for each in found)
    whole = all(isinstance(each, IntDistribution) for each in found)
    step = found[0].step if len(found) == 1 and not (whole and found[0].step == 1) else None
    if not low < high:
        return None
    keys = {"low": low, "high": high, "log": all(each.log for each in found), "int": whole}
    return keys if step is None else {**keys, "step": step}


def _tell(trials: Sequence[Trial], objectives: Mapping[str, str]) -> list[str]:
    words = {"diverged": "infinite", "failed": "no value", "stopped": "pruned"}
    metric = next(iter(objectives))
    told = []
    for status, text in words.items():
        count = sum(trial.status == status for trial in trials)
        told += [f"{count} of {len(trials)} trials {status} ({metric}: {text}, or so stored)"] if count else []
    return told


def _numbers(attributes: Mapping[str, Any]) -> dict[str, float]:
    kinds = (int, float)
    return {k: v for k, v in attributes.items() if isinstance(v, kinds) and not isinstance(v, bool)}


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object) -> int | None:
    return (
        int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**63 else None
    )
