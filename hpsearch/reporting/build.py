"""A result -> one HTML file that needs no network: findings, figures, all trials, how it was made."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from hpsearch.figures import format as fmt
from hpsearch.figures.arms.best import best_rows
from hpsearch.figures.result import Source, read_result
from hpsearch.figures.safe.words import keys as sensitivity_keys
from hpsearch.reporting import findings, methods, view
from hpsearch.reporting.page import Page, asset, dark_colours, packed, policy, script
from hpsearch.reporting.sections import make_sections
from hpsearch.reporting.trials import trial_data
from hpsearch.results import write_atomically

if TYPE_CHECKING:
    from hpsearch.study import Study

TEMPLATES = ("base.html", "macros.html", "report.html", "compare.html", "words.html")
SCRIPTS = ("figures.js", "maps.js", "trials.js")


def build_report(source: Source, study: Study | None = None, live: bool = False) -> str:
    """The report as HTML. live: the page asks its own server for changes."""
    result = read_result(source, study)
    page = Page(shared=not live)
    sections = make_sections(result, page)
    anchors = {*page.keys, "arms", "matters", "safe", "maps", "curves"}
    anchors |= {group.key for group in sections.matters if group.pictures and group.title}
    first, more = findings.findings(result.document, sensitivity_keys(result.parameters), anchors, result.arms)
    study, judged = result.study, result.judged
    return render(
        "report.html",
        page,
        live,
        title=study.name if study is not None else "Trials",
        description=study.description if study is not None else "",
        colours={arm: look.colour for arm, look in result.looks.items()},
        findings=first,
        more=more,
        warnings=findings.warnings(result.document, result.arms),
        nothing=result.reason,
        note=result.document["note"],
        run=view.describe(result),
        best=best_rows(result),
        judged_name=fmt.metric_name(judged.name) if judged and judged != result.objective else "",
        objective_name=fmt.metric_name(result.objective.name) if result.objective else "",
        sections=sections,
        n_trials=len(result.trials),
        trials=packed(trial_data(result.trials, study, [goal.column for goal in (result.objective, judged) if goal])),
        methods=methods.methods(result.document),
        optimizers=methods.OPTIMIZERS,
        study_text=study.to_yaml() if study is not None else None,
    )


def write_report(path: Path | str, source: Source, study: Study | None = None) -> None:
    """Writes the report; a reader never sees half a file. Raises RunError when it cannot be written."""
    # Text of a table may hold lone surrogates, which UTF-8 cannot say.
    write_atomically(Path(path), build_report(source, study).encode("utf-8", "replace"))


def render(template: str, page: Page, live: bool = False, **values: Any) -> str:
    """A page with its scripts and the policy that lets nothing else run."""
    names = (*SCRIPTS, "live.js") if live else SCRIPTS
    scripts = [script(get_plotlyjs()), script(*(asset(f"js/{name}") for name in names))]
    loader = DictLoader({name: asset(f"templates/{name}") for name in TEMPLATES})
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        policy=policy(scripts, live),
        style=Markup(asset("report.css")),
        scripts=scripts,
        dark=dark_colours(),
        texts=page.texts,
        live=live,
        **values,
    )
