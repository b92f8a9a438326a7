"""SAM and F-SAM as usual public implementations have them, a Python loop over parameters: ours is timed against it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class PlainLoop:
    def __init__(self, base: torch.optim.Optimizer, rho: float = 0.05, sigma: float = 0.0, decay: float = 0.9) -> None:
        self.base, self.rho, self.sigma, self.decay = base, rho, sigma, decay
        self.parameters = [p for group in base.param_groups for p in group["params"]]
        self.old: dict[Tensor, Tensor] = {}
        self.ema: dict[Tensor, Tensor] = {}

    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        self.base.zero_grad()
        loss = closure()
        with torch.no_grad():
            for p in self.parameters:
                if self.sigma:
                    g = p.grad.clone()
                    if p in self.ema:
                        p.grad -= self.ema[p] * self.sigma
                        self.ema[p] = self.ema[p] * self.decay + g * (1 - self.decay)
                    else:
                        self.ema[p] = g
            norm = torch.norm(torch.stack([p.grad.norm(p=2) for p in self.parameters]), p=2)
            scale = self.rho / (norm + 1e-12)
            for p in self.parameters:
                self.old[p] = p.data.clone()
                p.add_(p.grad * scale.to(p))
        self.base.zero_grad()
        closure()
        for p in self.parameters:
            p.data = self.old[p]
        self.base.step()
        return loss


def sharded(
    optimizer: PlainLoop, loss: Callable[[Tensor, Tensor], Tensor], batch: tuple[Tensor, Tensor], shards: int
) -> None:
    """mSAM as usual: SAM's two passes shard by shard, the perturbed gradients added up; F-SAM for one shard."""

    def closure_of(inputs: Tensor, targets: Tensor) -> Callable[[], Tensor]:
        def closure() -> Tensor:
            found = loss(inputs, targets)
            found.backward()
            return found

        return closure

    if shards == 1:
        optimizer.step(closure_of(*batch))
        return
    total = [torch.zeros_like(p) for p in optimizer.parameters]
    for part in zip(*(tensor.chunk(shards) for tensor in batch), strict=True):
        closure = closure_of(*part)
        optimizer.base.zero_grad()
        closure()
        old = [p.data.clone() for p in optimizer.parameters]
        with torch.no_grad():
            norm = torch.norm(torch.stack([p.grad.norm(p=2) for p in optimizer.parameters]), p=2)
            for p in optimizer.parameters:
                p.add_(p.grad * (optimizer.rho / (norm + 1e-12)))
        optimizer.base.zero_grad()
        closure()
        for p, saved, mean in zip(optimizer.parameters, old, total, strict=True):
            p.data = saved
            mean += p.grad / shards
    for p, mean in zip(optimizer.parameters, total, strict=True):
        p.grad = mean
    optimizer.base.step()
