"""What a task is: the protocol, and the base class that makes a classification task of two methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, ...]  # tensors with the samples along dimension 0, e.g. inputs (N, …) and targets (N,)


@dataclass(frozen=True)
class Data:
    """The three splits. The sampler sees val only; test is for reporting.

    lengths: of the sequences of a split, (N,) on the CPU, by "train", "val", "test": a batch is cropped to its longest.
    """

    train: Batch
    val: Batch
    test: Batch
    lengths: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Task(Protocol):
    """Data, model and loss of a study. The options in the study file are the constructor's keyword arguments.

    semantics: raise it when the task changes what a trial's result is; it is part of every trial's id.
    metrics: the names that measure() returns; "loss" is one of them.

    A task may also have
        augment(batch, generator) -> batch: random changes of training samples, as many as come, on their device. The
            generator is on the CPU and the trial's own, for these samples of this epoch: draw from it alone.
        crop(batch, length) -> batch: sequences cut to a length; needed where data() gives lengths.
        summarize(means) -> metrics: where a score is no mean over samples (F1, say): from the means over a split of
            what measure() returned in evaluation to values of `metrics`.
        identity(options) -> options, a class method: the options other than defaults, as they enter a trial's id
            (content, not its path), in values that JSON has.
    """

    semantics: ClassVar[int]
    metrics: ClassVar[tuple[str, ...]]

    def data(self, seed: int) -> Data:
        """The splits on the CPU; only what the options ask for (label noise, say) may depend on the seed."""
        ...

    def model(self) -> nn.Module:
        """A freshly initialised network, drawn from torch's global generator, which the caller has seeded."""
        ...

    def measure(self, model: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        """Means over the batch, 0-dimensional; "loss" is what is trained on."""
        ...

    def chance(self, data: Data) -> dict[str, float]:
        """What the best constant predictor reaches: train_loss, and val_ and test_ of each metric."""
        ...


def hook(task: Task, name: str) -> Callable[..., Any] | None:
    """An optional method of the task, None where it has none; an option may be kept under the same name."""
    found = getattr(task, name, None)
    return found if callable(found) else None


def as_it_is(task: Task) -> Task:
    """With the same attributes, whatever the class makes of copying; the task itself where it is no plain object."""
    if any(getattr(kind, "__slots__", ()) for kind in type(task).__mro__):
        return task
    try:
        copied: Task = object.__new__(type(task))
    except TypeError:  # a built-in type's subclass
        return task
    vars(copied).update(vars(task))
    return copied


class Classification(ABC):
    """A classification task: a subclass gives data() and model(); loss, accuracy and chance are here."""

    semantics: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

    @abstractmethod
    def data(self, seed: int) -> Data:
        """Splits of (inputs, targets) with targets (N,) of whole numbers from 0."""

    @abstractmethod
    def model(self) -> nn.Module:
        """A network from inputs to logits (N, classes)."""

    @final
    def measure(self, model: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        inputs, targets = batch
        logits = model(inputs)  # (B, classes)
        loss = nn.functional.cross_entropy(logits, targets)
        if model.training:
            return {"loss": loss}
        return {"loss": loss, "accuracy": (logits.argmax(1) == targets).float().mean()}

    @final
    def chance(self, data: Data) -> dict[str, float]:
        """The predictor that always gives the training set's class shares."""
        train = data.train[1]
        classes = int(max(split[1].max() for split in (data.train, data.val, data.test))) + 1
        shares = torch.bincount(train, minlength=classes).double() / len(train)
        log_shares = shares.clamp_min(1e-12).log()
        chance = {"train_loss": float(-log_shares[train].mean())}
        for name, split in (("val", data.val), ("test", data.test)):
            chance[f"{name}_loss"] = float(-log_shares[split[1]].mean())
            chance[f"{name}_accuracy"] = float((split[1] == shares.argmax()).double().mean())
        return chance


class OptionError(ValueError):
    """A task option with a wrong value. `option` is its name, `allowed` the rule."""

    def __init__(self, option: str, value: object, allowed: str) -> None:
        super().__init__(f"{option}: got {value!r}; allowed: {allowed}")
        self.option, self.value, self.allowed = option, value, allowed


class DataError(ValueError):
    """Data that cannot be trained on. `option`: the task option that leads to it; `remedy`: what to do."""

    def __init__(self, option: str, problem: str, remedy: str) -> None:
        super().__init__(f"{option}: {problem}; {remedy}")
        self.option, self.problem, self.remedy = option, problem, remedy
