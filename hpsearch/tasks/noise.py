"""Label noise, the setting in which sharpness-aware training gains most."""

from __future__ import annotations

import torch
from torch import Tensor


def symmetric_noise(labels: Tensor, share: float, classes: int, generator: torch.Generator) -> Tensor:
    """Labels (N,) in which exactly round(share * N) are replaced by another class, each other class as likely.

    The true class is never drawn, so `share` is the share of wrong labels (some papers draw among all classes).
    """
    wrong = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    shift = torch.randint(1, classes, (len(wrong),), generator=generator)
    noisy = labels.clone()
    noisy[wrong] = (labels[wrong] + shift) % classes
    return noisy
