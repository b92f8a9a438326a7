"""Wide ResNets (Zagoruyko & Komodakis 2016, arXiv 1605.07146), B(3, 3) blocks without dropout."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from hpsearch.tasks.networks.layers import Layers, convolution, he_, mean_over_pixels


def wide_resnet(depth: int, factor: int, channels: int, classes: int, layers: Layers) -> nn.Module:
    """WRN-depth-factor, (N, channels, H, W) -> (N, classes). depth is 6 n + 4.

    At 3 channels, 10 classes and width 1, WRN-28-10 has 36,479,194 parameters and WRN-16-8 has 10,961,370.
    """
    return WideResNet(depth, factor, channels, classes, layers)


class WideResNet(nn.Module):
    """A stem of 16 channels, three stages of (depth - 4) / 6 blocks, then normalisation, ReLU and the mean.

    Initialised as the authors' code does: He's normal distribution, head biases zero, no normalisation at zero.
    """

    def __init__(self, depth: int, factor: int, channels: int, classes: int, layers: Layers) -> None:
        super().__init__()
        stem = layers.channels(16)
        stages = [layers.channels(published * factor) for published in (16, 32, 64)]
        blocks: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(pairwise((stem, *stages))):
            blocks.append(Block(inputs, outputs, 1 if number == 0 else 2, layers))
            blocks += [Block(outputs, outputs, 1, layers) for _ in range((depth - 4) // 6 - 1)]
        self.stem = convolution(channels, stem)
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(layers.normalization(stages[-1]), nn.ReLU())
        self.head = nn.Linear(stages[-1], classes)
        he_(self)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(mean_over_pixels(self.last(self.blocks(self.stem(images)))))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Normalisation and ReLU come before each convolution; a 1x1 shortcut begins after the first of them."""

    def __init__(self, inputs: int, outputs: int, stride: int, layers: Layers) -> None:
        super().__init__()
        self.before = nn.Sequential(layers.normalization(inputs), nn.ReLU())
        self.residual = nn.Sequential(
            convolution(inputs, outputs, 3, stride),
            layers.normalization(outputs),
            nn.ReLU(),
            convolution(outputs, outputs),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else convolution(inputs, outputs, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        ready = self.before(maps)
        shortcut = maps if self.shortcut is None else self.shortcut(ready)
        return self.residual(ready) + shortcut  # type: ignore[no-any-return]
