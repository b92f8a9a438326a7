"""Tries a task on two samples before a study begins: what its methods give is what a trial will need."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hpsearch.errors import HpsearchError, InputError, one_line, show
from hpsearch.streams import GlobalGenerators, generator, stream_seed
from hpsearch.tasks.protocol import Batch, Classification, Data, DataError, OptionError, Task, hook
from hpsearch.tasks.trial_data import SPLITS, check_data, kind_of, shapes, wrong

SAMPLES = 2  # BatchNorm needs more than one
T = TypeVar("T")


def try_task(task: Task, seed: int = 0) -> None:
    """Calls data, model and chance once, and measure on two samples of each split, without training.

    Raises InputError that says what a method gave and what it must give; a DataError or OptionError of the task's own
    passes through.
    """
    name = type(task).__name__
    with GlobalGenerators(stream_seed(seed, "data")).swapped():
        data = _call(f"{name}.data({seed})", task.data, seed)
    check_data(f"{name}.data({seed})", data, task)
    _check_chance(f"{name}.chance(data)", _call(f"{name}.chance(data)", task.chance, data), task.metrics)
    classes = _classes(data) if isinstance(task, Classification) else 0
    with GlobalGenerators(seed).swapped():
        model = _call(f"{name}.model()", task.model)
        _check_model(f"{name}.model()", model)
        _check_training(name, task, model, _batch(name, task, data, "train"), classes, seed)
        model.eval()
        for split in SPLITS[1:]:
            _check_evaluation(name, task, model, _batch(name, task, data, split), split)


def _check_chance(what: str, chance: object, metrics: tuple[str, ...]) -> None:
    wanted = ["train_loss", *(f"{split}_{metric}" for split in ("val", "test") for metric in metrics)]
    rule = f"a finite number for each of {', '.join(wanted)}"
    if not isinstance(chance, Mapping):
        wrong(what, kind_of(chance), f"a dict with {rule}")
    for key in wanted:
        if key not in chance:
            wrong(what, f"no {key!r}", rule)
        value = chance[key]
        if isinstance(value, str) or not hasattr(value, "__float__") or not math.isfinite(float(value)):
            wrong(what, f"{key!r} as {show(value)}", rule)


def _check_model(what: str, model: object) -> None:
    if not isinstance(model, nn.Module):
        wrong(what, kind_of(model), "a torch.nn.Module")
    parameters = list(model.parameters())
    if any(isinstance(each, nn.parameter.UninitializedParameter) for each in parameters):
        wrong(what, "a lazy network, whose parameters have no shape yet", "a network with its sizes given")
    if not any(each.requires_grad for each in parameters):
        wrong(what, "a network without a parameter to train", "a network with parameters that require a gradient")


def _check_training(name: str, task: Task, model: nn.Module, batch: Batch, classes: int, seed: int) -> None:
    augment = hook(task, "augment")
    if augment is not None:
        what = f"{name}.augment(batch, generator)"
        changed = _call(what, augment, batch, generator(seed, "augmentation", 0, 0))
        if not isinstance(changed, (tuple, list)) or [len(part) for part in changed] != [len(part) for part in batch]:
            wrong(what, kind_of(changed), "the tensors of the batch, as many samples in each")
        batch = tuple(changed)
    model.train()
    if isinstance(task, Classification):
        _check_logits(f"{name}.model()", model, batch, classes)
    what = f"{name}.measure(model, *batch) in training mode"
    measured = _measured(what, task, model, batch)
    loss = measured["loss"]
    if not loss.isfinite():
        wrong(
            what,
            f"a loss of {float(loss.detach())} on two training samples",
            "a finite loss: look at the data and the model",
        )
    if not loss.requires_grad:
        rule = "a loss that the parameters lead to (no .item(), .detach() or no_grad on the way)"
        wrong(what, "a loss without a gradient", rule)
    _call(f"{what}: loss.backward()", loss.backward)
    if all(each.grad is None for each in model.parameters()):
        wrong(what, "a loss that no parameter of the model leads to", "a loss computed with the model that it is given")


def _classes(data: Data) -> int:
    """All targets are looked at: on a GPU one that is too large ends the process, not the trial."""
    return 1 + max(int(getattr(data, name)[1].max()) for name in SPLITS)


def _check_logits(what: str, model: nn.Module, batch: Batch, classes: int) -> None:
    with torch.no_grad():
        logits = _call(f"{what} on {shapes(batch[:1])}", model, batch[0])
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(batch[0]) or logits.shape[1] < classes:
        got = kind_of(logits).removeprefix("a tensor of ")
        wrong(f"{what} on inputs of shape {shapes(batch[:1])}", got, f"logits (N, {classes}), one for each class")


def _check_evaluation(name: str, task: Task, model: nn.Module, batch: Batch, split: str) -> None:
    what = f"{name}.measure(model, *batch) in evaluation mode, on {split},"
    with torch.no_grad():
        measured: Mapping[str, Any] = _measured(what, task, model, batch)
    summarize = hook(task, "summarize")
    if summarize is not None:
        what = f"{name}.summarize(means)"
        measured = _call(what, summarize, {key: float(value) for key, value in measured.items()})
        if not isinstance(measured, Mapping):
            wrong(what, kind_of(measured), "a dict")
    if set(measured) != set(task.metrics):
        wrong(what, f"the names {', '.join(measured)}", f"those of the class's metrics: {', '.join(task.metrics)}")


def _measured(what: str, task: Task, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    measured = _call(what, task.measure, model, *batch)
    rule = 'a dict of 0-dimensional tensors, e.g. {"loss": loss} with loss.mean()'
    if not isinstance(measured, Mapping):
        wrong(what, kind_of(measured), rule)
    if "loss" not in measured:
        wrong(what, f"no 'loss', but {', '.join(map(str, measured)) or 'nothing'}", rule)
    for key, value in measured.items():
        if not isinstance(value, Tensor):
            wrong(what, f"{key!r} as {kind_of(value)}", rule)
        if value.dim():
            wrong(what, f"{key!r} of shape {tuple(value.shape)}", rule)
    return measured


def _batch(name: str, task: Task, data: Data, split: str) -> Batch:
    batch = tuple(part[:SAMPLES] for part in getattr(data, split))
    if split not in data.lengths:
        return batch
    what, longest = f"{name}.crop(batch, length)", int(data.lengths[split][:SAMPLES].max())
    cropped = _call(what, task.crop, batch, longest)  # type: ignore[attr-defined]
    if not isinstance(cropped, (tuple, list)) or [len(part) for part in cropped] != [len(part) for part in batch]:
        wrong(what, kind_of(cropped), "the tensors of the batch, as many samples in each")
    return tuple(cropped)


def _call(what: str, function: Callable[..., T], *arguments: Any) -> T:
    try:
        return function(*arguments)
    except (HpsearchError, DataError, OptionError):
        raise
    except Exception as error:  # whatever a user's method does
        frames = traceback.extract_tb(error.__traceback__)
        ours = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent))
        at = [frame for frame in frames if not frame.filename.startswith(ours)] or frames
        where = f"{Path(at[-1].filename).name}:{at[-1].lineno}"
        raise InputError(f"{what} failed in {where}: {type(error).__name__}: {one_line(error, 200)}") from error
