"""What a first step shows of a network: what it uses, changes, keeps and draws."""

from __future__ import annotations

import random

import numpy
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from hpsearch.tasks.protocol import Batch
from hpsearch.training.engine import Engine
from hpsearch.training.programs import Measured, NotStackable
from hpsearch.training.sameness import Kept


def first_step(module: Measured, sample: Batch, engine: Engine) -> tuple[set[str], set[str]]:
    """The parameters that the loss depends on, as an optimizer leaves those without a gradient as they are; and the
    buffers that change, which are as before afterwards. Raises NotStackable.
    """
    kept, drawn = Kept(module.model), _drawn()
    used, changing = _used(module, sample, engine)
    if _drawn() != drawn:
        raise NotStackable("a training step draws from random or numpy.random, which would be the same for all trials")
    changed = kept.changed() or next(iter(changing - _statistics(module.model)), None)
    if changed is not None:
        raise NotStackable(f"a training step changes more of the network than its weights and buffers: {changed}")
    return used, changing


def _used(module: Measured, sample: Batch, engine: Engine) -> tuple[set[str], set[str]]:
    module.train()
    buffers = dict(module.model.named_buffers())
    kept = {name: (value.clone(), value._version) for name, value in buffers.items()}
    named = {name: value for name, value in module.model.named_parameters() if value.requires_grad}
    with torch.enable_grad(), engine.autocast():
        loss = module(*sample)["loss"]
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    changing = {name for name, (_, version) in kept.items() if buffers[name]._version != version}
    with torch.no_grad():
        for name, (value, _) in kept.items():
            buffers[name].copy_(value)
    return {name for name, gradient in zip(named, found, strict=True) if gradient is not None}, changing


def _statistics(model: nn.Module) -> set[str]:
    """The names of normalisations' running statistics: steps know which passes update them."""
    normalizations = [(name, each) for name, each in model.named_modules() if isinstance(each, _NormBase)]
    return {f"{name}.{key}".removeprefix(".") for name, each in normalizations for key, _ in each.named_buffers()}


def _drawn() -> tuple[object, ...]:
    """The states of the generators that are not torch's."""
    numbers = numpy.random.get_state(legacy=False)["state"]
    return random.getstate(), numbers["key"].tobytes(), numbers["pos"]
