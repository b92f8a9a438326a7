"""What to run next as a part of the study file: merged into it, `hpsearch run` trains exactly that."""

from __future__ import annotations

from typing import Any

from hpsearch.analysis.enough import Next, Suggestion
from hpsearch.planning import phase_sizes
from hpsearch.seeds import TwoStage
from hpsearch.study import CONFIRM_SEEDS_FROM, Study
from hpsearch.yamlfile import dump_yaml

IMPORTED = "imported"  # the task of a study that came from a table: it can be analysed, not run


def to_yaml(suggested: Next, study: Study | None) -> str:
    """The keys to merge into the study file, with a comment on top; a comment alone where there is nothing to run.

    An arm's own `sampling` stands in for the study's phases, so its block repeats the phases that the arm has. Without
    a study, or with an imported one, which cannot be run, the configurations are listed by arm.
    """
    found = suggested.suggestions
    if not found:
        return "# nothing to suggest\n"
    if study is None or study.task.name == IMPORTED:
        return "# this study was imported and cannot be run here; what to try next, by arm\n" + dump_yaml(
            _listed(found)
        )
    return f"# {_count(suggested)}: merge into the study file\n" + dump_yaml(merged_keys(suggested, study))


def merged_keys(suggested: Next, study: Study) -> dict[str, Any]:
    """The keys of the block. They replace those of the same name in the study file, mapping by mapping."""
    found = suggested.suggestions
    keys: dict[str, Any] = {}
    points = _points(found)
    more = sum(s.count for s in found if s.kind == "seeds")
    if more:
        keys["seeds"] = _seeds(study, more)
    for suggestion in found:
        if suggestion.kind == "confirm":
            keys["confirm"] = {"top": suggestion.top, "seeds": suggestion.count}
    if points:
        cut = study.configurations is not None
        # The cut would take the new phases away again: it is written into every arm's phases instead.
        names = list(study.arms) if cut else list(points)
        keys |= {"configurations": None} if cut else {}
        keys["arms"] = {name: {"sampling": _phases(study, name, points.get(name, []))} for name in names}
    return keys


def _phases(study: Study, arm: str, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sizes = phase_sizes(study, arm) if study.configurations is not None else None
    kept = []
    for number, phase in enumerate(study.phases(arm)):
        if sizes is None or sizes[number]:
            kept.append(phase.model_dump(mode="json", exclude_unset=True))
            if sizes is not None:
                kept[-1]["configurations"] = sizes[number]
    return kept + ([{"sampler": "points", "options": {"points": points}}] if points else [])


def _points(found: tuple[Suggestion, ...]) -> dict[str, list[dict[str, Any]]]:
    points: dict[str, list[dict[str, Any]]] = {}
    for suggestion in found:
        if suggestion.kind == "configuration":
            points.setdefault(suggestion.arm, []).append(dict(suggestion.params))
    return points


def _seeds(study: Study, more: int) -> int | list[int] | dict[str, Any]:
    """As a number where the seeds are 0, 1, …, else as a list. Seeds of confirmation runs stay theirs.

    Where each configuration has its own number, `more` for all of them is that many first seeds more.
    """
    if isinstance(study.seeds, TwoStage):
        rule = study.seeds
        return {**rule.model_dump(), "min": rule.min + more, "max": max(rule.max, rule.min + more + 1)}
    count = len(study.seeds)
    if study.seeds == tuple(range(count)) and count + more <= 1000:
        return count + more
    taken = {*study.seeds, *study.confirm_seeds}
    free = (seed for seed in range(CONFIRM_SEEDS_FROM) if seed not in taken)
    return [*study.seeds, *(seed for seed, _ in zip(free, range(more), strict=False))]


def _listed(found: tuple[Suggestion, ...]) -> dict[str, Any]:
    points = _points(found)
    confirm = {s.arm: {"params": dict(s.params), "seeds": s.count} for s in found if s.kind == "confirm"}
    more = sum(s.count for s in found if s.kind == "seeds")
    listed: dict[str, Any] = {"arms": points, "confirm": confirm, "more_seeds": more}
    return {key: value for key, value in listed.items() if value}


def _count(suggested: Next) -> str:
    kinds = {"configuration": "new configurations", "seeds": "more seeds", "confirm": "confirmation runs"}
    counts = {kind: sum(s.trials for s in suggested.suggestions if s.kind == kind) for kind in kinds}
    return ", ".join(f"{trials} trials of {kinds[kind]}" for kind, trials in counts.items() if trials)
