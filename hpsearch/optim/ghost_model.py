"""Ghost shards of a single model: its network folded, with a shard where a pack has a trial."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from hpsearch.optim.agreement import agree, in_double, keeps_apart
from hpsearch.optim.folded import Called, Folded
from hpsearch.optim.functional import Tensors
from hpsearch.optim.ghost import Direction, GhostShards
from hpsearch.optim.layers import NotFoldable, Weights
from hpsearch.optim.modules import OF_MODULES, has_hooks
from hpsearch.optim.passes import Gradients
from hpsearch.optim.perturbation import Bundle
from hpsearch.optim.reading import CONSTANTS
from hpsearch.optim.vectorized import Loss, VectorizedShards, mean_over_shards, perturbed_weights

FEW = 2  # shards on which the two programs are compared
LOSSES = 8  # that are remembered
KINDS = {torch.float64, torch.float32}


class GhostModel:
    """The passes of steps over the shards of one model. Raises NotFoldable, and says why."""

    def __init__(self, model: nn.Module, parameters: Tensors) -> None:
        self._model, self._parameters = model, parameters
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        if any(parameter not in self._names for parameter in parameters):
            raise NotFoldable("a parameter of the optimizer is not one of the model's")
        if {parameter.dtype for parameter in self._names} - KINDS:
            raise NotFoldable("a parameter is not of torch.float32 or torch.float64")
        self._folded = Folded(model)

    def passes(
        self, loss: Loss, bundles: Sequence[Bundle], stacked: Sequence[Tensor], shares: Tensor | None
    ) -> GhostShards:
        """Of one step. stacked: each tensor of the batch, (m, b, ...). shares: (m,); None where all are alike."""
        self._folded.follow(self._model)
        called: Any = Called(self._folded)

        def of(*batch: Any) -> Tensor:
            return loss(called, *batch)

        directions = {}
        for bundle in bundles:
            averages = bundle.ema or [None] * len(bundle.parameters)
            for parameter, average in zip(bundle.parameters, averages, strict=True):
                ema = None if average is None else average.unsqueeze(0)
                directions[self._names[parameter]] = Direction(bundle.rho(), bundle.group["sigma"], ema)
        trained = {id(parameter) for parameter in self._parameters if parameter.requires_grad}
        weights: Weights = {}
        others: Weights = {}
        for parameter, name in self._names.items():
            (weights if id(parameter) in trained else others)[name] = parameter.detach().unsqueeze(0)
        self._order = list(weights)
        others |= self._constants()
        losses = vmap(of, randomness="different")
        return GhostShards(self._folded, losses, stacked, weights, others, directions, shares)

    def whole(self, found: Sequence[Tensor], unused: set[str]) -> Gradients:
        """What the passes give, (1, ...) each, in the order of the optimizer's parameters; None for those that are
        frozen or not used.
        """
        by_name = {name: each.squeeze(0) for name, each in zip(self._order, found, strict=True) if name not in unused}
        return [by_name.get(self._names[parameter]) for parameter in self._parameters]

    def agrees(self, loss: Loss, bundles: list[Bundle], stacked: Sequence[Tensor]) -> bool | None:
        """Whether it gives what vmap over whole copies of the weights gives, on a few shards; None where that has
        infinite numbers or NaN. It does not for a network that mixes the samples of a batch, say.

        Raises NotFoldable for whatever else it cannot compute; what vmap raises comes as it is.
        """
        few = tuple(part[:FEW] for part in stacked)
        try:
            double, theirs = self._in_double(bundles)
            agrees = double._agrees(loss, theirs, tuple(map(in_double, few)), strict=True)
            agrees = agrees and double._is_whole(loss, tuple(map(in_double, stacked)), strict=True)
            self._folded.learned(double._folded.call.shared)
            return agrees
        except (NotFoldable, torch.OutOfMemoryError):
            raise
        except Exception:  # a loss, a model or a device that does not know float64
            agrees = self._agrees(loss, bundles, few, strict=False)
            agrees = agrees and self._is_whole(loss, stacked, strict=False)
            self._folded.learned(self._folded.call.shared)
            return agrees

    def _in_double(self, bundles: Sequence[Bundle]) -> tuple[GhostModel, list[Bundle]]:
        """The same for a copy of the model in float64, and the bundles of its parameters."""
        model = copy.deepcopy(self._model).double()
        named = dict(model.named_parameters())
        theirs = []
        for bundle in bundles:
            own: Tensors = [named[self._names[parameter]] for parameter in bundle.parameters]
            ema = [None if average is None else average.double() for average in bundle.ema]
            theirs.append(replace(bundle, parameters=own, weights=own, ema=ema))
        return GhostModel(model, [named[self._names[parameter]] for parameter in self._parameters]), theirs

    def _agrees(self, loss: Loss, bundles: list[Bundle], few: tuple[Tensor, ...], strict: bool) -> bool | None:
        shares = torch.full((len(few[0]),), 1 / len(few[0]), device=few[0].device, dtype=self._parameters[0].dtype)
        slow, kept = VectorizedShards(loss, self._model, self._parameters), _constants(self._model)
        clean, losses = slow([parameter.detach() for parameter in self._parameters], few, own=False)
        means = mean_over_shards(clean, shares)
        weights = perturbed_weights(bundles, None, self._parameters, clean)
        perturbed, _ = slow(weights, few, own=True)
        if kept != _constants(self._model):  # a copy of it would keep that to itself
            raise NotFoldable("a forward pass changes an attribute")
        expected = [losses, *_present(means), *_present(mean_over_shards(perturbed, shares))]
        if not all(torch.isfinite(each).all() for each in expected):
            return None
        before = [buffer._version for buffer in self._model.buffers()]
        try:
            passes = self.passes(loss, bundles, few, None)
            mine = [passes.clean(keeps=True).view(-1), *_present(self.whole(passes.means(), set()))]
            passes.displace()
            mine += _present(self.whole(passes.perturbed(), set()))
        except (NotFoldable, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise NotFoldable(f"{type(error).__name__}: {error}") from error
        if before != [buffer._version for buffer in self._model.buffers()]:
            raise NotFoldable("a forward pass changes a buffer")
        return agree(mine, expected, strict) and self._keeps_apart(loss, few, strict)

    def _is_whole(self, loss: Loss, stacked: Sequence[Tensor], strict: bool) -> bool:
        """Whether the losses of all shards at once are each shard's own: a network may do otherwise with many samples,
        as one does that takes them in parts. Of the first, the middle and the last one.
        """
        called: Any = Called(self._folded)
        weights = {name: weight.detach().unsqueeze(0) for weight, name in self._names.items()}
        self._folded.learned(self._folded.call.shared)
        self._folded.use({**weights, **self._constants()})
        rows = sorted({0, len(stacked[0]) // 2, len(stacked[0]) - 1})
        with torch.no_grad():
            found = vmap(lambda *batch: loss(called, *batch), randomness="different")(*stacked)
            expected = [loss(self._model, *(part[row] for part in stacked)) for row in rows]
        self._folded.use({})
        return agree([found[rows]], [torch.stack(expected)], strict)

    def _constants(self) -> Weights:
        return {name: buffer.unsqueeze(0) for name, buffer in self._model.named_buffers()}

    def _keeps_apart(self, loss: Loss, few: tuple[Tensor, ...], strict: bool) -> bool:
        called: Any = Called(self._folded)
        own = [parameter.detach().expand(len(few[0]), *parameter.shape) for parameter in self._names]

        def compute(*weights: Tensor) -> list[Tensor]:
            leaves = [each.detach().requires_grad_() for each in weights]
            self._folded.use({**dict(zip(self._names.values(), leaves, strict=True)), **self._constants()})
            with torch.enable_grad():
                losses = vmap(lambda *batch: loss(called, *batch), randomness="different")(*few)
                found = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
            return [losses.detach(), *_present(list(found))]

        return keeps_apart(compute, own, strict)


def _constants(model: nn.Module) -> dict[tuple[str, str], object]:
    """Attributes that are numbers and the like."""
    return {
        (name, key): value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if key not in OF_MODULES and isinstance(value, CONSTANTS)
    }


def _present(found: Gradients) -> Tensors:
    return [each for each in found if each is not None]


class Programs:
    """Which program runs an optimizer's shards. It is found out once for a loss, as long as the model's modules and the
    parameters are the same ones.
    """

    def __init__(self) -> None:
        self._model: GhostModel | str | None = None
        self._parameters: Tensors = []
        self._modules: list[tuple[nn.Module, bool]] = []
        self._known: OrderedDict[Hashable, tuple[Loss, str | None]] = OrderedDict()  # why a loss has no ghosts

    def __reduce__(self) -> tuple[type[Programs], tuple[()]]:
        return Programs, ()  # a copied optimizer finds out anew

    def ghosts(
        self, loss: Loss, model: nn.Module, parameters: Tensors, bundles: list[Bundle], stacked: Sequence[Tensor]
    ) -> GhostModel | str:
        """The ghosts, or why there are none."""
        ghosts = self._of(model, parameters)
        if isinstance(ghosts, str):
            return ghosts
        key = _key(loss)
        if key not in self._known:
            try:
                with torch.random.fork_rng():
                    agrees = ghosts.agrees(loss, bundles, stacked)
            except NotFoldable as error:
                self.refuse(loss, str(error))
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # of the loss, or of this batch: the next step may tell
                return f"{type(error).__name__}: {error}"
            else:
                if agrees is None:
                    return "the gradients are not finite"
                why = "the model, or the loss, treats a batch other than sample by sample"
                self.refuse(loss, None if agrees else why)
        return self._known[key][1] or ghosts

    def refuse(self, loss: Loss, why: str | None) -> None:
        """The loss is held, so that no other object has its id."""
        self._known[_key(loss)] = loss, why
        while len(self._known) > LOSSES:
            self._known.popitem(last=False)

    def _of(self, model: nn.Module, parameters: Tensors) -> GhostModel | str:
        modules = [(module, has_hooks(module) or "forward" in vars(module)) for module in model.modules()]
        if self._model is None or not (_same(self._parameters, parameters) and _same_modules(self._modules, modules)):
            self._parameters, self._modules = list(parameters), modules
            self._known.clear()
            try:
                self._model = GhostModel(model, parameters)
            except NotFoldable as error:
                self._model = str(error)
            except Exception as error:  # it cannot be copied
                self._model = f"{type(error).__name__}: {error}"
        return self._model


def _same(one: Tensors, other: Tensors) -> bool:
    return len(one) == len(other) and all(a is b and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def _same_modules(one: list[tuple[nn.Module, bool]], other: list[tuple[nn.Module, bool]]) -> bool:
    return len(one) == len(other) and all(a is b and x == y for (a, x), (b, y) in zip(one, other, strict=True))


def _key(loss: Any) -> Hashable:
    """The same for a lambda that is made anew for each step, as long as it holds the same objects."""
    if isinstance(loss, functools.partial):
        return _key(loss.func), tuple(map(id, loss.args)), tuple((k, id(v)) for k, v in loss.keywords.items())
    code = getattr(loss, "__code__", None)
    if code is None:
        return id(loss)
    held = [getattr(loss, "__self__", None), *(loss.__defaults__ or ()), *(loss.__kwdefaults__ or {}).values()]
    return code, tuple(map(id, held)), tuple(map(_content, loss.__closure__ or ()))


def _content(cell: Any) -> int | None:
    try:
        return id(cell.cell_contents)
    except ValueError:  # empty
        return None
