"""ResNet-18 for small images (He et al. 2016, arXiv 1512.03385), in the form that is usual for CIFAR."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from hpsearch.tasks.networks.layers import Layers, convolution, he_, mean_over_pixels


def resnet18(channels: int, classes: int, layers: Layers) -> nn.Module:
    """(N, channels, H, W) -> (N, classes); 11,173,962 parameters at 3 channels, 10 classes, width 1."""
    return ResNet18(channels, classes, layers)


class ResNet18(nn.Module):
    """A 3x3 stem without max-pooling, four stages of two blocks each, 1x1 convolutions where the shape changes.

    No last normalisation of a block begins at zero: neither the paper nor the usual CIFAR code does that.
    """

    def __init__(self, channels: int, classes: int, layers: Layers) -> None:
        super().__init__()
        stem, *stages = (layers.channels(published) for published in (64, 64, 128, 256, 512))
        blocks: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(pairwise((stem, *stages))):
            blocks += [Block(inputs, outputs, 1 if number == 0 else 2, layers), Block(outputs, outputs, 1, layers)]
        self.stem = nn.Sequential(convolution(channels, stem), layers.normalization(stem), nn.ReLU())
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(stages[-1], classes)
        he_(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(mean_over_pixels(self.blocks(self.stem(images))))  # type: ignore[no-any-return]


class Block(nn.Module):
    """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, layers: Layers) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            convolution(inputs, outputs, 3, stride),
            layers.normalization(outputs),
            nn.ReLU(),
            convolution(outputs, outputs),
            layers.normalization(outputs),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(convolution(inputs, outputs, 1, stride), layers.normalization(outputs))
        )

    def forward(self, maps: Tensor) -> Tensor:
        return nn.functional.relu(self.residual(maps) + self.shortcut(maps))
