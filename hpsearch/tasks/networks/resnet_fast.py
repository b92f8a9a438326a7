"""The nine-layer residual network of the DAWNBench CIFAR-10 entries (D. Page, "How to train your ResNet", 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from hpsearch.tasks.networks.layers import Layers, convolution, halving

LOGIT_SCALE = 0.125  # as published: it keeps the first steps small at a high learning rate


def resnet_fast(channels: int, classes: int, layers: Layers) -> nn.Module:
    """(N, channels, H, W) -> (N, classes); 6,573,120 parameters at 3 channels, 10 classes, width 1."""
    return ResNetFast(channels, classes, layers)


class ResNetFast(nn.Module):
    """Eight 3x3 convolutions and a linear layer without bias; residuals in the first and third stage only.

    Weights begin as torch's layers do, as in the source; there is no normalisation at zero.
    """

    def __init__(self, channels: int, classes: int, layers: Layers) -> None:
        super().__init__()
        first, second, third, last = (layers.channels(published) for published in (64, 128, 256, 512))
        self.features = nn.Sequential(
            _step(channels, first, layers),
            _step(first, second, layers),
            halving(),
            Residual(second, layers),
            _step(second, third, layers),
            halving(),
            _step(third, last, layers),
            halving(),
            Residual(last, layers),
        )
        self.head = nn.Linear(last, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)  # (N, 512 * width, H / 8, W / 8)
        return self.head(maps.amax((2, 3))) * LOGIT_SCALE  # type: ignore[no-any-return]


class Residual(nn.Module):
    """x + two convolutions of it, each with normalisation and ReLU."""

    def __init__(self, channels: int, layers: Layers) -> None:
        super().__init__()
        self.steps = nn.Sequential(_step(channels, channels, layers), _step(channels, channels, layers))

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.steps(maps)  # type: ignore[no-any-return]


def _step(inputs: int, outputs: int, layers: Layers) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, outputs), layers.normalization(outputs), nn.ReLU())
