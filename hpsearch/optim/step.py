"""One step of SharpnessAware: the passes over its shards, then the base optimizer's own step, or none of it.

For a small network the host's own work is most of what a step adds to its gradient evaluations, so what a plain SAM or
F-SAM step runs through is kept short.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hpsearch.optim import functional as F
from hpsearch.optim.batchnorm import frozen_statistics, running
from hpsearch.optim.functional import Tensors
from hpsearch.optim.ghost_model import GhostModel
from hpsearch.optim.layers import NotFoldable
from hpsearch.optim.passes import Closure, Gradients, Mean, Shard, gradients, one_pass, reals
from hpsearch.optim.perturbation import Bundle, Layout, Moved, displace_
from hpsearch.optim.vectorized import Loss, VectorizedShards, mean_over_shards, perturbed_weights

if TYPE_CHECKING:
    from hpsearch.optim.sharpness_aware import SharpnessAware

Stacked = tuple[Tensor, ...]  # a batch's tensors, (m, b, ...)


class Step:
    """What one step knows; run() is the step."""

    __slots__ = (
        "optimizer", "layout", "parameters", "perturbs", "closure", "scaler",
        "checks", "deferred", "norms", "own", "alone", "keeps_clean", "ema_at_once", "bundles", "copied",
    )  # fmt: skip

    def __init__(
        self,
        optimizer: SharpnessAware,
        layout: Layout,
        perturbs: bool,
        closure: Closure,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        self.optimizer, self.layout, self.closure, self.perturbs = optimizer, layout, closure, perturbs
        self.parameters = layout.parameters
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.checks = optimizer.nonfinite != "allow" or self.scaler is not None
        # Whether all values stay on the device: the host reads neither norms nor if they are finite. A check then needs
        # a base whose kernel can be told to skip, and whose state exists.
        told = layout.fused and bool(optimizer.flag_works) and optimizer.nonfinite != "raise"
        self.deferred = layout.deferrable and (told or not self.checks)
        self.norms = running(optimizer.norm_layers) if optimizer.norm_layers and perturbs else []
        self.own = perturbs and optimizer.ranks.each  # each rank perturbs with its own gradient
        self.bundles: list[Bundle] = []
        self.copied: Tensors | None = None

    def run(self, shards: list[Shard]) -> Tensor:
        """The weighted clean loss. Raises FloatingPointError where nonfinite="raise" and a gradient is not finite."""
        enabled = torch.is_grad_enabled()
        try:
            torch._C._set_grad_enabled(False)
            return self._run(shards)
        finally:  # not torch.no_grad(): a KeyboardInterrupt could strike in its Python code and leave grad mode off
            torch._C._set_grad_enabled(enabled)
            self.layout.release()

    def _run(self, shards: list[Shard]) -> Tensor:
        self._decide(alone=len(shards) == 1)
        mean, clean_mean = (None, None) if self.alone else (Mean(), Mean())
        losses: list[Tensor] = []
        for shard in shards:
            loss, clean = self._evaluate(shard, "clean", self.own)
            losses.append(loss.detach() if mean is None else loss.detach() * shard.share)
            seen = clean
            if self.perturbs:
                if self.scaler is not None:
                    _unscale_(self._present(clean), self.scaler)
                if self.keeps_clean and clean_mean is not None:
                    clean_mean.add_copy(clean, shard.share)
                elif self.keeps_clean:
                    clean = self.optimizer.ranks.kept(clean)
                seen = self._at_perturbed_weights(shard, clean)
                if not seen:
                    return self._skip([loss / sum(each.share for each in shards[: len(losses)]) for loss in losses])
            if mean is not None:
                mean.add(seen if mean.total else self.optimizer.ranks.kept(seen), shard.share)
                seen = clean = []  # so that nothing but the mean holds them in the next shard's passes
        if mean is not None and clean_mean is not None:
            seen, clean = mean.total, clean_mean.total if self.perturbs else mean.total
            for parameter, gradient in zip(self.parameters, seen, strict=True):
                parameter.grad = gradient
        if self.own:
            if not self.alone:
                self.optimizer.ranks.mean_(self._present(seen))
            if self.keeps_clean:
                self.optimizer.ranks.mean_(self._present(clean))
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer.base)
        return self._finish(losses, seen, clean)

    def _decide(self, alone: bool) -> None:
        """When the EMA takes the clean gradients: with the base's step, if they are there then, or else at once.

        A step that may yet be skipped, or has more shards to come, keeps them for the end. Else nothing does, and
        memory for one gradient is saved.
        """
        self.alone = alone
        late_ema = self.layout.has_ema and (self.checks or not alone)
        self.keeps_clean = self.perturbs and (late_ema or self.optimizer.combine is not None)
        self.ema_at_once = self.perturbs and self.layout.has_ema and not self.keeps_clean

    def vectorized(self, loss: Loss, model: nn.Module, batch: Stacked, weighed: list[float], program: str) -> Tensor:
        """run() with all shards at once; the weights themselves are never moved. Raises ValueError: no ghosts."""
        try:
            total, seen, clean = self.shards(loss, model, batch, weighed, program)
            for parameter, gradient in zip(self.parameters, seen, strict=True):
                parameter.grad = gradient
            return self._finish([total], seen, clean)
        finally:
            self.layout.release()

    def shards(
        self, loss: Loss, model: nn.Module, batch: Stacked, weighed: list[float], program: str
    ) -> tuple[Tensor, Gradients, Gradients]:
        """The weighted clean loss, perturbed gradients, and clean ones where they are kept."""
        self._decide(alone=False)
        ghosts = self.ghosts(loss, model, batch) if program != "vmap" else "not asked for"
        if isinstance(ghosts, GhostModel):
            try:
                return self._by_ghosts(ghosts, loss, batch, weighed)
            except NotFoldable as error:  # the loss does now what it did not do before; nothing was changed
                ghosts = str(error)
                self.optimizer.programs.refuse(loss, ghosts)
        if program == "ghost":
            raise ValueError(f"there are no ghost shards here: {ghosts}")
        return self._by_vmap(VectorizedShards(loss, model, self.parameters), batch, weighed)

    def ghosts(self, loss: Loss, model: nn.Module, batch: Stacked) -> GhostModel | str:
        """Why not, where there are none."""
        if self.optimizer.metric is not None:
            return "with a metric a weight's perturbation is no product of inputs and gradients"
        if torch.is_autocast_enabled(batch[0].device.type):
            return "autocast is on"
        return self.optimizer.programs.ghosts(loss, model, self.parameters, self._every_bundle(), batch)

    def _by_ghosts(
        self, ghosts: GhostModel, loss: Loss, batch: Stacked, weighed: list[float]
    ) -> tuple[Tensor, Gradients, Gradients]:
        share = torch.tensor(weighed, dtype=self.parameters[0].dtype, device=self.parameters[0].device)
        passes = ghosts.passes(loss, self._every_bundle(), batch, None if len(set(weighed)) == 1 else share)
        (losses,) = passes.clean(self.keeps_clean)
        passes.displace()
        seen = ghosts.whole(passes.perturbed(), passes.unused)
        clean = ghosts.whole(passes.means(), passes.unused) if self.keeps_clean else []
        return torch.dot(share.to(losses.dtype), losses), seen, clean

    def _every_bundle(self) -> list[Bundle]:
        """Of all that is trained; they hold no gradients."""
        return self._moved([p if p.requires_grad else None for p in self.parameters]).bundles

    def _by_vmap(
        self, evaluate: VectorizedShards, stacked: Stacked, weighed: list[float]
    ) -> tuple[Tensor, Gradients, Gradients]:
        clean, losses = evaluate([p.detach() for p in self.parameters], stacked, own=False)
        share = torch.tensor(weighed, dtype=losses.dtype, device=losses.device)
        clean_mean = mean_over_shards(clean, share) if self.keeps_clean else [*clean]
        moved = self._moved(clean_mean)
        weights = perturbed_weights(moved.bundles, self.optimizer.metric, self.parameters, clean)
        del clean
        if not self.keeps_clean:
            clean_mean = []
            self.layout.release()
        perturbed, _ = evaluate(weights, stacked, own=True)
        return torch.dot(share, losses), mean_over_shards(perturbed, share), clean_mean

    def _at_perturbed_weights(self, shard: Shard, clean: Gradients) -> Gradients:
        """The gradients at w + eps, the weights back at w; none, and nothing done, if the clean ones are not finite.

        A lone shard's clean gradients become directions, if they are needed later on; else `clean` is emptied, so that
        nothing holds them in the second pass.
        """
        self.bundles, weights, saved = self._moved(clean)
        if weights and weights is not self.copied:  # all shards of a step start from the same weights
            torch._foreach_copy_(saved, weights)
            self.copied = weights
        try:
            norm = displace_(self.bundles, self.optimizer.metric, self.deferred, self.layout.alike)
            if self.checks and not (self.deferred or self.own or math.isfinite(norm)):
                if self.optimizer.nonfinite_in(self._present(clean)).item():
                    if self.scaler is not None:
                        self.scaler.unscale_(self.optimizer.base)  # finds it out, too: they are still in .grad
                    return []  # a model may raise at weights that are not finite
            if self.ema_at_once:
                self._update_ema(self.bundles, clean, None)
            if not (self.keeps_clean and self.alone):
                clean.clear()
                for bundle in self.bundles:
                    bundle.gradients = []
            torch.clear_autocast_cache()  # of casts of the clean weights, where the caller's autocast is outside
            return self._evaluate(shard, "perturbed", self.own and not self.alone)[1]
        finally:
            # Copied back, never subtracted: w + eps - eps is not w in floating point. This call comes first, and
            # through no Python function: a KeyboardInterrupt could strike on the way.
            if weights:
                torch._foreach_copy_(weights, saved)
            torch.clear_autocast_cache()

    def _finish(self, losses: list[Tensor], seen: Gradients, clean: Gradients) -> Tensor:
        """The base optimizer's step and the EMA's, unless the gradients are not finite."""
        optimizer = self.optimizer
        if self.perturbs and optimizer.combine is not None:
            for bundle in self.bundles if self.alone else []:
                ema, directions = bundle.known()
                if ema:
                    F.gradient_(directions, ema, bundle.group["sigma"])
            both = [(s, c) for s, c in zip(seen, clean, strict=True) if s is not None and c is not None]
            if self.layout.has_ema:  # which still needs the clean ones
                both = [(s, c.clone()) for s, c in both]
            optimizer.combine(reals([s for s, _ in both]), reals([c for _, c in both]))
        # Nobody has looked at the clean ones where norms stay on the device or differ between ranks.
        unseen = clean if self.keeps_clean and self.layout.has_ema and (self.deferred or self.own) else []
        found_inf = optimizer.nonfinite_in(self._present([*seen, *unseen])) if self.checks else None
        # The first gradient of a parameter makes the base's state, which torch's kernels leave unset when told to skip.
        present = {index for index, gradient in enumerate(seen) if gradient is not None} if self.checks else set()
        if found_inf is not None and not (self.deferred and present <= optimizer.flag_works):
            if found_inf.item():
                return self._skip(losses)
            found_inf = None
            optimizer.flag_works |= present
            if self.layout.fused:  # made here and not in a deferred step, which may be captured in a graph
                optimizer.skipped = torch.as_tensor(optimizer.skipped, dtype=torch.float32, device=self.layout.device)
        if self.layout.has_ema and not self.ema_at_once:
            # Before the base's step, in which hooks and the base itself may change gradients.
            raw = not (self.perturbs and self.alone) or optimizer.combine is not None
            self._update_ema(self._moved(clean).bundles if raw else self.bundles, clean, found_inf, raw)
        if found_inf is None:
            optimizer.step_base()
        else:
            optimizer.step_base_unless(found_inf)
        if not self.perturbs:
            torch.clear_autocast_cache()  # of casts of the weights before the base's step
        optimizer.steps += 1
        return losses[0] if self.alone else torch.stack(losses).sum()

    def _update_ema(self, bundles: list[Bundle], clean: Gradients, found_inf: Tensor | None, raw: bool = False) -> None:
        """raw: the bundles hold gradients, not directions. A parameter's first gradient sets its EMA."""
        if self.ema_at_once and self.own:
            self.optimizer.ranks.mean_(self._present(clean))
        for bundle in bundles:
            group, (ema, directions) = bundle.group, bundle.known()
            sigma = 0.0 if raw else group["sigma"]
            if ema and self.deferred:
                F.update_ema_unless_(ema, directions, group["ema_decay"], sigma, found_inf)
            elif ema:
                F.update_ema_(ema, directions, float(group["ema_decay"]), float(sigma))
            if bundle.has_ema and len(ema) < len(bundle.parameters) and (found_inf is None or not found_inf.item()):
                for parameter, known, index in zip(bundle.parameters, bundle.ema, bundle.indices, strict=True):
                    if known is None:
                        first = torch.empty_like(parameter).copy_(clean[index])  # type: ignore[arg-type]
                        self.optimizer.state[parameter]["ema"] = first

    def _skip(self, losses: list[Tensor]) -> Tensor:
        """Ends a step whose gradients are not finite: the weights are back already, nothing else has changed."""
        optimizer = self.optimizer
        if optimizer.nonfinite == "raise" and self.scaler is None:
            raise FloatingPointError(f"a gradient of step {optimizer.steps} is infinite or NaN; nothing was changed")
        optimizer.steps += 1
        optimizer.skipped += 1
        return losses[0] if self.alone else torch.stack(losses).sum()

    def _evaluate(self, shard: Shard, kind: str, own: bool) -> tuple[Tensor, Gradients]:
        """The shard's loss and gradients; with several ranks the mean over them, unless a rank's own are asked for."""
        ddp, in_parts = self.optimizer.ranks.ddp, len(shard.parts) > 1
        if ddp is None and not in_parts and not self.norms:
            return one_pass(self.closure, shard.parts[0][1], self.parameters)
        frozen = [] if self.optimizer.batchnorm in (kind, "both") else self.norms
        with frozen_statistics(frozen), ddp.no_sync() if ddp is not None and (own or in_parts) else nullcontext():
            loss, found = gradients(self.closure, shard, self.parameters)
        if in_parts and not own:
            self.optimizer.ranks.mean_(self._present(found))
        return loss, found

    def _moved(self, found: Gradients) -> Moved:
        state, moved = self.optimizer.state, self.layout.moved(found)
        for bundle in moved.bundles:
            whole = len(bundle.indices) == len(found)
            bundle.gradients = self._present(found if whole else [found[index] for index in bundle.indices])
            if bundle.has_ema:
                bundle.look_up_ema(state)
        return moved

    def _present(self, found: Gradients) -> Tensors:
        """The gradients there are, complex ones as pairs of real numbers."""
        there = [gradient for gradient in found if gradient is not None]
        return reals(there) if self.layout.complex else there


def _unscale_(gradients: Tensors, scaler: torch.amp.GradScaler) -> None:
    for part in F.by_kind(gradients):
        scale = scaler.scale(torch.ones((), device=part[0].device))  # the scale itself, without waiting for the device
        F.scale_(part, scale.reciprocal())
