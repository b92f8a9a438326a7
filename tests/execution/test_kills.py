"""Kills at random moments, of whatever belongs to a run; started again, it ends with the table of a run that was left
alone.

HPSEARCH_KILLS=100 kills more often than ten times; HPSEARCH_KILL_SEED=N makes the choices of an earlier test again,
which it prints. The moments depend on the machine besides.
"""

import json
import os
import random
import signal
import time
from contextlib import suppress

import pytest

from hpsearch.results import DONE, load

KILLS = int(os.environ.get("HPSEARCH_KILLS", "10"))
SEED = int(os.environ.get("HPSEARCH_KILL_SEED", random.SystemRandom().randrange(10**6)))

OFTEN = """
from hpsearch.tasks.digits import Digits
from hpsearch.training import checkpoint

checkpoint.FIRST, checkpoint.SHARE = 0.05, 1.0

class Often(Digits):
    "Digits, in trials of some tenths of a second that are kept several times in each."
"""

# TPE never leaves its startup: what it suggests depends on nothing that packs tell in another order.
STUDY = """
name: kills
task: {name: "often:Often", label_noise: 0.2, epochs: 4, batch_size: 256}
optimizer: {momentum: 0.9, lr: 0.1}
arms:
  sam: {parameters: {rho: {low: 0.02, high: 0.5, log: true}}}
  msam: {parameters: {num_shards: {choices: [2, 4]}}, fixed: {rho: 0.2}, sampling: [{sampler: grid}]}
  fsam:
    parameters: {rho: {low: 0.02, high: 0.5, log: true}, ema_decay: {low: 0.5, high: 0.99}}
    fixed: {sigma: 1.0}
    sampling: [{sampler: random, configurations: 2}, {sampler: tpe, configurations: 2, options: {n_startup_trials: 99}}]
sampling: [{sampler: qmc, configurations: 3}]
seeds: 2
confirm: {top: 1, seeds: 2}
objectives: {val_accuracy: maximize, flops: minimize}
resources: {concurrent: 2, retries: 5, pack: 4}
"""
TRIALS = 2 * (3 + 2 + 4) + 3 * 2
TARGETS = ("driver", "worker", "worker", "worker", "raylet", "gcs_server", "group", "everything")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Ray's gcs_server takes a minute to end by SIGTERM, and the run with it.
ALLOWED = {"driver": SIGNALS, "group": SIGNALS, "gcs_server": (signal.SIGKILL,)}
WORKERS = 5  # kills in one run at most: after more than the retries a trial would count as failed
HANG = 1800  # seconds after which something hangs
AGENTS = ("ray::DashboardA", "ray::RuntimeEnv")  # of a driver killed by 9: they end by themselves, a minute later


class Killer:
    """One run folder, in which runs are started, killed and started again."""

    def __init__(self, place, draw, folder, log):
        self.place, self.draw, self.folder, self.log = place, draw, folder, log
        self.lines = place.folder / folder / "trials.jsonl"

    def run(self, wanted):
        """Starts a run and kills until it has ended, at most `wanted` times; how often that was."""
        concurrent = self.draw.choice((1, 2))
        options = ("--out", self.folder, "--no-dashboard", "--set", f"resources.concurrent={concurrent}")
        process = self.place.start("run", "study.yaml", *options)
        self.wait(process, lambda: self.holds(process))
        kills = workers = 0
        before, started = self.count(), {}
        while process.poll() is None and kills < wanted:
            self.random_moment(process)
            started |= process.started()
            target = self.draw.choice([target for target in TARGETS if target != "worker" or workers < WORKERS])
            number = self.draw.choice(ALLOWED.get(target, (signal.SIGKILL, signal.SIGTERM)))
            if not self.log:  # in any case
                target, number = "driver", signal.SIGKILL
            if target == "gcs_server" and self.count() == before:
                continue  # while Ray starts it waits a minute for it
            if not self.kill(process, started, target, number):
                continue
            kills += 1
            if target == "worker":
                workers += 1
                continue
            out, error = process.communicate()
            self.log.append(f"  -> {process.returncode}")
            # A run may have ended just before. SIGTERM may meet Ray while it sets its own handler for some ms. Of
            # everything the driver comes last, and may have seen the others go.
            killed = number == signal.SIGKILL and target in ("driver", "group", "everything")
            codes = (130, 1, -15) if not killed else (-9, 1) if target == "everything" else (-9,)
            assert process.returncode in (0, *codes), self.told(out, error)
            assert "Traceback" not in error, self.told(out, error)
        if process.poll() is None or process.returncode == 0:
            out, error = process.communicate()
            assert process.returncode == 0, self.told(out, error)
            assert "Traceback" not in error, self.told(out, error)
        self.nothing_is_left(started)
        if len(self.log) < 3 or self.draw.random() < 0.3:
            self.tear()
        return kills, process.returncode == 0

    def holds(self, process):
        lock = self.lines.with_name("lock")
        return lock.exists() and lock.read_text().startswith(f"process {process.pid} ")

    def random_moment(self, process):
        """Some seconds after the start, when Ray starts, or some tenths after one of the next results."""
        if self.draw.random() < 0.6:
            time.sleep(self.draw.uniform(0, 4))
            return
        results = self.count() + self.draw.choice((1, 2, 3))
        self.wait(process, lambda: self.count() >= results)
        time.sleep(self.draw.uniform(0, 0.4))

    def count(self):
        return self.lines.read_bytes().count(b"\n") if self.lines.exists() else 0

    def wait(self, process, until):
        end = time.monotonic() + HANG
        while process.poll() is None and not until():
            assert time.monotonic() < end, self.told("", "nothing happens")
            time.sleep(0.01)

    def kill(self, process, started, target, number):
        """Whether there was such a process."""
        if process.poll() is not None:
            return False
        ours = process.started()
        named = {
            "driver": [process.pid],
            "worker": [pid for pid, name in ours.items() if name.startswith("ray::") and name not in AGENTS],
            "group": [process.pid],
            "everything": [*ours, process.pid],
        }
        pids = named.get(target, [pid for pid, name in ours.items() if name == target])
        if target == "worker":
            pids = [self.draw.choice(pids)] if pids else []
        for pid in pids:
            with suppress(ProcessLookupError):
                (os.killpg if target == "group" else os.kill)(pid, number)
        if pids:
            self.log.append(f"{target} by {signal.Signals(number).name} with {self.count()} lines")
        return bool(pids)

    def nothing_is_left(self, started):
        until = time.monotonic() + HANG
        while left := [pid for pid, name in started.items() if name not in AGENTS and alive(pid, name)]:
            assert time.monotonic() < until, self.told("", f"still there: {[started[pid] for pid in left]}")
            time.sleep(0.05)
        for pid in (pid for pid, name in started.items() if name in AGENTS and alive(pid, name)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def tear(self):
        """What a crash of the machine in the middle of a write leaves."""
        with self.lines.open("ab") as file:
            file.write(self.draw.choice((b'{"trial_id": "torn', b"{", b"\0" * 20)))

    def told(self, out, error):
        return "\n".join([f"HPSEARCH_KILL_SEED={SEED}", *self.log, out, error])


def alive(pid, name):
    """Whether the process is there, and not another one that has its number now."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            found, _, rest = file.read().partition("(")[2].rpartition(")")
    except OSError:
        return False
    return found == name and rest.split()[0] != "Z"


@pytest.fixture
def killed_place(place):
    (place.folder / "often.py").write_text(OFTEN)
    place.study(STUDY)
    return place


def test_whatever_is_killed_whenever_the_table_is_that_of_a_run_left_alone(killed_place, same_table):
    place, draw, log = killed_place, random.Random(SEED), []
    place.run("run", "study.yaml", "--out", "alone", "--no-dashboard")
    alone = load(place.folder / "alone")
    assert len(alone) == TRIALS and set(alone["status"]) <= set(DONE)
    assert set(alone["together"]) == {2, 4}  # the two seeds of what is suggested, and four trials of what is not

    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        killer, whole = Killer(place, draw, f"killed-{rounds}", log), False
        while not whole:
            done, whole = killer.run(KILLS - kills)
            kills += done
        log.append(f"whole after {kills} kills")
        lines = []
        for line in killer.lines.read_bytes().splitlines():
            with suppress(ValueError):  # torn
                lines.append(json.loads(line))
        done = [line["trial_id"] for line in lines if line["status"] in DONE]
        assert len(done) == len(set(done)) == TRIALS, killer.told("", "")
        assert list((place.folder / killer.folder / "checkpoints").glob("*")) == [], killer.told("", "")
        try:
            same_table(load(place.folder / killer.folder), alone)
        except AssertionError as error:
            raise AssertionError(killer.told("", str(error))) from error
    print("\n".join(log))
