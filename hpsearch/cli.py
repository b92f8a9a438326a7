"""The commands, a few lines each. Exit codes: 0 done, 1 the run failed, 2 the input is wrong, 130 interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from hpsearch.errors import HpsearchError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Hyperparameter sensitivity studies of sharpness-aware training (SAM, mSAM, F-SAM). "
    "Begin with `hpsearch run quickstart`, then `hpsearch report runs/quickstart`.",
)


P = ParamSpec("P")
R = TypeVar("R")


class Kind(StrEnum):
    studies = "studies"
    spaces = "spaces"
    tasks = "tasks"
    samplers = "samplers"


class New(StrEnum):
    task = "task"


class Format(StrEnum):
    csv = "csv"
    parquet = "parquet"
    optuna = "optuna"


class FigureFormat(StrEnum):
    svg = "svg"
    png = "png"
    pdf = "pdf"
    csv = "csv"


Reference = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the name of a shipped study.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="The run folder; runs/NAME-OF-THE-STUDY unless given.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B.0.C=YAML", help="Set one value of the study; may be given many times."),
]
Configurations = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="At most N configurations an arm: its phases are cut in order.")
]
Seeds = Annotated[
    int | None, typer.Option(min=1, max=1000, metavar="N", help="Seeds 0 to N-1, instead of the study's.")
]
Budget = Annotated[
    str | None,
    typer.Option(metavar="8h", help="Start no more packs after this time (s, m, h or d); what runs is finished."),
]
Address = Annotated[
    str | None,
    typer.Option(metavar="RAY", help="A running Ray cluster, e.g. 127.0.0.1:6379; else Ray is started here."),
]
Dashboard = Annotated[
    bool, typer.Option("--dashboard/--no-dashboard", help="Ray's dashboard on 127.0.0.1 while the study runs.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only errors.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")]


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Errors meant for the user become one message on standard error and their exit code."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except HpsearchError as error:
            typer.echo(f"hpsearch: {error}" if error.exit_code == 130 else f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("hpsearch: interrupted", err=True)
            raise typer.Exit(130) from None

    return wrapped


@app.command()
@told
def run(
    study: Reference,
    out: Out = None,
    set_: Set = None,
    configurations: Configurations = None,
    seeds: Seeds = None,
    budget: Budget = None,
    address: Address = None,
    dashboard: Dashboard = True,
    quiet: Quiet = False,
) -> None:
    """Train what the study plans and its run folder does not hold yet.

    Running again, after an interruption or with more seeds, configurations or arms, trains only what is missing.
    """
    from hpsearch.duration import parse_duration
    from hpsearch.execution.interrupts import Interrupts

    seconds = None if budget is None else parse_duration(budget, "--budget")
    with Interrupts(leave=True) as interrupts:
        from hpsearch.execution.run import run_checked  # imports torch, which takes seconds
        from hpsearch.terminal import print_summary

        checked, folder = _checked(study, out, set_, configurations, seeds)
        summary = run_checked(
            checked, folder, interrupts, budget=seconds, address=address, dashboard=dashboard, quiet=quiet
        )
    if not quiet:
        print_summary(summary)
    if summary.failed:
        raise typer.Exit(1)


@app.command()
@told
def plan(
    study: Reference,
    out: Out = None,
    set_: Set = None,
    configurations: Configurations = None,
    seeds: Seeds = None,
    budget: Budget = None,
    address: Address = None,
    dashboard: Dashboard = True,
    quiet: Quiet = False,
) -> None:
    """Show what `run` with the same options would train, and what it would cost. Trains nothing."""
    from hpsearch.duration import parse_duration
    from hpsearch.prediction import predict
    from hpsearch.terminal import print_plan

    limit = None if budget is None else parse_duration(budget, "--budget")
    checked, folder = _checked(study, out, set_, configurations, seeds)
    print_plan(checked.study, predict(checked, folder), folder, limit)


@app.command()
@told
def status(
    folder: Folder,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every 2 s, in place, until the run ends (or Ctrl-C).")
    ] = False,
) -> None:
    """Show what a run folder holds: done, diverged, failed, left, the best so far, and what trains now."""
    from hpsearch.watch import print_status, watch_status

    (watch_status if watch else print_status)(folder)


@app.command()
@told
def dashboard(
    folder: Folder,
    prometheus_port: Annotated[int, typer.Option(min=1, max=65535, help="Where Prometheus listens.")] = 9090,
    grafana_port: Annotated[int, typer.Option(min=1, max=65535, help="Where Grafana listens.")] = 3000,
) -> None:
    """Write settings for Prometheus and Grafana into DIR/monitoring, and say how to start them."""
    from hpsearch.monitoring import write_monitoring

    for line in write_monitoring(folder, prometheus_port, grafana_port).lines:
        typer.echo(line)


@app.command()
@told
def analyze(
    folder: Folder,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="DIR/analysis.json unless given.")] = None,
    epsilon: Annotated[
        str | None,
        typer.Option(
            metavar="0.01|se",
            help="What counts as within the best: in the metric's unit, or one standard error of a configuration's "
            "mean. One point of accuracy unless given; of other metrics se.",
        ),
    ] = None,
    factor: Annotated[
        float, typer.Option(metavar="F", help="How far off hyperparameters may be at the robust optimum.")
    ] = 2.0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of all draws; the same gives the same file.")] = 0,
    next_: Annotated[
        int | None,
        typer.Option(
            "--next", min=1, metavar="N", help="Also print what to run next, for the cost of N configurations."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Say what a run found, in sentences, and write every number behind them to analysis.json.

    How much each hyperparameter matters, its safe range, what beats what, and what this run cannot tell.
    """
    from hpsearch.analysis.folder import analyze_folder, next_block
    from hpsearch.terminal import print_sentences, steps

    with steps(quiet) as say:
        found = analyze_folder(folder, out, epsilon, factor, seed, say)
        block = None if next_ is None else next_block(found, next_, seed, say)
    if not quiet:
        print_sentences(found.findings, found.warnings, found.path)
    if block is not None:
        typer.echo(block, nl=False)


@app.command()
@told
def report(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="DIR/report.html unless given.")] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write every figure as a file of its own.")
    ] = None,
    format_: Annotated[
        FigureFormat | None,
        typer.Option("--format", help="Of the figures; svg unless given. csv: the numbers behind each."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve the report on 127.0.0.1 while the run goes on, and refresh it.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --watch; any that is free unless given.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Write the report: one HTML file that needs no network.

    It draws analysis.json, which is made first where it is not of these trials.
    """
    from hpsearch.errors import InputError
    from hpsearch.terminal import steps

    if format_ is not None and figures is None:
        raise InputError("--format: is of --figures; give --figures DIR too")
    if watch and (figures is not None or out is not None):
        raise InputError("--watch: serves the report and writes no file; leave --out and --figures out")
    if watch:
        from hpsearch.reporting.live import serve

        def say_it(step: str) -> None:
            if not quiet:
                typer.echo(step, err=True)

        serve(folder, port, say_it, lambda url: typer.echo(f"report: {url} (Ctrl-C ends it)"))
        return
    from hpsearch.reporting import write_all

    with steps(quiet) as say:
        path, written = write_all(folder, out, figures, format_ or "svg", say)
    if not quiet:
        typer.echo(f"report: {path}")
        if figures is not None:
            typer.echo(f"figures: {len(written)} files in {figures}")


@app.command()
@told
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR ...", help="Run folders, two or more.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The report.")] = Path("comparison.html"),
    quiet: Quiet = False,
) -> None:
    """Write one report over several runs: what one setting for all tasks loses against tuning for each."""
    from hpsearch.reporting.compare import write_comparison
    from hpsearch.terminal import steps

    with steps(quiet) as say:
        path = write_comparison(folders, out, say)
    if not quiet:
        typer.echo(f"comparison: {path}")


@app.command()
@told
def export(
    folder: Folder,
    format_: Annotated[Format, typer.Option("--format", help="A table, or an Optuna journal storage.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="DIR/trials.FORMAT unless given.")] = None,
) -> None:
    """Write the trials of a run folder as a CSV or parquet table, or as a storage that optuna-dashboard opens."""
    from hpsearch.interchange import export_run

    typer.echo(f"{format_.value}: {export_run(folder, format_.value, out)}")


@app.command(name="import")
@told
def import_(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A .csv, .tsv, .parquet or .jsonl table, or Optuna's.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The run folder to make.")],
    params: Annotated[str, typer.Option(metavar="A,B", help="The columns that are hyperparameters.")] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="M:maximize", help="An objective, M:maximize or M:minimize; the first one selects."),
    ] = None,
    seed: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of seeds, or none.")] = None,
    arm: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of arms, or none.")] = None,
    study: Annotated[str | None, typer.Option(metavar="NAME", help="One study of an Optuna storage.")] = None,
) -> None:
    """Make a run folder of a table or an Optuna storage: to report on, not to run.

    What is not said is guessed from names and values; each guess is one line of the output.
    """
    from hpsearch.interchange import import_run

    names = [name.strip() for name in params.split(",") if name.strip()]
    made = import_run(source, folder, params=names, metrics=metric or (), seed=seed, arm=arm, study=study)
    for line in made.told:
        typer.echo(line)
    typer.echo(f"{made.trials} trials in {made.folder}; next: hpsearch report {made.folder}")


@app.command(name="list")
@told
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List the studies, search spaces, tasks or samplers that can be named."""
    from hpsearch.catalogue import entries

    found = entries(kind.value)
    wide = max(map(len, found), default=0)
    for name, description in found.items():
        typer.echo(f"{name:<{wide}}  {description}")


@app.command()
@told
def show(name: Annotated[str, typer.Argument(help="The name of a study, search space, task or sampler.")]) -> None:
    """Show a study or search space file, or what a task or sampler is and which options it takes."""
    from hpsearch.catalogue import describe

    typer.echo(describe(name))


@app.command()
@told
def new(
    kind: Annotated[New, typer.Argument(help="What to write.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The Python file to write, e.g. my_task.py.")],
    function: Annotated[
        bool, typer.Option("--function", help="A plain training function, instead of a class.")
    ] = False,
) -> None:
    """Write a task of your own, to start from, and a study of it; both run as they are.

    The study stands beside PATH, with the ending .yaml. Nothing that is there is written over.
    """
    from hpsearch.tasks.template import write_template

    written = write_template(path, function)
    typer.echo(f"{kind.value}: {written.task}")
    typer.echo(f"study: {written.study}")
    typer.echo("next:")
    for command in written.commands:
        typer.echo(f"  {command}")


@app.command()
@told
def doctor() -> None:
    """Check what works on this machine: versions, devices, Ray, disk; and what to do where something does not."""
    from hpsearch.doctor import examine
    from hpsearch.terminal import print_findings

    findings = examine()
    print_findings(findings)
    if any(finding.remedy and finding.needed for finding in findings):
        raise typer.Exit(1)


def _checked(
    study: str, out: Path | None, set_: list[str] | None, configurations: int | None, seeds: int | None
) -> tuple[Any, Path]:
    from hpsearch.check import check_study
    from hpsearch.study import load_study

    overrides = list(set_ or [])
    overrides += [f"configurations={configurations}"] if configurations is not None else []
    overrides += [f"seeds={seeds}"] if seeds is not None else []
    loaded, document = load_study(study, overrides)
    return check_study(loaded, document, Path.cwd()), out or Path("runs") / loaded.name


def main() -> None:
    sys.exit(app())


if __name__ == "__main__":
    main()
