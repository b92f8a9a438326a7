"""A training function that is run from report to report, in a thread that waits between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import torch

from hpsearch.streams import GlobalGenerators
from hpsearch.tasks.registry import TrainFunction
from hpsearch.training.cost import peak_memory, reset_peak_memory
from hpsearch.training.function import MEASURED, Report, as_report, cost_of, curve_of, outcome_of
from hpsearch.training.outcome import Outcome, Progress

CLOSE_SECONDS = 10.0  # that a function gets to end when it is stopped


class _Stop(BaseException):
    """Raised by report() in a function that is stopped; no Exception, so that the function does not catch it."""


class FunctionRun:
    """As hpsearch.training.loop.TrialRun, with a report for an epoch. One thread runs at a time: the caller's or its.

    The bits are those of run_function: the global generators are swapped out while the function waits.
    """

    ahead = 1  # who has reported may be about to return
    progress = Progress()  # nobody knows how often it will report

    def __init__(
        self, function: TrainFunction, params: Mapping[str, Any], seed: int, objectives: tuple[str, ...], device: str
    ) -> None:
        self._function, self._params, self._seed, self._objectives = function, dict(params), seed, objectives
        self._device, self._threads = torch.device(device), torch.get_num_threads()
        self._reports: list[Report] = []
        self._globals = GlobalGenerators(seed)
        self._go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"seed {seed}")
        self._error: BaseException | None = None
        self._stopping = False
        self._seconds, self._peak = 0.0, 0
        self.done = False

    @property
    def epoch(self) -> int:
        return len(self._reports)

    def run_epoch(self) -> None:
        """To the next report, or to the end. Raises what the function raised."""
        was_reset = reset_peak_memory(self._device)
        started = time.perf_counter()
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._go.release()
        self._waits.acquire()
        self._seconds += time.perf_counter() - started
        self._peak = max(self._peak, peak_memory(self._device, was_reset) or 0)
        if self._error is not None:
            self.done = True
            raise self._error

    def outcome(self) -> Outcome:
        return outcome_of(self._function, self._reports, self._objectives, self._seconds, self._peak or None)

    def stopped(self, epoch: int) -> Outcome:
        """What the trial comes to if it ends at that epoch: its curve until then, its cost, and no metrics."""
        cost = cost_of(self._reports, self._seconds, self._peak or None)
        metrics = {name: None for name in self._objectives if name not in (*MEASURED, *vars(cost))}
        return Outcome("stopped", epoch, None, metrics, cost, curve_of(self._reports[:epoch]))

    def close(self) -> None:
        """Ends a function that waits in report(). One that goes on regardless is left behind, and dies with us."""
        if self.done or self._thread.ident is None:
            return
        self._stopping = True
        self._go.release()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # a thread of its own begins with the default
        self._inside = self._globals.swapped()
        self._inside.__enter__()
        try:
            self._function(self._params, self._seed, self._report)
        except _Stop:
            pass
        except BaseException as error:
            self._error = error
        self._inside.__exit__(None, None, None)
        self.done = True
        self._waits.release()

    def _report(self, **values: Any) -> None:
        if self._stopping:
            raise _Stop
        self._reports.append(as_report(values))
        self._inside.__exit__(None, None, None)
        self._waits.release()
        self._go.acquire()
        self._inside = self._globals.swapped()
        self._inside.__enter__()
        if self._stopping:
            raise _Stop
