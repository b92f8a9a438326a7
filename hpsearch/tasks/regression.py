"""The base class that makes a regression task of two methods: squared error, its root in the target's unit, and R^2."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, final

from torch import Tensor, nn

from hpsearch.tasks.protocol import Data


class Regression(ABC):
    """A regression of one number: a subclass gives data() and model().

    target_sd: what one unit of data()'s targets is in the target's own unit. Standardise the targets, or a learning
    rate that is right for one table is wrong for the next.
    """

    semantics: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("loss", "rmse", "r2")
    target_sd: float = 1.0

    @abstractmethod
    def data(self, seed: int) -> Data:
        """Splits of (inputs, targets) with targets (N,) of floating point numbers."""

    @abstractmethod
    def model(self) -> nn.Module:
        """A network from inputs to predictions (N,) or (N, 1)."""

    @final
    def measure(self, model: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        inputs, targets = batch
        loss = nn.functional.mse_loss(model(inputs).reshape(targets.shape), targets)
        if model.training:
            return {"loss": loss}
        exact = targets.double()  # the variance is a difference of these two
        return {"loss": loss, "target": exact.mean(), "target_square": exact.square().mean()}

    @final
    def summarize(self, means: Mapping[str, float]) -> dict[str, float]:
        """loss (in squared units of data()'s targets), rmse (in the target's unit), r2 (1 is perfect)."""
        variance = means["target_square"] - means["target"] ** 2
        r2 = 1 - means["loss"] / variance if variance > 0 else math.nan
        return {"loss": means["loss"], "rmse": math.sqrt(means["loss"]) * self.target_sd, "r2": r2}

    @final
    def chance(self, data: Data) -> dict[str, float]:
        """The predictor that always gives the training mean."""
        mean = data.train[1].double().mean()
        chance = {"train_loss": float((data.train[1] - mean).square().mean())}
        for name, (_, targets) in (("val", data.val), ("test", data.test)):
            exact = targets.double()
            means = {
                "loss": float((exact - mean).square().mean()),
                "target": float(exact.mean()),
                "target_square": float(exact.square().mean()),
            }
            chance |= {f"{name}_{metric}": value for metric, value in self.summarize(means).items()}
        return chance
