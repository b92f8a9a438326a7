"""Ctrl-C, SIGTERM and the death of Ray's own processes: the run ends soon, with a message, and nothing half written."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Self

from hpsearch.errors import HpsearchError, RunError

GRACE = 10.0  # seconds that an orderly end may take after the first Ctrl-C
WRITING = 5.0  # seconds that a result which is being written may take before the process is left
SHOW_CURSOR = "\x1b[?25h"  # a live table hides it
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(HpsearchError):
    """Ctrl-C or SIGTERM: everything that had ended is on disk."""

    exit_code = 130


class Interrupts:
    """A block that Ctrl-C or SIGTERM ends with Interrupted, and the death of a watched process with RunError.

    The first Ctrl-C is a KeyboardInterrupt in the main thread, so that all is closed in order. That may never come to
    its end: the main thread waits in C++, or for a part of Ray that is gone. Where the process is the command's own
    (`leave`), a thread therefore leaves it, with the message and exit code 130, on a second signal, after GRACE, and on
    SIGTERM at once: a cluster's scheduler sends that to Ray's processes in the same moment, and without them Ray's
    library aborts the process. In somebody else's process (a notebook) there are exceptions only.

    message: what an interrupted run says; set it when there is more to say.
    """

    def __init__(self, leave: bool) -> None:
        self.message: Callable[[], str] = lambda: "interrupted"
        self._leave = leave
        self._signalled = False
        self._dead: str | None = None  # why the run cannot go on
        self._writing = threading.Lock()
        self._held = self._pending = False
        self._watched: dict[int, str] = {}  # pidfd -> whose it is
        self._others: list[int] = []  # pidfds
        self._before: dict[int, object] = {}
        self._read = self._write = self._wakeup = -1
        self._thread: threading.Thread | None = None
        self._main = threading.main_thread().ident or 0

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        if self._in_main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self.handle()
            if self._leave:  # written to by the C handler, whatever the main thread does
                self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, name="interrupts", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before and self._leave:
            signal.set_wakeup_fd(self._wakeup)
        os.write(self._write, b"\0")
        assert self._thread is not None
        self._thread.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what getsignal() gave
        for descriptor in (self._read, self._write, *self._others):
            os.close(descriptor)
        if self._dead is not None and isinstance(error, (KeyboardInterrupt, Exception)):
            raise RunError(self._dead) from None
        # A library may have made another exception of the KeyboardInterrupt.
        if isinstance(error, KeyboardInterrupt) or (self._signalled and isinstance(error, Exception)):
            raise Interrupted(self.message()) from None

    def handle(self) -> None:
        """Takes the signals; again after Ray has started, which sets handlers of its own."""
        if self._in_main_thread():
            for number in SIGNALS:
                signal.signal(number, self._stop)

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is done in the block is done whole: an interruption waits for its end.

        Not begun after a signal: a library that swallowed the KeyboardInterrupt may not have done what it was to do.
        """
        if self._signalled:
            raise KeyboardInterrupt
        with self._writing:
            self._held = True
            try:
                yield
            finally:
                self._held = False
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    @contextmanager
    def while_alive(self, needed: Mapping[str, int], others: Iterable[int] = ()) -> Iterator[None]:
        """In the block the run ends, with RunError, when one of the needed processes (name -> id) does.

        Without its raylet or its gcs_server Ray waits for ever, or for a minute and then ends the process. others: are
        killed where the process is left; they would go on for a minute.
        """
        linux = hasattr(os, "pidfd_open")
        watched = {os.pidfd_open(pid): name for name, pid in needed.items()} if linux else {}
        self._others += [os.pidfd_open(pid) for pid in others if linux and os.path.exists(f"/proc/{pid}")]
        self._watch_only(watched)
        try:
            yield
        finally:
            self._watch_only({})
            for descriptor in watched:
                os.close(descriptor)

    def _watch_only(self, watched: dict[int, str]) -> None:
        self._watched = watched
        os.write(self._write, b"\n")  # look again at what there is to watch

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        if self._held:
            self._pending = True
            return
        raise KeyboardInterrupt

    def _watch(self) -> None:
        until: float | None = None
        while True:
            watched = dict(self._watched)
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                ready, _, _ = select.select([self._read, *watched], [], [], left)
            except (OSError, ValueError):  # a process that is no longer watched: its descriptor is closed
                continue
            if until is not None and time.monotonic() >= until:
                self._go(130, self.message())
            for number in os.read(self._read, 100) if self._read in ready else b"":
                if number == 0:
                    return
                if number in SIGNALS and self._leave:
                    if until is not None or number == signal.SIGTERM:
                        self._go(130, self.message())
                    until = time.monotonic() + GRACE
            gone = [name for descriptor, name in watched.items() if descriptor in ready and descriptor in self._watched]
            if gone and self._dead is None:
                self._died(gone[0], until is not None)

    def _died(self, name: str, interrupted: bool) -> None:
        if interrupted:
            self._go(130, self.message())
        self._dead = (
            f"Ray's {name} died (out of memory, or killed); what had ended is kept, the same command goes on from there"
        )
        self._watched = {}
        if self._leave:
            self._go(1, self._dead)
        if self._before:
            signal.pthread_kill(self._main, signal.SIGINT)  # runs the handler, whatever the main thread waits for

    def _go(self, code: int, message: str) -> None:
        """Leaves the process. Ray's processes die with it: the kernel ends them when their parent is gone."""
        self._writing.acquire(timeout=WRITING)
        for descriptor in self._others:
            with suppress(OSError):  # it has ended
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        prefix = "hpsearch" if code == 130 else "error"
        cursor = SHOW_CURSOR if os.isatty(2) else ""
        os.write(2, f"{cursor}{prefix}: {message}\n".encode(errors="replace"))
        os._exit(code)

    def _in_main_thread(self) -> bool:
        return threading.current_thread() is threading.main_thread()  # signals reach no other
