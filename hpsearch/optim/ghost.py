"""Ghost shards: all shards of mSAM in two passes, where large weights need no copy for each shard. Exact.

In the clean pass a linear layer has the inputs X_j of shard j, (r, in), and the gradients D_j of its outputs, (r, out);
the gradient of its weight is G_j = D_j^T X_j, and d_j = G_j - sigma * m. So at the weight W + s_j d_j the layer gives

    x W^T + s_j (x X_j^T) D_j - s_j sigma x m^T
    ||d_j||^2 = sum (X_j X_j^T) * (D_j D_j^T) - 2 sigma sum (X_j m^T) * D_j + sigma^2 ||m||^2

from products of r rows, and the gradient there, summed over shards, is one product as ever. Norms of single samples'
gradients are had so in Goodfellow, arXiv 1510.01799, and Li et al., arXiv 2110.05679 ("ghost clipping"). Weights that
are small beside r, and those of all other layers, have a perturbed copy for each shard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from hpsearch.optim import functional as F
from hpsearch.optim.folded import Folded
from hpsearch.optim.layers import Weights, product

COPY = 200  # what a number of a shard's copy of a weight costs, in multiplications: it is written and read often
LOST = 1e-3  # of the rows' own squares: where they cancel to less, ||d_j||^2 has lost digits, and d_j is computed


class Direction(NamedTuple):
    """How a parameter is perturbed: by rho * T^2 d / ||T d||, d = g - sigma * ema; T is |w| where it is adaptive.

    rho, sigma: one for each trial, (K, 1), or for all. ema: (K, ...), or None.
    """

    rho: float | Tensor
    sigma: float | Tensor = 0.0
    ema: Tensor | None = None
    adaptive: bool = False


class Ghost:
    """The tap of a linear layer (hpsearch.optim.folded.Tap) whose weight has no copies."""

    def __init__(self, shards: int) -> None:
        self.shards = shards  # V = K * m
        self.edges: list[GradientEdge] = []  # of the layer's outputs, one a call
        self._inputs: list[Tensor] = []
        self._moves = False
        self._average: Tensor | None = None  # sigma * ema, (K, out, in)

    def __call__(self, inputs: Tensor, weight: Tensor) -> Tensor:
        if not self._moves:
            products = torch.bmm(inputs, weight.mT)  # torch leaves out the weight's gradient if nobody asks for it
            if products.requires_grad:  # not so under no_grad
                self._inputs.append(self._by_shard(inputs.detach()))
                self.edges.append(get_gradient_edge(products))
            return products
        products = product(inputs, weight)
        if self._average is not None:
            scaled = (self._by_shard(inputs) * -self._scale).view_as(inputs)
            products = torch.baddbmm(products, scaled, self._average.mT)
        similar = torch.bmm(self._by_shard(inputs), self._seen.mT)
        return torch.baddbmm(self._by_shard(products), similar, self._slopes).view_as(products)

    def square(
        self, slopes: Sequence[Tensor | None], average: Tensor | None, weight: Tensor, repairs: bool
    ) -> tuple[Tensor, Tensor]:
        """||d_j||^2, and whether it has lost digits, (V,). repairs: those that have are computed from d_j.

        slopes: the gradients of the outputs, one a call, None where the loss does not use it. Several calls are one
        with more rows. average: sigma * ema, (K, out, in).
        """
        outputs, inputs = weight.shape[1:]
        used: list[Any] = [(x, self._by_shard(d)) for x, d in zip(self._inputs, slopes, strict=True) if d is not None]
        if len(used) != 1:  # of none, matrices without rows
            none = weight.new_zeros(self.shards, 0, inputs), weight.new_zeros(self.shards, 0, outputs)
            used = [tuple(torch.cat(parts, 1) for parts in zip(none, *used, strict=True))]
        ((self._seen, self._slopes),) = used
        self._inputs, self._average = [], average
        seen, slope = self._seen, self._slopes
        found = (torch.bmm(seen, seen.mT) * torch.bmm(slope, slope.mT)).sum((1, 2))
        parts = (seen.square().sum(2) * slope.square().sum(2)).sum(1)  # each row's own
        if average is not None:
            projected = torch.bmm(seen.reshape(len(average), -1, inputs), average.mT).view_as(slope)
            squares = average.flatten(1).square().sum(1).repeat_interleave(self.shards // len(average))
            found += squares - 2 * (projected * slope).sum((1, 2))
            parts += squares
        lost = found < LOST * parts
        if repairs and lost.any():
            rows = lost.nonzero().flatten()
            difference = torch.bmm(slope[rows].mT, seen[rows])
            if average is not None:
                difference -= average[rows // (self.shards // len(average))]
            found[rows] = difference.flatten(1).square().sum(1)
        return found, lost

    def displace(self, scale: Tensor) -> None:
        """scale: s_j, (V,). From now on the layer computes at its perturbed weights."""
        self._scale = scale.view(-1, 1, 1)
        self._slopes = self._slopes * self._scale
        self._moves = True

    def _by_shard(self, rows: Tensor) -> Tensor:
        return rows.reshape(self.shards, -1, rows.shape[-1])


class _Count:
    """The tap that counts a shard's rows."""

    def __init__(self, shards: int) -> None:
        self.shards, self.rows = shards, 0

    def __call__(self, inputs: Tensor, weight: Tensor) -> Tensor:
        self.rows += inputs.shape[0] * inputs.shape[1] // self.shards
        return torch.bmm(inputs, weight.mT)


class GhostShards:
    """The passes of one step over m equal shards of each of K trials' batches: clean(), displace(), perturbed().

    losses(*batch) -> the mean loss of each shard, (V,), of the folded network; each tensor of `batch` is (V, b, ...),
    the K trials' shards one after another. weights: what is trained, others: what else the network has, (K, ...) each.
    directions: of the parameters that are perturbed. shares: what each shard counts for, (m,); 1 / m unless given.
    """

    def __init__(
        self,
        folded: Folded,
        losses: Callable[..., Tensor],
        batch: Sequence[Tensor],
        weights: Weights,
        others: Weights,
        directions: Mapping[str, Direction],
        shares: Tensor | None = None,
    ) -> None:
        self._folded, self._losses, self._batch = folded, losses, batch
        self._weights = {name: weight.detach() for name, weight in weights.items()}
        self._others, self._directions = others, directions
        self._trials = len(next(iter(weights.values())))
        self._shards = len(batch[0]) // self._trials
        self._counts = None if shares is None else (shares * self._shards).repeat(self._trials)
        rows = self._rows()
        self._ghosts = {
            name: Ghost(len(batch[0]))
            for name in directions
            if rows.get(name) and _pays(rows[name], weights[name], directions[name])
        }

    @property
    def copied(self) -> int:
        """Numbers in the shards' copies of weights."""
        names = self._directions.keys() - self._ghosts.keys()
        return self._shards * sum(self._weights[name].numel() for name in names)

    def clean(self, keeps: bool) -> Tensor:
        """The clean losses, (K, m). keeps: whether the gradients are asked for, by means()."""
        leaves: Weights = {}
        for name, weight in self._weights.items():
            copied = name in self._directions and name not in self._ghosts
            leaves[name] = weight.repeat_interleave(self._shards, 0) if copied else weight.detach()
        asked = [name for name in leaves if keeps or name in self._directions and name not in self._ghosts]
        losses, total = self._forward(leaves)
        edges = [edge for ghost in self._ghosts.values() for edge in ghost.edges]
        clean = [leaves[name] for name in asked]
        everything: list[Any] = [*clean, *edges]
        found = iter(torch.autograd.grad(total, everything, allow_unused=True) if everything else ())
        self._clean = {name: _or_zeros(next(found), leaf) for name, leaf in zip(asked, clean, strict=True)}
        self._slopes = {name: [next(found) for _ in ghost.edges] for name, ghost in self._ghosts.items()}
        for ghost in self._ghosts.values():
            ghost.edges = []
        return losses.detach().view(-1, self._shards)

    def means(self) -> list[Tensor]:
        """The clean gradients' means over shards, (K, ...) each, in the order of the weights."""
        return [self._mean(self._clean[name]) for name in self._weights]

    def displace(self, repairs: bool = True) -> Tensor:
        """Perturbs the weights, by one norm for each shard. Returns whether a norm had lost digits, (), of bool.

        repairs: such a norm is computed another way. That waits for the device; without it nothing here does.
        """
        squares: list[Tensor] = []
        lost = torch.zeros((), dtype=torch.bool, device=self._batch[0].device)
        copies: Weights = {}
        for name, direction in self._directions.items():
            average = None if direction.ema is None else _times(direction.ema, direction.sigma)
            if name in self._ghosts:
                slopes = [None if each is None else self._alone(each) for each in self._slopes[name]]
                square, of_it = self._ghosts[name].square(slopes, average, self._weights[name], repairs)
                squares.append(square.view(-1, self._shards))
                lost = lost | of_it.any()
                continue
            weight = self._weights[name].unsqueeze(1)
            vector = self._by_trial(self._alone(self._clean[name]))
            if average is not None:
                vector = vector - average.unsqueeze(1)
            if direction.adaptive:
                vector = vector * weight  # for |w|: neither the norm of T d nor T^2 d sees the sign
            squares.append(vector.flatten(2).square().sum(2))
            copies[name] = vector * weight if direction.adaptive else vector
        norm = torch.stack(squares).sum(0).sqrt_() if squares else torch.zeros(())  # (K, m)
        for name, direction in self._directions.items():
            scale: Tensor = direction.rho / (norm + F.TINY)
            if name in self._ghosts:
                self._ghosts[name].displace(scale)
            else:
                copies[name] = torch.addcmul(self._weights[name].unsqueeze(1), copies[name], _wide(scale, copies[name]))
        self._copies = {name: copy.flatten(0, 1) for name, copy in copies.items()}
        return lost

    def perturbed(self) -> list[Tensor]:
        """The perturbed gradients' means over shards, (K, ...) each, in the order of the weights.

        `unused` has the names of those that the loss does not use; theirs are zeros.
        """
        leaves = {name: self._copies.get(name, weight).detach() for name, weight in self._weights.items()}
        _, total = self._forward(leaves)
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        self.unused = {name for name, each in zip(leaves, found, strict=True) if each is None}
        return [self._mean(_or_zeros(each, leaf)) for each, leaf in zip(found, leaves.values(), strict=True)]

    def _forward(self, leaves: Weights) -> tuple[Tensor, Tensor]:
        """(losses, their weighted sum)."""
        for leaf in leaves.values():
            leaf.requires_grad_()
        self._folded.use({**leaves, **self._others}, self._ghosts)
        try:
            with torch.enable_grad():
                losses = self._losses(*self._batch)
                return losses, losses.sum() if self._counts is None else torch.dot(
                    losses, self._counts.to(losses.dtype)
                )
        finally:
            self._folded.use({})  # nothing is held until the next step

    def _rows(self) -> dict[str, int]:
        """How many rows of a shard reach each weight that linear layers alone use; found out once for such a batch."""
        key = tuple(part.shape for part in self._batch)
        if key not in self._folded.rows:
            counts = {name: _Count(len(self._batch[0])) for name in self._folded.linear}
            self._folded.use({**self._weights, **self._others}, counts)
            modes = [(module, module.training) for module in self._folded.modules()]
            self._folded.eval()  # draws nothing
            try:
                with torch.no_grad():
                    self._losses(*self._batch)
            finally:
                for module, mode in modes:
                    module.training = mode
                self._folded.use({})
            self._folded.rows[key] = {name: count.rows for name, count in counts.items()}
        return self._folded.rows[key]

    def _mean(self, found: Tensor) -> Tensor:
        if len(found) == self._trials:
            return found / self._shards
        return self._by_trial(found).mean(1)

    def _by_trial(self, found: Tensor) -> Tensor:
        return found.view(self._trials, self._shards, *found.shape[1:])

    def _alone(self, found: Tensor) -> Tensor:
        """Of each shard's own loss, whatever it counts for. One that counts for nothing has no gradient here."""
        if self._counts is None:
            return found
        rows = found.reshape(len(self._counts), -1)
        return (rows / torch.where(self._counts > 0, self._counts, 1).unsqueeze(1)).view_as(found)


def _or_zeros(found: Tensor | None, leaf: Tensor) -> Tensor:
    """What the loss does not use has no gradient."""
    return torch.zeros_like(leaf) if found is None else found


def _pays(rows: int, weight: Tensor, direction: Direction) -> bool:
    """Whether a shard of so many rows is cheaper without its own copy: by multiplications."""
    if direction.adaptive:  # w^2 * d is no product of rows
        return False
    outputs, inputs = weight.shape[1:]
    ghost = 3 * rows * rows * (inputs + outputs) + (0 if direction.ema is None else 3 * rows * inputs * outputs)
    return bool(ghost <= COPY * inputs * outputs)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.view(*values.shape, *(1 for _ in like.shape[values.dim() :]))


def _times(ema: Tensor, sigma: float | Tensor) -> Tensor:
    return ema * (sigma.view(-1, *(1 for _ in ema.shape[1:])) if isinstance(sigma, Tensor) and sigma.dim() else sigma)
