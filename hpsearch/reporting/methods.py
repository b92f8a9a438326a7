"""What each statistic of the report is, in words, and where it comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# Names of the document's methods, and their sources.
TITLES = {
    "attainment": (
        "Attainment, hypervolume",
        "Grunert da Fonseca, Fonseca, Hall 2001; López-Ibáñez, Paquete, Stützle 2010",
    ),
    "confirmation": ("Interval after confirmation", ""),
    "cross_validation": ("How well the surrogate predicts", ""),
    "equal_budget": ("Arms at equal budgets", "Dodge et al. 2019, arXiv 1909.03004"),
    "expected_loss": ("Cost of a wrong value", ""),
    "fanova": ("fANOVA", "Hutter, Hoos, Leyton-Brown 2014"),
    "front": ("Probability of being on the front", ""),
    "importance": (
        "Shares of variance",
        "Sobol’ 1993; Owen 2014 (Shapley effects); Durrande et al. 2013 (ANOVA kernels)",
    ),
    "improvement": ("Probability of improvement", "Agarwal et al. 2021, arXiv 2108.13264"),
    "marginal_curve": ("Marginal curve", ""),
    "pair_map": ("Map", ""),
    "paired_difference": ("Arms against the first", ""),
    "ped_anova": ("PED-ANOVA", "Watanabe, Bansal, Hutter 2023, arXiv 2304.10255"),
    "robust_optimum": ("Robust choice", ""),
    "safe_levels": ("Safe levels", ""),
    "safe_range": ("Safe range", ""),
    "seed_effect": ("What a seed adds to all", ""),
    "selection": ("Selected mean", ""),
    "spread": ("Spread over the ranges", ""),
    "tunability": ("Tunability", "Probst, Boulesteix, Bischl 2019"),
    "tuning_curve": ("Tuning curves", "Lourie, Cho, He 2023, arXiv 2311.09480"),
}

OPTIMIZERS = (
    ("SAM", "Foret et al. 2021, arXiv 2010.01412"),
    ("mSAM", "Behdin et al. 2022, arXiv 2212.04343"),
    ("F-SAM", "Li et al. 2024, arXiv 2403.12350"),
)


@dataclass(frozen=True)
class Method:
    """texts: one for each way in which the document's numbers were computed, with what n counts and what is assumed."""

    title: str
    source: str
    texts: tuple[str, ...]


def methods(document: dict[str, Any]) -> tuple[Method, ...]:
    """The methods that a number of this document names."""
    found: dict[str, list[str]] = {}
    for key, entry in document["methods"].items():
        assumes = f" Assumes: {entry['assumes']}." if entry["assumes"] else ""
        text = f"{entry['text'].rstrip('.')}; n counts {entry['n_counts']}.{assumes}"
        found.setdefault(re.sub(r"_\d+$", "", key), []).append(text)
    return tuple(Method(*TITLES.get(key, (key, "")), tuple(texts)) for key, texts in found.items())
