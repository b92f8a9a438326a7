"""What the template shows besides figures: tables and lists, as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpsearch.analysis import Analysis
from hpsearch.analysis.arms import ArmFacts
from hpsearch.analysis.best import Best
from hpsearch.analysis.cells import Cells
from hpsearch.analysis.columns import STATUSES
from hpsearch.figures import format as fmt
from hpsearch.reporting.words import seeds

if TYPE_CHECKING:
    from hpsearch.study import Study


@dataclass(frozen=True)
class ArmRow:
    """One row of the table of arms; `counts` by column, in the order of `count_columns`."""

    name: str
    searched: tuple[str, ...]
    fixed: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class BestRow:
    """One row of the table of best configurations. `test` is empty where there is no test metric."""

    arm: str
    rank: str
    params: str
    selection: str
    confirmed: str
    test: str
    compute: tuple[str, ...]


def facts(analysis: Analysis, study: "Study | None") -> tuple[tuple[str, str], ...]:
    """Name and value of each fact about the run; facts that are not known are left out."""
    run = analysis.overview
    rows = [
        ("Task", _task(study)),
        ("Shared settings", fmt.settings(study.optimizer) if study is not None else ""),
        ("Selected on", _objectives(analysis)),
        ("Seeds", _numbers(run.seeds)),
        ("Confirmation seeds", _numbers(run.confirm_seeds)),
        ("Compute", ", ".join(_total(analysis, name) for name in run.totals if name != "seconds")),
        ("Time in trials", _total(analysis, "seconds") if "seconds" in run.totals else ""),
        ("Trials started", " to ".join(dict.fromkeys(map(fmt.moment, run.started))) if run.started else ""),
        *((name.capitalize(), _distinct(values, run.n_trials)) for name, values in run.hardware.items()),
        ("Versions", "; ".join(f"{n} {_distinct(v, run.n_trials)}" for n, v in run.versions.items())),
    ]
    return tuple((name, value) for name, value in rows if value)


def count_columns(analysis: Analysis) -> tuple[str, ...]:
    """The columns of counts: statuses that never happened are left out, except complete."""
    counts = analysis.overview.counts
    happened = [s for s in STATUSES if s == "complete" or counts[s].sum()]
    return ("configurations", "trials", *happened, *(["confirm"] if counts["confirm"].sum() else []))


def arm_rows(analysis: Analysis) -> tuple[ArmRow, ...]:
    counts = analysis.overview.counts.set_index("arm")
    columns = count_columns(analysis)
    return tuple(
        ArmRow(
            name=arm.name,
            searched=tuple(f"{name} {range_text(cells)}" for name, cells in arm.cells.items()),
            fixed=fmt.parameters(arm.fixed),
            counts=tuple(int(counts.loc[arm.name, column]) for column in columns),  # type: ignore[arg-type]
        )
        for arm in analysis.arms
    )


def range_text(cells: Cells) -> str:
    """0.01 – 2 (log), or {1, 2, 4}."""
    axis = cells.axis
    if axis.kind == "choice":
        return "{" + ", ".join(fmt.parameter(c) for c in axis.choices) + "}"
    assert axis.low is not None and axis.high is not None
    return f"{fmt.number(axis.low)} – {fmt.number(axis.high)}" + (" (log)" if axis.kind == "log" else "")


def best_rows(analysis: Analysis) -> tuple[BestRow, ...]:
    return tuple(_best_row(best, analysis) for best in analysis.best)


def not_mapped(analysis: Analysis) -> tuple[str, ...]:
    """Why an arm has no map."""
    drawn = {surface.arm for surface in analysis.surfaces}
    return tuple(f"{arm.name}: {_why_not(arm)}" for arm in analysis.arms if arm.name not in drawn)


def _why_not(arm: ArmFacts) -> str:
    if len(arm.cells) >= 2:
        return "no configuration with a result has two of its hyperparameters"
    if arm.cells:
        return f"only {next(iter(arm.cells))} was searched, a map needs two hyperparameters"
    return "nothing was searched"


def _best_row(best: Best, analysis: Analysis) -> BestRow:
    objective = analysis.objective
    assert objective is not None
    confirmed, test = "selected, optimistic" if best.n_configurations > 1 else "not confirmed", ""
    if best.confirmation is not None:
        runs = best.confirmation
        lost = [f"{runs.n_not_trained} did not train"] if runs.n_not_trained else []
        lost += [f"{runs.n_failed} failed or stopped, not counted"] if runs.n_failed else []
        note = ", ".join([f"n = {runs.objective.n}", *lost])
        confirmed = f"{fmt.estimate(objective, runs.objective)} ({note})"
        if runs.test is not None and analysis.test is not None:
            test = f"{fmt.estimate(analysis.test, runs.test)} (n = {runs.test.n})"
    lost_seeds = f", {best.n_not_trained} did not train" if best.n_not_trained else ""
    return BestRow(
        arm=best.arm,
        rank=f"{best.rank} of {best.n_configurations}",
        params=fmt.parameters(best.params) or "nothing searched",
        selection=f"{fmt.metric(objective, best.selection.mean)} (n = {best.selection.n}{lost_seeds})",
        confirmed=confirmed,
        test=test,
        compute=tuple(fmt.cost(name, value) for name, value in best.compute.items()),
    )


def _task(study: "Study | None") -> str:
    if study is None:
        return ""
    options = fmt.settings(study.task.options)
    return f"{study.task.name} ({options})" if options else study.task.name


def _objectives(analysis: Analysis) -> str:
    better = {True: "higher is better", False: "lower is better"}
    shown = [f"{fmt.metric_name(o.name)} ({better[o.maximize]})" for o in analysis.objectives]
    guessed = " – guessed from the columns of the table" if analysis.guessed and shown else ""
    return "; then ".join(shown) + guessed


def _total(analysis: Analysis, name: str) -> str:
    total = analysis.overview.totals[name]
    missing = f" ({total.n_unknown} trials unknown)" if total.n_unknown else ""
    return fmt.cost(name, total.amount) + missing


def _distinct(values: dict[str, int], n_trials: int) -> str:
    """One value as it is; several with the number of trials that had each."""
    if len(values) == 1 and next(iter(values.values())) == n_trials:
        return next(iter(values))
    return ", ".join(f"{value} ({seeds(n, 'trial')})" for value, n in values.items())


def _numbers(values: Sequence[int]) -> str:
    """0, 1, 2 or 0 – 9 where they follow each other."""
    if len(values) > 3 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} – {values[-1]} ({len(values)})"
    return ", ".join(map(str, values))
