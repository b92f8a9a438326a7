"""digits: scikit-learn's 1797 handwritten digits of 8x8 pixels; 1000 train, 350 validate, 447 test."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from hpsearch.streams import generator
from hpsearch.tasks.models import convnet, mlp
from hpsearch.tasks.noise import symmetric_noise
from hpsearch.tasks.protocol import Classification, Data, OptionError


class Digits(Classification):
    """Ten classes. `label_noise`: the share of wrong training labels, drawn for each seed; val and test are clean."""

    def __init__(self, model: Literal["mlp", "convnet"] = "mlp", label_noise: float = 0.0) -> None:
        if not 0 <= label_noise < 1:
            raise OptionError("label_noise", label_noise, "a share in [0, 1)")
        self.network, self.label_noise = model, label_noise

    def data(self, seed: int) -> Data:
        images, labels = _digits()
        train = labels[:1000]
        if self.label_noise > 0:
            train = symmetric_noise(train, self.label_noise, 10, generator(seed, "label noise"))
        return Data((images[:1000], train), (images[1000:1350], labels[1000:1350]), (images[1350:], labels[1350:]))

    def model(self) -> nn.Module:
        return mlp(64, (128, 128), 10) if self.network == "mlp" else convnet(8, 16, 10)


@cache
def _digits() -> tuple[Tensor, Tensor]:
    """Pixels in [0, 1] (1797, 64) and labels (1797,), in one fixed random order."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = torch.randperm(len(found.target), generator=generator(0, "digits split"))
    images = torch.tensor(found.data, dtype=torch.float32) / 16
    return images[order], torch.tensor(found.target, dtype=torch.int64)[order]
