"""Mixed precision: autocast in and around a step, GradScaler, and parameters of half precision."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware

METHODS = {
    "base": {"rho": 0.0},
    "sam": {"rho": 0.1},
    "fsam": {"rho": 0.1, "sigma": 1.0, "ema_decay": 0.5},
    "fsam_half": {"rho": 0.1, "sigma": 0.5, "ema_decay": 0.5},
    "msam": {"rho": 0.1, "num_shards": 3},
    "fmsam": {"rho": 0.1, "num_shards": 3, "sigma": 0.5},
    "gsam": {"rho": 0.1, "combine": "gsam"},
    "gsam_fmsam": {"rho": 0.1, "combine": "gsam", "num_shards": 3, "sigma": 0.5},
    "asam": {"rho": 0.5, "adaptive": True},
    "interval": {"rho": 0.1, "sigma": 0.5, "interval": 2},
}
BASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "fused_sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
    "fused_adam": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
}


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def batch(seed, rows=12):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, generator=draws), torch.randint(0, 3, (rows,), generator=draws)


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Problem:
    """A small training run; `bad` are the passes, counted over the run, whose gradients are not finite."""

    def __init__(self, base="sgd", scaler=None, autocast=None, bad=(), value=float("inf"), **settings):
        self.model = network()
        self.optimizer = SharpnessAware(BASES[base](self.model.parameters()), self.model, **settings)
        self.scaler, self.autocast, self.bad, self.value, self.passes = scaler, autocast, bad, value, 0

    def closure(self, inputs, targets):
        with nullcontext() if self.autocast is None else torch.autocast("cpu", dtype=self.autocast):
            loss = nn.functional.cross_entropy(self.model(inputs).float(), targets)
        if self.passes in self.bad:
            loss = loss * self.value
        self.passes += 1
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        return loss

    def step(self, seed):
        loss = self.optimizer.step(self.closure, *batch(seed), scaler=self.scaler)
        if self.scaler is not None:
            self.scaler.update()
        return loss

    def state(self):
        """All that a skipped step must leave alone, as tensors."""
        base = [v for state in self.optimizer.base.state.values() for v in state.values() if torch.is_tensor(v)]
        own = [v for state in self.optimizer.state.values() for v in state.values()]
        return copy.deepcopy([*(p.detach() for p in self.model.parameters()), *base, *own])


def same(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def scaler(scale=2.0**10, **more):
    return torch.amp.GradScaler("cpu", init_scale=scale, **more)


# Autocast -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("region", ["step", "loop"])
def test_autocast_outside_the_step_is_autocast_in_the_closure(name, region):
    """torch keeps each weight's cast as long as the outermost autocast lasts: of the clean weights, in every pass."""
    inside, outside = Problem(autocast=torch.bfloat16, **METHODS[name]), Problem(**METHODS[name])
    for seed in range(6):
        inside.step(seed)
    if region == "step":
        for seed in range(6):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                outside.step(seed)
    else:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for seed in range(6):
                outside.step(seed)
    assert torch.equal(weights_of(inside.model), weights_of(outside.model))


def test_autocast_sees_the_weights_as_they_are_after_a_step():
    problem = Problem(rho=0.1)
    inputs, _ = batch(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        problem.step(0)
        within = problem.model(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(within, problem.model(inputs))


def test_bfloat16_autocast_is_close_to_float32():
    rough, exact, plain = Problem(autocast=torch.bfloat16, rho=0.5), Problem(rho=0.5), Problem(rho=0.0)
    for seed in range(10):
        for each in (rough, exact, plain):
            each.step(seed)
    error = torch.dist(weights_of(rough.model), weights_of(exact.model))
    assert 0 < error < 0.1 * torch.dist(weights_of(plain.model), weights_of(exact.model))


# GradScaler ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", METHODS)
def test_a_scaler_leaves_no_trace_in_float32(name, base):
    """Powers of two scale without rounding; a pass that is unscaled twice, or not at all, is off by one."""
    plain, scaled = Problem(base, **METHODS[name]), Problem(base, scaler=scaler(growth_interval=3), **METHODS[name])
    # A fused base's first step reads the norm on the host where it is checked, and not where it is not.
    near = {"rtol": 0, "atol": 0} if base == "sgd" else {"rtol": 1e-4, "atol": 1e-5}
    for seed in range(10):
        torch.testing.assert_close(plain.step(seed), scaled.step(seed), **near)
    assert scaled.scaler.get_scale() == 2.0**13
    torch.testing.assert_close(weights_of(plain.model), weights_of(scaled.model), **near)
    assert scaled.optimizer.skipped == 0


@pytest.mark.parametrize("name", METHODS)
def test_float16_autocast_with_a_scaler_is_close_to_float32(name):
    exact, mixed = Problem(**METHODS[name]), Problem(scaler=scaler(), autocast=torch.float16, **METHODS[name])
    for seed in range(10):
        exact.step(seed), mixed.step(seed)
    assert torch.dist(weights_of(exact.model), weights_of(network())) > 0.3
    torch.testing.assert_close(weights_of(mixed.model), weights_of(exact.model), rtol=0.01, atol=0.005)


# Every method with either pass, and each of the two with both bases in turn; "base" has no perturbed pass.
NOT_FINITE = [
    (name, ("sgd", "fused_adam")[(i + j) % 2], which, value)
    for i, name in enumerate(METHODS)
    for j, (which, value) in enumerate([("clean", float("inf")), ("perturbed", float("nan"))])
    if METHODS[name]["rho"] or which == "clean"
]


@pytest.mark.parametrize(("name", "base", "which", "value"), NOT_FINITE)
def test_a_pass_that_is_not_finite_skips_the_whole_step(name, base, which, value):
    settings = METHODS[name]
    shards, perturbs = settings.get("num_shards", 1), settings["rho"] > 0
    interval = settings.get("interval", 1)
    good = 2 * shards * 2 if perturbs and interval == 1 else 3 if interval == 2 else 2
    bad = good + (2 * shards - 1 if which == "perturbed" else 2 * (shards - 1))  # the last shard's
    hit = Problem(base, scaler=scaler(), bad={bad}, value=value, **settings)
    missed = Problem(base, scaler=scaler(), **settings)
    for seed in range(2):
        hit.step(seed), missed.step(seed)
    before = hit.state()
    hit.step(2)
    assert hit.passes > bad
    assert same(hit.state(), before)
    assert int(hit.optimizer.skipped) == 1 and hit.optimizer.steps == 3
    assert hit.scaler.get_scale() == 2.0**9
    missed.optimizer.steps += 1
    for seed in range(3, 6):
        hit.step(seed), missed.step(seed)
    assert int(hit.optimizer.skipped) == 1
    torch.testing.assert_close(weights_of(hit.model), weights_of(missed.model), rtol=1e-6, atol=1e-7)
    assert not same(hit.state(), before)


@pytest.mark.parametrize("base", BASES)
def test_the_first_step_may_be_skipped(base):
    hit, missed = Problem(base, scaler=scaler(), bad={0}, rho=0.1, sigma=1.0), Problem(base, rho=0.1, sigma=1.0)
    hit.step(0)
    assert same(hit.state()[:4], list(network().parameters())) and hit.optimizer.skipped == 1
    for seed in range(1, 5):
        hit.step(seed), missed.step(seed)
    torch.testing.assert_close(weights_of(hit.model), weights_of(missed.model), rtol=1e-5, atol=1e-6)


def test_a_scale_far_too_large_is_found_by_and_by():
    problem = Problem(scaler=scaler(2.0**30), autocast=torch.float16, rho=0.1, sigma=1.0)
    for _ in range(40):
        problem.step(0)
    assert 5 < problem.optimizer.skipped < 35
    assert torch.isfinite(weights_of(problem.model)).all()
    assert not torch.equal(weights_of(problem.model), weights_of(network()))


def test_a_scaler_skips_also_where_nonfinite_would_raise():
    problem = Problem(scaler=scaler(), bad={0}, rho=0.1, nonfinite="raise")
    problem.step(0)
    assert problem.optimizer.skipped == 1


def test_a_disabled_scaler_is_none():
    plain, disabled = Problem(bad={5}, rho=0.1), Problem(scaler=scaler(enabled=False), bad={5}, rho=0.1)
    for seed in range(2):
        plain.step(seed), disabled.step(seed)
    assert torch.equal(weights_of(plain.model), weights_of(disabled.model))
    plain.step(2), disabled.step(2)  # not finite, and allowed
    assert not torch.isfinite(weights_of(plain.model)).any() and not torch.isfinite(weights_of(disabled.model)).any()


def test_clipping_before_the_base_step_sees_unscaled_gradients():
    norms = []
    problem = Problem(scaler=scaler(), rho=0.1)
    problem.optimizer.base.register_step_pre_hook(
        lambda base, *_: norms.append(nn.utils.get_total_norm([p.grad for p in problem.model.parameters()]))
    )
    twin = Problem(rho=0.1)
    twin.optimizer.step(twin.closure, *batch(0))
    problem.step(0)
    torch.testing.assert_close(norms[0], nn.utils.get_total_norm([p.grad for p in twin.model.parameters()]))


# Parameters of half precision ---------------------------------------------------------------------------------------


def linear(weight, gradient, fused, **settings):
    """The displacement of a loss with the given gradient everywhere, and the gradient the base saw."""
    moves = []

    def closure():
        moves.append(weight.detach().clone())
        loss = (weight * gradient).sum()
        loss.backward()
        return loss

    base = torch.optim.SGD([weight], lr=0.0, fused=fused)
    SharpnessAware(base, **settings).step(closure)
    return moves[1].float() - moves[0].float()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("size", [1e3, 1e-2, 1e-7])
def test_the_norm_of_half_precision_gradients_neither_ends_nor_vanishes(kind, fused, adaptive, size):
    """10000 gradients of 1000 have a norm of 1e5, float16 ends at 65504; 1e-7 squared is 0 in it."""
    start = 1.0 if adaptive else 0.0
    weight = nn.Parameter(torch.full((10_000,), start, dtype=kind))
    gradient = torch.full((10_000,), size, dtype=kind)
    moved = linear(weight, gradient, fused, rho=1.0, adaptive=adaptive)
    tolerance = 0.05 if kind == torch.float16 and not adaptive else 0.25  # near 1, steps are 2**-10 and 2**-8
    torch.testing.assert_close(moved, torch.full((10_000,), 0.01), rtol=tolerance, atol=0)
    assert torch.equal(weight, torch.full((10_000,), start, dtype=kind))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
def test_one_tiny_gradient_in_half_precision(fused, adaptive):
    """rho / norm is beyond float16's range here."""
    weight = nn.Parameter(torch.ones(4, dtype=torch.float16))
    moved = linear(weight, torch.full((4,), 1e-6, dtype=torch.float16), fused, rho=0.5, adaptive=adaptive)
    torch.testing.assert_close(moved, torch.full((4,), 0.25), rtol=0.05, atol=0)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("settings", [{}, {"adaptive": True}, {"sigma": 1.0}, {"combine": "gsam"}], ids=str)
def test_gradients_that_are_all_zero_leave_no_nan(kind, fused, settings):
    weight = nn.Parameter(torch.ones(4, dtype=kind))
    moved = linear(weight, torch.zeros(4, dtype=kind), fused, rho=0.5, **settings)
    assert torch.equal(moved, torch.zeros(4)) and torch.equal(weight, torch.ones(4, dtype=kind))
