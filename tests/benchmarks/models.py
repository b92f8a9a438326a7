"""The networks that the optimizer is measured on: one of small matrices, one of convolutions, one of attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hpsearch.tasks.models import mlp
from hpsearch.tasks.networks.attention import TransformerBlock
from hpsearch.tasks.networks.layers import Layers
from hpsearch.tasks.networks.resnet import resnet18 as any_resnet18
from hpsearch.tasks.networks.vit import VisionTransformer


class Problem(NamedTuple):
    """A model, a batch, and the mean loss on a batch."""

    model: nn.Module
    batch: tuple[Tensor, Tensor]
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor]


def classify(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())


def small_mlp(batch: int = 128) -> Problem:
    """64-128-128-10, as the digits task's."""
    torch.manual_seed(0)
    return Problem(mlp(64, (128, 128), 10), (torch.randn(batch, 64), torch.randint(0, 10, (batch,))), classify)


def resnet18(batch: int = 128) -> Problem:
    """ResNet-18 in its CIFAR form (3x3 stem, no pooling; He et al. 2015), with GroupNorm: 11.2 M parameters."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.GroupNorm(32, 64), nn.ReLU()]
    for width_in, width, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [Block(width_in, width, stride), Block(width, width, 1)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    return Problem(model, (torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))), classify)


class Block(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width_in, width, 3, stride, 1, bias=False),
            nn.GroupNorm(32, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.GroupNorm(32, width),
        )
        shape_changes = stride != 1 or width_in != width
        self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False) if shape_changes else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.relu(self.body(inputs) + self.shortcut(inputs))


class Transformer(nn.Module):
    """Four pre-norm layers of width 128 over 64 bytes: 0.86 M parameters."""

    def __init__(self, width: int = 128, length: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.bytes = nn.Embedding(256, width)
        self.places = nn.Parameter(torch.randn(length, width) * 0.02)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
                for _ in range(depth)
            )
        )
        self.head = nn.Linear(width, 256)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.layers(self.bytes(inputs) + self.places))


def transformer(batch: int = 128) -> Problem:
    torch.manual_seed(0)
    return Problem(Transformer(), (torch.randint(0, 256, (batch, 64)), torch.randint(0, 256, (batch, 64))), classify)


class GPT(nn.Module):
    """Two layers of width 64 over 32 bytes, the head not tied: 0.13 M parameters."""

    def __init__(self, width: int = 64, length: int = 32, depth: int = 2) -> None:
        super().__init__()
        self.bytes, self.places = nn.Embedding(256, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, 4, causal=True, bias=False) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 256, bias=False))

    def forward(self, inputs: Tensor) -> Tensor:
        places = torch.arange(inputs.shape[1], device=inputs.device).expand_as(inputs)
        return self.head(self.blocks(self.bytes(inputs) + self.places(places)))


def gpt(batch: int = 128) -> Problem:
    torch.manual_seed(0)
    return Problem(GPT(), (torch.randint(0, 256, (batch, 32)), torch.randint(0, 256, (batch, 32))), classify)


def thin_resnet(batch: int = 128) -> Problem:
    """ResNet-18 of an eighth of the width on images of 16 pixels: 0.18 M parameters."""
    torch.manual_seed(0)
    model = any_resnet18(3, 10, Layers("group", 0.125, 32))
    return Problem(model, (torch.randn(batch, 3, 16, 16), torch.randint(0, 10, (batch,))), classify)


def thin_vit(batch: int = 128) -> Problem:
    """DeiT-Ti's 12 layers with 48 dimensions in place of 192, patches of 4 x 4 pixels of 16 x 16: 0.34 M parameters."""
    torch.manual_seed(0)
    model = VisionTransformer(3, 16, 10, patch=4, head_dim=16)
    return Problem(model, (torch.randn(batch, 3, 16, 16), torch.randint(0, 10, (batch,))), classify)
