"""What a run folder holds, read without disturbing the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpsearch.analysis.configurations import summarize
from hpsearch.identity import Identity
from hpsearch.planning import planned_trials
from hpsearch.results import Result, belonging, is_running, read_results, read_run, to_table
from hpsearch.study import Study


@dataclass(frozen=True)
class ArmStatus:
    """Trials by status, how many the study plans in all, and the best configuration so far in words."""

    planned: int
    statuses: Mapping[str, int]
    best: str


@dataclass(frozen=True)
class RunStatus:
    study: Study
    folder: Path
    running: bool
    arms: Mapping[str, ArmStatus]
    set_aside: int
    errors: tuple[tuple[str, str], ...]  # (arm, where and what), each different one once
    warnings: tuple[str, ...]


def read_status(folder: Path) -> RunStatus:
    """Raises InputError where there is no run."""
    study = read_run(folder)
    results, warnings = read_results(folder)
    identity = Identity.recorded(study)
    mine = belonging(results, study, identity)
    best = best_so_far(study, mine)
    arms = {
        arm: ArmStatus(planned_trials(study, arm), Counter(r.status for r in mine if r.arm == arm), best.get(arm, ""))
        for arm in study.arms
    }
    return RunStatus(study, folder, is_running(folder), arms, len(results) - len(mine), failures(mine), tuple(warnings))


def failures(results: list[Result]) -> tuple[tuple[str, str], ...]:
    """(arm, last frame and last line of the traceback) of failed trials, each different one once."""
    return tuple(dict.fromkeys((result.arm, _short(result.error)) for result in results if result.status == "failed"))


def _short(error: str | None) -> str:
    lines = (error or "not known").strip().splitlines()
    frames = [line.strip() for line in lines if line.strip().startswith('File "')]
    return f"{lines[-1]} ({frames[-1]})" if frames else lines[-1]


def best_so_far(study: Study, results: list[Result]) -> dict[str, str]:
    """arm -> the best mean of the first objective with its interval over seeds, e.g. '95.5 ± 0.6 % (n=3)'."""
    selection = [result for result in results if result.done and not result.sampling["confirm"]]
    if not any(study.objective in result.metrics for result in selection):
        return {}
    table = summarize(to_table(selection), metric=study.objective).dropna(subset=["mean"])
    whole = table["n"] >= len(study.seeds)
    table = table[whole] if whole.any() else table  # a lucky first seed is not yet the best
    ascending = study.objectives[study.objective] == "minimize"
    best = table.sort_values("mean", ascending=ascending).groupby("arm", sort=False).first()
    scale, unit = (100.0, " %") if study.objective.endswith("accuracy") else (1.0, "")
    shown = {}
    for arm, row in best.iterrows():
        half = (row["high"] - row["low"]) / 2 * scale
        interval = f" ± {half:.2g}" if half == half else ""  # NaN: one seed has no interval
        untrained = ", did not train" if row["share_not_trained"] == 1 else ""
        shown[str(arm)] = f"{row['mean'] * scale:.4g}{interval}{unit} (n={int(row['n'])}{untrained})"
    return shown
