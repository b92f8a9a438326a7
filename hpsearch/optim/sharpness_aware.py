"""SharpnessAware: SAM, mSAM, F-SAM and their relatives around any torch optimizer. METHODS has a table of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hpsearch.optim import functional as F
from hpsearch.optim.batchnorm import POLICIES, frozen_statistics, running_norms
from hpsearch.optim.functional import Scalar, Tensors
from hpsearch.optim.methods import COMBINERS, METRICS, SELECTIONS, Combiner, Metric
from hpsearch.optim.passes import Closure, Gradients, Mean, Shard, gradients, reals
from hpsearch.optim.perturbation import Bundle, displace_
from hpsearch.optim.ranks import Ranks
from hpsearch.optim.shards import shares, size, split

NONFINITE = ("skip", "raise", "allow")
MEANINGS = ("shards", "parts")


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
        rho: radius of the perturbation, >= 0, in units of the weights' Euclidean norm. Per group.
        num_shards: number of disjoint shards of each batch that are perturbed on their own: the m of mSAM. (Some
            papers write m for the shard's SIZE: m = 128 there is one shard of 128 here.)
        ema_decay: decay of the gradients' moving average, F-SAM's lambda, in [0, 1). Per group.
        sigma: how much of the moving average is removed from the direction: 0 is SAM, 1 is F-SAM, below 0 adds it. Per
            group. The form is the authors' code's, where m holds earlier gradients only; the paper's sigma_p is
            sigma = sigma_p * ema_decay / (1 - sigma_p * (1 - ema_decay)). At 1 both are the same.
        adaptive: short for metric="absolute".
        interval: perturb at every interval-th step, counted from 0; the steps between are the base optimizer's own.
        metric: "identity", "absolute" (ASAM: T = |w|), "absolute_eta" (ASAM authors': T = |w| + 0.01, biases 1), or
            your own methods.Metric.
        perturb: "all", "normalization" (SAM-ON), or the parameters themselves. Others count as rho = 0.
        combine: "perturbed", "gsam", or your own methods.Combiner, e.g. GSAM(alpha=0.1).
        batchnorm: the passes that update running statistics: "clean", "perturbed", "both" or "none".
        nonfinite: what a step does whose gradients are infinite or NaN: "skip" it (nothing changes but `steps` and
            `skipped`), "raise" FloatingPointError, or "allow" it, unseen. The check waits for the device unless base
            is fused or it is allowed.
        ranks: needed with a DistributedDataParallel model: "global" or "each", see optim/ranks.py.

    rho, lr, sigma and ema_decay may be 0-dimensional tensors on the parameters' device (CUDA graphs).

    Attributes:
        steps: calls of step that returned. skipped: how many of them changed nothing.

    Raises:
        ValueError: a setting outside its range. TypeError: a base that needs its own closure or sparse gradients, or
            is differentiable.
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
        nonfinite: Literal["skip", "raise", "allow"] = "skip",
        ranks: Literal["global", "each"] | None = None,
    ) -> None:
        _check_base(base)
        for name, value in (("num_shards", num_shards), ("interval", interval)):
            if isinstance(value, bool) or not (value >= 1 and math.isfinite(value) and int(value) == value):
                raise ValueError(f"{name} must be a whole number >= 1, but got {value!r}")
        _check_choice("batchnorm", batchnorm, POLICIES)
        _check_choice("nonfinite", nonfinite, NONFINITE)
        if adaptive and metric not in (None, "absolute"):
            raise ValueError(f"adaptive=True is metric='absolute', but got metric={metric!r}")
        self.base = base
        self.model = model
        self.num_shards = int(num_shards)
        self.interval = int(interval)
        self.metric = _metric(metric or ("absolute" if adaptive else "identity"), model)
        self.combine = _combiner(combine)
        self.selected = _selected(perturb, model)
        self.batchnorm = batchnorm
        self.nonfinite = nonfinite
        self.ranks = Ranks(model, ranks)
        self.steps = 0
        self.skipped: int | Tensor = 0
        self._saved: Tensors = []  # the weights before a perturbation; the memory is kept between steps
        self._layout: list[tuple[Any, ...]] = []  # of what is in it
        self._flag_works = False  # whether the base's state exists: a fused kernel may be told to skip from then on
        super().__init__(base.param_groups, {"rho": rho, "sigma": sigma, "ema_decay": ema_decay})
        # One list and one set of defaults for both, so that a scheduler or a new group reaches both.
        self.param_groups = base.param_groups
        base.defaults.update(self.defaults)
        self.defaults = base.defaults

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _check_group({**self.defaults, **param_group})
        super().add_param_group(param_group)
        self._flag_works = False

    def step(  # type: ignore[override]
        self, closure: Closure, *batch: Any, scaler: torch.amp.GradScaler | None = None, weights: Any = None
    ) -> Tensor:
        """One optimizer step; returns the weighted clean loss, detached.

        closure(*batch) computes the mean loss of what it is given, calls backward() on it and returns it. It is called
        once per shard and pass; gradients are zeroed here. With one shard, closure() without a batch works too.

        scaler: a GradScaler; the closure then calls scaler.scale(loss).backward() and still returns the loss itself.
            Both passes are unscaled here; call scaler.update() afterwards, and never scaler.step.
        weights: one number a shard (token counts, say); shards weigh by their number of samples unless given.

        When the closure raises, weights, EMA and step count are as before the call.
        Raises ValueError where the batch cannot be split, TypeError or RuntimeError for what the closure forgot.
        """
        perturbs = self._perturbs()
        if self.num_shards == 1 or not (perturbs or weights is not None):
            return self._step(closure, [Shard(1.0, [(1.0, batch)])], perturbs, scaler)
        parts = split(batch, self.num_shards)
        weighed = shares([count for _, count in parts], weights)
        shards = [Shard(share, [(1.0, part)]) for (part, _), share in zip(parts, weighed, strict=True)]
        return self._step(closure, shards, perturbs, scaler)

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

        micro_batches: each a tuple of the closure's arguments, or its one argument; they are run through twice.
        micro_batches_are: "shards": each is perturbed on its own, mSAM with as many shards (num_shards must be 1 or
            their number). "parts": parts of one large batch with one perturbation, SAM's or F-SAM's on that batch.
        weights: one number a micro-batch; they weigh by their number of samples unless given.
        """
        _check_choice("micro_batches_are", micro_batches_are, MEANINGS)
        several = [part if isinstance(part, tuple) else (part,) for part in micro_batches]
        if self.num_shards not in (1, len(several) if micro_batches_are == "shards" else 1):
            raise ValueError(
                f"micro_batches_are={micro_batches_are!r} needs num_shards=1 (or one micro-batch a shard), "
                f"but got {len(several)} micro-batches and num_shards={self.num_shards}"
            )
        sizes = [1] * len(several) if weights is not None else [size(part) for part in several]
        parts = list(zip(shares(sizes, weights), several, strict=True))
        perturbs = self._perturbs()
        if perturbs and micro_batches_are == "shards":
            return self._step(closure, [Shard(share, [(1.0, part)]) for share, part in parts], perturbs, scaler)
        return self._step(closure, [Shard(1.0, parts)], perturbs, scaler)

    def _perturbs(self) -> bool:
        return self.steps % self.interval == 0 and any(_is_on(group["rho"]) for group in self.param_groups)

    @torch.no_grad()
    def _step(
        self, closure: Closure, shards: list[Shard], perturbs: bool, scaler: torch.amp.GradScaler | None
    ) -> Tensor:
        if scaler is not None and not scaler.is_enabled():
            scaler = None
        parameters: Tensors = [p for group in self.param_groups for p in group["params"]]
        checks = scaler is not None or self.nonfinite != "allow"
        deferred = self._deferred(parameters, checks)
        norms = running_norms(self.model) if perturbs else []
        own = perturbs and self.ranks.each  # each rank perturbs with its own gradient
        uses_ema = any(map(_has_ema, self.param_groups))
        keeps = uses_ema or self.combine is not None
        mean, clean_mean = Mean(), Mean()  # over shards, of what the base optimizer sees, and of the clean gradients
        losses: list[Tensor] = []
        for shard in shards:
            with self._frozen(norms, "clean"):
                loss, clean = self._evaluate(closure, shard, parameters, own)
            losses.append(loss if shard.share == 1 else loss * shard.share)
            if not perturbs:
                mean.add(clean, shard.share)
                continue
            if scaler is not None:
                _unscale_(clean, scaler)
            bundles = self._bundles(clean)
            weights = [weight for bundle in bundles for weight in bundle.weights]
            saved = [memory for bundle in bundles for memory in bundle.saved]
            if weights:
                torch._foreach_copy_(saved, weights)
            try:
                norm = displace_(bundles, self.metric, deferred)
                torch.clear_autocast_cache()  # of casts of the clean weights, where the caller's autocast is outside
                if checks and not (deferred or own or math.isfinite(norm)) and F.nonfinite(_present(clean)).item():
                    # No second pass: a model may raise at weights that are not finite.
                    _hand_over(parameters, clean, scaler, self.base)
                    return self._skip(losses, scaler)
                if keeps:
                    clean_mean.add(self.ranks.kept(clean), shard.share)
                del bundles, clean  # and with them, unless it is kept, the clean gradient
                with self._frozen(norms, "perturbed"):
                    _, perturbed = self._evaluate(closure, shard, parameters, own and len(shards) > 1)
                mean.add(perturbed, shard.share)
            finally:
                # Copied back, never subtracted: w + eps - eps is not w in floating point. This call comes first, and
                # through no Python function: a KeyboardInterrupt could strike on the way.
                if weights:
                    torch._foreach_copy_(weights, saved)
                torch.clear_autocast_cache()
        if own and len(shards) > 1:
            self.ranks.mean_(_present(mean.total))
        clean_total = clean_mean.total if perturbs else mean.total
        if own and keeps:
            self.ranks.mean_(_present(clean_total))
        _hand_over(parameters, mean.total, scaler, self.base)
        if perturbs and self.combine is not None:
            both = [(m, c) for m, c in zip(mean.total, clean_total, strict=True) if m is not None and c is not None]
            self.combine(reals([m for m, _ in both]), reals([c for _, c in both]))
        found_inf = F.nonfinite(_present(mean.total)) if checks else None
        if found_inf is not None and not deferred:
            if found_inf.item():
                return self._skip(losses, scaler)
            found_inf, self._flag_works = None, True
        if uses_ema:  # before the base's step, in which hooks and the base itself may change gradients
            self._update_ema(parameters, clean_total, found_inf, deferred)
        self._base_step(found_inf)
        self.steps += 1
        return _sum(losses)

    def _deferred(self, parameters: Tensors, checks: bool) -> bool:
        """Whether the step can leave all values on the device: the host reads neither norms nor if they are finite.

        A check then needs a base whose kernel can be told to skip, and whose state exists.
        """
        if not parameters:
            raise ValueError("the optimizer has no parameters")
        device = parameters[0].device
        fused = bool(getattr(self.base, "_step_supports_amp_scaling", False))
        if checks and not (fused and self._flag_works and self.nonfinite != "raise"):
            return False
        return (fused or device.type != "cpu") and all(parameter.device == device for parameter in parameters)

    def _frozen(self, norms: list[_NormBase], kind: str) -> AbstractContextManager[None]:
        """Keeps a pass of this kind out of running statistics, where the policy says so."""
        return frozen_statistics(norms) if norms and self.batchnorm not in (kind, "both") else nullcontext()

    def _evaluate(self, closure: Closure, shard: Shard, parameters: Tensors, own: bool) -> tuple[Tensor, Gradients]:
        """The shard's loss and gradients; with several ranks the mean over them, unless a rank's own are asked for."""
        in_parts = len(shard.parts) > 1
        with self.ranks.apart(own or in_parts):
            loss, found = gradients(closure, shard, parameters)
        if in_parts and not own:
            self.ranks.mean_(_present(found))
        return loss, found

    def _bundles(self, clean: Gradients) -> list[Bundle]:
        """What is perturbed and has a gradient, group by group."""
        bundles: list[Bundle] = []
        layout: list[tuple[Any, ...]] = []
        start = 0
        for group in self.param_groups:
            found = zip(group["params"], clean[start:], strict=False)
            start += len(group["params"])
            if not _is_on(group["rho"]):
                continue
            pairs = [(p, g) for p, g in found if g is not None and (self.selected is None or p in self.selected)]
            if not pairs:
                continue
            parameters = [p for p, _ in pairs]
            ema = [self.state[p].get("ema") for p in parameters] if _has_ema(group) else [None] * len(pairs)
            rho = -group["rho"] if group.get("maximize") else group["rho"]
            weights, gradients = reals(parameters), reals([g for _, g in pairs])
            layout += [(w.shape, w.dtype, w.device) for w in weights]
            bundles.append(
                Bundle(
                    rho,
                    group["sigma"],
                    parameters,
                    weights,
                    [],
                    gradients,
                    [None if m is None else reals([m])[0] for m in ema],
                )
            )
        if layout != self._layout:
            self._saved = [torch.empty_like(weight) for bundle in bundles for weight in bundle.weights]
            self._layout = layout
        saved = iter(self._saved)
        for bundle in bundles:
            bundle.saved = [next(saved) for _ in bundle.weights]
        return bundles

    def _update_ema(self, parameters: Tensors, clean: Gradients, found_inf: Tensor | None, deferred: bool) -> None:
        """Each group's EMA takes the raw gradients, unless found_inf; a parameter's first gradient sets it."""
        start = 0
        for group in self.param_groups:
            pairs = list(zip(group["params"], clean[start:], strict=False))
            start += len(group["params"])
            if not _has_ema(group):
                continue
            present = [(p, g) for p, g in pairs if g is not None and (self.selected is None or p in self.selected)]
            known = [(self.state[p]["ema"], g) for p, g in present if "ema" in self.state[p]]
            ema, gradients = reals([m for m, _ in known]), reals([g for _, g in known])
            if known and deferred:
                F.update_ema_unless_(ema, gradients, group["ema_decay"], found_inf)
            elif known:
                F.update_ema_(ema, gradients, float(group["ema_decay"]))
            late = [(p, g) for p, g in present if "ema" not in self.state[p]]
            if late and (found_inf is None or not found_inf.item()):
                for p, gradient in late:
                    self.state[p]["ema"] = torch.empty_like(p).copy_(gradient)

    def _base_step(self, found_inf: Tensor | None) -> None:
        """The base's own step, which a fused kernel skips where found_inf is 1, as GradScaler has it do."""
        if found_inf is None:
            self.base.step()
            return
        if not isinstance(self.skipped, Tensor):
            self.skipped = torch.full_like(found_inf, float(self.skipped))
        self.skipped += found_inf
        self.base.grad_scale, self.base.found_inf = None, found_inf
        try:
            self.base.step()
        finally:
            del self.base.grad_scale, self.base.found_inf  # type: ignore[attr-defined]

    def _skip(self, losses: list[Tensor], scaler: torch.amp.GradScaler | None) -> Tensor:
        """Ends a step whose gradients are not finite: the weights are back already, nothing else has changed."""
        if self.nonfinite == "raise" and scaler is None:
            raise FloatingPointError(f"a gradient of step {self.steps} is infinite or NaN; nothing was changed")
        self.steps += 1
        self.skipped += 1
        return _sum(losses)

    def __getstate__(self) -> dict[str, Any]:
        """All of it: torch's own leaves out what a copy needs to step."""
        return self.__dict__.copy()

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs: the base optimizer's state, the EMA and the counts of steps."""
        counts = {"steps": self.steps, "skipped": int(self.skipped)}
        return {**super().state_dict(), "base": self.base.state_dict(), **counts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raises KeyError for a state that is not of a SharpnessAware, ValueError for one of other groups."""
        missing = {"state", "param_groups", "base", "steps"} - state_dict.keys()
        if missing:
            raise KeyError(f"not a state_dict of SharpnessAware: it has no {', '.join(sorted(missing))}")
        self.base.load_state_dict(state_dict["base"])
        super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        self.param_groups = self.base.param_groups
        self.steps, self.skipped = int(state_dict["steps"]), int(state_dict.get("skipped", 0))
        self._flag_works = False


def _present(found: Gradients) -> Tensors:
    return reals([gradient for gradient in found if gradient is not None])


def _sum(losses: list[Tensor]) -> Tensor:
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _hand_over(
    parameters: Tensors, found: Gradients, scaler: torch.amp.GradScaler | None, base: torch.optim.Optimizer
) -> None:
    """Puts the gradients where the base optimizer and its hooks look for them, unscaled."""
    for parameter, gradient in zip(parameters, found, strict=True):
        parameter.grad = gradient
    if scaler is not None:
        scaler.unscale_(base)


def _unscale_(found: Gradients, scaler: torch.amp.GradScaler) -> None:
    present = _present(found)
    scale = scaler.scale(torch.ones((), device=present[0].device))  # the scale itself, without waiting for the device
    F.scale_(present, scale.reciprocal())


def _is_on(value: Scalar) -> bool:
    """Whether a setting may differ from zero; a tensor on a device is not read."""
    return (isinstance(value, Tensor) and value.device.type != "cpu") or bool(value != 0)


def _has_ema(group: dict[str, Any]) -> bool:
    return _is_on(group["sigma"]) and _is_on(group["rho"])


def _check_base(base: torch.optim.Optimizer) -> None:
    kind = type(base).__name__
    closure = inspect.signature(type(base).step).parameters.get("closure")
    own = closure is not None and closure.default is inspect.Parameter.empty
    if own or isinstance(base, (torch.optim.LBFGS, torch.optim.SparseAdam, SharpnessAware)):
        raise TypeError(f"base must be an optimizer of dense gradients without a closure, but got {kind}")
    if any(group.get("differentiable") for group in base.param_groups):
        raise TypeError(f"base must not be differentiable, but got {kind}(differentiable=True)")


def _check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, but got {value!r}")


def _metric(metric: str | Metric, model: nn.Module | None) -> Metric | None:
    if not isinstance(metric, str):
        return metric
    _check_choice("metric", metric, list(METRICS))
    return METRICS[metric](model)


def _combiner(combine: str | Combiner) -> Combiner | None:
    if not isinstance(combine, str):
        return combine
    _check_choice("combine", combine, list(COMBINERS))
    return COMBINERS[combine]()


def _selected(perturb: str | Iterable[Tensor], model: nn.Module | None) -> set[Tensor] | None:
    """The parameters that may be perturbed; None means all."""
    if not isinstance(perturb, str):
        return set(perturb)
    _check_choice("perturb", perturb, list(SELECTIONS))
    if perturb != "all" and model is None:
        raise ValueError(f"perturb={perturb!r} needs model=…")
    found = SELECTIONS[perturb](model) if model is not None else None
    return None if found is None else set(found)


def _check_group(group: dict[str, Any]) -> None:
    rules = {
        "rho": ("a finite number >= 0", lambda value: math.isfinite(value) and value >= 0),
        "sigma": ("a finite number", math.isfinite),
        "ema_decay": ("in [0, 1)", lambda value: 0 <= value < 1),
    }
    for name, (rule, holds) in rules.items():
        value = group[name]
        on_device = isinstance(value, Tensor) and value.device.type != "cpu"  # is not read
        if not on_device and not holds(value):
            raise ValueError(f"{name} must be {rule}, but got {value!r}")
