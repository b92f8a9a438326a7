"""Layers that compute the samples of many trials in one call, (K * B, ...) in and out, with each trial's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

Weights = dict[str, Tensor]  # by the parameter's name in the network; each (K, ...), or (V, ...) where K divides V


class NotFoldable(Exception):
    """A network with a layer that is not known here."""


class Tap(Protocol):
    """The product of a linear layer's inputs (K, rows, in) and its weight (K, out, in): (K, rows, out)."""

    def __call__(self, inputs: Tensor, weight: Tensor) -> Tensor: ...


Taps = dict[str, Tap]  # by the name of the layer's weight


@dataclass
class Call:
    """What the layers of a network know of the call that they are part of.

    weights: by name. trials, samples: K and B. shared: the weights of embeddings that are called with what is not the
    batch's but the same for all samples, positions say; learns: whether more of these may be found.
    """

    weights: Weights = field(default_factory=dict)
    taps: Taps = field(default_factory=dict)
    trials: int = 0
    samples: int = 0
    shared: set[str] = field(default_factory=set)
    learns: bool = True

    @property
    def rows(self) -> int:
        """Of each tensor of the batch."""
        return self.trials * self.samples

    def check(self, inputs: Tensor) -> None:
        """Raises NotFoldable where these are not of all samples: a part of them would be taken for all trials'."""
        if not inputs.dim() or not len(inputs) or len(inputs) % self.rows:
            raise NotFoldable("a layer is called with what is not of all samples")

    def each_sample(self, own: Tensor) -> Tensor:
        """What each trial has, (V, ...), for each of its samples, (K * B, ...)."""
        return own.unsqueeze(1).expand(len(own), self.rows // len(own), *own.shape[1:]).flatten(0, 1)


class Layer(nn.Module):
    """A known layer. `layer` holds its options, the call's weights what to use in place of its parameters."""

    def __init__(self, layer: nn.Module, names: Mapping[Tensor, str], call: Call) -> None:
        super().__init__()
        self.layer, self.call = layer, call
        self.names = {name: names[parameter] for name, parameter in layer.named_parameters(recurse=False)}

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """A network may go by what kind of layer it has."""
        return type(self.layer)

    def own(self, name: str) -> Tensor | None:
        return self.call.weights[self.names[name]] if name in self.names else None

    def __getattr__(self, name: str) -> Any:
        """A network may ask its layers for their sizes; their parameters are not what holds here."""
        layer = self.__dict__.get("_modules", {}).get("layer")
        if layer is not None and name in vars(layer):
            return vars(layer)[name]
        return super().__getattr__(name)


def product(inputs: Tensor, weight: Tensor) -> Tensor:
    """inputs @ weight^T for each trial: (K, rows, in) and (K, out, in) to (K, rows, out)."""
    if torch.is_autocast_enabled(inputs.device.type):
        return torch.bmm(inputs, weight.mT)
    found: Tensor = _Product.apply(inputs, weight)  # type: ignore[no-untyped-call]
    return found


NARROW = range(5, 16)  # outputs, of which a CPU's product takes up to twice as long as with rows and outputs exchanged
TALL = 256  # rows of all trials, from which on that is more than laying out the result takes


class _Product(torch.autograd.Function):
    """torch's own derivative has the weight's gradient transposed, as (K, in, out): with few outputs that product takes
    up to six times as long on a CPU, and to lay it out as the weight is another pass over it.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        tall = inputs.device.type == "cpu" and inputs.shape[0] * inputs.shape[1] >= TALL
        if tall and weight.shape[1] in NARROW:
            return torch.bmm(weight, inputs.mT).mT.contiguous()
        return torch.bmm(inputs, weight.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        of_inputs, of_weight = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight) if of_inputs else None,
            torch.bmm(gradient.mT, inputs) if of_weight else None,
        )


class _Linear(Layer):
    def forward(self, inputs: Tensor) -> Tensor:
        self.call.check(inputs)
        weight, bias = self.own("weight"), self.own("bias")
        assert weight is not None
        tap = self.call.taps.get(self.names["weight"]) if "weight" in self.names else None
        rows = inputs.reshape(len(weight), -1, inputs.shape[-1])
        found = product(rows, weight) if tap is None else tap(rows, weight)
        if bias is not None and len(bias) == len(found):
            found += bias.unsqueeze(1)
        elif bias is not None:  # it has shards' own rows
            found = found.view(len(bias), -1, found.shape[-1]) + bias.unsqueeze(1)
        return found.view(*inputs.shape[:-1], -1)


GROUPED = 16  # samples a trial, up to which one grouped convolution is the quicker one


class _Conv2d(Layer):
    """One grouped convolution, or one trial after another: with many samples that takes less time on a CPU."""

    def forward(self, inputs: Tensor) -> Tensor:
        self.call.check(inputs)
        layer: Any = self.layer
        weight, bias = self.own("weight"), self.own("bias")
        assert weight is not None
        if bias is not None and len(bias) != len(weight):  # one of them has shards' own rows
            rows = max(len(bias), len(weight))
            weight, bias = (each.repeat_interleave(rows // len(each), 0) for each in (weight, bias))
        if len(inputs) <= GROUPED * len(weight) and layer.padding_mode == "zeros":
            return self._grouped(inputs, weight, bias)
        kernels = list(weight)
        if layer.weight.is_contiguous(memory_format=torch.channels_last):  # as the engine wanted it
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            kernels = [each.contiguous(memory_format=torch.channels_last) for each in kernels]
        biases = [None] * len(kernels) if bias is None else bias
        parts = zip(inputs.chunk(len(kernels)), kernels, biases, strict=True)
        return torch.cat([layer._conv_forward(*part) for part in parts])

    def _grouped(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        layer: Any = self.layer
        trials, samples = len(weight), len(inputs) // len(weight)
        maps = inputs.view(trials, samples, *inputs.shape[1:]).transpose(0, 1).flatten(1, 2)
        found = nn.functional.conv2d(
            maps,
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            layer.stride,
            layer.padding,
            layer.dilation,
            trials * layer.groups,
        )
        return found.view(samples, trials, -1, *found.shape[2:]).transpose(0, 1).flatten(0, 1)


class _Norm(Layer):
    """Normalises sample by sample, then scales and shifts by each trial's own."""

    def forward(self, inputs: Tensor) -> Tensor:
        self.call.check(inputs)
        layer: Any = self.layer
        if isinstance(layer, nn.GroupNorm):
            found, shape = nn.functional.group_norm(inputs, layer.num_groups, eps=layer.eps), [-1]
            shape += [1] * (inputs.dim() - 2)
        else:
            found = nn.functional.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)
            shape = [1] * (inputs.dim() - 1 - len(layer.normalized_shape)) + list(layer.normalized_shape)
        weight, bias = self.own("weight"), self.own("bias")
        for each, apply in ((weight, torch.mul), (bias, torch.add)):
            if each is not None:
                by_trial = found.reshape(len(each), -1, *found.shape[1:])
                found = apply(by_trial, each.reshape(len(each), 1, *shape)).reshape(found.shape)
        return found


class _Embedding(Layer):
    def forward(self, inputs: Tensor) -> Tensor:
        weight = self.own("weight")
        assert weight is not None
        if self._is_shared(inputs):
            places = inputs.squeeze(0) if len(inputs) == 1 else inputs
            return self.call.each_sample(weight[:, places])
        self.call.check(inputs)
        first = torch.arange(len(weight), device=inputs.device) * weight.shape[1]  # each trial's row of the table
        rows = inputs.reshape(len(weight), -1) + first.unsqueeze(1)
        return nn.functional.embedding(rows.view(inputs.shape), weight.flatten(0, 1))

    def _is_shared(self, inputs: Tensor) -> bool:
        """As it was learned: of as many positions as there are samples the number says nothing."""
        name, call = self.names["weight"], self.call
        if call.learns and inputs.shape[0] != call.rows:
            call.shared.add(name)
        return name in call.shared


class _Whole(Layer):
    """A layer that is not known, by torch.func's vmap over its trials; whatever it does to their samples."""

    def __init__(self, layer: nn.Module, names: Mapping[Tensor, str], call: Call) -> None:
        super().__init__(layer, names, call)
        self._each = vmap(self._of_trial, randomness="different")

    def forward(self, *inputs: Tensor) -> Tensor:
        trials = self.call.trials
        if not inputs or not all(isinstance(each, Tensor) for each in inputs):
            raise NotFoldable(f"{type(self.layer).__name__} is called with what is not of all samples")
        for each in inputs:
            self.call.check(each)
        given = {name: self.call.weights[full] for name, full in self.names.items()}
        own = {key: w if len(w) == trials else w.repeat_interleave(trials // len(w), 0) for key, w in given.items()}
        found: Tensor = self._each(own, *(each.reshape(trials, -1, *each.shape[1:]) for each in inputs))
        found = found.flatten(0, 1)
        self.call.check(found)
        return found

    def _of_trial(self, own: Weights, *inputs: Tensor) -> Any:
        return functional_call(self.layer, own, inputs)


KNOWN: Mapping[type[nn.Module], type[Layer]] = {
    nn.Linear: _Linear,
    nn.Conv2d: _Conv2d,
    nn.LayerNorm: _Norm,
    nn.GroupNorm: _Norm,
    nn.Embedding: _Embedding,
}


def layer_for(module: nn.Module) -> type[Layer] | None:
    """None where it has layers of its own, or no weights. BatchNorm's statistics under vmap would be slow."""
    known = KNOWN.get(type(module))
    if known is not None and not (isinstance(module, nn.Embedding) and _is_special(module)):
        return known
    own = len(list(module.parameters(recurse=False)))
    return _Whole if own and own == len(list(module.parameters())) and not list(module.buffers()) else None


UNKNOWN = (
    2**14
)  # numbers in weights of layers that are not known, beyond which copies for shards take more than they save


def unknown(model: nn.Module) -> list[nn.Module]:
    """Its layers that are not known."""
    return [module for module in model.modules() if layer_for(module) is _Whole]


def may_copy(model: nn.Module) -> bool:
    """Whether shards at once are quicker than one after another, as far as layers that are not known go."""
    return sum(weight.numel() for module in unknown(model) for weight in module.parameters()) <= UNKNOWN


def _is_special(layer: nn.Embedding) -> bool:
    return layer.padding_idx is not None or layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse
