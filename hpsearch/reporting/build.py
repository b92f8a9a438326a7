"""A table of trials -> one HTML file that needs no network: statistics, figures, all trials."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from hpsearch.analysis import Analysis, analyze
from hpsearch.analysis.surface import ColourRange, colour_range
from hpsearch.figures import format as fmt
from hpsearch.figures.pareto import draw_pareto
from hpsearch.figures.sensitivity import draw_sensitivity
from hpsearch.figures.style import SEQUENTIAL, Look, arm_looks
from hpsearch.figures.surface import draw_surface
from hpsearch.reporting import view, words
from hpsearch.reporting.trials import trial_table
from hpsearch.results import write_atomically

if TYPE_CHECKING:
    from hpsearch.study import Study


@dataclass(frozen=True)
class Picture:
    """A figure in the page: plotly's JSON, safe inside <script>, and its height in pixels."""

    title: str
    json: Markup
    height: int
    pair: str = ""


@dataclass(frozen=True)
class MapGroup:
    """The maps of several arms over the same pair of hyperparameters, or those of pairs that one arm has."""

    title: str
    pictures: tuple[Picture, ...]


def build_report(table: pd.DataFrame, study: "Study | None" = None, study_text: str | None = None) -> str:
    """The report as HTML. `study_text` is the study file, shown as it is."""
    analysis = analyze(table, study, options=None)
    looks = arm_looks([arm.name for arm in analysis.arms])
    scripts = [_script(get_plotlyjs()), _script(_read("report.js"))]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_read("template.html")).render(
        title=study.name if study is not None else "Trials",
        description=study.description if study is not None else "",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        policy=_policy(scripts),
        style=Markup(_read("report.css")),
        scripts=scripts,
        analysis=analysis,
        objective_name=fmt.metric_name(analysis.objective.name) if analysis.objective else "",
        objective_title=fmt.sentence(fmt.metric_name(analysis.objective.name)) if analysis.objective else "",
        test_name=fmt.metric_name(analysis.test.name) if analysis.test else "",
        nothing=why_nothing(analysis),
        colours={arm: look.colour for arm, look in looks.items()},
        findings=words.findings(analysis),
        order=words.order_text(analysis),
        against=words.difference_text(analysis),
        facts=view.facts(analysis, study),
        count_columns=view.count_columns(analysis),
        arms=view.arm_rows(analysis),
        best=view.best_rows(analysis),
        pareto=_pareto(analysis, looks),
        sensitivities=_sensitivities(analysis, looks),
        maps=_maps(analysis),
        colour_bar=_colour_bar(analysis),
        not_mapped=view.not_mapped(analysis),
        trials=_trials(analysis),
        study_text=study_text,
    )


def write_report(
    path: Path | str, table: pd.DataFrame, study: "Study | None" = None, study_text: str | None = None
) -> None:
    """Writes the report; a reader never sees half a file. Raises RunError when it cannot be written."""
    # Text of a table may hold lone surrogates, which UTF-8 cannot say.
    write_atomically(Path(path), build_report(table, study, study_text).encode("utf-8", "replace"))


def why_nothing(analysis: Analysis) -> str:
    """Why there is no statistic at all; empty if there is."""
    run = analysis.overview
    if run.n_trials == 0:
        return "This run has no trials yet."
    if analysis.objective is None:
        return "No trial has a metric, so there is nothing to compare."
    if not analysis.measured:
        counts = run.counts.drop(columns=["configurations", "trials", "confirm"]).drop(columns="arm").sum()
        kinds = ", ".join(f"{int(n)} {status}" for status, n in counts.items() if n)
        return f"No trial ended with {fmt.metric_name(analysis.objective.name)} ({kinds})."
    return ""


def embed(text: str) -> Markup:
    """JSON that is inert inside <script>: no character of it can begin a tag or a comment."""
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _pareto(analysis: Analysis, looks: dict[str, Look]) -> Picture | None:
    if analysis.objective is None or not analysis.fronts:
        return None
    return _picture("", draw_pareto(analysis.fronts, analysis.objective, looks))


def _sensitivities(analysis: Analysis, looks: dict[str, Look]) -> tuple[Picture, ...]:
    if analysis.objective is None:
        return ()
    return tuple(
        _picture(info.parameter, draw_sensitivity(info, analysis.objective, looks)) for info in analysis.sensitivities
    )


def _maps(analysis: Analysis) -> tuple[MapGroup, ...]:
    """Pairs that several arms searched, arms side by side; then, in one group, the pairs of a single arm."""
    if analysis.objective is None or not analysis.surfaces:
        return ()
    colours = colour_range(analysis.surfaces, analysis.objective.maximize)
    by_pair: dict[str, list[Picture]] = {}
    for info in analysis.surfaces:
        pair = f"{info.x.axis.name} × {info.y.axis.name}"
        drawn = draw_surface(info, analysis.configurations, analysis.objective, colours)
        by_pair.setdefault(pair, []).append(_picture(info.arm, drawn, pair))
    shared = [MapGroup(pair, tuple(maps)) for pair, maps in by_pair.items() if len(maps) > 1]
    single = tuple(maps[0] for maps in by_pair.values() if len(maps) == 1)
    return (*shared, MapGroup("Pairs of one arm", single)) if single else tuple(shared)


@dataclass(frozen=True)
class ColourBar:
    """The legend of all maps: a CSS gradient and the labels of its ends."""

    gradient: str
    low: str
    high: str


def _colour_bar(analysis: Analysis) -> ColourBar | None:
    if analysis.objective is None or not analysis.surfaces:
        return None
    goal = analysis.objective
    found: ColourRange = colour_range(analysis.surfaces, goal.maximize)
    steps = SEQUENTIAL if goal.maximize else SEQUENTIAL[::-1]
    low, high = fmt.metric(goal, found.low, 1), fmt.metric(goal, found.high, 1)
    if found.clipped:
        low, high = (f"≤ {low}", high) if goal.maximize else (low, f"≥ {high}")
    return ColourBar(", ".join(steps), low, high)


def _trials(analysis: Analysis) -> Markup:
    table = trial_table(analysis.trials)
    columns = [{"label": label, "kind": kind} for label, kind in table.columns]
    return embed(json.dumps({"columns": columns, "rows": table.rows}, default=str))


def _picture(title: str, figure: go.Figure, pair: str = "") -> Picture:
    return Picture(title, embed(figure.to_json()), int(figure.layout.height), pair)


def _read(name: str) -> str:
    return files("hpsearch.reporting").joinpath(name).read_text(encoding="utf-8")


def _script(source: str) -> Markup:
    """Source of our own or of plotly, made unable to end its <script> early."""
    return Markup(source.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def _policy(scripts: Sequence[str]) -> str:
    """Content security policy: these scripts by their hash, nothing else, and no request at all."""
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
