"""What torch tests of every optimizer, of SharpnessAware around every optimizer and under every scheduler in torch.

The settings are a table of our own: torch.testing._internal's optim_db needs packages torch does not install.
"""

import copy
import inspect
import io
import pickle

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.optim.swa_utils import SWALR

from hpsearch.optim import SharpnessAware

IN_TORCH = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
}
REFUSED = {
    "LBFGS": "calls the closure itself",
    "SparseAdam": "sparse gradients",
}
# The first settings beside lr are the defaults.
SETTINGS = {
    "Adadelta": [{}, {"rho": 0.8, "weight_decay": 0.1}],
    "ASGD": [{}, {"t0": 3, "weight_decay": 0.1}],
    "Adafactor": [{}, {"eps": (1e-8, 1e-3), "d": 2.0, "weight_decay": 0.1}],
    "Adagrad": [{}, {"lr_decay": 0.1, "initial_accumulator_value": 0.2, "weight_decay": 0.1}],
    "Adam": [{}, {"amsgrad": True, "weight_decay": 0.1}, {"lr": torch.tensor(0.01), "foreach": False}],
    "AdamW": [{}, {"amsgrad": True, "betas": (0.8, 0.9)}],
    "Adamax": [{}, {"weight_decay": 0.1}],
    "Muon": [{}, {"nesterov": False, "weight_decay": 0.0}, {"adjust_lr_fn": "match_rms_adamw"}],
    "NAdam": [{}, {"weight_decay": 0.1, "decoupled_weight_decay": True}],
    "RAdam": [{}, {"weight_decay": 0.1, "decoupled_weight_decay": True}],
    "RMSprop": [{}, {"momentum": 0.5, "centered": True, "weight_decay": 0.1}],
    "Rprop": [{}, {"etas": (0.6, 1.3)}],
    "SGD": [{}, {"momentum": 0.9, "dampening": 0.3}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}],
}
CASES = [(name, more) for name, several in SETTINGS.items() for more in several]
every_base = pytest.mark.parametrize(("name", "more"), CASES, ids=[f"{name}-{[*more]}" for name, more in CASES])
RHO = {"Adadelta": "sharpness_rho"}  # the radius's key where it is not "rho"
METHODS = {
    "sam": {"rho": 0.1},
    "fsam": {"rho": 0.1, "sigma": 1.0, "ema_decay": 0.8},
    "fmsam": {"rho": 0.1, "sigma": 0.5, "ema_decay": 0.8, "num_shards": 3, "interval": 2},
}


def takes(name, setting):
    return setting in inspect.signature(IN_TORCH[name]).parameters


def network(name, dtype=torch.float64):
    """Muon takes matrices only."""
    biases = name != "Muon"
    model = nn.Sequential(nn.Linear(4, 8, bias=biases), nn.Tanh(), nn.Linear(8, 3, bias=biases)).to(dtype)
    draws = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5, generator=draws)
    return model


def base(name, parameters, more):
    return IN_TORCH[name](parameters, **{"lr": 0.02, **more})


def wrapped(name, more, dtype=torch.float64, **method):
    model = network(name, dtype)
    return model, SharpnessAware(base(name, model.parameters(), more), model, **method)


def batch(step):
    draws = torch.Generator().manual_seed(step)
    return torch.randn(12, 4, generator=draws), torch.randint(0, 3, (12,), generator=draws)


def closure_of(model, sign=1.0):
    def closure(inputs, targets):
        loss = sign * nn.functional.cross_entropy(model(inputs.to(model[0].weight.dtype)), targets)
        loss.backward()
        return loss

    return closure


def train(model, optimizer, first=0, last=10, sign=1.0):
    for step in range(first, last):
        optimizer.step(closure_of(model, sign), *batch(step))
    return weights_of(model)


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Twin:
    """SAM and F-SAM by hand in front of a plain optimizer, whose groups hold rho, sigma and ema_decay.

    m is kept while it is used: in groups with rho and sigma other than 0. Else it starts anew.
    """

    def __init__(self, model, optimizer):
        self.model, self.optimizer, self.m = model, optimizer, {}
        self.rho = RHO.get(type(optimizer).__name__, "rho")

    def gradients(self, step):
        self.model.zero_grad()
        closure_of(self.model)(*batch(step))
        return {p: p.grad.clone() for p in self.model.parameters()}

    def step(self, step):
        for group in self.optimizer.param_groups:
            if not (group[self.rho] and group["sigma"]):
                self.m = {p: m for p, m in self.m.items() if all(p is not other for other in group["params"])}
        g = self.gradients(step)
        before, eps, square = {p: p.detach().clone() for p in g}, {}, 0.0
        for group in self.optimizer.param_groups:
            for p in group["params"] if group[self.rho] else []:
                eps[p] = g[p] - group["sigma"] * self.m[p] if group["sigma"] and p in self.m else g[p]
                square += (eps[p] ** 2).sum().item()
        with torch.no_grad():
            for group in self.optimizer.param_groups:
                for p in group["params"] if group[self.rho] else []:
                    p += group[self.rho] * eps[p] / (square**0.5 + 1e-12)
                    if group["sigma"]:
                        decay = group["ema_decay"]
                        self.m[p] = decay * self.m[p] + (1 - decay) * g[p] if p in self.m else g[p]
        self.gradients(step)
        with torch.no_grad():
            for p, value in before.items():
                p.copy_(value)
        self.optimizer.step()


def assert_close(ours, expected, tolerance=1e-9):
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


# Every base ---------------------------------------------------------------------------------------------------------


def test_every_optimizer_of_torch_is_here():
    assert set(SETTINGS) | set(REFUSED) == set(IN_TORCH)


def test_those_that_cannot_work_are_refused():
    for name in REFUSED:
        with pytest.raises(TypeError, match=name):
            SharpnessAware(IN_TORCH[name](network(name).parameters()))


def test_a_base_keeps_a_rho_of_its_own():
    """Adadelta's is a decay; the groups are shared."""
    optimizer = SharpnessAware(torch.optim.Adadelta(network("Adadelta").parameters()), rho=0.1)
    assert (optimizer.param_groups[0]["rho"], optimizer.param_groups[0]["sharpness_rho"]) == (0.9, 0.1)
    with pytest.raises(ValueError, match="sharpness_rho must be"):
        SharpnessAware(torch.optim.Adadelta(network("Adadelta").parameters()), rho=-0.1)


@every_base
def test_rho_0_is_the_base_alone_bit_for_bit(name, more):
    plain = network(name)
    optimizer = base(name, plain.parameters(), more)
    for step in range(10):
        optimizer.zero_grad()
        closure_of(plain)(*batch(step))
        optimizer.step()
    assert torch.equal(train(*wrapped(name, more, rho=0.0)), weights_of(plain))


@every_base
@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_the_base_sees_the_perturbed_gradient(name, more, sigma):
    method = {"rho": 0.1, "sigma": sigma, "ema_decay": 0.8}
    plain = network(name)
    of_twin = {RHO.get(name, "rho") if key == "rho" else key: value for key, value in method.items()}
    twin = Twin(plain, base(name, [{"params": list(plain.parameters()), **of_twin}], more))
    for step in range(10):
        twin.step(step)
    ours = train(*wrapped(name, more, **method))
    assert_close(ours, weights_of(plain))
    assert (ours - train(*wrapped(name, more, rho=0.0))).abs().max() > 1e-7


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# Each optimizer's defaults with both methods, its other settings with the one that holds more.
CONTINUED = [
    (name, more, method) for name, more in CASES for method in ("fsam", "fmsam") if not more or method == "fmsam"
]


@pytest.mark.parametrize(
    ("name", "more", "method"), CONTINUED, ids=[f"{name}-{[*more]}-{method}" for name, more, method in CONTINUED]
)
def test_a_state_dict_continues_bit_for_bit(name, more, method):
    """In float32: NAdam keeps a float32 number that its own loading makes one of the model's dtype."""

    def start():
        return wrapped(name, more, dtype=torch.float32, **METHODS[method])

    expected = train(*start())
    model, optimizer = start()
    train(model, optimizer, 0, 5)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    for travel in (copy.deepcopy, through_a_file):
        resumed, other = start()
        loaded = travel(state)
        resumed.load_state_dict(loaded["model"])
        other.load_state_dict(loaded["optimizer"])
        assert torch.equal(train(resumed, other, 5), expected)


@every_base
def test_copies_and_pickles_go_on_alone_bit_for_bit(name, more):
    expected = train(*wrapped(name, more, **METHODS["fmsam"]))
    model, optimizer = wrapped(name, more, **METHODS["fmsam"])
    train(model, optimizer, 0, 5)
    copies = [copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))]
    for of_model, of_optimizer in [*copies, (model, optimizer)]:
        assert torch.equal(train(of_model, of_optimizer, 5), expected)


@every_base
def test_each_group_has_its_own_settings_and_one_may_come_later(name, more):
    rho = RHO.get(name, "rho")

    def groups_of(model):
        first, second, *others = model.parameters()
        return (
            [
                {"params": [first], rho: 0.1, "sigma": 1.0, "ema_decay": 0.5, "lr": 0.01},
                {"params": others, rho: 0.0, "sigma": 0.5, "ema_decay": 0.1},
            ],
            {"params": [second], rho: 0.2, "sigma": -0.5, "ema_decay": 0.9, "lr": 0.03},
        )

    # A tensor lr with its group's number for lr is no case of torch's own.
    more = {key: value for key, value in more.items() if key != "lr"}
    plain, model = network(name), network(name)
    groups, later = groups_of(plain)
    twin = Twin(plain, base(name, groups, more))
    our_groups, our_later = groups_of(model)
    optimizer = SharpnessAware(base(name, our_groups, more), model, rho=123.0)
    for step in range(10):
        if step == 4:
            twin.optimizer.add_param_group(later)
            optimizer.add_param_group(our_later)
        twin.step(step)
        train(model, optimizer, step, step + 1)
    assert len(optimizer.base.param_groups) == 3
    assert_close(weights_of(model), weights_of(plain))


@pytest.mark.parametrize("through", ["wrapper", "base"])
def test_the_first_step_of_a_new_group_may_be_one_that_is_skipped(through):
    """torch's fused SGD, told to skip, leaves a new momentum buffer as the memory was: it must not be told then."""
    first, second = nn.Parameter(torch.ones(64)), nn.Parameter(torch.ones(64))
    optimizer = SharpnessAware(torch.optim.SGD([first], lr=0.1, momentum=0.9, fused=True), rho=0.05, nonfinite="skip")

    def closure(factor):
        loss = ((first**2).sum() + (second**2).sum()) * factor
        loss.backward()
        return loss

    optimizer.step(closure, torch.tensor(1.0))
    (optimizer if through == "wrapper" else optimizer.base).add_param_group({"params": [second]})
    optimizer.step(closure, torch.tensor(torch.inf))
    assert "momentum_buffer" not in optimizer.base.state[second]
    optimizer.step(closure, torch.tensor(1.0))
    assert optimizer.skipped == 1 and 0.7 < second.min() and second.max() < 0.9


@pytest.mark.parametrize("name", [name for name in SETTINGS if takes(name, "maximize")])
def test_maximizing_minus_the_loss_is_minimizing_it(name):
    ascent = train(*wrapped(name, {"maximize": True}, **METHODS["fsam"]), sign=-1.0)
    assert torch.equal(ascent, train(*wrapped(name, {}, **METHODS["fsam"])))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [name for name in SETTINGS if takes(name, "foreach")])
def test_foreach_and_fused_agree(name, method):
    expected = train(*wrapped(name, {"foreach": False}, **METHODS[method]))
    # ASGD's two forms keep its step size in different precisions.
    assert_close(train(*wrapped(name, {"foreach": True}, **METHODS[method])), expected, tolerance=1e-7)
    if takes(name, "fused"):
        for nonfinite in ("allow", "skip"):
            assert_close(train(*wrapped(name, {"fused": True}, **METHODS[method], nonfinite=nonfinite)), expected)


@pytest.mark.parametrize("name", [name for name in SETTINGS if takes(name, "differentiable")])
def test_a_differentiable_base_is_refused(name):
    with pytest.raises(TypeError, match=rf"base must not be differentiable, but got {name}\(differentiable=True\)"):
        wrapped(name, {"differentiable": True})


# Optimizers of others -----------------------------------------------------------------------------------------------


class Descent(torch.optim.Optimizer):
    """As third parties write them."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def descend(self):
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"] * p.grad


class WithClosure(Descent):
    def step(self, closure):
        closure()
        self.descend()


class WithLoss(Descent):
    def step(self, loss):
        self.descend()


class WithOptionalClosure(Descent):
    def step(self, closure=None):
        self.descend()


class WithoutClosure(Descent):
    def step(self):
        self.descend()


class WithAnything(Descent):
    def step(self, *args, **kwargs):
        self.descend()


@pytest.mark.parametrize("kind", [WithClosure, WithLoss])
def test_a_base_whose_step_needs_an_argument_is_refused(kind):
    with pytest.raises(TypeError, match=f"without a closure, but got {kind.__name__}"):
        SharpnessAware(kind(network("SGD").parameters(), lr=0.02))


@pytest.mark.parametrize("kind", [WithOptionalClosure, WithoutClosure, WithAnything])
def test_a_base_of_others_is_stepped(kind):
    model = network("SGD")
    ours = train(model, SharpnessAware(kind(model.parameters(), lr=0.02), **METHODS["fmsam"]))
    assert_close(ours, train(*wrapped("SGD", {}, **METHODS["fmsam"])))


def test_a_base_that_has_a_wrapper_is_refused_another():
    """Its groups have the first one's rho, and would silently keep it."""
    _, optimizer = wrapped("SGD", {}, rho=0.1)
    with pytest.raises(TypeError, match="must not be wrapped already, but got SGD"):
        SharpnessAware(optimizer.base, rho=0.2)


# torch's own interface ----------------------------------------------------------------------------------------------


def test_repr_shows_the_settings():
    text = repr(wrapped("AdamW", {}, rho=0.25, sigma=0.5)[1])
    assert text.startswith("SharpnessAware (") and "rho: 0.25" in text and "lr: 0.02" in text


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none):
    model, optimizer = wrapped("SGD", {}, rho=0.1)
    train(model, optimizer, 0, 1)
    optimizer.zero_grad(set_to_none=set_to_none)
    assert all(p.grad is None if set_to_none else not p.grad.any() for p in model.parameters())


def test_hooks_run_once_a_step_around_it():
    model, optimizer = wrapped("SGD", {}, rho=0.1, num_shards=2)
    before, seen = weights_of(model), []

    def note(what):
        return lambda which, args, kwargs: seen.append((what, which, torch.equal(weights_of(model), before)))

    handles = [
        optimizer.register_step_pre_hook(note("pre")),
        optimizer.register_step_post_hook(note("post")),
        optimizer.base.register_step_pre_hook(note("base's pre")),
        optimizer.base.register_step_post_hook(note("base's post")),
    ]
    train(model, optimizer, 0, 1)
    ours, base = optimizer, optimizer.base
    expected = [("pre", ours, True), ("base's pre", base, True), ("base's post", base, False), ("post", ours, False)]
    assert seen == expected
    for handle in handles:
        handle.remove()
    train(model, optimizer, 1, 2)
    assert len(seen) == 4


def test_hooks_for_all_optimizers_run():
    model, optimizer = wrapped("SGD", {}, rho=0.1)
    seen = []
    handles = [
        register_optimizer_step_pre_hook(lambda which, args, kwargs: seen.append(("pre", which))),
        register_optimizer_step_post_hook(lambda which, args, kwargs: seen.append(("post", which))),
    ]
    try:
        train(model, optimizer, 0, 1)
    finally:
        for handle in handles:
            handle.remove()
    assert seen == [("pre", optimizer), ("pre", optimizer.base), ("post", optimizer.base), ("post", optimizer)]


def test_a_pre_hook_may_change_the_batch():
    model, optimizer = wrapped("SGD", {}, rho=0.1)
    optimizer.register_step_pre_hook(lambda which, args, kwargs: ((*args[:2], *batch(7)), kwargs))
    train(model, optimizer, 0, 1)
    assert torch.equal(weights_of(model), train(*wrapped("SGD", {}, rho=0.1), 7, 8))


def test_a_hook_on_the_base_clips_the_gradients_that_it_sees():
    model, optimizer = wrapped("SGD", {"lr": 1.0}, rho=0.1)
    optimizer.base.register_step_pre_hook(lambda *_: nn.utils.clip_grad_norm_(model.parameters(), 1e-3) and None)
    before = weights_of(model)
    assert (train(model, optimizer, 0, 1) - before).norm() == pytest.approx(1e-3, rel=1e-2)


def test_a_profiler_sees_the_step():
    model, optimizer = wrapped("SGD", {}, rho=0.1)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile:
        train(model, optimizer, 0, 1)
    names = [event.key for event in profile.key_averages()]
    assert {"Optimizer.step#SharpnessAware.step", "Optimizer.step#SGD.step"} <= set(names)


# Schedulers ---------------------------------------------------------------------------------------------------------

SCHEDULERS = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda step: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 7]),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, total_iters=4),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, total_iters=6),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, total_iters=4), lr_scheduler.CosineAnnealingLR(o, 6)], [4]
    ),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, total_iters=9, power=2.0),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, total_iters=3), lr_scheduler.ExponentialLR(o, 0.9)], o
    ),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=12),
    "SWALR": lambda o: SWALR(o, 0.05, anneal_epochs=4),
}


def test_every_scheduler_of_torch_is_here():
    found = {
        name
        for name, kind in vars(lr_scheduler).items()
        if inspect.isclass(kind) and issubclass(kind, lr_scheduler.LRScheduler) and not name.endswith("LRScheduler")
    }
    assert set(SCHEDULERS) == found | {"SWALR"}


def series(scheduler, schedule, stepped, step):
    """The group's settings at each of 12 steps."""
    seen = []
    for t in range(12):
        seen.append(
            {key: value for key, value in stepped.param_groups[0].items() if key in ("lr", "momentum", "betas")}
        )
        step(t)
        schedule.step(*([1 / (1 + min(t, 3))] if scheduler == "ReduceLROnPlateau" else []))
    return seen


@pytest.mark.parametrize(("kind", "through"), [("SGD", "wrapper"), ("AdamW", "base")])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_scheduler_acts_as_on_a_plain_optimizer(scheduler, kind, through):
    more = {"momentum": 0.8} if kind == "SGD" else {}
    plain = network(kind)
    twin = Twin(plain, base(kind, [{"params": list(plain.parameters()), **METHODS["fsam"]}], more))
    expected = series(scheduler, SCHEDULERS[scheduler](twin.optimizer), twin.optimizer, twin.step)

    model, optimizer = wrapped(kind, more, **METHODS["fsam"])
    schedule = SCHEDULERS[scheduler](optimizer if through == "wrapper" else optimizer.base)
    assert series(scheduler, schedule, optimizer.base, lambda t: train(model, optimizer, t, t + 1)) == expected
    assert len({str(settings) for settings in expected}) > 1
    assert_close(weights_of(model), weights_of(plain))


def test_a_scheduled_optimizer_is_copied_and_pickled_without_the_original():
    """A scheduler puts a step in the optimizer that steps that very optimizer."""
    model, optimizer = wrapped("SGD", {"momentum": 0.9}, **METHODS["fsam"])
    schedule = lr_scheduler.StepLR(optimizer, 3)
    expected = train(*wrapped("SGD", {"momentum": 0.9}, **METHODS["fsam"]))
    copies = [copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))]
    before = weights_of(model).clone()
    for of_model, of_optimizer in copies:
        assert torch.equal(train(of_model, of_optimizer), expected)
    assert torch.equal(weights_of(model), before) and schedule.last_epoch == 0


@pytest.mark.parametrize("through", ["wrapper", "base"])
@pytest.mark.parametrize("kind", ["step", "step_accumulated", "step_vectorized"])
def test_a_scheduler_knows_every_kind_of_step(kind, through):
    """torch warns of schedulers that step before their optimizer does; here a warning is an error."""
    model, optimizer = wrapped("SGD", {}, rho=0.1, num_shards=2)
    schedule = lr_scheduler.StepLR(optimizer if through == "wrapper" else optimizer.base, 1)
    if kind == "step":
        optimizer.step(closure_of(model), *batch(0))
    elif kind == "step_accumulated":
        optimizer.step_accumulated(closure_of(model), [batch(0), batch(1)], micro_batches_are="shards")
    else:
        optimizer.step_vectorized(lambda model, x, y: nn.functional.cross_entropy(model(x.double()), y), *batch(0))
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.002)


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_rho_and_sigma_may_be_scheduled_and_switched_on_and_off(kind):
    """rho: 0, then rising, then 0 again. sigma: 0, then 1, then 0, then 1 again. Each group at its own time."""
    plain, model = network(kind), network(kind)

    def groups_of(model):
        first, *others = model.parameters()
        return [{"params": [first]}, {"params": others}]

    start = {"rho": 0.0, "sigma": 0.0, "ema_decay": 0.8}
    twin = Twin(plain, base(kind, [{**group, **start} for group in groups_of(plain)], {}))
    optimizer = SharpnessAware(base(kind, groups_of(model), {}), model, **start)
    for step in range(40):
        for k in range(2):
            t = step - 3 * k
            settings = {
                "rho": 0.0 if t < 4 or t >= 30 else 0.01 * t,
                "sigma": 1.0 if 8 <= t < 14 or t >= 20 else 0.0,
                "ema_decay": 0.5 + 0.01 * step,
            }
            twin.optimizer.param_groups[k].update(settings)
            optimizer.param_groups[k].update(settings)
        twin.step(step)
        train(model, optimizer, step, step + 1)
        assert_close(weights_of(model), weights_of(plain))
