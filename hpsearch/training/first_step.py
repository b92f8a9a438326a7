"""What a first step shows of a network: what it uses, changes, keeps and draws."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hpsearch.tasks.protocol import Batch
from hpsearch.training.engine import Engine
from hpsearch.training.programs import Measured, NotStackable
from hpsearch.training.sameness import Held, Kept


class FirstStep(NamedTuple):
    """used: the parameters that the loss depends on, as an optimizer leaves those without a gradient as they are.
    changing: the buffers that a training step changes. draws: whether it draws from torch's generators.
    numbers: the loss and the gradients of what is used, in the network's order, by its own backward pass.
    """

    used: set[str]
    changing: set[str]
    draws: bool
    numbers: list[Tensor]


def first_step(module: Measured, sample: Batch, evaluated: Batch, engine: Engine) -> FirstStep:
    """Of the network, whose buffers are as before afterwards. sample: as a step is given it, augmented; evaluated: as
    an evaluation is. Raises NotStackable.
    """
    kept, held, drawn = Kept(module.model), Held(module.task), _drawn()
    before = engine.generators()
    numbers, changing = _train(module, sample, engine)
    grown = Held(module.task)  # what the first call makes may count the others
    draws = not all(map(torch.equal, before, engine.generators()))
    if _drawn() != drawn:
        raise NotStackable("a training step draws from random or numpy.random, which would be the same for all trials")
    changed = kept.changed() or next(iter(changing - _statistics(module.model)), None)
    if changed is not None:
        raise NotStackable(f"a training step changes more of the network than its weights and buffers: {changed}")
    changed = next(iter(_evaluate(module, evaluated, engine)), None) or kept.changed()
    if changed is not None:
        raise NotStackable(f"an evaluation changes the network: {changed}")
    changed = held.changed() or grown.changed()
    if changed is not None:
        raise NotStackable(f"measure() changes the task, which is one for all trials: {changed}")
    used = {name for name in numbers if name}
    return FirstStep(used, changing, draws, list(numbers.values()))


def _train(module: Measured, sample: Batch, engine: Engine) -> tuple[dict[str, Tensor], set[str]]:
    """The gradients by name, and as "" the loss; what buffers change."""
    module.train()
    named = {name: value for name, value in module.model.named_parameters() if value.requires_grad}
    with _buffers(module.model) as changing, torch.enable_grad(), engine.autocast():
        loss = module(*sample)["loss"]
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    gradients = {name: each for name, each in zip(named, found, strict=True) if each is not None}
    return {"": loss.detach(), **gradients}, changing


def _evaluate(module: Measured, sample: Batch, engine: Engine) -> set[str]:
    module.eval()
    with _buffers(module.model) as changing, torch.no_grad(), engine.autocast():
        module(*sample)
    return changing


@contextmanager
def _buffers(model: nn.Module) -> Iterator[set[str]]:
    """The names of buffers that are changed within, afterwards; they are as before then."""
    changing: set[str] = set()
    kept = {name: (buffer, buffer._version, buffer.clone()) for name, buffer in model.named_buffers()}
    yield changing
    with torch.no_grad():
        for name, (buffer, version, value) in kept.items():
            if buffer._version != version or not torch.equal(buffer, value):  # BatchNorm's kernels tell no version
                changing.add(name)
                buffer.copy_(value)


def _statistics(model: nn.Module) -> set[str]:
    """The names of normalisations' running statistics: steps know which passes update them."""
    normalizations = [(name, each) for name, each in model.named_modules() if isinstance(each, _NormBase)]
    return {f"{name}.{key}".removeprefix(".") for name, each in normalizations for key, _ in each.named_buffers()}


def _drawn() -> tuple[object, ...]:
    """The states of the generators that are not torch's."""
    numbers = numpy.random.get_state(legacy=False)["state"]
    return random.getstate(), numbers["key"].tobytes(), numbers["pos"]
