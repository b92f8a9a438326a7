"""The steps of a pack: as they are, as a list of operations, or compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from hpsearch.hyperparameters import Settings
from hpsearch.optim.layers import Weights
from hpsearch.optim.stacked import Numbers, Rule, State, step
from hpsearch.tasks.protocol import Batch, Task
from hpsearch.training.stack import Stack


class Steps:
    """hpsearch.optim.stacked.step for the trials of one stack.

    With one shard a whole step is one list of operations (hpsearch.optim.traced). With more of them ghosts read
    numbers, and without ghosts the list would be long: there the stack has a list of its gradients' alone. Where there
    are no lists, torch.compile is given the step as it is, and sees to it that this is what it still computes.
    """

    def __init__(self, rule: Rule, stack: Stack, task: Task, settings: Settings, trials: int) -> None:
        self._rule, self._stack = rule, stack
        self._compiled = _compiled_step(type(task), settings.shape(), trials) if stack.whole else None
        self._whole = {perturbs: _Whole(rule, stack, perturbs) for perturbs in (False, True)}
        alike = replace(rule, only=None)
        self._traced = {key: stack.of_steps(whole, (alike, key)) for key, whole in self._whole.items()}

    def __call__(self, state: State, numbers: Numbers, batch: Batch, perturbs: bool) -> Tensor:
        """Clean losses, (K,)."""
        if self._compiled is not None:
            return self._compiled(self._rule, state, numbers, self._stack, batch, perturbs)
        if self._rule.num_shards > 1:
            return step(self._rule, state, numbers, self._stack, batch, perturbs)
        (losses,) = self._traced[perturbs](*self._whole[perturbs].given(state, numbers, batch))
        return losses


class _Whole:
    """A step as a function of all tensors that it reads or writes, one after another."""

    def __init__(self, rule: Rule, stack: Stack, perturbs: bool) -> None:
        self._rule, self._stack, self._perturbs = rule, stack, perturbs

    def given(self, state: State, numbers: Numbers, batch: Batch) -> list[Tensor]:
        self._names, self._moments, self._averages = list(numbers), len(state.moments), state.ema is not None
        maybe = [each for each in (state.ema, self._rule.only) if each is not None]
        own = [state.weights, *state.moments, state.steps, state.averaged, *maybe]
        return [*own, *numbers.values(), *self._stack.others.values(), *batch]

    def __call__(self, *given: Tensor) -> tuple[Tensor]:
        left = iter(given)
        weights, moments = next(left), [next(left) for _ in range(self._moments)]
        steps, averaged, ema = next(left), next(left), next(left) if self._averages else None
        state = State(weights, moments, ema, steps, averaged)
        rule = self._rule if self._rule.only is None else replace(self._rule, only=next(left))
        numbers = {name: next(left) for name in self._names}
        networks = _OneShard(self._stack, {name: next(left) for name in self._stack.others})
        return (step(rule, state, numbers, networks, tuple(left), self._perturbs),)


class _OneShard:
    """hpsearch.optim.stacked.Networks with buffers that are given."""

    def __init__(self, stack: Stack, others: Weights) -> None:
        self._stack, self._others = stack, others

    def gradients(self, weights: Tensor, batch: Batch, updates: bool) -> tuple[Tensor, Tensor]:
        return self._stack.compute(weights, self._others, batch, updates)

    def shards(self, *_: Any) -> None:
        return None


@lru_cache(maxsize=1)
def _compiled_step(*alike: Any) -> Callable[..., Tensor]:
    """A whole step in one graph. Packs that are alike share it; others begin anew, or torch would make its kernels
    dynamic for them, and give up at the eighth kind.
    """
    torch.compiler.reset()
    return torch.compile(step)
