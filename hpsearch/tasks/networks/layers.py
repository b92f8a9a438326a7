"""What the convolutional networks are made of: channel counts at a width, and the normalisation that is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

NORMS = ("group", "batch", "ghost")
GROUPS = 32  # Wu & He 2018, the default


@dataclass(frozen=True)
class Layers:
    """norm: one of NORMS. width: a factor for channel counts. ghost: samples of a ghost batch."""

    norm: str
    width: float
    ghost: int

    def channels(self, published: int) -> int:
        """The channel count of the paper at this width: a multiple of 8, at least 8."""
        return max(8, 8 * round(published * self.width / 8))

    def groups(self) -> int:
        """32 as in the paper, fewer in a thin network, so that a group keeps its number of channels: a power of two.

        Groups of two channels in a map of one pixel would leave signs only. Andriushchenko & Flammarion (2022) scale
        the groups of their ResNet-18 with its width too.
        """
        return int(2 ** math.floor(math.log2(GROUPS * min(1.0, self.width))))

    def normalization(self, channels: int) -> nn.Module:
        """For maps (N, channels, H, W); `channels` is a multiple of 8."""
        if self.norm == "batch":
            return nn.BatchNorm2d(channels)
        if self.norm == "ghost":
            return GhostBatchNorm2d(channels, self.ghost)
        return nn.GroupNorm(math.gcd(self.groups(), channels // 2), channels)


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the statistics of parts of the batch (Hoffer et al. 2017, arXiv 1705.08741, algorithm 1).

    A batch of N samples is cut in order into max(1, N // ghost) parts whose sizes differ by at most one, so that no
    part is smaller than `ghost` unless the batch is. Each part updates the running statistics, one after another;
    evaluation uses those. What keeps BatchNorm's running statistics as they are does so here too.
    """

    def __init__(self, channels: int, ghost: int) -> None:
        super().__init__(channels)
        self.ghost = ghost

    def forward(self, input: Tensor) -> Tensor:
        normalize = super().forward
        if not self.training:
            return normalize(input)
        return torch.cat([normalize(part) for part in input.tensor_split(max(1, len(input) // self.ghost))])


def convolution(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
    """Padded so that stride 1 keeps the size of a map. No bias: a normalisation follows."""
    return nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False)


def he_(model: nn.Module) -> None:
    """Convolutions from He et al. 2015's normal distribution, variance 2 / (outputs * k * k), in place."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def halving() -> nn.MaxPool2d:
    """2x2 max-pooling that keeps an odd last row and a map of one pixel, so that any image size will do."""
    return nn.MaxPool2d(2, ceil_mode=True)


def mean_over_pixels(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C)."""
    return maps.mean((2, 3))
