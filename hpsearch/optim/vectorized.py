"""All shards of a batch in one program: torch.func's vmap over per-shard gradients and per-shard weights.

m shards one after another are 2 m gradient evaluations on small batches, whose fixed cost (dispatch, kernel launches)
does not shrink with them. Vectorised they are two, with m copies of the weights. What pays depends on the model, the
device and m: `pays` measures it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from hpsearch.optim import functional as F
from hpsearch.optim.functional import Tensors
from hpsearch.optim.methods import Metric
from hpsearch.optim.passes import Gradients
from hpsearch.optim.perturbation import Bundle

Loss = Callable[..., Tensor]  # loss(model, *batch) -> mean loss; it does not call backward()


class VectorizedShards:
    """Gradients of all shards together. Parameters outside `parameters` keep their values."""

    def __init__(self, loss: Loss, model: nn.Module, parameters: Tensors) -> None:
        names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        unknown = [index for index, parameter in enumerate(parameters) if parameter not in names]
        if unknown:
            raise ValueError(f"parameter {unknown[0]} of the optimizer is not one of the model's")
        keys = [f"model.{names[parameter]}" for parameter in parameters]
        self._trained = [parameter.requires_grad for parameter in parameters]
        module = _LossModule(loss, model)

        trained = [key for key, is_trained in zip(keys, self._trained, strict=True) if is_trained]

        def of(weights: Tensors, *batch: Any) -> Tensor:
            found: Tensor = functional_call(module, dict(zip(trained, weights, strict=True)), batch)
            return found

        self._of = grad_and_value(of)

    def __call__(self, weights: Tensors, stacked: tuple[Any, ...], own: bool) -> tuple[Gradients, Tensor]:
        """(gradients, each (m, *shape); losses, (m,)) at weights that are each shard's own, (m, *shape), or shared.

        None for a parameter that is frozen.
        """
        in_dims = (0 if own else None, *(0 for _ in stacked))
        trained = [weight for weight, is_trained in zip(weights, self._trained, strict=True) if is_trained]
        found, losses = vmap(self._of, in_dims=in_dims, randomness="different")(trained, *stacked)
        each = iter(found)  # contiguous: a parameter that the loss does not use comes as one zero, expanded
        return [next(each).contiguous() if is_trained else None for is_trained in self._trained], losses


class _LossModule(nn.Module):
    """functional_call needs a module: one whose output is the loss."""

    def __init__(self, loss: Loss, model: nn.Module) -> None:
        super().__init__()
        self.loss, self.model = loss, model

    def forward(self, *batch: Any) -> Tensor:
        return self.loss(self.model, *batch)


def perturbed_weights(bundles: list[Bundle], metric: Metric | None, parameters: Tensors, clean: Gradients) -> Tensors:
    """w + eps_j for each shard j, each (m, *shape). `clean`, stacked too, becomes T^2 d_j where it is perturbed."""
    m = next(len(gradient) for gradient in clean if gradient is not None)
    squares = []
    directions = [[gradient for i in bundle.indices if (gradient := clean[i]) is not None] for bundle in bundles]
    for bundle, of_bundle in zip(bundles, directions, strict=True):
        known = [(d, ema) for d, ema in zip(of_bundle, bundle.ema, strict=bool(bundle.ema)) if ema is not None]
        if known:
            F.direction_([d for d, _ in known], [ema for _, ema in known], bundle.group["sigma"])
        if metric is not None:
            metric(of_bundle, bundle.weights, bundle.parameters)
        wide = [d.reshape(m, -1).to(torch.promote_types(d.dtype, torch.float32)) for d in of_bundle]
        squares += [d.square().sum(1) for d in wide]
        if metric is not None:
            metric(of_bundle, bundle.weights, bundle.parameters)
    weights = [parameter.detach().expand(m, *parameter.shape) for parameter in parameters]
    for bundle, of_bundle in zip(bundles, directions, strict=True):
        scale: Tensor = bundle.rho() / (torch.stack(squares).sum(0).sqrt() + F.TINY)
        for index, direction in zip(bundle.indices, of_bundle, strict=True):
            step = direction * scale.view(m, *(1 for _ in parameters[index].shape))
            weights[index] = (weights[index] + step).to(direction.dtype)
    return weights


def stack(batch: tuple[Any, ...], num_shards: int) -> tuple[Tensor, ...] | None:
    """The batch's tensors as (num_shards, size of a shard, …), or None where they cannot be cut evenly."""
    if not all(isinstance(part, Tensor) and part.dim() > 0 and part.shape[0] % num_shards == 0 for part in batch):
        return None
    if not batch or len({part.shape[0] for part in batch}) != 1 or batch[0].shape[0] == 0:
        return None
    return tuple(part.reshape(num_shards, -1, *part.shape[1:]) for part in batch)


def mean_over_shards(stacked: Gradients, shares: Tensor) -> Gradients:
    return [None if each is None else torch.tensordot(shares.to(each.dtype), each, 1) for each in stacked]


def pays(
    together: Callable[[], object], loss: Loss, model: nn.Module, parameters: Tensors, stacked: tuple[Tensor, ...]
) -> bool:
    """Whether all shards together take less time here than their own evaluations, one after another.

    Medians of five, after one to warm up. Changes neither weights nor .grad; draws from the global generators.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]

    def in_turn() -> None:
        for _ in range(2):
            for index in range(len(stacked[0])):
                with torch.enable_grad():
                    found = loss(model, *(part[index] for part in stacked))
                torch.autograd.grad(found, trained, allow_unused=True)

    return _seconds(together, stacked[0].device) < _seconds(in_turn, stacked[0].device)


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(6):
        started = time.perf_counter()
        run()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        times.append(time.perf_counter() - started)
    return median(times[1:])
