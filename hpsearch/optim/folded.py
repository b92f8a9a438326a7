"""A network that computes many trials' samples in one call: (K * B, ...) in and out, the trials one after another.

Layers with weights know where one trial ends (optim/layers.py); all others see more samples than usual, and must treat
each sample on its own. This has a fraction of torch.func's fixed cost.
A trial may be a shard of a batch, too, with weights of its own or with its model's (optim/ghost.py).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.optim.layers import Call, NotFoldable, Tap, layer_for
from hpsearch.optim.modules import OF_MODULES, has_hooks


class Folded(nn.Module):
    """The network on (K, B, ...) inputs with weights by name, which hold until the next call of `use`.

    linear: the weights that nothing but linear layers uses. constants: buffers that all trials must have alike, and
    that must not change. rows: for optim/ghost.py.

    Raises NotFoldable for modules that have hooks, or weights of their own beside layers without a leading 1.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.call = Call()
        self.rows: dict[tuple[torch.Size, ...], dict[str, int]] = {}
        copied = copy.deepcopy(model)
        names: dict[Tensor, str] = {parameter: name for name, parameter in copied.named_parameters()}
        uses: dict[str, set[tuple[type[nn.Module], str]]] = {}
        for module in copied.modules():
            for name, parameter in module.named_parameters(recurse=False):
                uses.setdefault(names[parameter], set()).add((type(module), name))
        self.linear = [name for name, found in uses.items() if found == {(nn.Linear, "weight")}]
        names |= {buffer: name for name, buffer in copied.named_buffers()}
        self._own: list[tuple[nn.Module, str, str]] = []  # weights of modules that are no layers: attribute, name
        self._alike: list[tuple[nn.Module, str, str]] = []  # their buffers
        self._copies = dict(copied.named_modules(remove_duplicate=False))
        self.network = self._fold(copied, names, {})
        self.constants = {name for _, _, name in self._alike}

    @property
    def lends(self) -> bool:
        """Whether its samples are given what is not theirs alone."""
        return bool(self._own or self._alike or self.call.shared)

    def use(self, weights: Mapping[str, Tensor], taps: Mapping[str, Tap] | None = None) -> None:
        self.call.weights, self.call.taps = dict(weights), dict(taps or {})

    def learned(self, shared: Iterable[str]) -> None:
        """Which embeddings are called with what all samples share (Call.shared), from a network like this one."""
        self.call.shared, self.call.learns = set(shared), False

    def follow(self, model: nn.Module) -> None:
        """Takes over the modes and plain attributes that the modules have now."""
        for name, module in model.named_modules(remove_duplicate=False):
            plain = {key: value for key, value in vars(module).items() if key not in OF_MODULES}
            self._copies[name].__dict__.update(plain, training=module.training)

    def forward(self, *inputs: Tensor) -> Tensor:
        call, (trials, samples) = self.call, inputs[0].shape[:2]
        call.trials, call.samples = trials, samples
        try:
            # Attributes are found before the parameters and buffers of that name.
            for module, key, name in self._own:
                module.__dict__[key] = call.each_sample(call.weights[name].squeeze(1))
            for module, key, name in self._alike:
                module.__dict__[key] = call.weights[name][0]
            before = [module._buffers[key] for module, key, _ in self._alike]
            found = self.network(*(each.reshape(trials * samples, *each.shape[2:]) for each in inputs))
            if any(a is not m._buffers[key] for a, (m, key, _) in zip(before, self._alike, strict=True)):
                raise NotFoldable("a forward pass changes a buffer")
        finally:
            for module, key, _ in (*self._own, *self._alike):
                module.__dict__.pop(key, None)
        return found.view(trials, samples, *found.shape[1:])  # type: ignore[no-any-return]

    def _fold(self, module: nn.Module, names: Mapping[Tensor, str], known: dict[nn.Module, nn.Module]) -> nn.Module:
        """known: what has been folded; a module may be in several places."""
        if module in known:
            return known[module]
        layer = layer_for(module)
        for each in module.modules() if layer is not None else [module]:
            if has_hooks(each) or "forward" in vars(each):
                raise NotFoldable(f"{type(each).__name__} has hooks, or a forward() of its own object")
        if layer is not None:
            known[module] = layer(module, names, self.call)
            return known[module]
        for key, weight in module.named_parameters(recurse=False):
            if weight.dim() < 2 or len(weight) != 1:  # no place for the samples
                raise NotFoldable(f"{type(module).__name__} has weights of its own beside layers")
            self._own.append((module, key, names[weight]))
        self._alike += [(module, key, names[buffer]) for key, buffer in module.named_buffers(recurse=False)]
        known[module] = module
        for name, child in module._modules.items():
            if child is not None:
                setattr(module, name, self._fold(child, names, known))
        return module


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
