"""Label noise, the setting in which sharpness-aware training gains most."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog (Patrini et al. 2017, arXiv 1609.03683, section 5).
CIFAR10_SWAPS: Mapping[int, int] = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}


def symmetric_noise(labels: Tensor, share: float, classes: int, generator: torch.Generator) -> Tensor:
    """Labels (N,) in which exactly round(share * N) are replaced by another class, each other class as likely.

    The true class is never drawn, so `share` is the share of wrong labels (some papers draw among all classes).
    """
    wrong = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    shift = torch.randint(1, classes, (len(wrong),), generator=generator)
    noisy = labels.clone()
    noisy[wrong] = (labels[wrong] + shift) % classes
    return noisy


def asymmetric_noise(labels: Tensor, share: float, swaps: Mapping[int, int], generator: torch.Generator) -> Tensor:
    """Labels (N,) in which exactly round(share * N_c) of each class c in `swaps` (c -> wrong class) are replaced.

    `share` is of those classes alone: CIFAR-10 has five of ten, so half of it is the share of all labels. Patrini et
    al. draw each label with this probability; a fixed number keeps chance out of the rate.
    """
    noisy = labels.clone()
    for true, wrong in sorted(swaps.items()):
        rows = (labels == true).nonzero().squeeze(1)
        drawn = torch.randperm(len(rows), generator=generator)[: round(share * len(rows))]
        noisy[rows[drawn]] = wrong
    return noisy
