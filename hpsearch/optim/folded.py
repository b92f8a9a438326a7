"""A network that computes many trials' samples in one call: (K * B, ...) in and out, the trials one after another.

Layers with weights know where one trial ends; all others see more samples than usual. This has a fraction of
torch.func's fixed cost, but asks for layers that are known here, and for others that treat each sample on its own.
A trial may be a shard of a batch, too, with weights of its own or with its model's (optim/ghost.py).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]  # by the parameter's name in the network; each (K, ...), or (V, ...) where K divides V


class NotFoldable(Exception):
    """A network with a layer that is not known here."""


class Tap(Protocol):
    """The product of a linear layer's inputs (K, rows, in) and its weight (K, out, in): (K, rows, out)."""

    def __call__(self, inputs: Tensor, weight: Tensor) -> Tensor: ...


Taps = dict[str, Tap]  # by the name of the layer's weight


class _Layer(nn.Module):
    """A known layer. `layer` holds its options, `weights` what to use in place of its parameters."""

    def __init__(self, layer: nn.Module, names: Mapping[Tensor, str], weights: Weights, taps: Taps) -> None:
        super().__init__()
        self.layer, self.weights, self.taps = layer, weights, taps
        self.names = {name: names[parameter] for name, parameter in layer.named_parameters(recurse=False)}

    def own(self, name: str) -> Tensor | None:
        return self.weights[self.names[name]] if name in self.names else None

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


class _Linear(_Layer):
    def forward(self, inputs: Tensor) -> Tensor:
        weight, bias = self.own("weight"), self.own("bias")
        assert weight is not None
        tap = self.taps.get(self.names["weight"]) if "weight" in self.names else None
        rows = inputs.reshape(len(weight), -1, inputs.shape[-1])
        found = product(rows, weight) if tap is None else tap(rows, weight)
        if bias is not None and len(bias) == len(found):
            found += bias.unsqueeze(1)
        elif bias is not None:  # it has shards' own rows
            found = found.view(len(bias), -1, found.shape[-1]) + bias.unsqueeze(1)
        return found.view(*inputs.shape[:-1], -1)


GROUPED = 16  # samples a trial, up to which one grouped convolution is the quicker one


class _Conv2d(_Layer):
    """One grouped convolution, or one trial after another: with many samples that takes less time on a CPU."""

    def forward(self, inputs: Tensor) -> Tensor:
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


class _Norm(_Layer):
    """Normalises sample by sample, then scales and shifts by each trial's own."""

    def forward(self, inputs: Tensor) -> Tensor:
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


class _Embedding(_Layer):
    def forward(self, inputs: Tensor) -> Tensor:
        weight = self.own("weight")
        assert weight is not None
        first = torch.arange(len(weight), device=inputs.device) * weight.shape[1]  # each trial's row of the table
        rows = inputs.reshape(len(weight), -1) + first.unsqueeze(1)
        return nn.functional.embedding(rows.view(inputs.shape), weight.flatten(0, 1))


_KNOWN: Mapping[type[nn.Module], type[_Layer]] = {
    nn.Linear: _Linear,
    nn.Conv2d: _Conv2d,
    nn.LayerNorm: _Norm,
    nn.GroupNorm: _Norm,
    nn.Embedding: _Embedding,
}


class Folded(nn.Module):
    """The network on (K, B, ...) inputs with weights by name, which hold until the next call of `use`.

    linear: the weights that nothing but linear layers uses. rows: for optim/ghost.py.

    Raises NotFoldable for layers that are not known here, or have hooks.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.weights: Weights = {}
        self.taps: Taps = {}
        self.rows: dict[tuple[torch.Size, ...], dict[str, int]] = {}
        copied = copy.deepcopy(model)
        names: dict[Tensor, str] = {parameter: name for name, parameter in copied.named_parameters()}
        uses: dict[str, set[tuple[type[nn.Module], str]]] = {}
        for module in copied.modules():
            for name, parameter in module.named_parameters(recurse=False):
                uses.setdefault(names[parameter], set()).add((type(module), name))
        self.linear = [name for name, found in uses.items() if found == {(nn.Linear, "weight")}]
        self.network = self._fold(copied, names, {})

    def use(self, weights: Mapping[str, Tensor], taps: Mapping[str, Tap] | None = None) -> None:
        self.weights.clear()
        self.weights.update(weights)
        self.taps.clear()
        self.taps.update(taps or {})

    def follow(self, model: nn.Module) -> None:
        """Takes over the modes and plain attributes that the modules have now."""
        copies = dict(self.network.named_modules(remove_duplicate=False))
        for name, module in model.named_modules(remove_duplicate=False):
            copied = copies[name]
            plain = copied.layer if isinstance(copied, _Layer) else copied
            plain.__dict__.update({key: value for key, value in vars(module).items() if not key.startswith("_")})
            copied.training = module.training

    def forward(self, *inputs: Tensor) -> Tensor:
        trials, samples = inputs[0].shape[:2]
        found = self.network(*(each.reshape(trials * samples, *each.shape[2:]) for each in inputs))
        return found.view(trials, samples, *found.shape[1:])  # type: ignore[no-any-return]

    def _fold(self, module: nn.Module, names: Mapping[Tensor, str], known: dict[nn.Module, nn.Module]) -> nn.Module:
        """known: what has been folded; a module may be in several places."""
        if module in known:
            return known[module]
        if has_hooks(module) or "forward" in vars(module):
            raise NotFoldable(f"{type(module).__name__} has hooks, or a forward() of its own object")
        layer = _KNOWN.get(type(module))
        if layer is not None and not (isinstance(module, nn.Embedding) and _is_special(module)):
            known[module] = layer(module, names, self.weights, self.taps)
            return known[module]
        if {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}:
            raise NotFoldable(f"{type(module).__name__} has weights or buffers of its own")
        known[module] = module
        for name, child in module._modules.items():
            if child is not None:
                setattr(module, name, self._fold(child, names, known))
        return module


def has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _is_special(layer: nn.Embedding) -> bool:
    return layer.padding_idx is not None or layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse


class Called:
    """Stands for the folded network in a function that is under vmap over trials: it can be called, no more."""

    def __init__(self, folded: Folded) -> None:
        self.folded = folded

    @property
    def training(self) -> bool:
        return self.folded.network.training

    def __call__(self, *inputs: Tensor) -> Tensor:
        found: Tensor = Outside.apply(self.folded, *inputs)  # type: ignore[no-untyped-call]
        return found

    def __getattr__(self, name: str) -> Any:
        raise NotFoldable(f"the loss does not only call the model: it uses its {name}")

    def __getitem__(self, index: object) -> Any:
        raise NotFoldable("the loss does not only call the model: it takes a part of it")


class Outside(torch.autograd.Function):
    """Calls run(*inputs) out of the vmap that it is called in, on whole tensors with the trials along dimension 0."""

    @staticmethod
    def forward(run: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        raise NotFoldable("the network is called with what is not the batch's")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Autograd sees what run() does; this function itself never runs."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], run: Callable[..., Tensor], *inputs: Tensor) -> Any:
        if any(place is None for place in in_dims[1:]):
            raise NotFoldable("the network is called with what all trials share")
        return run(*(each.movedim(place or 0, 0) for each, place in zip(inputs, in_dims[1:], strict=True))), 0
