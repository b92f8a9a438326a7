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
    from hpsearch.execution.run import run_checked
    from hpsearch.terminal import print_summary

    seconds = None if budget is None else parse_duration(budget, "--budget")
    checked, folder = _checked(study, out, set_, configurations, seeds)
    summary = run_checked(checked, folder, budget=seconds, address=address, dashboard=dashboard, quiet=quiet)
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
def status(folder: Folder) -> None:
    """Show what a run folder holds: done, diverged, failed, left, and the best so far."""
    from hpsearch.status import read_status
    from hpsearch.terminal import print_status

    print_status(read_status(folder))


@app.command()
@told
def report(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="DIR/report.html unless given.")] = None,
) -> None:
    """Write the report: one HTML file that needs no network."""
    from hpsearch.reporting import report as write

    typer.echo(f"report: {write(folder, out)}")


@app.command(name="list")
@told
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List the studies, search spaces, tasks or samplers that can be named."""
    from hpsearch.catalogue import entries

    for name, description in entries(kind.value).items():
        typer.echo(f"{name:<16} {description}")


@app.command()
@told
def show(name: Annotated[str, typer.Argument(help="The name of a study, search space, task or sampler.")]) -> None:
    """Show a study or search space file, or what a task or sampler is and which options it takes."""
    from hpsearch.catalogue import describe

    typer.echo(describe(name))


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
