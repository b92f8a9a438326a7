"""What a source holds as a run folder: ids, seeds, a study.yaml that says it was imported, trials.jsonl."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpsearch import __version__
from hpsearch.analysis.columns import COSTS
from hpsearch.errors import InputError, show
from hpsearch.identity import Identity
from hpsearch.interchange.conditions import split
from hpsearch.interchange.content import Content, Trial, point, renamed, valid_names
from hpsearch.interchange.spaces import arm_section
from hpsearch.models import validate
from hpsearch.results import Result, RunFolder, belonging
from hpsearch.study import IMPORTED_TASK, Study, parse_study
from hpsearch.yamlfile import Document

IDENTITY = {"name": IMPORTED_TASK, "semantics": 1, "options": {}, "function": True}
MAX_ARMS = 100


def refuse_run(folder: Path) -> None:
    """Raises InputError for a folder that holds a run, or half of one."""
    for name in ("study.yaml", "trials.jsonl"):
        file = folder / name
        if file.exists() and (name == "study.yaml" or file.stat().st_size):
            raise InputError(f"{folder}: holds a run already ({name}); give another folder, or remove that one")


def make_run(content: Content, folder: Path) -> tuple[Study, int, list[str]]:
    """Writes the run folder; gives its study, the number of trials and what to tell.

    study.yaml comes last: without it there is no run.
    """
    arms = valid_names(dict.fromkeys(trial.arm for trial in content.trials))
    told = renamed(arms, "arms")
    trials, more = split([replace(trial, arm=arms[trial.arm]) for trial in content.trials])
    told += more
    names = list(dict.fromkeys(trial.arm for trial in trials))
    if len(names) > MAX_ARMS:
        raise InputError(
            f"{content.source}: has {len(names)} arms, e.g. {', '.join(names[:3])}; allowed: at most {MAX_ARMS}; an "
            "arm is one optimizer family: give --arm, and --params where hyperparameters have gaps"
        )
    trials, more = _with_seeds(trials, content)
    told += more
    study, results, more = _results(trials, content)
    told += more
    with RunFolder(folder) as run:
        refuse_run(folder)
        run.append(results)
        run.write_study(study)
    return study, len(results), told


def _with_seeds(trials: Sequence[Trial], content: Content) -> tuple[list[Trial], list[str]]:
    """Every trial with a seed: its own, else the first that its configuration does not use. Repeats are dropped."""
    used: dict[Any, dict[int, Trial]] = {}
    repeats: list[Trial] = []
    conflicts: list[tuple[Trial, Trial]] = []
    for trial in trials:
        if trial.seed is None:
            continue
        seeds = used.setdefault((trial.arm, point(trial.values)), {})
        first = seeds.setdefault(trial.seed, trial)
        if first is not trial:
            same = (first.status, dict(first.metrics)) == (trial.status, dict(trial.metrics))
            repeats += [trial] if same else []
            conflicts += [] if same else [(first, trial)]
    if conflicts:
        raise _contradiction(conflicts, content)
    dropped = {id(trial) for trial in repeats}
    free: dict[int, Iterator[int]] = {}
    kept = []
    for trial in trials:
        if id(trial) in dropped:
            continue
        if trial.seed is None:
            seeds = used.setdefault((trial.arm, point(trial.values)), {})
            unused = free.setdefault(id(seeds), _unused(seeds))
            seed = next(unused)
            trial = seeds[seed] = replace(trial, seed=seed)
        kept.append(trial)
    places = ", ".join(trial.where for trial in repeats[:5]) + (", …" if len(repeats) > 5 else "")
    return kept, [f"{len(repeats)} repeated rows dropped: {places}"] if repeats else []


def _unused(seeds: Mapping[int, Trial]) -> Iterator[int]:
    return (seed for seed in itertools.count() if seed not in seeds)


def _contradiction(conflicts: Sequence[tuple[Trial, Trial]], content: Content) -> InputError:
    metric = next(iter(content.objectives))
    lines = []
    for first, second in conflicts[:5]:
        params = ", ".join(f"{name}={value}" for name, value in first.values.items()) or "no hyperparameters"
        values = f"{metric} {show(first.metrics.get(metric))} and {show(second.metrics.get(metric))}"
        what = values if first.status == second.status else f"{first.status} and {second.status}"
        lines.append(f"{first.where} and {second.where} (arm {first.arm}, {params}, seed {first.seed}): {what}")
    more = f"; and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""
    return InputError(
        f"{content.source}: the same arm, hyperparameters and seed with different values: {'; '.join(lines)}{more}; "
        "allowed: one row a trial; name what tells them apart with --params, --seed or --arm, or give --seed none to "
        "take them as replicates"
    )


def _results(trials: Sequence[Trial], content: Content) -> tuple[Study, list[Result], list[str]]:
    """The study and its results, with the ids that an exported table had where they can be given again."""
    told = []
    if content.origin is not None:
        try:
            study = _study(trials, content, content.origin)
            results = _number(trials, study)
        except (InputError, KeyError, ValueError, TypeError, AttributeError):  # the column `study` is not ours
            results = []
        if results and all((r.trial_id, r.configuration_id) == t.ids for r, t in zip(results, trials, strict=True)):
            return study, results, []
        told.append("ids: new ones, as those of the table do not follow from its columns")
    study = _study(trials, content, {})
    results = _number(trials, study)
    if len(belonging(results, study, Identity.recorded(study))) != len(results):
        raise InputError(f"{content.source}: holds values that a study file cannot name, e.g. numbers beyond float64")
    return study, results, told


def _number(trials: Sequence[Trial], study: Study) -> list[Result]:
    identity = Identity.recorded(study)
    costs = [name for name in COSTS if name != study.objective]  # a source may have them among its metrics
    order: dict[str, Counter[str]] = {}
    results = []
    for trial in trials:
        arm = study.arms[trial.arm]
        params = {name: value for name, value in trial.values.items() if name in arm.parameters}
        configuration_id = identity.configuration_id(trial.arm, params)
        indices = order.setdefault(trial.arm, Counter())
        index = indices.setdefault(configuration_id, len(indices))
        sampling = {"phase": 0, "index": index, "sampler": "unknown", "generation": None, "confirm": False}
        assert trial.seed is not None
        results.append(
            Result(
                trial_id=identity.trial_id(trial.arm, params, trial.seed),
                configuration_id=configuration_id,
                arm=trial.arm,
                params=params,
                fixed=arm.fixed,
                seed=trial.seed,
                sampling=sampling if trial.sampling is None else trial.sampling,
                status=trial.status,
                metrics={name: value for name, value in trial.metrics.items() if name not in costs},
                cost={**trial.cost, **{name: value for name, value in trial.metrics.items() if name in costs}},
                **trial.rest,
            )
        )
    return results


def _study(trials: Sequence[Trial], content: Content, origin: Mapping[str, Any]) -> Study:
    """The study file of the folder. origin: empty, or what an exported table says of its study."""
    by_arm: dict[str, list[Trial]] = {}
    for trial in trials:
        by_arm.setdefault(trial.arm, []).append(trial)
    task = {key: origin[key] for key in ("epochs", "batch_size") if origin.get(key) is not None}
    trained: Mapping[str, Any] = origin["task"] if origin else IDENTITY
    options = {"task": trained["name"], **trained["options"]} if origin else {}
    arms = {
        name: arm_section(mine, content.declared.get(name, {}), searched=content.origin is not None)
        for name, mine in by_arm.items()
    }
    phases = {name: _phases(mine) for name, mine in by_arm.items()}
    shared = next(iter(phases.values()))
    data = {
        "name": next(iter(valid_names([content.name]).values())),
        "description": f"Imported from {content.source} on {datetime.now(UTC):%Y-%m-%d}: to analyse, not to run.",
        "task": {
            "name": IMPORTED_TASK,
            "source": content.source,
            **{k: v for k, v in options.items() if k != "name"},
            **task,
        },
        "optimizer": dict(origin.get("optimizer", {})),
        "arms": {n: arm if phases[n] == shared else {**arm, "sampling": phases[n]} for n, arm in arms.items()},
        "sampling": shared,
        "seeds": _seeds(trials),
        **({"confirm": confirm} if (confirm := _confirm(by_arm)) else {}),
        "objectives": dict(content.objectives),
        "recorded": {"versions": {"hpsearch": __version__}, "task": dict(trained)},
    }
    label = str(content.source)
    study = validate(Study, data, Document(label, data))
    return parse_study(study.to_yaml(), label)  # as it will be read: a file too large for that is refused here


def _phases(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """What is known of how the arm's configurations were chosen."""
    phases: dict[int, set[Any]] = {}
    samplers: dict[int, Counter[str]] = {}
    for trial in trials:
        sampling = trial.sampling or {"phase": 0, "sampler": "unknown", "confirm": False}
        if not sampling["confirm"]:
            phase = sampling["phase"] or 0
            phases.setdefault(phase, set()).add(point(trial.values))
            samplers.setdefault(phase, Counter())[sampling["sampler"]] += 1
    named = {phase: samplers[phase].most_common(1)[0][0] for phase in sorted(phases)}
    # A phase named grid would be counted by the grid values of a space, which are not known.
    found: list[dict[str, Any]] = [
        {"sampler": "imported grid" if name == "grid" else name, "configurations": len(phases[phase])}
        for phase, name in named.items()
    ]
    return found or [{"sampler": "unknown", "configurations": 1}]


def _seeds(trials: Sequence[Trial]) -> list[int]:
    """As many seeds as most configurations have, and those that most of them have."""
    selection = [trial for trial in trials if not (trial.sampling and trial.sampling["confirm"])] or trials
    sizes = Counter(Counter((trial.arm, point(trial.values)) for trial in selection).values())
    size = max(sizes, key=lambda n: (sizes[n], n))
    often = Counter(trial.seed for trial in selection if trial.seed is not None)
    return sorted(sorted(often, key=lambda seed: (-often[seed], seed))[:size])


def _confirm(by_arm: Mapping[str, Sequence[Trial]]) -> dict[str, int] | None:
    top, seeds = 0, set()
    for trials in by_arm.values():
        confirmed = [trial for trial in trials if trial.sampling and trial.sampling["confirm"]]
        top = max(top, len({point(trial.values) for trial in confirmed}))
        seeds |= {trial.seed for trial in confirmed}
    return {"top": top, "seeds": len(seeds)} if len(seeds) >= 2 else None
