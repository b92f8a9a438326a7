"""Results as sentences: one finding per arm, and what may be said about the order of the arms."""

from collections.abc import Sequence
from dataclasses import dataclass

from hpsearch.analysis import Analysis
from hpsearch.analysis.best import Best, separated
from hpsearch.analysis.estimate import Estimate
from hpsearch.analysis.failures import Failures, Region
from hpsearch.analysis.objective import Objective
from hpsearch.figures import format as fmt


@dataclass(frozen=True)
class Finding:
    """One arm's line: the best configuration, its estimate `value`, where training failed."""

    arm: str
    best: str
    value: str
    trained: str


def findings(analysis: Analysis) -> tuple[Finding, ...]:
    best = {b.arm: b for b in analysis.best if b.rank == 1}
    failed = {f.arm: f for f in analysis.failures}
    return tuple(
        Finding(
            arm=arm.name,
            best=best_text(best.get(arm.name)),
            value=value_text(best.get(arm.name), analysis),
            trained=trained_text(failed.get(arm.name)),
        )
        for arm in analysis.arms
    )


def best_text(best: Best | None) -> str:
    if best is None:
        return "no configuration has a result"
    return fmt.parameters(best.params) or "one configuration, nothing searched"


def value_text(best: Best | None, analysis: Analysis) -> str:
    if best is None or analysis.objective is None:
        return ""
    if best.confirmation is None:
        mean = fmt.metric(analysis.objective, best.selection.mean)
        name = fmt.metric_name(analysis.objective.name)
        note = "selected, optimistic" if best.n_configurations > 1 else "not confirmed"
        return f"{name} {mean}, mean of {seeds(best.selection.n)}: {note}"
    shown, judged = reported(best, analysis)
    text = f"{fmt.metric_name(judged.name)} {fmt.estimate(judged, shown)}"
    fresh = seeds(shown.n, "fresh seed")
    how = f"95 % t interval, {fresh}" if shown.has_interval else f"{fresh}, no interval"
    lost = best.confirmation.n_not_trained
    note = f"; {lost} of them did not train" if lost else "; of runs that train" if best.given_training else ""
    return f"confirmed {text} ({how}{note})"


def reported(best: Best, analysis: Analysis) -> tuple[Estimate, Objective]:
    """The estimate that is quoted of a confirmed configuration, and its metric: on test if known."""
    assert best.confirmation is not None and analysis.objective is not None
    test = best.confirmation.test
    if test is not None and test.n and analysis.test is not None:
        return test, analysis.test
    return best.confirmation.objective, analysis.objective


def trained_text(found: Failures | None) -> str:
    if found is None:
        return "No trial has ended."
    if found.n_not_trained == 0:
        return f"All {found.n_ended} selection trials that ended trained."
    if found.n_not_trained == found.n_ended:
        return f"None of the {found.n_ended} selection trials that ended trained."
    count = f"{found.n_not_trained} of {found.n_ended} selection trials did not train"
    if not found.regions:
        where = f"in {found.n_failing} of {found.n_configurations} configurations"
        return f"{count}, {where}; no single hyperparameter tells which."
    return f"{count}: " + " and ".join(region_text(region) for region in found.regions) + "."


def region_text(region: Region) -> str:
    sign, other = ("\N{GREATER-THAN OR EQUAL TO}", "\N{LESS-THAN OR EQUAL TO}")[:: 1 if region.above else -1]
    every = "every" if region.n_failing == region.n_inside else f"{region.n_failing} of the {region.n_inside}"
    plural = "" if region.n_failing == region.n_inside else "s"
    return (
        f"some in {every} configuration{plural} with {region.parameter} {sign} {fmt.number(region.bound)}, "
        f"none at {region.parameter} {other} {fmt.number(region.clean)}"
    )


def order_text(analysis: Analysis) -> str:
    """What the confirmed intervals say about the order of the arms; no order where they overlap."""
    best = [b for b in analysis.best if b.rank == 1]
    if len(analysis.arms) < 2 or not best or analysis.objective is None:
        return ""
    confirmed = [b for b in best if b.reported is not None and b.reported.has_interval]
    if len(confirmed) < 2:
        return "The arms are not ranked: that needs confirmation on two fresh seeds or more in two arms or more."
    beaten = separated(best, analysis.objective.maximize)
    if not beaten:
        return "The confirmed intervals of the arms overlap: this study does not rank them."
    direction = "above" if analysis.objective.maximize else "below"
    pairs = "; ".join(f"{arm} {direction} {listed(others)}" for arm, others in beaten.items())
    n_pairs = len(confirmed) * (len(confirmed) - 1) // 2
    rest = n_pairs - sum(len(others) for others in beaten.values())
    tail = ""
    if rest:
        tail = f" The other {rest} of {n_pairs} pairs of arms overlap: this study does not rank them."
    return f"Confirmed intervals that do not overlap: {pairs}.{tail}"


def difference_text(analysis: Analysis) -> str:
    """The arms against the first one, paired by seed; empty where that was not confirmed."""
    judged = analysis.test or analysis.objective
    if not analysis.differences or judged is None:
        return ""
    first = analysis.differences[0]
    shown = "; ".join(f"{d.arm} {fmt.difference(judged, d.estimate)}" for d in analysis.differences)
    counts = sorted({d.estimate.n for d in analysis.differences})
    fresh = seeds(counts[-1], "fresh seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} fresh seeds"
    together = f", Bonferroni over {first.comparisons} arms" if first.comparisons > 1 else ""
    name = fmt.metric_name(judged.name)
    return f"Against {first.control}, {name} paired by seed: {shown} (95 % t intervals, {fresh}{together})."


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def seeds(n: int, noun: str = "seed") -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
