"""Whether a program gives what another one gives, and each of those that it computes what it would have alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

STRICT, LOOSE = 1e-6, 1e-2


def agree(found: Sequence[Tensor], expected: Sequence[Tensor], strict: bool) -> bool:
    """Whether two programs compute the same. strict: in float64, each tensor up to a millionth; of a hundredth of all
    tensors where it is less, since what should be zero (the gradient of a bias before a normalisation) is rounding.
    Else all together up to a hundredth: in float32 a ReLU's input that rounding sends to its other side changes a deep
    network's gradients that much, and mixed samples change them by more.
    """
    pairs = [_without_nan(a.double(), b.double()) for a, b in zip(found, expected, strict=True)]
    norms = torch.stack([torch.linalg.vector_norm(b) for _, b in pairs])
    apart = [torch.linalg.vector_norm(a - b) for a, b in pairs]
    whole = torch.linalg.vector_norm(norms)
    if strict:
        return bool((torch.stack(apart) <= STRICT * norms.clamp_min(0.01 * whole)).all())
    return bool(torch.linalg.vector_norm(torch.stack(apart)) <= LOOSE * whole)


def _without_nan(found: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    """0 where both are NaN, as the recall of a class is that a few samples lack."""
    both = found.isnan() & expected.isnan()
    return found.masked_fill(both, 0), expected.masked_fill(both, 0)


def in_double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


# What one of them may have while the other one's numbers are as usual, as factors. None is so large that what a loss
# asserts on a GPU (indices, probabilities) is violated, which would be the process's end; NaN is for a CPU alone.
EXTREMES = 1e3, 0.0, math.nan


def keeps_apart(compute: Callable[..., Sequence[Tensor]], weights: Sequence[Tensor], strict: bool) -> bool:
    """Whether each of two trials has its own numbers whatever the other one's are: a network that clips by the norm of
    all that it is given, say, mixes them only where that norm is large.

    compute: of weights (2, ...), results (2, ...).
    """
    found = compute(*weights)
    on_cpu = all(each.device.type == "cpu" for each in weights)
    for trial, other in ((0, 1), (1, 0)):
        told = 0
        for extreme in EXTREMES if on_cpu else EXTREMES[:-1]:
            beside = [each.clone() for each in weights]
            for tensor in beside:
                tensor[other] *= extreme
            try:
                results = compute(*beside)
            except torch.OutOfMemoryError:
                raise
            except (ValueError, RuntimeError, IndexError):  # it says nothing: such numbers may be no probabilities
                continue
            told += 1
            if not agree([each[trial] for each in results], [each[trial] for each in found], strict):
                return False
        if not told:
            return False
    return True
