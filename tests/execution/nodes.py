"""A Ray cluster of separate processes on this machine, in a network of its own; workers do not see some folders."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

PORT = 6379  # nobody else is in this network
TOKEN = "a-token-of-these-tests-only-0123456789"
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--uts"]


def possible() -> bool:
    """Whether this machine lets us make namespaces."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return False
    return subprocess.run([*UNSHARE, "--mount-proc", "true"], capture_output=True).returncode == 0


class Room:
    """A network namespace in which a cluster's nodes are, each with processes and mounts of its own.

    Whatever was started in it ends with it.
    """

    def __init__(self, folder: Path) -> None:
        """folder: for Ray's sessions; its path must be short, as sockets' names are."""
        self.folder = folder
        up = "ip link set lo up && echo up && exec sleep infinity"
        self._holder = subprocess.Popen(
            [*UNSHARE[:5], "sh", "-c", up], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._holder.stdout is not None and self._holder.stdout.readline() == "up\n"
        self.inside = ["nsenter", f"--target={self._holder.pid}", "--user", "--net", "--preserve-credentials"]
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, **more: str) -> dict[str, str]:
        dropped = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_ADDRESS")
        inherited = {name: value for name, value in os.environ.items() if name not in dropped}
        auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        return {**inherited, "RAY_USAGE_STATS_ENABLED": "0", "COLUMNS": "200", **auth, **more}

    def start(self, name: str, *options: str, hidden: tuple[Path, ...] = (), **variables: str) -> None:
        """A node whose host's name is `name`, with nothing in the folders that are hidden from it."""
        ray = shutil.which("ray", path=str(Path(sys.executable).parent))
        node = [ray, "start", "--node-ip-address=127.0.0.1", "--block", "--object-store-memory=100000000", *options]
        node += [f"--temp-dir={self.folder / name}"]
        covers = "".join(f"mount -t tmpfs -o ro none '{folder}' && " for folder in hidden)
        with (self.folder / f"{name}.log").open("wb") as log:
            self._nodes[name] = subprocess.Popen(
                [
                    *(*self.inside, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--mount-proc"),
                    *("sh", "-c", f'hostname {name} && {covers} exec "$@"', "sh", *node),
                ],
                env=self.environment(**variables),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """At once, with all of its processes: the first one of their namespace ends, and the kernel ends the others."""
        node = self._nodes.pop(name)
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def close(self) -> None:
        for name in list(self._nodes):
            self.kill(name)
        self._holder.kill()
        self._holder.wait()
