"""The first layer of every image network: raw pixels to what the network is trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Raw images uint8 (N, C, H, W) to float32 of mean 0 and standard deviation 1 per channel, on their device.

    mean, std: of each channel's values in [0, 1]. A batch stays a quarter of its size until it reaches the network.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        means, stds = (torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1) for values in (mean, std))
        self.register_buffer("scale", (1 / (255 * stds)).float())
        self.register_buffer("offset", (-means / stds).float())

    def forward(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.offset, images.float(), self.scale)
