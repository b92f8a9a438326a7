"""Steps of many trials at once: SharpnessAware's maths and the base optimizer's, on matrices with a trial a row.

Every tensor of a stack is (K, P): K trials, the P trained numbers of each laid end to end. Settings that differ between
the trials are (K, 1). No row ever meets another one, so what happens in one of them (a NaN, say) stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hpsearch.optim import functional as F
from hpsearch.optim.ghost import Direction
from hpsearch.optim.passes import Mean
from hpsearch.optim.shards import bounds

EPS = 1e-8  # of Adam's denominator, as in torch.optim

Batch = tuple[Tensor, ...]  # each (K, B, ...)


class Networks(Protocol):
    """The trials' networks, of which a step asks for gradients."""

    def gradients(self, weights: Tensor, batch: Batch, updates: bool) -> tuple[Tensor, Tensor]:
        """(losses (K,), gradients (K, P)), these in memory of their own. updates: whether running statistics do."""
        ...

    def shards(
        self, weights: Tensor, batch: Batch, num_shards: int, direction: Direction, keeps: bool
    ) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """Means over all shards of the batch: clean losses (K,), perturbed gradients and clean ones, these where keeps,
        (K, P); None where shards are to be computed one after another.

        direction: of all that is perturbed, with an ema of (K, P).
        """
        ...


@dataclass(frozen=True)
class Rule:
    """What all trials of a stack have in common: what decides which operations a step is made of.

    perturbs: rho > 0. averages: sigma != 0. only: the numbers that are perturbed, (P,) of bool; None for all.
    """

    base: str = "sgd"
    nesterov: bool = False
    perturbs: bool = False
    averages: bool = False
    num_shards: int = 1
    interval: int = 1
    adaptive: bool = False
    combine: str = "perturbed"
    only: Tensor | None = None


# Settings of the trials, (K, 1) each: lr, momentum, beta1, beta2, weight_decay, rho, sigma, ema_decay, alpha.
Numbers = Mapping[str, Tensor]


@dataclass
class State:
    """What a step changes, in place. moments: momentum, or Adam's two. steps, averaged: of each trial, (K, 1)."""

    weights: Tensor
    moments: list[Tensor]
    ema: Tensor | None
    steps: Tensor
    averaged: Tensor  # 1 once the EMA has its first gradient

    @classmethod
    def start(cls, weights: Tensor, rule: Rule) -> State:
        none = weights.new_zeros(len(weights), 1)
        moments = [torch.zeros_like(weights) for _ in range(1 if rule.base == "sgd" else 2)]
        ema = torch.zeros_like(weights) if rule.perturbs and rule.averages else None
        return cls(weights, moments, ema, none, none.clone())

    def rows(self, kept: Tensor) -> State:
        """Of some of the trials only; kept (k,): their rows."""
        ema = None if self.ema is None else self.ema[kept]
        moments = [moment[kept] for moment in self.moments]
        return State(self.weights[kept], moments, ema, self.steps[kept], self.averaged[kept])


def step(rule: Rule, state: State, numbers: Numbers, networks: Networks, batch: Batch, perturbs: bool) -> Tensor:
    """One step of each trial; returns their clean losses, (K,).

    perturbs: false in the steps between those that rule.interval is for.
    """
    if perturbs:
        losses, seen = _perturbed(rule, state, numbers, networks, batch)
    else:
        losses, seen = networks.gradients(state.weights, batch, True)
        _update_ema(state, numbers, seen)
    _BASES[rule.base](rule, state, numbers, seen)
    state.steps += 1
    return losses


def _perturbed(rule: Rule, state: State, numbers: Numbers, networks: Networks, batch: Batch) -> tuple[Tensor, Tensor]:
    """(clean losses, what the base optimizer sees)."""
    together = None
    if rule.num_shards > 1:
        direction = Direction(numbers["rho"], numbers["sigma"], state.ema, rule.adaptive)
        together = networks.shards(state.weights, batch, rule.num_shards, direction, _keeps_clean(rule))
    losses, seen, clean = together or _in_turn(rule, state, numbers, networks, batch)
    if clean is not None:
        _update_ema(state, numbers, clean)
        if rule.combine == "gsam":
            seen = _gsam(seen, clean, numbers["alpha"])
    return losses, seen


def _in_turn(
    rule: Rule, state: State, numbers: Numbers, networks: Networks, batch: Batch
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One shard after another: (clean losses, perturbed gradients, clean ones where they are needed)."""
    losses, clean_mean, seen_mean = torch.zeros_like(state.steps[:, 0]), Mean(), Mean()
    size = batch[0].shape[1]
    for start, end in bounds(size, rule.num_shards):
        part, share = tuple(tensor[:, start:end] for tensor in batch), (end - start) / size
        loss, clean = networks.gradients(state.weights, part, True)
        losses = losses + share * loss
        if _keeps_clean(rule):
            clean_mean.add_copy([clean], share)
        _, found = networks.gradients(_displaced(rule, state, numbers, clean), part, False)
        seen_mean.add([found], share)
    (seen,) = seen_mean.total
    assert seen is not None
    return losses, seen, clean_mean.total[0] if clean_mean.total else None


def _keeps_clean(rule: Rule) -> bool:
    return rule.averages or rule.combine != "perturbed"


def _update_ema(state: State, numbers: Numbers, clean: Tensor) -> None:
    """The first gradient sets the average: its decay is 0."""
    if state.ema is not None:
        F.update_ema_([state.ema], [clean], numbers["ema_decay"] * state.averaged, 0.0)
        state.averaged.fill_(1)


def _displaced(rule: Rule, state: State, numbers: Numbers, direction: Tensor) -> Tensor:
    """w + rho T^2 d / (||T d|| + 1e-12) in the memory of `direction`, which holds gradients at first."""
    if state.ema is not None:
        F.direction_([direction], [state.ema], numbers["sigma"])
    if rule.only is not None:
        direction *= rule.only
    if rule.adaptive:
        direction *= state.weights  # for |w|: neither the norm of T d nor T^2 d sees the sign
    norm = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
    if rule.adaptive:
        direction *= state.weights
    F.displace_([direction], [state.weights], [direction], numbers["rho"] / (norm + F.TINY), alike=True)
    return direction


def _gsam(perturbed: Tensor, clean: Tensor, alpha: Tensor) -> Tensor:
    """As hpsearch.optim.gsam.GSAM, row by row."""
    square = perturbed.square().sum(1, keepdim=True)
    inner = (perturbed * clean).sum(1, keepdim=True)
    along = torch.where(square > 0, inner / square, torch.zeros_like(square))
    return perturbed - alpha * (clean - along * perturbed)


def _sgd(rule: Rule, state: State, numbers: Numbers, gradient: Tensor) -> None:
    """torch.optim.SGD without dampening: a buffer of zeros is as good as none, also where the momentum is 0."""
    gradient.addcmul_(state.weights, numbers["weight_decay"])
    (buffer,) = state.moments
    buffer.mul_(numbers["momentum"]).add_(gradient)
    update = gradient.addcmul_(buffer, numbers["momentum"]) if rule.nesterov else buffer
    state.weights.addcmul_(update, -numbers["lr"])


def _adam(rule: Rule, state: State, numbers: Numbers, gradient: Tensor) -> None:
    """torch.optim.Adam and AdamW without amsgrad (arXiv 1412.6980, algorithm 1; 1711.05101, algorithm 2)."""
    if rule.base == "adamw":
        state.weights.mul_(1 - numbers["lr"] * numbers["weight_decay"])
    else:
        gradient.addcmul_(state.weights, numbers["weight_decay"])
    mean, square = state.moments
    mean.lerp_(gradient, 1 - numbers["beta1"])
    square.mul_(numbers["beta2"]).addcmul_(gradient, gradient * (1 - numbers["beta2"]))
    count = state.steps + 1
    size = numbers["lr"] / (1 - numbers["beta1"] ** count)
    root = (square / (1 - numbers["beta2"] ** count)).sqrt_().add_(EPS)
    state.weights.addcdiv_(mean * -size, root)


_BASES: Mapping[str, Callable[[Rule, State, Numbers, Tensor], None]] = {"sgd": _sgd, "adam": _adam, "adamw": _adam}
