"""Forks commands from one process that has imported what they need, which takes as long as all else that they do.

A program: each line of its input is an order {"arguments", "folder", "out"}; it answers with the command's process id.
The command writes OUT.stdout and OUT.stderr, and when it has ended OUT.code holds its exit code. The program ends with
its input.
"""

import atexit
import json
import os
import random
import runpy
import signal
import sys
import threading
from pathlib import Path

from hpsearch.execution.session import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before Ray is imported, as a run does it

import ray.tune  # noqa: E402, F401
import sklearn.datasets  # noqa: E402, F401
import torch._dynamo  # noqa: E402, F401

import hpsearch.execution.tune  # noqa: E402
import hpsearch.reporting.build  # noqa: E402, F401


def command(arguments: list[str], folder: str, out: str) -> None:
    """Becomes `python -m hpsearch.cli ARGUMENTS`, in a process group of its own."""
    os.setsid()
    os.chdir(folder)
    sys.path[0] = ""
    random.seed()
    for stream, path in ((0, os.devnull), (1, f"{out}.stdout"), (2, f"{out}.stderr")):
        os.dup2(os.open(path, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT, 0o600), stream)
    sys.argv = ["hpsearch", *arguments]
    try:
        runpy.run_module("hpsearch.cli", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if not isinstance(ended.code, int):
            raise
        # As an interpreter ends, but that it does not take apart all that was imported: in a forked process, to which
        # the pages of it are copied for that, it takes two seconds and the command some tenths of one.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code)


def supervise(order: dict[str, object], said: int) -> None:
    """Starts a command, says its id at once, and leaves its exit code when it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(said)
        command(**order)  # type: ignore[arg-type]  # ends with SystemExit
    os.write(said, b"%d" % pid)
    os.close(said)
    _, status = os.waitpid(pid, 0)
    Path(f"{order['out']}.ended").write_text(str(os.waitstatus_to_exitcode(status)))
    os.rename(f"{order['out']}.ended", f"{order['out']}.code")
    os._exit(0)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors leave no zombies
    for line in sys.stdin:
        answer, said = os.pipe()
        if os.fork() == 0:
            os.close(answer)
            supervise(json.loads(line), said)
        os.close(said)
        print(os.read(answer, 20).decode(), flush=True)
        os.close(answer)


if __name__ == "__main__":
    main()
