"""What modules hold beside what they compute: hooks, and weights where nobody looks for them."""

from __future__ import annotations

from torch import nn

OF_MODULES = frozenset(vars(nn.Module()))  # what each has: its mode, its weights, buffers, modules and hooks
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def has_hooks(module: nn.Module) -> bool:
    return any(getattr(module, kind) for kind in HOOKS)


def odd_weight(model: nn.Module) -> str | None:
    """What of the model acts only where its weights are its own parameters, and not where they are given by name: a
    weight with a hook for its gradient, an attribute that holds a weight. None where there is nothing.
    """
    for name, weight in model.named_parameters():
        if weight._backward_hooks or getattr(weight, "_post_accumulate_grad_hooks", None):
            return f"{name} has a hook"
    weights = {id(weight) for weight in model.parameters()}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in OF_MODULES and _holds(value, weights):
                return f"{name}.{key} holds weights".removeprefix(".")
    return None


def _holds(value: object, weights: set[int]) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds(each, weights) for each in value)
    if isinstance(value, dict):
        return any(_holds(each, weights) for each in value.values())
    return id(value) in weights
