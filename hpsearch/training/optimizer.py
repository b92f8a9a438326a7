"""The optimizer that a trial's settings describe."""

from __future__ import annotations

import torch
from torch import nn

from hpsearch.hyperparameters import Settings
from hpsearch.optim import GSAM, SharpnessAware


def build_optimizer(settings: Settings, model: nn.Module) -> SharpnessAware:
    """SharpnessAware around the base optimizer; with rho = 0 it is the base optimizer with one gradient a step."""
    return SharpnessAware(
        _base(settings, model),
        model,
        rho=settings.rho,
        num_shards=settings.num_shards,
        ema_decay=settings.ema_decay,
        sigma=settings.sigma,
        adaptive=settings.adaptive,
        interval=settings.interval,
        perturb=settings.perturb,
        combine=GSAM(settings.alpha) if settings.combine == "gsam" else settings.combine,
        nonfinite="allow",  # then the weights show it, and the trial ends as diverged
    )


def _base(settings: Settings, model: nn.Module) -> torch.optim.Optimizer:
    # foreach everywhere: one kernel for many parameters, and the same arithmetic on the CPU as on a GPU.
    if settings.base == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,  # without, it is the same step, but torch refuses it
            weight_decay=settings.weight_decay,
            foreach=True,
        )
    adam: type[torch.optim.Adam] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.base]
    return adam(
        model.parameters(),
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        foreach=True,
    )
