"""Samplers by name: sequences that are fixed beforehand, and Optuna's by ask and tell, one configuration at a time."""

from hpsearch.sampling.adaptive import Adaptive, Asked
from hpsearch.sampling.build import missing_package, try_options
from hpsearch.sampling.distributions import Params, distributions
from hpsearch.sampling.options import ADAPTIVE, DEFAULTS_IN_WORDS, FINITE, MAX_GRID, OPTIONS, SAMPLERS
from hpsearch.sampling.sequence import Sequence, grid_size, random_points

__all__ = [
    "ADAPTIVE",
    "DEFAULTS_IN_WORDS",
    "FINITE",
    "MAX_GRID",
    "OPTIONS",
    "SAMPLERS",
    "Adaptive",
    "Asked",
    "Params",
    "Sequence",
    "distributions",
    "grid_size",
    "missing_package",
    "random_points",
    "try_options",
]
