"""Sobol' points may be drawn wherever Ctrl-C may come."""

from __future__ import annotations

from functools import cache
from threading import Thread


@cache
def load_direction_numbers() -> None:
    """Has SciPy load its direction numbers; call it before the first Sobol' point of a process.

    SciPy loads them within a C function that swallows exceptions: a KeyboardInterrupt there would leave zeros, and
    wrong points that nothing tells of. Signals reach the main thread only, so another one loads them; once they are
    loaded no Python code runs there.
    """
    thread = Thread(target=_draw, name="direction numbers")
    thread.start()
    thread.join()


def _draw() -> None:
    from scipy.stats import qmc  # 0.5 s that other commands do without

    qmc.Sobol(1).random(1)
