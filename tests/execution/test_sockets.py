"""What listens while a study runs, and what is told to anybody."""

import ipaddress
import json
import os
import signal
import socket
import struct
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from hpsearch.execution.session import PORTS

SLOW = """
name: slow
task: {name: "mine:slow"}
arms: {a: {parameters: {x: {low: 0, high: 1}}}}
sampling: [{sampler: random, configurations: 500}]
seeds: 2
objectives: {val_accuracy: maximize}
resources: {concurrent: 1}
"""
LISTENS = "0A"


def listening(pids):
    """(address, port, name of the process) of every TCP socket of these processes that listens, from /proc."""
    owners = {}
    for pid, name in pids.items():
        owners |= {link[8:-1]: name for link in open_files([pid]) if link.startswith("socket:[")}
    found = []
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTENS and rest[5] in owners:
                address, port = local.split(":")
                words = [struct.pack("=I", int(address[k : k + 8], 16)) for k in range(0, len(address), 8)]
                found.append((socket.inet_ntop(family, b"".join(words)), int(port, 16), owners[rest[5]]))
    return found


def on_loopback(address):
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def test_the_test_sees_what_listens_and_where():
    with (
        socket.create_server(("0.0.0.0", 0)) as wide,
        socket.create_server(("127.0.0.1", 0)) as narrow,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        found = {port: address for address, port, _ in listening({os.getpid(): "me"})}
        ports = [one.getsockname()[1] for one in (wide, narrow, six)]
    assert [found[port] for port in ports] == ["0.0.0.0", "127.0.0.1", "::1"]
    assert [on_loopback(found[port]) for port in ports] == [False, True, True]
    assert not on_loopback("::") and on_loopback("::ffff:127.0.0.1") and not on_loopback("::ffff:10.0.0.1")


def test_nothing_listens_beyond_this_machine_and_nothing_phones_home(place, gone, monkeypatch):
    """With the dashboard, and where the user's settings of Ray ask for usage reports."""
    place.study(SLOW)
    home = place.folder / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "config.json").write_text(json.dumps({"usage_stats": True}))
    monkeypatch.setenv("HOME", str(home))  # of the process that is started cold
    process = place.start_cold("run", "study.yaml")
    lines = place.folder / "runs" / "slow" / "trials.jsonl"
    place.wait_for_results(lines, process, 2)
    while True:  # until Ray's agents listen, too, for which nothing in a run waits
        ours = place.below(process.pid)
        found = listening({process.pid: "driver", **ours})
        names = Counter(name for _, _, name in found)
        if names["ray::DashboardA"] >= 3 and names["ray::RuntimeEnv"] >= 1:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    files = [Path(link) for link in open_files(ours) if "/session_" in link]
    sessions = {path for file in files for path in file.parents if path.name.startswith("session_")}
    ports = [int(file.read_text()) for session in sessions for file in session.glob("dashboard_agent_listen_port_*")]
    environments = {pid: Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in ours if is_ray(ours[pid])}
    process.send_signal(signal.SIGTERM)
    process.communicate()
    gone(ours)

    assert any(name == "gcs_server" for _, _, name in found), found
    assert any(name == "raylet" for _, _, name in found), found
    assert [one for one in found if not on_loopback(one[0])] == []
    assert ports and all(port in range(*PORTS) for port in ports)  # told, or the raylet would have waited for them
    assert environments and all(b"RAY_USAGE_STATS_ENABLED=0" in found for found in environments.values())
    assert sessions and not any((session / "usage_stats.json").exists() for session in sessions)
    assert all(session.parents[1].stat().st_mode & 0o077 == 0 for session in sessions)  # nobody else comes to them


def open_files(pids):
    for pid in pids:
        with suppress(FileNotFoundError):  # it has ended
            for link in os.listdir(f"/proc/{pid}/fd"):
                with suppress(FileNotFoundError):  # it was closed
                    yield os.readlink(f"/proc/{pid}/fd/{link}")


def is_ray(name):
    return name in ("gcs_server", "raylet")
