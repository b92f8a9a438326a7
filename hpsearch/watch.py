"""Shows what a run folder holds: once, or drawn again in place while a driver runs there."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from rich.live import Live

from hpsearch.display import RunView
from hpsearch.status import Follower, read_status
from hpsearch.terminal import make_console

LOOK = 2.0  # seconds between two looks at the folder


def print_status(folder: Path) -> None:
    """Raises InputError where there is no run."""
    make_console().print(RunView(read_status(folder), whole=True))


def watch_status(folder: Path) -> None:
    """Until no driver runs there, or Ctrl-C, which is the other way to end it. Raises InputError where there is no run.

    Where standard output is no terminal a log would fill with tables: only the last one is printed.
    """
    follower = Follower(folder)
    console = make_console()
    status = follower.look()
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while status.running:
            live.update(RunView(status, whole=False), refresh=console.is_terminal)
            time.sleep(LOOK)
            status = follower.look()
        live.update(RunView(status, whole=True))
