"""SharpnessAware: SAM, mSAM, F-SAM and their relatives around any torch optimizer. METHODS has a table of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._C._autograd import _profiler_enabled
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from hpsearch.optim import functional as F
from hpsearch.optim.batchnorm import POLICIES, norm_layers, running
from hpsearch.optim.functional import Scalar
from hpsearch.optim.ghost_model import Programs
from hpsearch.optim.methods import Combiner, Metric
from hpsearch.optim.modules import odd_weight
from hpsearch.optim.passes import Closure, Shard
from hpsearch.optim.perturbation import Layout
from hpsearch.optim.ranks import Ranks
from hpsearch.optim.settings import (
    MEANINGS,
    NONFINITE,
    PROGRAMS,
    check_base,
    check_choice,
    check_group,
    combiner_of,
    metric_of,
    rho_key,
    selected_of,
    whole,
)
from hpsearch.optim.shards import shares, size, split
from hpsearch.optim.step import Step
from hpsearch.optim.vectorized import Loss, pays, stack


class SharpnessAware(torch.optim.Optimizer):
    """Steps `base` with gradients taken at perturbed weights.

    For shard j of the batch, with its clean gradient g_j at the weights w:

        d_j   = g_j - sigma * m                                 m: the EMA of earlier gradients
        eps_j = rho * T^2 d_j / (||T d_j|| + 1e-12)             T: the metric; one norm over all that is perturbed
        the base optimizer, at w, sees the mean over shards of the gradients at w + eps_j
        m     = ema_decay * m + (1 - ema_decay) * mean g_j      once a step; the first gradient sets it

    Args:
        base: a torch optimizer of dense gradients. Its param_groups are shared, so learning-rate schedulers and new
            groups work on either. Clip gradients in its register_step_pre_hook: they are in .grad, unscaled.
        model: the module that is trained. Needed to keep perturbed passes out of BatchNorm's running statistics, and by
            perturb="normalization", metric="absolute_eta" and ranks.
        rho: radius of the perturbation, >= 0, in units of the weights' Euclidean norm. Per group; its key there is
            "sharpness_rho" with a base that has a rho of its own (Adadelta).
        num_shards: number of disjoint shards of each batch that are perturbed on their own: the m of mSAM. (Some
            papers write m for the shard's SIZE: m = 128 there is one shard of 128 here.)
        ema_decay: decay of the gradients' moving average, F-SAM's lambda, in [0, 1). Per group.
        sigma: how much of the moving average is removed from the direction: 0 is SAM, 1 is F-SAM, below 0 adds it. Per
            group; one with sigma or rho 0 has no average, and starts anew once both are on. The form is the authors'
            code's, where m holds earlier gradients only; the paper's sigma_p is sigma = sigma_p * ema_decay / (1 -
            sigma_p * (1 - ema_decay)). At 1 both are the same.
        adaptive: short for metric="absolute".
        interval: perturb at every interval-th step, counted from 0; the steps between are the base optimizer's own.
        metric: "identity", "absolute" (ASAM: T = |w|), "absolute_eta" (ASAM authors': T = |w| + 0.01, biases 1), or
            your own methods.Metric.
        perturb: "all", "normalization" (SAM-ON), or the parameters themselves. Others count as rho = 0.
        combine: "perturbed", "gsam", or your own methods.Combiner, e.g. GSAM(alpha=0.1).
        batchnorm: which passes of a step that perturbs update running statistics: "clean", "perturbed", "both", "none".
        nonfinite: what a step does whose gradients are infinite or NaN: "allow" it, unseen, as torch's optimizers do;
            "skip" it (nothing changes but `steps`, `skipped` and what forward passes change, as BatchNorm's
            statistics), as every step with a GradScaler does; or "raise" FloatingPointError. On a GPU a check waits
            for the device, unless it is "skip" and base is fused.
        ranks: needed with a DistributedDataParallel model: "global" or "each", see optim/ranks.py.

    rho, lr, sigma and ema_decay may be 0-dimensional tensors on the parameters' device (CUDA graphs).

    Attributes:
        steps: calls of step that returned. skipped: how many of them changed nothing.

    Raises:
        ValueError: a setting outside its range. TypeError: a base that needs its own closure or sparse gradients, is
            differentiable, or has a setting named sigma or ema_decay of its own.
    """

    def __init__(
        self,
        base: torch.optim.Optimizer,
        model: nn.Module | None = None,
        *,
        rho: Scalar = 0.05,
        num_shards: int = 1,
        ema_decay: Scalar = 0.9,
        sigma: Scalar = 0.0,
        adaptive: bool = False,
        interval: int = 1,
        metric: str | Metric | None = None,
        perturb: str | Iterable[Tensor] = "all",
        combine: str | Combiner = "perturbed",
        batchnorm: Literal["clean", "perturbed", "both", "none"] = "clean",
        nonfinite: Literal["allow", "skip", "raise"] = "allow",
        ranks: Literal["global", "each"] | None = None,
    ) -> None:
        check_base(base)
        check_choice("batchnorm", batchnorm, POLICIES)
        check_choice("nonfinite", nonfinite, NONFINITE)
        self.base = base
        self.model = model
        self.num_shards = whole("num_shards", num_shards)
        self.interval = whole("interval", interval)
        self.metric = metric_of(metric, adaptive, model)
        self.combine = combiner_of(combine)
        self._perturb = perturb if isinstance(perturb, str) else None
        self.selected = selected_of(perturb, model, base)
        if batchnorm != "clean" and model is None:
            raise ValueError(f"batchnorm={batchnorm!r} needs model=…")
        self.batchnorm = batchnorm
        self.nonfinite = nonfinite
        self.ranks = Ranks(model, ranks)
        self.steps = 0
        self.skipped: int | Tensor = 0
        self._layout: Layout | None = None
        self.programs = Programs()
        # For optim/step.py.
        self._supports_flag = bool(getattr(base, "_step_supports_amp_scaling", False))
        self.nonfinite_in = F.FiniteCheck()
        self.flag_works: set[int] = set()  # parameters whose base state exists: a fused kernel can be told to skip them
        self.rho_key = rho_key(base)
        self.norm_layers = norm_layers(model)
        super().__init__(base.param_groups, {self.rho_key: rho, "sigma": sigma, "ema_decay": ema_decay})
        # One list and one set of defaults for both, so that a scheduler or a new group reaches both.
        self.param_groups = base.param_groups
        base.defaults.update(self.defaults)
        self.defaults = base.defaults

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        check_group({**self.defaults, **param_group}, self.rho_key)
        super().add_param_group(param_group)

    def step(  # type: ignore[override]
        self, closure: Closure, *batch: Any, scaler: torch.amp.GradScaler | None = None, weights: Any = None
    ) -> Tensor:
        """One optimizer step; returns the weighted clean loss, detached.

        closure(*batch) computes the mean loss of what it is given, calls backward() on it and returns it. It is called
        once per shard and pass; gradients are zeroed here. With one shard, closure() without a batch works too.

        scaler: a GradScaler; the closure then calls scaler.scale(loss).backward() and still returns the loss itself.
            Both passes are unscaled here; call scaler.update() afterwards, and never scaler.step.
        weights: one number a shard that has samples (token counts, say); shards weigh by their number of samples unless
            given. Shard j of n samples is rows n * j // num_shards to n * (j + 1) // num_shards (not torch.chunk's).

        When the closure raises, weights and step count are as before the call, and the EMA too unless it was the
        perturbed pass of a lone shard with nonfinite="allow", where the EMA has the clean gradient already.
        Raises ValueError where the batch cannot be split, TypeError or RuntimeError for what the closure forgot.
        """
        if _listens(self):
            return _watched_step(self, closure, *batch, scaler=scaler, weights=weights)
        return self._step(closure, *batch, scaler=scaler, weights=weights)

    step.hooked = True  # type: ignore[attr-defined]  # torch leaves a step that says so as it is

    def _step(self, closure: Closure, *batch: Any, scaler: torch.amp.GradScaler | None, weights: Any) -> Tensor:
        layout, perturbs = self._now()
        if self.num_shards == 1 or not (perturbs or weights is not None):
            shards = [Shard(1.0, [(1.0, batch)])]
        else:
            parts = split(batch, self.num_shards)
            weighed = shares([count for _, count in parts], weights)
            shards = [Shard(share, [(1.0, part)]) for (part, _), share in zip(parts, weighed, strict=True)]
        return Step(self, layout, perturbs, closure, scaler).run(shards)

    @torch.optim.Optimizer.profile_hook_step
    def step_accumulated(
        self,
        closure: Closure,
        micro_batches: Sequence[Any],
        *,
        micro_batches_are: Literal["shards", "parts"],
        scaler: torch.amp.GradScaler | None = None,
        weights: Any = None,
    ) -> Tensor:
        """One step on micro-batches that do not fit on the device together; else as step().

        micro_batches: each a tuple or list of the closure's arguments, or its one argument; they are run through twice.
        micro_batches_are: "shards": each is perturbed on its own, mSAM with as many shards (num_shards must be 1 or
            their number). "parts": parts of one large batch with one perturbation, SAM's or F-SAM's on that batch.
        weights: one number a micro-batch; they weigh by their number of samples unless given.
        """
        self._opt_called = True  # what a scheduler looks for; torch itself sets it in step()
        check_choice("micro_batches_are", micro_batches_are, MEANINGS)
        several = [tuple(part) if isinstance(part, (tuple, list)) else (part,) for part in micro_batches]
        if self.num_shards not in (1, len(several) if micro_batches_are == "shards" else 1):
            raise ValueError(
                f"micro_batches_are={micro_batches_are!r} needs num_shards=1 (or one micro-batch a shard), "
                f"but got {len(several)} micro-batches and num_shards={self.num_shards}"
            )
        sizes = [1] * len(several) if weights is not None else [size(part) for part in several]
        parts = list(zip(shares(sizes, weights), several, strict=True))
        layout, perturbs = self._now()
        apart = perturbs and micro_batches_are == "shards"
        shards = [Shard(share, [(1.0, part)]) for share, part in parts] if apart else [Shard(1.0, parts)]
        return Step(self, layout, perturbs, closure, scaler).run(shards)

    def _now(self) -> tuple[Layout, bool]:
        """The parameters as they are now, and whether this step perturbs them."""
        if self.param_groups is not self.base.param_groups:  # base.load_state_dict() was called
            self.param_groups, self._layout = self.base.param_groups, None
        if self._layout is None or not self._layout.fits():
            for group in self.param_groups:  # the base may have been given one
                check_group(group, self.rho_key)
            self.norm_layers = norm_layers(self.model)  # the model may have grown with it
            if self._perturb is not None:
                self.selected = selected_of(self._perturb, self.model, self.base)
            fused = self._supports_flag and all(group.get("fused") for group in self.param_groups)
            self._layout = Layout(self.param_groups, self.selected, fused, self.rho_key)
            for parameter in self._layout.without_ema:  # an average that missed steps is none
                if parameter in self.state:
                    self.state[parameter].pop("ema", None)
            self.flag_works = set()
        return self._layout, self._layout.perturbs and self.steps % self.interval == 0

    @torch.optim.Optimizer.profile_hook_step
    def step_vectorized(
        self,
        loss: Loss,
        *batch: Tensor,
        weights: Any = None,
        program: Literal["auto", "ghost", "vmap"] = "auto",
    ) -> Tensor:
        """One step with all shards in one program; the same step, up to rounding, as step().

        loss(model, *batch) -> the mean loss on a batch of tensors; it does not call backward(). Steps without a
        perturbation, with one shard, or on a batch that num_shards does not divide are taken by step(). Dropout draws
        other numbers than in step(), and with vmap a parameter that the loss does not use gets a gradient of zeros
        instead of none. vectorized_pays() measures whether it is faster.

        program: "ghost" (hpsearch/optim/ghost.py): large weights of linear layers have no copy for each shard, so that
            many shards cost what one does. For models of Linear, Conv2d, LayerNorm, GroupNorm and Embedding and what
            has no weights and treats each sample on its own, without a metric or autocast. The first step compares it
            with the other program. "vmap" (torch.func): any model, with num_shards copies of the weights. "auto": the
            first where it can.
        Raises ValueError for what cannot be vectorised: no model, BatchNorm in training, ranks, weights that have hooks
        or are attributes, too; and with "ghost" for what it does not know.
        """
        self._opt_called = True  # as in step_accumulated()
        check_choice("program", program, PROGRAMS)
        model = self._vectorizable()
        layout, perturbs = self._now()
        stacked = stack(batch, self.num_shards)
        if not perturbs or self.num_shards == 1 or stacked is None:
            return self._step(_backward(loss, model), *batch, scaler=None, weights=weights)
        weighed = shares([1] * self.num_shards, weights)
        with torch.no_grad():
            step = Step(self, layout, perturbs, _backward(loss, model), None)
            return step.vectorized(loss, model, stacked, weighed, program)

    def vectorized_pays(self, loss: Loss, *batch: Tensor, program: Literal["auto", "ghost", "vmap"] = "auto") -> bool:
        """Whether step_vectorized() is faster here than step() on such a batch, measured: the gradient evaluations of
        both, medians of five. Changes nothing but the global generators, where the model draws from them. Raises
        ValueError as step_vectorized() does.
        """
        check_choice("program", program, PROGRAMS)
        model = self._vectorizable()
        (layout, perturbs), stacked = self._now(), stack(batch, self.num_shards)
        if not perturbs or self.num_shards == 1 or stacked is None:
            return False
        weighed = shares([1] * self.num_shards)
        with torch.no_grad():
            step = Step(self, layout, perturbs, _backward(loss, model), None)
            together = functools.partial(step.shards, loss, model, stacked, weighed, program)
            try:
                return pays(together, loss, model, layout.parameters, stacked)
            finally:
                layout.release()

    def ghosts_refused(self, loss: Loss, *batch: Tensor) -> str | None:
        """Why step_vectorized(loss, *batch, program="ghost") would raise, or not run ghosts; None where it runs them.

        The first call compares the programs.
        """
        layout, perturbs = self._now()
        stacked = stack(batch, self.num_shards)
        if not perturbs or self.num_shards == 1 or stacked is None:
            return "there is no perturbation now, one shard only, or a batch that num_shards does not divide"
        try:
            model = self._vectorizable()
        except ValueError as error:
            return str(error)
        with torch.no_grad():
            found = Step(self, layout, perturbs, _backward(loss, model), None).ghosts(loss, model, stacked)
        return found if isinstance(found, str) else None

    def _vectorizable(self) -> nn.Module:
        if self.model is None:
            raise ValueError("vectorised shards need model=…")
        if running(self.norm_layers):
            raise ValueError(
                "vectorised shards cannot update BatchNorm's running statistics: use GroupNorm or LayerNorm"
            )
        odd = odd_weight(self.model)
        if odd is not None:
            raise ValueError(f"vectorised shards cannot follow what the model does with its weights: {odd}")
        if self.ranks.ddp is not None:
            raise ValueError("vectorised shards do not work with DistributedDataParallel")
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        if any(p.is_complex() or p.device != parameters[0].device for p in parameters):
            raise ValueError("vectorised shards need real parameters on one device")
        return self.model

    def step_base(self) -> None:
        """The base's own step, without torch's wrapper around it where nobody listens."""
        bare = _bare_step(type(self.base).step)
        if bare is None or "step" in vars(self.base) or _listens(self.base):
            self.base.step()
        else:
            bare(self.base)

    def step_base_unless(self, found_inf: Tensor) -> None:
        """The base's own step, which its fused kernel skips where found_inf is 1, as GradScaler has it do."""
        self.skipped += found_inf
        flags = {"grad_scale": None, "found_inf": found_inf}
        vars(self.base).update(flags)
        try:
            self.base.step()
        finally:
            for name in flags:
                delattr(self.base, name)

    def __getstate__(self) -> dict[str, Any]:
        """All that a copy needs to step, unlike torch's own; not a scheduler's `step`, which steps the original."""
        return {name: value for name, value in self.__dict__.items() if name != "step"}

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs: the base optimizer's state, the EMA and the counts of steps."""
        counts = {"steps": self.steps, "skipped": int(self.skipped)}
        return {**super().state_dict(), "base": self.base.state_dict(), **counts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raises KeyError for a state that is not of a SharpnessAware, ValueError for one of other groups.

        Where it raises, all is as it was.
        """
        missing = {"state", "param_groups", "base", "steps"} - state_dict.keys()
        if missing:
            raise KeyError(f"not a state_dict of SharpnessAware: it has no {', '.join(sorted(missing))}")
        steps, skipped = int(state_dict["steps"]), int(state_dict.get("skipped", 0))
        kept = self.state, self.base.state, self.base.param_groups  # torch loads into new ones
        try:
            self.base.load_state_dict(state_dict["base"])
            super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        except BaseException:
            self.state, self.base.state, self.base.param_groups = kept
            raise
        finally:
            self.param_groups = self.base.param_groups
        self.steps, self.skipped = steps, skipped
        self._layout, self.flag_works = None, set()


# What torch wraps every optimizer's step in: hooks and a profiler's record. The record costs a small network's step 3 %
# whether or not anyone profiles.
_watched_step = torch.optim.Optimizer.profile_hook_step(SharpnessAware._step)


def _listens(optimizer: torch.optim.Optimizer) -> bool:
    """Whether anyone has hooks on the optimizer's steps, or profiles."""
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    return bool(hooks or _global_optimizer_pre_hooks or _global_optimizer_post_hooks or _profiler_enabled())


@functools.cache
def _bare_step(step: Callable[..., object]) -> Callable[..., object] | None:
    """What torch has wrapped; None for a step that has another wrapper, or none."""
    is_torchs = getattr(step, "__code__", None) is _watched_step.__code__
    return getattr(step, "__wrapped__", None) if is_torchs else None


def _backward(loss: Loss, model: nn.Module) -> Closure:
    def closure(*batch: Any) -> Tensor:
        found = loss(model, *batch)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    return closure
