"""Signals and deaths, in small processes without Ray: what the block does, and what the process leaves by."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from hpsearch.errors import RunError
from hpsearch.execution.interrupts import Interrupted, Interrupts

START = """
import os, signal, subprocess, sys, time
from hpsearch.execution import interrupts as module
from hpsearch.execution.interrupts import Interrupts, Interrupted
from hpsearch.errors import HpsearchError

def main(block, leave=True):
    try:
        with Interrupts(leave) as interrupts:
            interrupts.message = lambda: "3 are kept"
            block(interrupts)
    except HpsearchError as error:
        print("raised", type(error).__name__, error, flush=True)
        sys.exit(error.exit_code)

def ready():
    print("ready", flush=True)

def deaf(seconds=300):
    "Waits as a library does that retries when it is interrupted."
    until, told = time.monotonic() + seconds, False
    while time.monotonic() < until:
        try:
            if not told:
                told = True
                ready()
            time.sleep(0.05)
        except KeyboardInterrupt:
            print("not now", flush=True)
"""


class Process:
    def __init__(self, code):
        text = START + textwrap.dedent(code)
        self.popen = subprocess.Popen([sys.executable, "-c", text], stdout=-1, stderr=-1, text=True)
        self.wait_for("ready")

    def wait_for(self, line):
        assert self.popen.stdout.readline().strip() == line

    def send(self, number):
        self.popen.send_signal(number)

    def ended(self):
        out, error = self.popen.communicate(timeout=600)
        return self.popen.returncode, out.strip(), error.strip()


@pytest.mark.parametrize("leave", [True, False])
def test_the_first_ctrl_c_is_an_exception_that_closes_all_in_order(leave):
    code = f"""
    def block(interrupts):
        try:
            ready()
            time.sleep(300)
        finally:
            print("closed", flush=True)
    main(block, leave={leave})
    """
    process = Process(code)
    process.send(signal.SIGINT)
    assert process.ended() == (130, "closed\nraised Interrupted 3 are kept", "")


def test_the_second_ctrl_c_ends_a_process_that_does_not_listen():
    process = Process("main(lambda interrupts: deaf())")
    process.send(signal.SIGINT)
    process.wait_for("not now")
    process.send(signal.SIGINT)
    code, out, error = process.ended()
    assert (code, error) == (130, "hpsearch: 3 are kept")
    assert "raised" not in out


def test_an_end_that_takes_too_long_is_cut_short():
    process = Process("module.GRACE = 0.2\nmain(lambda interrupts: deaf())")
    process.send(signal.SIGINT)
    assert process.ended() == (130, "not now", "hpsearch: 3 are kept")


def test_sigterm_ends_at_once_a_process_that_waits_in_c():
    """The main thread holds a lock's C code, where no Python handler runs."""
    code = """
    import threading
    def block(interrupts):
        lock = threading.Lock()
        lock.acquire()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # so that no wait is interrupted
        ready()
        lock.acquire()
    main(block)
    """
    process = Process(code)
    process.send(signal.SIGTERM)
    assert process.ended() == (130, "", "hpsearch: 3 are kept")


def test_in_somebody_elses_process_sigterm_is_an_exception():
    process = Process("main(lambda interrupts: (ready(), time.sleep(300)), leave=False)")
    process.send(signal.SIGTERM)
    assert process.ended() == (130, "raised Interrupted 3 are kept", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_being_written_is_written_whole(number):
    code = """
    def block(interrupts):
        with interrupts.held():
            ready()
            sys.stdin.readline()
            print("written", flush=True)
        time.sleep(300)
    main(block)
    """
    text = START + textwrap.dedent(code)
    with subprocess.Popen([sys.executable, "-c", text], stdin=-1, stdout=-1, stderr=-1, text=True) as popen:
        assert popen.stdout.readline() == "ready\n"
        popen.send_signal(number)
        popen.stdin.write("\n")
        popen.stdin.flush()
        out, error = popen.communicate(timeout=600)
    assert popen.returncode == 130
    assert out.startswith("written\n") and "3 are kept" in out + error


def test_a_library_that_makes_another_exception_of_ctrl_c_does_not_hide_it():
    code = """
    def block(interrupts):
        try:
            ready()
            time.sleep(300)
        except KeyboardInterrupt:
            raise ImportError("numpy's C extensions failed")
    main(block)
    """
    process = Process(code)
    process.send(signal.SIGINT)
    assert process.ended() == (130, "raised Interrupted 3 are kept", "")


def test_nothing_is_written_after_a_signal_that_a_library_swallowed():
    code = """
    def block(interrupts):
        deaf(0.5)
        with interrupts.held():
            print("written", flush=True)
    main(block)
    """
    process = Process(code)
    process.send(signal.SIGINT)
    assert process.ended() == (130, "not now\nraised Interrupted 3 are kept", "")


def test_the_death_of_a_needed_process_ends_a_process_that_waits_for_it():
    code = """
    def block(interrupts):
        needed, other = (subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) for _ in range(2))
        with interrupts.while_alive({"raylet": needed.pid}, [other.pid]):
            ready()
            print(other.pid, flush=True)
            needed.kill()
            time.sleep(300)
    main(block)
    """
    process = Process(code)
    other = int(process.popen.stdout.readline())
    code, out, error = process.ended()
    assert (code, out) == (1, "")
    assert error.startswith("error: Ray's raylet died") and "goes on from there" in error
    with pytest.raises(ProcessLookupError):  # killed, and reaped by init
        for _ in range(10_000):
            os.kill(other, 0)
            time.sleep(0.01)


def test_in_somebody_elses_process_the_death_is_an_exception():
    with pytest.raises(RunError, match="raylet died"), Interrupts(leave=False) as interrupts:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)
        try:
            with interrupts.while_alive({"raylet": process.pid}):
                process.kill()
                threading.Event().wait(600)
        finally:
            process.communicate()


def test_handlers_and_descriptors_are_as_they_were_before():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    files = len(os.listdir("/proc/self/fd"))
    wakeup = signal.set_wakeup_fd(-1)
    for leave in (True, False):
        with Interrupts(leave) as interrupts, interrupts.while_alive({"mine": os.getpid()}, [os.getpid()]):
            pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(wakeup) == -1
    assert len(os.listdir("/proc/self/fd")) == files
    with pytest.raises(Interrupted), Interrupts(leave=False):
        signal.raise_signal(signal.SIGTERM)


def test_other_threads_may_use_it_without_signals():
    errors = []

    def work():
        try:
            with Interrupts(leave=False) as interrupts, interrupts.held():
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
