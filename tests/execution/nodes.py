"""A Ray cluster of separate processes on this machine, in a network of its own; workers do not see some folders."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

ADDRESS = "127.0.0.1:6379"  # nobody else is in the room's network
DASHBOARD = "http://127.0.0.1:8265"
TOKEN = "a-token-of-these-tests-only-0123456789"
NETWORK = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"]
MACHINE = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]


def possible() -> bool:
    """Whether this machine lets us make namespaces."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return False
    return subprocess.run([*NETWORK, *MACHINE, "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0


class Room:
    """A network namespace with nodes in it, each with processes, mounts and a host's name of its own.

    inside: the beginning of a command that is to run in its network. Use it as a context: all nodes end with it, and
    with this process, however that ends.
    """

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))  # a short path: Ray's sockets are in it
        pipe = subprocess.PIPE  # at whose end the first process of the nodes' namespace ends, and they with it
        self._holder = subprocess.Popen(
            [*NETWORK, "sh", "-c", "ip link set lo up && echo up && exec cat"],
            stdin=pipe,
            stdout=pipe,
            text=True,
            start_new_session=True,
        )
        assert self._holder.stdout is not None and self._holder.stdout.readline() == "up\n"
        first = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().strip()
        self.inside = ["nsenter", f"--target={first}", "--user", "--net", "--preserve-credentials"]
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        return self

    def __exit__(self, *error: object) -> None:
        for name in list(self._nodes):
            self.kill(name)
        self._holder.kill()
        self._holder.communicate()
        shutil.rmtree(self.folder)

    def environment(self, **more: str) -> dict[str, str]:
        dropped = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_ADDRESS")
        inherited = {name: value for name, value in os.environ.items() if name not in dropped}
        auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        health = {"RAY_health_check_period_ms": "1000"}  # a killed node is noticed sooner
        return {**inherited, "RAY_USAGE_STATS_ENABLED": "0", "COLUMNS": "200", **auth, **health, **more}

    def start(self, name: str, *options: str, hidden: tuple[Path, ...] = ()) -> None:
        """A node whose host has this name, and which finds nothing in the hidden folders and cannot write them."""
        ray = str(Path(sys.executable).parent / "ray")
        covers = "".join(f"mount -t tmpfs -o ro none '{folder}' && " for folder in hidden)
        node = [ray, "start", "--node-ip-address=127.0.0.1", "--block", "--object-store-memory=100000000", *options]
        with (self.folder / f"{name}.log").open("wb") as log:
            self._nodes[name] = subprocess.Popen(
                [
                    *(
                        *self.inside,
                        "--pid",
                        *MACHINE,
                        "sh",
                        "-c",
                        f'hostname {name} && {covers} exec "$@"',
                        "sh",
                        *node,
                    ),
                    f"--temp-dir={self.folder / name}",
                ],
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_for_head(self) -> None:
        code = "import socket; socket.create_connection(('127.0.0.1', 6379))"
        until = time.monotonic() + 900
        while subprocess.run([*self.inside, sys.executable, "-c", code], capture_output=True).returncode:
            assert time.monotonic() < until, (self.folder / "head.log").read_text()
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        """At once, with all of its processes: the first one of their namespace ends, and the kernel ends the others."""
        node = self._nodes.pop(name)
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()
