"""Scores that are no mean over samples, from means that are: a split is measured batch by batch, then summarised.

`confusion` and `moments` give what measure() returns; f1, matthews and pearson read the means over the whole split.
All in float64: the sums are then exact enough that the order of the batches shows in the last digits only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

CONSTANT = 1e-12  # a variance below this share of the mean square is rounding, not spread


def confusion(predicted: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """The four cells of a two-class confusion table, as shares of the batch. Both (B,), class 1 is the positive one."""
    positive, truth = predicted == 1, targets == 1
    cells = {"tp": positive & truth, "fp": positive & ~truth, "fn": ~positive & truth, "tn": ~positive & ~truth}
    return {name: cell.double().mean() for name, cell in cells.items()}


def f1(means: Mapping[str, float]) -> float:
    """F1 of class 1 in [0, 1]; 0 where there is neither a positive prediction nor a positive label."""
    denominator = 2 * means["tp"] + means["fp"] + means["fn"]
    return 0.0 if denominator == 0 else 2 * means["tp"] / denominator


def matthews(means: Mapping[str, float]) -> float:
    """Matthews correlation in [-1, 1]; 0 where all predictions, or all labels, are of one class."""
    tp, fp, fn, tn = (means[name] for name in ("tp", "fp", "fn", "tn"))
    margins = (tp + fp, tp + fn, tn + fp, tn + fn)
    if 0.0 in margins:
        return 0.0
    return max(-1.0, min(1.0, (tp * tn - fp * fn) / math.sqrt(math.prod(margins))))


def moments(predicted: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """First and second moments of predictions and targets, both (B,), as means over the batch."""
    p, t = predicted.double(), targets.double()
    return {"p": p.mean(), "t": t.mean(), "pp": (p * p).mean(), "tt": (t * t).mean(), "pt": (p * t).mean()}


def pearson(means: Mapping[str, float]) -> float:
    """Pearson's correlation in [-1, 1]; 0 where predictions or targets are constant, NaN where they are not finite.

    Spearman's cannot be had from means over batches: ranks need the whole split at once.
    """
    p, t, pp, tt, pt = (means[name] for name in ("p", "t", "pp", "tt", "pt"))
    if not all(map(math.isfinite, (p, t, pp, tt, pt))):
        return math.nan
    variance_p, variance_t = pp - p * p, tt - t * t
    if variance_p <= CONSTANT * pp or variance_t <= CONSTANT * tt:
        return 0.0
    return max(-1.0, min(1.0, (pt - p * t) / (math.sqrt(variance_p) * math.sqrt(variance_t))))
