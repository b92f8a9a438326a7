"""A Vision Transformer for small images (Dosovitskiy et al. 2021, arXiv 2010.11929; DeiT-Ti, arXiv 2012.12877)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hpsearch.tasks.networks.attention import TransformerBlock
from hpsearch.tasks.networks.layers import Layers

PATCH, DEPTH, HEADS, HEAD_DIM = 4, 12, 3, 64


def vit_tiny(channels: int, side: int, classes: int, layers: Layers) -> nn.Module:
    """(N, channels, side, side) -> (N, classes); DeiT-Ti's 12 layers of 192 dimensions, with patches of 4x4.

    5,362,762 parameters at 3 channels, side 32, 10 classes, width 1. A width changes the 64 dimensions of each head.
    """
    return VisionTransformer(channels, side, classes, patch=PATCH, head_dim=layers.channels(HEAD_DIM))


class VisionTransformer(nn.Module):
    """Class token, learned positions, pre-norm blocks with biases; a side that no patch divides is padded with zeros.

    Initialised as DeiT's code does: linear weights, positions and the token from a normal distribution of standard
    deviation 0.02, biases zero, the patches' convolution as torch does.
    """

    def __init__(self, channels: int, side: int, classes: int, *, patch: int, head_dim: int) -> None:
        super().__init__()
        dim, along = HEADS * head_dim, -(-side // patch)
        self.padding = along * patch - side
        self.patches = nn.Conv2d(channels, dim, patch, stride=patch)
        self.token = nn.Parameter(torch.empty(1, 1, dim))
        self.positions = nn.Parameter(torch.empty(1, 1 + along * along, dim))
        self.blocks = nn.Sequential(*(TransformerBlock(dim, HEADS, causal=False, bias=True) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)
        _initialize(self)

    def forward(self, images: Tensor) -> Tensor:
        padded = nn.functional.pad(images, (0, self.padding, 0, self.padding)) if self.padding else images
        patches = self.patches(padded).flatten(2).transpose(1, 2)  # (N, patches, dim)
        token = self.token.expand(len(images), -1, -1)
        x = torch.cat([token, patches], 1) + self.positions
        return self.head(self.norm(self.blocks(x)[:, 0]))  # type: ignore[no-any-return]


def _initialize(model: VisionTransformer) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    nn.init.normal_(model.token, std=0.02)
    nn.init.normal_(model.positions, std=0.02)
