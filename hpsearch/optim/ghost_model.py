"""Ghost shards of a single model: its network folded, with a shard where a pack has a trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from hpsearch.optim.folded import Called, Folded, NotFoldable, Weights
from hpsearch.optim.functional import Tensors
from hpsearch.optim.ghost import Direction, GhostShards
from hpsearch.optim.passes import Gradients
from hpsearch.optim.perturbation import Bundle
from hpsearch.optim.vectorized import Loss, VectorizedShards, mean_over_shards, perturbed_weights

FEW = 2  # shards on which the two programs are compared
AGREE = {torch.float64: 1e-9, torch.float32: 1e-3}  # of what vmap over whole copies of the weights gives


class GhostModel:
    """The passes of steps over the shards of one model. Raises NotFoldable, and says why."""

    def __init__(self, loss: Loss, model: nn.Module, parameters: Tensors) -> None:
        self._model, self._parameters = model, parameters
        names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        if any(parameter not in names for parameter in parameters):
            raise NotFoldable("a parameter of the optimizer is not one of the model's")
        if {parameter.dtype for parameter in names} - AGREE.keys():
            raise NotFoldable("a parameter is not of torch.float32 or torch.float64")
        self._names, self._folded = names, Folded(model)
        folded = dict(self._folded.network.named_modules())
        self._pairs = [(folded[name], module) for name, module in model.named_modules()]
        self.use(loss)

    def use(self, loss: Loss) -> None:
        called = Called(self._folded)

        def of(*batch: Any) -> Tensor:
            return loss(called, *batch)

        self._losses = vmap(of, randomness="different")

    def passes(self, bundles: Sequence[Bundle], stacked: Sequence[Tensor], shares: Tensor | None) -> GhostShards:
        """Of one step. stacked: each tensor of the batch, (m, b, ...). shares: (m,); None where all are alike."""
        for folded, module in self._pairs:
            folded.training = module.training
        directions = {}
        for bundle in bundles:
            averages = bundle.ema or [None] * len(bundle.parameters)
            for parameter, average in zip(bundle.parameters, averages, strict=True):
                ema = None if average is None else average.unsqueeze(0)
                directions[self._names[parameter]] = Direction(bundle.rho(), bundle.group["sigma"], ema)
        trained = {id(parameter) for parameter in self._parameters if parameter.requires_grad}
        weights: Weights = {}
        others: Weights = {}
        for parameter, name in self._names.items():
            (weights if id(parameter) in trained else others)[name] = parameter.detach().unsqueeze(0)
        self._order = {name: place for place, name in enumerate(weights)}
        return GhostShards(self._folded, self._losses, stacked, weights, others, directions, shares)

    def whole(self, found: Sequence[Tensor]) -> Gradients:
        """What the passes give, (1, ...) each, in the order of the optimizer's parameters; None for a frozen one."""
        places = [self._order.get(self._names[parameter]) for parameter in self._parameters]
        return [None if place is None else found[place].squeeze(0) for place in places]

    def agrees(self, loss: Loss, bundles: list[Bundle], stacked: Sequence[Tensor]) -> bool | None:
        """Whether it gives what vmap over whole copies of the weights gives, on a few shards; None where that has
        infinite numbers or NaN. It does not for a network that mixes the samples of a batch, say.
        """
        few = tuple(part[:FEW] for part in stacked)
        shares = torch.full((len(few[0]),), 1 / len(few[0]), device=few[0].device, dtype=self._parameters[0].dtype)
        slow = VectorizedShards(loss, self._model, self._parameters)
        clean, losses = slow([parameter.detach() for parameter in self._parameters], few, own=False)
        means = mean_over_shards(clean, shares)
        weights = perturbed_weights(bundles, None, self._parameters, clean)
        perturbed, _ = slow(weights, few, own=True)
        expected = [losses, *means, *mean_over_shards(perturbed, shares)]
        passes = self.passes(bundles, few, None)
        mine = [passes.clean(keeps=True).view(-1), *self.whole(passes.means())]
        passes.displace()
        mine += self.whole(passes.perturbed())
        one, other = (torch.cat([each.flatten() for each in part if each is not None]) for part in (mine, expected))
        if not torch.isfinite(other).all():
            return None
        return bool(torch.linalg.vector_norm(one - other) <= AGREE[other.dtype] * torch.linalg.vector_norm(other))


class Programs:
    """Which program runs an optimizer's shards, by model, parameters and loss. It is found out once."""

    def __reduce__(self) -> tuple[type[Programs], tuple[()]]:
        return Programs, ()  # a copied optimizer finds out anew

    def __init__(self) -> None:
        self._known: dict[Any, GhostModel | str] = {}
        self._of: Tensors = []

    def ghosts(
        self, loss: Loss, model: nn.Module, parameters: Tensors, bundles: list[Bundle], stacked: Sequence[Tensor]
    ) -> GhostModel | str:
        """The ghosts, or why there are none."""
        if len(self._of) != len(parameters) or any(
            one is not other for one, other in zip(self._of, parameters, strict=True)
        ):
            self._known, self._of = {}, parameters
        key = getattr(loss, "__code__", loss)  # of a lambda made anew for each step, too
        found = self._known.get(key)
        if found is None:
            try:
                made = GhostModel(loss, model, parameters)
                with torch.random.fork_rng():
                    agrees = made.agrees(loss, bundles, stacked)
            except NotFoldable as error:
                found = str(error)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
            else:
                if agrees is None:
                    return "the gradients are not finite"  # nothing can be compared; the next step may tell
                found = made if agrees else "the model, or the loss, treats a batch other than sample by sample"
            self._known[key] = found
        if isinstance(found, GhostModel):
            found.use(loss)
        return found
