"""Small networks that several tasks share."""

from __future__ import annotations

from torch import nn


def mlp(inputs: int, hidden: tuple[int, ...], classes: int) -> nn.Sequential:
    """Linear and ReLU in turn: (N, inputs) -> logits (N, classes)."""
    layers: list[nn.Module] = []
    for width_in, width_out in zip((inputs, *hidden), hidden, strict=False):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear((inputs, *hidden)[-1], classes))


def convnet(side: int, width: int, classes: int) -> nn.Sequential:
    """Two 3x3 convolutions with GroupNorm: (N, side * side) grey images -> logits (N, classes).

    GroupNorm, not BatchNorm: a shard of a batch would normalise with fewer samples, which confounds num_shards.
    """
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        nn.GroupNorm(4, width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1, stride=2, bias=False),
        nn.GroupNorm(4, 2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, classes),
    )
