"""breast_cancer: scikit-learn's Wisconsin table, 569 rows of 30 numbers; 300 train, 120 validate, 149 test."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from hpsearch.streams import generator
from hpsearch.tasks.models import mlp
from hpsearch.tasks.noise import symmetric_noise
from hpsearch.tasks.protocol import Classification, Data, OptionError


class BreastCancer(Classification):
    """Two classes, an MLP with two hidden layers of `width`; `label_noise` as in digits."""

    def __init__(self, width: int = 64, label_noise: float = 0.0) -> None:
        if width < 1:
            raise OptionError("width", width, "a whole number >= 1")
        if not 0 <= label_noise < 1:
            raise OptionError("label_noise", label_noise, "a share in [0, 1)")
        self.width, self.label_noise = width, label_noise

    def data(self, seed: int) -> Data:
        rows, labels = _table()
        train = labels[:300]
        if self.label_noise > 0:
            train = symmetric_noise(train, self.label_noise, 2, generator(seed, "label noise"))
        return Data((rows[:300], train), (rows[300:420], labels[300:420]), (rows[420:], labels[420:]))

    def model(self) -> nn.Module:
        return mlp(30, (self.width, self.width), 2)


@cache
def _table() -> tuple[Tensor, Tensor]:
    """Columns standardised by the training rows (569, 30) and labels (569,), in one fixed random order."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    order = torch.randperm(len(found.target), generator=generator(0, "breast_cancer split"))
    rows = torch.tensor(found.data, dtype=torch.float64)[order]
    mean, spread = rows[:300].mean(0), rows[:300].std(0)
    return ((rows - mean) / spread).float(), torch.tensor(found.target, dtype=torch.int64)[order]
