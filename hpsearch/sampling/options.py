"""The samplers that can be named, and what a phase may set of each."""

from __future__ import annotations

from collections.abc import Mapping

from hpsearch.hyperparameters import Hyperparameter

SAMPLERS: Mapping[str, str] = {
    "grid": "every combination of the parameters' grid values, choices or steps, in a shuffled order",
    "random": "independent uniform draws (log-uniform on log axes)",
    "qmc": "a scrambled Sobol or Halton sequence: covers the space more evenly than random draws",
    "tpe": "Optuna's tree-structured Parzen estimator: adaptive, looks where the objectives are good",
    "points": "the configurations that its option points lists, e.g. [{rho: 0.1, lr: 0.2}], in that order",
}
ADAPTIVE = ("tpe",)
FINITE = ("grid", "points")  # a phase of theirs ends by itself, and may leave out how many configurations it has
MAX_GRID = 1_000_000

# What a phase may set, by sampler. Optuna takes any value and fails at the first suggestion, so they are checked here;
# seeds are ours, and callables cannot stand in a file. None: what is right depends on the arm (hpsearch.check says).
OPTIONS: Mapping[str, Mapping[str, Hyperparameter | None]] = {
    "grid": {},
    "random": {},
    "qmc": {
        "qmc_type": Hyperparameter("choice", "sobol", choices=("sobol", "halton")),
        "scramble": Hyperparameter("switch", True),
    },
    "tpe": {
        "n_startup_trials": Hyperparameter("whole", 10, low=0),
        "n_ei_candidates": Hyperparameter("whole", 24, low=1),
        "prior_weight": Hyperparameter("number", 1.0, above=0),
        "multivariate": Hyperparameter("switch", True),
        "group": Hyperparameter("switch", False),
        "constant_liar": Hyperparameter("switch", True),
        "consider_magic_clip": Hyperparameter("switch", True),
        "consider_endpoints": Hyperparameter("switch", False),
    },
    "points": {"points": None},
}
