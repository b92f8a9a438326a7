"""SAM-ON: only the normalisation layers are perturbed (arXiv 2306.04226)."""

from __future__ import annotations

from torch import Tensor, nn


def normalization(model: nn.Module) -> list[Tensor]:
    """The parameters of all modules whose class is named as a normalisation: BatchNorm2d, LayerNorm, LlamaRMSNorm.

    Raises ValueError when there are none.
    """
    found: list[Tensor] = [
        parameter
        for module in model.modules()
        if "norm" in type(module).__name__.lower()
        for parameter in module.parameters(recurse=False)
    ]
    if not found:
        raise ValueError("perturb='normalization' needs normalisation layers with parameters, but the model has none")
    return found
