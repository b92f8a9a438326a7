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
        module = _LossModule(loss, model)

        def of(weights: Tensors, *batch: Any) -> Tensor:
            found: Tensor = functional_call(module, dict(zip(keys, weights, strict=True)), batch)
            return found

        self._of = grad_and_value(of)

    def __call__(self, weights: Tensors, stacked: tuple[Any, ...], own: bool) -> tuple[Tensors, Tensor]:
        """(gradients, each (m, *shape); losses, (m,)) at weights that are each shard's own, (m, *shape), or shared."""
        in_dims = (0 if own else None, *(0 for _ in stacked))
        found, losses = vmap(self._of, in_dims=in_dims, randomness="different")(weights, *stacked)
        return list(found), losses


class _LossModule(nn.Module):
    """functional_call needs a module: one whose output is the loss."""

    def __init__(self, loss: Loss, model: nn.Module) -> None:
        super().__init__()
        self.loss, self.model = loss, model

    def forward(self, *batch: Any) -> Tensor:
        return self.loss(self.model, *batch)


def perturbed_weights(bundles: list[Bundle], metric: Metric | None, parameters: Tensors, clean: Tensors) -> Tensors:
    """w + eps_j for each shard j, each (m, *shape); `clean`, stacked too, becomes T^2 d_j where it is perturbed."""
    m = clean[0].shape[0]
    square = torch.zeros(m, dtype=clean[0].dtype, device=clean[0].device)
    for bundle in bundles:
        directions = [clean[index] for index in bundle.indices]
        known = [i for i, ema in enumerate(bundle.ema) if ema is not None]
        if known:
            F.direction_([directions[i] for i in known], [bundle.ema[i] for i in known], bundle.group["sigma"])  # type: ignore[misc]
        if metric is not None:
            metric(directions, bundle.weights, bundle.parameters)
        for direction in directions:
            square += direction.reshape(m, -1).square().sum(1)
        if metric is not None:
            metric(directions, bundle.weights, bundle.parameters)
    weights = [parameter.detach().expand(m, *parameter.shape) for parameter in parameters]
    for bundle in bundles:
        scale = bundle.rho() / (square.sqrt() + F.TINY)
        for index in bundle.indices:
            shape = (m,) + (1,) * parameters[index].dim()
            weights[index] = torch.addcmul(weights[index], clean[index], scale.view(shape).to(clean[index].dtype))
    return weights


def stack(batch: tuple[Any, ...], num_shards: int) -> tuple[Tensor, ...] | None:
    """The batch's tensors as (num_shards, size of a shard, …), or None where they cannot be cut evenly."""
    if not all(isinstance(part, Tensor) and part.dim() > 0 and part.shape[0] % num_shards == 0 for part in batch):
        return None
    if not batch or len({part.shape[0] for part in batch}) != 1 or batch[0].shape[0] == 0:
        return None
    return tuple(part.reshape(num_shards, -1, *part.shape[1:]) for part in batch)


def mean_over_shards(stacked: Tensors, shares: Tensor) -> Gradients:
    return [torch.tensordot(shares.to(each.dtype), each, 1) for each in stacked]


def pays(
    shards: VectorizedShards, loss: Loss, model: nn.Module, parameters: Tensors, stacked: tuple[Tensor, ...]
) -> bool:
    """Whether two vectorised evaluations take less time here than twice the shards' own, one after another.

    Medians of five, after one to warm up. Changes neither weights nor .grad; draws from the global generators.
    """
    m = stacked[0].shape[0]

    def together() -> None:
        shared = [parameter.detach() for parameter in parameters]
        shards(shared, stacked, own=False)
        shards([weight.expand(m, *weight.shape) for weight in shared], stacked, own=True)

    def in_turn() -> None:
        for _ in range(2):
            for index in range(m):
                torch.autograd.grad(loss(model, *(part[index] for part in stacked)), parameters, allow_unused=True)

    return _seconds(together, stacked[0].device) < _seconds(in_turn, stacked[0].device)


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    times = []
    for _ in range(6):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return median(times[1:])
