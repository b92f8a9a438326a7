"""The cross-entropy of many trials' samples, in an order of operations that suits a CPU where classes are few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

FEW = 32  # classes


class FewClasses(TorchFunctionMode):
    """Within it torch.nn.functional.cross_entropy of (B, classes) logits takes its sums with samples side by side.

    torch's own kernel goes along the classes of one sample after another: of ten classes it takes ten times as long, a
    tenth of a bundle's step. For one trial alone what this does besides takes longer than that.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is nn.functional.cross_entropy:
            return _cross_entropy(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _cross_entropy(logits: Tensor, target: Tensor, **options: Any) -> Tensor:
    """options: all of them, which is how torch calls this."""
    if any(options[name] != default for name, default in USUAL.items()) or not _suits(logits, target):
        usual: Tensor = nn.functional.cross_entropy(logits, target, **options)
        return usual
    counts = target != options["ignore_index"]
    chosen = logits.T.log_softmax(0).gather(0, torch.where(counts, target, 0).unsqueeze(0)).squeeze(0)
    mean: Tensor = torch.where(counts, chosen, 0.0).sum() / counts.sum()
    return -mean


# What cross_entropy is without any option.
USUAL = {"weight": None, "size_average": None, "reduce": None, "reduction": "mean", "label_smoothing": 0.0}


def _suits(logits: Tensor, target: Tensor) -> bool:
    whole = not target.is_floating_point() and target.ndim == 1
    small = logits.ndim == 2 and logits.shape[1] <= FEW
    return whole and small and logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64)
