"""SharpnessAware: SAM, ASAM, mSAM, F-SAM and F-SAM over shards around any torch optimizer.

| method            | settings                                   | source                             |
|-------------------|--------------------------------------------|------------------------------------|
| base optimizer    | rho = 0                                    | one gradient a step                |
| SAM               | sigma = 0, num_shards = 1                  | arXiv 2010.01412                   |
| ASAM              | SAM with adaptive = True                   | arXiv 2102.11600, in torch's common form |
| mSAM              | num_shards > 1                             | arXiv 2212.04343                   |
| F-SAM             | sigma = 1                                  | arXiv 2403.12350, the authors' code |
| F-SAM over shards | sigma = 1, num_shards > 1                  | no public rule: one EMA for all shards, see step() |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hpsearch.optim import functional as F
from hpsearch.optim.batchnorm import frozen_statistics, running_norms
from hpsearch.optim.shards import split

Closure = Callable[..., Tensor]
Gradients = list[Tensor | None]  # one a parameter, in the order of the groups; None where it has none


@dataclass(frozen=True)
class Moved:
    """The weights of one group that are perturbed, the direction T^2 d of each, and the group's rho with its sign."""

    weights: list[Tensor]
    steps: list[Tensor]
    rho: float


class SharpnessAware(torch.optim.Optimizer):
    """Steps `base` with gradients taken at perturbed weights.

    Args:
        base: a torch optimizer. Its param_groups are shared, so learning-rate schedulers work on either.
        model: the module that is trained; needed only to keep perturbed passes out of BatchNorm's running statistics.
        rho: radius of the perturbation, >= 0, in units of the weights' Euclidean norm. A group may have its own.
        num_shards: number of disjoint shards of each batch that are perturbed on their own (the m of mSAM; some papers
            write m for the shard's size).
        ema_decay: decay of the gradients' moving average, in [0, 1). A group may have its own.
        sigma: how much of the moving average is removed from the direction: 0 is SAM, 1 is F-SAM, below 0 adds it.
            The form is the authors' code's; the paper's sigma_p is sigma = sigma_p * ema_decay / (1 - sigma_p *
            (1 - ema_decay)). A group may have its own.
        adaptive: scale the perturbation by the weights (ASAM).
        interval: perturb at every interval-th step, counted from 0; the steps between are the base optimizer's own.

    Raises:
        ValueError: a setting outside its range. TypeError: a base that needs its own closure or sparse gradients.
    """

    def __init__(
        self,
        base: torch.optim.Optimizer,
        model: nn.Module | None = None,
        *,
        rho: float = 0.05,
        num_shards: int = 1,
        ema_decay: float = 0.9,
        sigma: float = 0.0,
        adaptive: bool = False,
        interval: int = 1,
    ) -> None:
        if isinstance(base, (torch.optim.LBFGS, torch.optim.SparseAdam, SharpnessAware)):
            kind = type(base).__name__
            raise TypeError(f"base must be an optimizer of dense gradients without a closure, but got {kind}")
        for name, value in (("num_shards", num_shards), ("interval", interval)):
            if isinstance(value, bool) or not (value >= 1 and math.isfinite(value) and int(value) == value):
                raise ValueError(f"{name} must be a whole number >= 1, but got {value!r}")
        self.base = base
        self.model = model
        self.num_shards = int(num_shards)
        self.adaptive = bool(adaptive)
        self.interval = int(interval)
        self.steps = 0
        self._saved: list[Tensor] = []  # the weights before a perturbation; the memory is kept between steps
        self._norm: Tensor | None = None  # of the present perturbation; None when no parameter moves
        super().__init__(base.param_groups, {"rho": rho, "sigma": sigma, "ema_decay": ema_decay})
        # One list and one set of defaults for both, so that a scheduler or a new group reaches both.
        self.param_groups = base.param_groups
        base.defaults.update(self.defaults)
        self.defaults = base.defaults

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _check_group({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def step(self, closure: Closure, *batch: Any, weights: Any = None) -> Tensor:  # type: ignore[override]
        """One optimizer step; returns the weighted clean loss, detached.

        closure(*batch) computes the mean loss of what it is given, calls backward() and returns the loss. It is called
        once per shard and pass; gradients are zeroed here. With one shard, closure() without a batch works too.
        weights: one number a shard (token counts, say); shards weigh by their number of samples unless given.

        For shard j with clean gradient g_j: d_j = g_j - sigma * m, eps_j = rho * T^2 d_j / (||T d_j|| + 1e-12), one
        norm over all parameters of groups with rho != 0. The base optimizer then sees the weighted mean of the
        gradients at w + eps_j, at w. m, the EMA, is updated once a step with the weighted mean of the clean g_j; a
        parameter's first gradient sets it. When the closure raises, weights, EMA and step count are as before.
        """
        perturbed = self.steps % self.interval == 0 and any(group["rho"] != 0 for group in self.param_groups)
        shards = split(batch, self.num_shards if perturbed else 1)
        shares = _shares([size for _, size in shards], weights if perturbed else None)
        parameters = [p for group in self.param_groups for p in group["params"]]
        norms = running_norms(self.model) if perturbed else []
        with torch.no_grad():
            loss, clean = _pass(closure, shards[0][0], parameters)
            if not perturbed:
                self._update_ema(parameters, clean)
            elif len(shards) == 1:
                eps = self._perturbation(parameters, clean)
                self._perturbed_pass(closure, shards[0][0], parameters, eps, norms)
                self._update_ema(parameters, clean)
            else:
                mean, clean_mean = _Mean(), _Mean()  # of the gradients at w + eps_j, and at w for the EMA
                loss = loss * shares[0]
                for index, ((part, _), share) in enumerate(zip(shards, shares, strict=True)):
                    if index > 0:
                        shard_loss, clean = _pass(closure, part, parameters)
                        loss += shard_loss * share
                    eps = self._perturbation(parameters, clean)
                    if self._uses_ema():
                        clean_mean.add(clean, share)
                    mean.add(self._perturbed_pass(closure, part, parameters, eps, norms), share)
                self._update_ema(parameters, clean_mean.total)
                for parameter, gradient in zip(parameters, mean.total, strict=True):
                    parameter.grad = gradient
            self.base.step()
        self.steps += 1
        return loss

    def _perturbation(self, parameters: list[Tensor], clean: Gradients) -> list[Moved]:
        """What to add to which weights, group by group, with one norm over all of them; .grad is not touched."""
        moved: list[Moved] = []
        normed: list[Tensor] = []
        start = 0
        for group in self.param_groups:
            gradients = clean[start : start + len(group["params"])]
            start += len(group["params"])
            if group["rho"] == 0:
                continue
            weights = [p for p, g in zip(group["params"], gradients, strict=True) if g is not None]
            present = [g for g in gradients if g is not None]
            if not weights:
                continue
            ema = None
            if group["sigma"] != 0 and any("ema" in self.state[p] for p in weights):
                ema = [self.state[p]["ema"] if "ema" in self.state[p] else torch.zeros_like(p) for p in weights]
            scaled, steps = F.metric(weights, F.direction(present, ema, group["sigma"]), self.adaptive)
            normed += scaled
            moved.append(Moved(weights, steps, -group["rho"] if group.get("maximize") else group["rho"]))
        self._norm = F.global_norm(normed) if normed else None
        return moved

    def _perturbed_pass(
        self,
        closure: Closure,
        part: tuple[Any, ...],
        parameters: list[Tensor],
        moved: list[Moved],
        norms: list[_NormBase],
    ) -> Gradients:
        """The gradients at w + eps, also left in .grad; the weights are as before, also when the closure raises."""
        if self._norm is None:
            return [p.grad for p in parameters]
        weights = [p for group in moved for p in group.weights]
        if list(map(_layout, self._saved)) != list(map(_layout, weights)):
            self._saved = [torch.empty_like(p) for p in weights]
        torch._foreach_copy_(self._saved, weights)
        try:
            for group in moved:
                F.perturb_(group.weights, group.steps, self._norm, group.rho)
            with frozen_statistics(norms):
                _, gradients = _pass(closure, part, parameters)
        finally:
            # Copied back, never subtracted: w + eps - eps is not w in floating point.
            torch._foreach_copy_(weights, self._saved)
        return gradients

    def _uses_ema(self) -> bool:
        return any(group["sigma"] != 0 and group["rho"] != 0 for group in self.param_groups)

    def _update_ema(self, parameters: list[Tensor], clean: Gradients) -> None:
        if not self._uses_ema():
            return
        gradient_of = dict(zip(parameters, clean, strict=True))
        for group in self.param_groups:
            if group["sigma"] == 0 or group["rho"] == 0:
                continue
            present = [(p, g) for p in group["params"] if (g := gradient_of[p]) is not None]
            known = [(self.state[p]["ema"], g) for p, g in present if "ema" in self.state[p]]
            if known:
                F.update_ema_([ema for ema, _ in known], [g for _, g in known], group["ema_decay"])
            for p, gradient in present:
                if "ema" not in self.state[p]:
                    self.state[p]["ema"] = gradient.clone()

    def __getstate__(self) -> dict[str, Any]:
        """All of it: torch's own leaves out what a copy needs to step."""
        return self.__dict__.copy()

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs: the base optimizer's state, the EMA and the step count."""
        return {**super().state_dict(), "base": self.base.state_dict(), "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.base.load_state_dict(state_dict["base"])
        super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        self.param_groups = self.base.param_groups
        self.steps = int(state_dict["steps"])


class _Mean:
    """A weighted sum of gradients, one shard after another, in place; a parameter without gradient counts as zero."""

    def __init__(self) -> None:
        self.total: Gradients = []

    def add(self, gradients: Gradients, weight: float) -> None:
        if not self.total:
            self.total = [None if g is None else g * weight for g in gradients]
            return
        both = [(t, g) for t, g in zip(self.total, gradients, strict=True) if t is not None and g is not None]
        F.accumulate_([t for t, _ in both], [g for _, g in both], weight)
        if len(both) < len(gradients):
            late = zip(self.total, gradients, strict=True)
            self.total = [g * weight if t is None and g is not None else t for t, g in late]


def _pass(closure: Closure, part: tuple[Any, ...], parameters: list[Tensor]) -> tuple[Tensor, Gradients]:
    """Zeroes the gradients, runs one forward and backward pass; (loss, gradients), both detached."""
    for parameter in parameters:
        parameter.grad = None
    with torch.enable_grad():
        loss = closure(*part)
    if not isinstance(loss, Tensor):
        raise TypeError(f"the closure must return the loss as a tensor, but returned {type(loss).__name__}")
    gradients = [p.grad for p in parameters]
    if gradients and all(gradient is None for gradient in gradients):
        raise RuntimeError("no parameter has a gradient: the closure must call backward() on the loss")
    return loss.detach(), gradients


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.device


def _shares(sizes: list[int], weights: Any) -> list[float]:
    """What each shard counts for; sums to 1."""
    given = sizes if weights is None else [float(weight) for weight in weights]
    if len(given) != len(sizes):
        raise ValueError(f"weights must hold one number a shard, {len(sizes)}, but got {len(given)}")
    total = math.fsum(given)
    if not all(weight >= 0 for weight in given) or not 0 < total < math.inf:
        raise ValueError(f"weights must be finite and >= 0 with a positive sum, but got {given}")
    return [weight / total for weight in given]


def _check_group(group: dict[str, Any]) -> None:
    rho, sigma, decay = group["rho"], group["sigma"], group["ema_decay"]
    if not (math.isfinite(rho) and rho >= 0):
        raise ValueError(f"rho must be a finite number >= 0, but got {rho!r}")
    if not math.isfinite(sigma):
        raise ValueError(f"sigma must be a finite number, but got {sigma!r}")
    if not 0 <= decay < 1:
        raise ValueError(f"ema_decay must be in [0, 1), but got {decay!r}")
