"""Which passes of a step that perturbs update BatchNorm's running statistics; other steps' one pass always does.

| policy      | the running statistics come from                                            |
|-------------|-----------------------------------------------------------------------------|
| "clean"     | the clean passes only, as in google-research/sam and the F-SAM authors' code |
| "perturbed" | the perturbed passes only                                                   |
| "both"      | all passes: what happens when nobody takes care                             |
| "none"      | no pass                                                                     |
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

POLICIES = ("clean", "perturbed", "both", "none")


def norm_layers(model: nn.Module | None) -> list[_NormBase]:
    """The modules that can have running statistics."""
    return [] if model is None else [m for m in model.modules() if isinstance(m, _NormBase)]


def running(layers: list[_NormBase]) -> list[_NormBase]:
    """Those that update running statistics in a forward pass now."""
    return [layer for layer in layers if layer.training and layer.track_running_stats]


@contextmanager
def frozen_statistics(norms: list[_NormBase]) -> Iterator[None]:
    """Within, these modules normalise with the batch as always but update no running statistic."""
    kept = [(module, module.running_mean, module.running_var) for module in norms]
    try:
        for module in norms:
            module.track_running_stats = False
            module.running_mean = module.running_var = None  # InstanceNorm updates those it has, whatever the switch
        yield
    finally:
        for module, mean, variance in kept:
            module.track_running_stats = True
            module.running_mean, module.running_var = mean, variance
