"""The sampling phases of a study: whether each sampler has its options, and takes what its arms search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpsearch.errors import KeyPath, Mistake, nearest, one_line, show
from hpsearch.points import check_points
from hpsearch.sampling import FINITE, MAX_GRID, OPTIONS, SAMPLERS, grid_size, missing_package, try_options
from hpsearch.study import Arm, Phase, Study


def check_sampling(study: Study) -> Iterator[Mistake]:
    """Of the study's phases and of those that arms have of their own."""
    for number, phase in enumerate(study.sampling):
        arms = {name: arm for name, arm in study.arms.items() if arm.sampling is None}
        yield from _check_phase(("sampling", number), phase, arms, study)
    for arm_name, arm in study.arms.items():
        for number, phase in enumerate(arm.sampling or ()):
            yield from _check_phase(("arms", arm_name, "sampling", number), phase, {arm_name: arm}, study)


def _check_phase(path: KeyPath, phase: Phase, arms: Mapping[str, Arm], study: Study) -> Iterator[Mistake]:
    if phase.sampler not in SAMPLERS:
        near = nearest(phase.sampler, SAMPLERS)
        yield Mistake((*path, "sampler"), f"unknown sampler {show(phase.sampler)}", ", ".join(SAMPLERS), near)
        return
    if phase.configurations is None and phase.sampler not in FINITE:
        allowed = f"a whole number >= 1 (only {' and '.join(FINITE)} may leave it out)"
        yield Mistake((*path, "configurations"), "is missing", allowed)
    install = missing_package(phase.sampler)
    if install:
        rule = f"{phase.sampler} needs a package that is not installed"
        yield Mistake((*path, "sampler"), rule, f"another sampler, or: {install}")
        return
    mistakes = list(_check_sampler_options((*path, "options"), phase))
    yield from mistakes
    if not mistakes:
        try:
            try_options(phase)
        except (TypeError, ValueError) as error:
            yield Mistake((*path, "options"), f"{phase.sampler} refuses its options: {one_line(error)}")
    if phase.sampler == "points":
        yield from check_points((*path, "options", "points"), phase.options.get("points"), arms)
    if phase.sampler == "grid":
        yield from _check_grid(path, arms)
    if phase.sampler == "cmaes":
        yield from _check_cmaes(path, arms, study)


def _check_grid(path: KeyPath, arms: Mapping[str, Arm]) -> Iterator[Mistake]:
    for name, arm in arms.items():
        try:
            size = grid_size(arm.parameters, arm.fixed)
        except ValueError as error:
            yield Mistake((*path, "sampler"), f"arm {name}: {error}", "a grid for each parameter, or another sampler")
            continue
        if size > MAX_GRID:
            yield Mistake((*path, "sampler"), f"arm {name}: a grid of {size:,} cells", f"at most {MAX_GRID:,} cells")


def _check_cmaes(path: KeyPath, arms: Mapping[str, Arm], study: Study) -> Iterator[Mistake]:
    """One objective, and numbers that every configuration has: CMA-ES draws from one normal distribution."""
    at, others = (*path, "sampler"), "another sampler: tpe, gp or nsga2"
    if len(study.objectives) > 1:
        yield Mistake(at, f"cmaes takes one objective; the study has {', '.join(study.objectives)}", others)
    for arm_name, arm in arms.items():
        for name, parameter in arm.parameters.items():
            if parameter.choices is not None or parameter.when:
                what = "choices" if parameter.choices is not None else "a condition (when)"
                rule = f"arm {arm_name}: {name} has {what}, and cmaes takes ranges that are always searched"
                yield Mistake(at, rule, f"{others}, or {name} in the arm's fixed")


def _check_sampler_options(path: KeyPath, phase: Phase) -> Iterator[Mistake]:
    options = OPTIONS[phase.sampler]
    for key, value in phase.options.items():
        known = options.get(key)
        if key not in options:
            what = ", ".join(options) or f"none: {phase.sampler} has no options"
            yield Mistake((*path, key), f"unknown option {show(key)}", what, nearest(key, options))
        elif known is not None and not (known.accepts(value) and (known.kind != "whole" or isinstance(value, int))):
            near = nearest(value, known.choices) if known.choices else None
            yield Mistake((*path, key), f"got {show(value)}", known.allowed(), near)
