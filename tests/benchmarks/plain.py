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
