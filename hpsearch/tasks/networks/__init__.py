"""Networks for images, by name: `build`. Each is a small module of its own, in torch alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn

from hpsearch.errors import nearest
from hpsearch.tasks.networks.layers import NORMS, Layers
from hpsearch.tasks.networks.resnet import resnet18
from hpsearch.tasks.networks.resnet_fast import resnet_fast
from hpsearch.tasks.networks.vgg import vgg16
from hpsearch.tasks.networks.vit import vit_tiny
from hpsearch.tasks.networks.wide_resnet import wide_resnet
from hpsearch.tasks.protocol import OptionError

__all__ = ["NETWORKS", "NORMS", "WIDTHS", "build"]

# Parameters at 3 channels, side 32, 10 classes, width 1.
NETWORKS: Mapping[str, str] = {
    "resnet18": "ResNet-18 with a 3x3 stem and no max-pool, 11.2 M parameters",
    "wrn28-10": "Wide ResNet of depth 28 and factor 10, 36.5 M",
    "wrn16-8": "Wide ResNet of depth 16 and factor 8, 11.0 M",
    "vgg16-bn": "VGG-16 with a normalisation after each convolution and one linear layer, 14.7 M",
    "resnet-fast": "the nine-layer residual network of the DAWNBench entries, 6.6 M",
    "vit-tiny": "Vision Transformer, patch 4, 12 layers of 192 dimensions and 3 heads, 5.4 M",
}
WIDTHS = (0.125, 4.0)  # what a width may be


def build(
    name: str,
    *,
    channels: int,
    side: int,
    classes: int,
    norm: str = "group",
    width: float = 1.0,
    ghost: int = 32,
) -> nn.Module:
    """A freshly initialised network from images (N, channels, side, side) to logits (N, classes).

    norm: batch, group, or ghost (batch normalisation over parts of about `ghost` samples). vit-tiny has LayerNorm.
    width: a factor for all channel counts, which are then rounded to multiples of 8.
    The weights are drawn from torch's global generator.
    Raises OptionError with the option "model", "norm", "width" or "ghost".
    """
    check(name, norm=norm, width=width, ghost=ghost)
    layers = Layers(norm, width, ghost)
    match name:
        case "resnet18":
            return resnet18(channels, classes, layers)
        case "wrn28-10":
            return wide_resnet(28, 10, channels, classes, layers)
        case "wrn16-8":
            return wide_resnet(16, 8, channels, classes, layers)
        case "vgg16-bn":
            return vgg16(channels, classes, layers)
        case "resnet-fast":
            return resnet_fast(channels, classes, layers)
        case _:
            return vit_tiny(channels, side, classes, layers)


def check(name: str, *, norm: str = "group", width: float = 1.0, ghost: int = 32) -> None:
    """Raises OptionError as `build` would, without building: for a task's constructor."""
    if name not in NETWORKS:
        near = nearest(name, NETWORKS)
        hint = f"; did you mean {near!r}?" if near else ""
        raise OptionError("model", name, ", ".join(NETWORKS) + hint)
    if norm not in NORMS:
        near = nearest(norm, NORMS)
        hint = f"; did you mean {near!r}?" if near else ""
        raise OptionError("norm", norm, ", ".join(NORMS) + hint)
    if name == "vit-tiny" and norm != "group":
        others = ", ".join(other for other in NETWORKS if other != name)
        raise OptionError("norm", norm, f"leave norm out: vit-tiny always has LayerNorm; {norm} goes with {others}")
    low, high = WIDTHS
    if not (math.isfinite(width) and low <= width <= high):
        raise OptionError("width", width, f"a factor from {low:g} to {high:g}")
    if ghost < 2:
        raise OptionError("ghost", ghost, "a whole number of samples >= 2")
