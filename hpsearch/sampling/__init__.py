"""Samplers by name: sequences that are fixed beforehand, and Optuna's by ask and tell, one configuration at a time.

The names here come when they are first used: what only counts configurations does not wait for Optuna.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpsearch.sampling.adaptive import Adaptive, Asked
    from hpsearch.sampling.ahead import Ahead
    from hpsearch.sampling.build import missing_package, try_options
    from hpsearch.sampling.distributions import Params
    from hpsearch.sampling.grid import grid_size
    from hpsearch.sampling.options import ADAPTIVE, DEFAULTS_IN_WORDS, FINITE, MAX_GRID, OPTIONS, SAMPLERS
    from hpsearch.sampling.sequence import Sequence, random_points

__all__ = [
    "ADAPTIVE",
    "DEFAULTS_IN_WORDS",
    "FINITE",
    "MAX_GRID",
    "OPTIONS",
    "SAMPLERS",
    "Adaptive",
    "Ahead",
    "Asked",
    "Params",
    "Sequence",
    "grid_size",
    "missing_package",
    "random_points",
    "try_options",
]

_HOME = {
    "Ahead": "ahead",
    "Adaptive": "adaptive",
    "Asked": "adaptive",
    "missing_package": "build",
    "try_options": "build",
    "Params": "distributions",
    "grid_size": "grid",
    "Sequence": "sequence",
    "random_points": "sequence",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib

        return getattr(importlib.import_module(f"hpsearch.sampling.{_HOME.get(name, 'options')}"), name)
    raise AttributeError(f"module 'hpsearch.sampling' has no attribute {name!r}")
