"""Whether the networks of a stack can be folded: tried on two trials, against torch.func."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from hpsearch.optim.agreement import agree, in_double, keeps_apart
from hpsearch.optim.layers import Weights, unknown
from hpsearch.tasks.protocol import Batch
from hpsearch.training.engine import Engine
from hpsearch.training.first_step import FirstStep
from hpsearch.training.lists import Lists
from hpsearch.training.programs import ByFolding, ByFunc, Measured, NotStackable, Program, without_dropout

FEW = 7  # samples on which the two programs are compared; as odd a number as positions rarely have
NOISE = 0.1  # of the weights' spread, so that the trials on which the programs are compared differ


@dataclass(frozen=True)
class Folding:
    """Of networks with weights (K, P), of which views() are those named `names`. others, lists: the stack's."""

    module: Measured
    names: Sequence[str]
    weights: Tensor
    others: Weights
    views: Callable[[Tensor], list[Tensor]]
    engine: Engine
    lists: Lists
    first: FirstStep

    def program(self, sample: Batch) -> ByFolding | None:
        """The folded network where it gives what torch.func gives, dropout aside. Tried once for each structure.

        On two trials of which neither samples nor weights are alike, so that a network shows that mixes what it is
        given.
        Raises NotStackable, and torch.OutOfMemoryError as it comes: it says nothing of the network.
        """
        shapes = (len(self.weights), *((part.shape, part.dtype, part.device) for part in sample))
        known = self.lists.learned(shapes)
        if known is not None:
            return self._by_folding(known)
        self._check_ordinary(sample)
        if any(isinstance(each, _ConvNd) for each in unknown(self.module.model)):
            return None  # each would lay out all trials' maps anew; torch.func does so once
        few = max(1, min(FEW, len(sample[0]) - 1))
        batch = tuple(torch.stack([part[:few], part[-few:]]) for part in sample)
        ends = torch.tensor([0, -1], device=self.weights.device)
        draws = torch.Generator().manual_seed(0)
        noise = torch.randn(2, self.weights.shape[1], generator=draws).to(self.weights)
        weights = self.weights[ends] + NOISE * self.weights[ends].std(1, keepdim=True) * noise
        given = weights, {name: value[ends] for name, value in self.others.items()}, batch
        try:
            shared = self._agree(*given, sample, strict=True)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a network, a task or a device that does not know float64
            shared = self._agree(*given, sample, strict=False)
        if shared is None:
            return None
        self.lists.note_learned(shapes, shared)
        return self._by_folding(shared)

    def _check_ordinary(self, sample: Batch) -> None:
        """Raises NotStackable unless torch.func gives what the first network's own backward pass gives: a task may know
        it by another way, through which it does not see the weights that it is called with.
        """
        if self.first.draws or self.engine.precision != "fp32":
            return
        others = {name: value[:1].clone() for name, value in self.others.items()}
        one = tuple(part.unsqueeze(0) for part in sample)
        with self._computed():
            losses, found = ByFunc(self.module, self.names).gradients(self.views(self.weights[:1]), others, one)
        given = [losses[0], *(each[0] for each in found)]
        finite = all(torch.isfinite(each).all() for each in self.first.numbers)
        if finite and not agree(given, self.first.numbers, strict=False):
            raise NotStackable("a training step does more with the network than to call it with a trial's weights")

    def _by_folding(self, shared: frozenset[str]) -> ByFolding | None:
        """shared: of hpsearch.optim.layers.Call."""
        program = ByFolding(self.module, self.names)
        program.folded.learned(shared)
        constants = [self.others[name] for name in program.folded.constants]
        alike = all(torch.equal(each, each[:1].expand_as(each)) for each in constants)
        if not alike or program.folded.constants & self.first.changing:
            return None
        # Of what is lent to each sample, each would be given draws of its own.
        return None if self.first.draws and program.folded.lends else program

    def _agree(
        self, weights: Tensor, others: Weights, batch: Batch, sample: Batch, strict: bool
    ) -> frozenset[str] | None:
        """Which embeddings are called with what all samples share; None where the programs do not agree.

        Of two trials on few samples, then of all. strict: in float64. Raises NotStackable where torch.func cannot
        compute it.
        """
        module = self.module
        if strict:
            module = Measured(module.task, copy.deepcopy(module.model).double())
            weights, batch = weights.double(), tuple(map(in_double, batch))
            others = {name: in_double(value) for name, value in others.items()}
        with self._computed(), without_dropout(module):
            expected = self._numbers(ByFunc(module, self.names), weights, others, batch)
        try:
            folded = ByFolding(module, self.names)
            with without_dropout(folded.folded):
                found = self._numbers(folded, weights, others, batch)
                with self.engine.autocast():
                    self._numbers(folded, weights, others, batch)  # in its precision it must not raise
                apart = keeps_apart(lambda some: self._numbers(folded, some, others, batch), [weights], strict)
                agrees = apart and agree(found, expected, strict)
                agrees = agrees and self._is_whole(module, folded, sample, strict)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a layer that is not known, a task that needs more of a network than calling it
            return None
        return frozenset(folded.folded.call.shared) if agrees else None

    @contextmanager
    def _computed(self) -> Iterator[None]:
        """Raises NotStackable for what torch.func cannot compute."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise NotStackable(f"torch.func.vmap cannot compute the task's trials together: {why}") from error

    def _is_whole(self, module: Measured, folded: ByFolding, sample: Batch, strict: bool) -> bool:
        """Whether with all trials, and as many samples as a step has, the first and the last trial have their own
        numbers: a network may do otherwise with many samples, as one does that takes them in parts.
        """
        convert = in_double if strict else torch.Tensor.clone
        weights, count = convert(self.weights), len(self.weights)
        others = {name: convert(value) for name, value in self.others.items()}
        batch = tuple(convert(part).expand(count, *part.shape) for part in sample)
        folded.folded.learned(folded.folded.call.shared)
        found, func = self._numbers(folded, weights, others, batch), ByFunc(module, self.names)
        for row in {0, count - 1}:
            one = slice(row, row + 1)
            own = {name: value[one] for name, value in others.items()}
            with without_dropout(module):
                expected = self._numbers(func, weights[one], own, tuple(part[one] for part in batch))
            if not agree([each[one] for each in found], expected, strict):
                return False
        return True

    def _numbers(self, program: Program, weights: Tensor, others: Weights, batch: Batch) -> list[Tensor]:
        """All that a program gives: losses, gradients and metrics."""
        others = {name: value.clone() for name, value in others.items()}
        losses, gradients = program.gradients(self.views(weights), others, batch)
        with torch.no_grad():
            metrics = program.measure(self.views(weights), others, batch)
        return [losses, *gradients, *metrics.values()]
