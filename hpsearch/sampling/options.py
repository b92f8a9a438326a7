"""The samplers that can be named, and what a phase may set of each."""

from __future__ import annotations

from collections.abc import Mapping

from hpsearch.hyperparameters import Hyperparameter

SAMPLERS: Mapping[str, str] = {
    "grid": "every combination of the parameters' grid values, choices or steps, in a shuffled order",
    "random": "independent uniform draws (log-uniform on log axes)",
    "qmc": "a scrambled Sobol or Halton sequence: covers the space more evenly than random draws",
    "tpe": "Optuna's tree-structured Parzen estimator: adaptive, looks where the objectives are good",
    "gp": "Optuna's Gaussian process: adaptive, for few and costly configurations; conditional parameters at random",
    "nsga2": "Optuna's NSGA-II: adaptive, generations of crossed configurations; conditional parameters at random",
    "cmaes": "CMA-ES: adaptive, for one objective and ranges only; needs the extra hpsearch[cmaes]",
    "points": "the configurations that its option points lists, e.g. [{rho: 0.1, lr: 0.2}], in that order",
}
ADAPTIVE = ("tpe", "gp", "nsga2", "cmaes")
FINITE = ("grid", "points")  # a phase of theirs ends by itself, and may leave out how many configurations it has
MAX_GRID = 1_000_000
CROSSOVERS = ("uniform", "blxalpha", "sbx", "spx", "undx", "vsbx")

# What a phase may set, by sampler, with Optuna's defaults. Optuna takes any value and fails at the first suggestion, so
# they are checked here; seeds are ours, and callables cannot stand in a file. None: what is right depends on the arm
# (hpsearch.check_sampling says). CMA-ES with margin is left out: it goes on from draws that no row of a run holds.
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
    "gp": {
        "n_startup_trials": Hyperparameter("whole", 10, low=1),
        "deterministic_objective": Hyperparameter("switch", False),
    },
    "nsga2": {
        "population_size": Hyperparameter("whole", 4, low=2),
        "crossover": Hyperparameter("choice", "uniform", choices=CROSSOVERS),
        "crossover_prob": Hyperparameter("number", 0.9, low=0, high=1),
        "swapping_prob": Hyperparameter("number", 0.5, low=0, high=1),
        "mutation": Hyperparameter("choice", "random", choices=("random", "polynomial")),
        "mutation_prob": Hyperparameter("number", 0.0, low=0, high=1),
    },
    "cmaes": {
        "popsize": Hyperparameter("whole", 4, low=4),
        "use_separable_cma": Hyperparameter("switch", False),
        "lr_adapt": Hyperparameter("switch", False),
    },
    "points": {"points": None},
}

# Defaults that are no single value.
DEFAULTS_IN_WORDS: Mapping[tuple[str, str], str] = {
    ("tpe", "multivariate"): "true with one objective, else false",
    ("nsga2", "population_size"): "a quarter of the phase's configurations, at least 4",
    ("nsga2", "mutation_prob"): "1 / the number of parameters",
    ("cmaes", "popsize"): "4 + 3 ln(the number of parameters), rounded down",
    ("points", "points"): "none, it must be given",
}
