"""Steps that are cut short, and parameters of every kind."""

import copy
import signal
import time
import warnings

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware

METHODS = {
    "base": {"rho": 0.0},
    "sam": {"rho": 0.1},
    "fsam": {"rho": 0.1, "sigma": 1.0, "ema_decay": 0.5},
    "fsam_half": {"rho": 0.1, "sigma": 0.5, "ema_decay": 0.75},
    "msam": {"rho": 0.1, "num_shards": 3},
    "fmsam": {"rho": 0.1, "num_shards": 3, "sigma": 0.5},
    "asam": {"rho": 0.5, "adaptive": True},
    "asam_eta": {"rho": 0.2, "metric": "absolute_eta", "sigma": 0.5},
    "gsam": {"rho": 0.1, "combine": "gsam"},
    "gsam_fsam": {"rho": 0.1, "combine": "gsam", "sigma": 0.5},
    "sam_on": {"rho": 0.5, "perturb": "normalization"},
}


class Stopped(Exception):
    pass


class Problem:
    def __init__(self, **settings):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)).double()
        base = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9, foreach=True)
        self.optimizer = SharpnessAware(base, self.model, **settings)
        self.passes, self.stop_at, self.stop_after_backward = 0, None, True

    def closure(self, inputs, targets):
        self.passes += 1
        stop = self.passes == self.stop_at
        if stop and not self.stop_after_backward:
            raise Stopped
        loss = nn.functional.cross_entropy(self.model(inputs), targets)
        loss.backward()
        if stop:
            raise Stopped
        return loss

    def step(self, seed):
        draws = torch.Generator().manual_seed(seed)
        inputs = torch.randn(12, 4, generator=draws).double()
        return self.optimizer.step(self.closure, inputs, torch.randint(0, 3, (12,), generator=draws))

    def state(self, ema=True):
        base = [v for state in self.optimizer.base.state.values() for v in state.values() if torch.is_tensor(v)]
        own = [v for state in self.optimizer.state.values() for v in state.values()]
        return copy.deepcopy([*(p.detach() for p in self.model.parameters()), *base, *(own if ema else [])])


def same(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def quadratic(*weights, targets=None):
    """A closure: the sum of squares, each term weighted by its place so that gradients differ."""

    def closure():
        loss = sum((index + 1) * (w.double() - 0.3 * index).square().sum() for index, w in enumerate(weights))
        loss.backward()
        return loss

    return closure


# Cut short ----------------------------------------------------------------------------------------------------------


WHERE = [("skip", True), ("skip", False), ("allow", True)]
# Every method with every place, at the first step or later in turn.
CUT_SHORT = [(name, *w, 2 * ((i + j) % 2)) for i, name in enumerate(METHODS) for j, w in enumerate(WHERE)]


@pytest.mark.parametrize(("name", "nonfinite", "after_backward", "good_steps"), CUT_SHORT)
def test_a_closure_that_raises_in_any_pass_changes_nothing(name, nonfinite, after_backward, good_steps):
    settings = {**METHODS[name], "nonfinite": nonfinite}
    # The one exception, as step() says: such a step gives its clean gradient to the EMA before the second pass.
    at_once = nonfinite == "allow" and "sigma" in settings and not {"num_shards", "combine"} & settings.keys()
    reference = Problem(**settings)
    for seed in range(good_steps):
        reference.step(seed)
    passes = reference.passes
    reference.step(99)
    for each in range(1, reference.passes - passes + 1):
        problem = Problem(**settings)
        for seed in range(good_steps):
            problem.step(seed)
        before = problem.state(ema=False) if at_once and each == 2 else problem.state()
        problem.stop_at, problem.stop_after_backward = passes + each, after_backward
        with pytest.raises(Stopped):
            problem.step(99)
        assert same(problem.state()[: len(before)], before)
        assert problem.optimizer.steps == good_steps and int(problem.optimizer.skipped) == 0
        if not (at_once and each == 2):
            assert same(problem.state(), before)
            problem.step(99)
            assert same(problem.state(), reference.state()), f"pass {each} raised, and the step was taken again"


# Python swallows what is raised in a callback of the garbage collector (hypothesis has one) or in a destructor.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["sam", "fmsam", "asam", "gsam_fsam"])
def test_a_keyboard_interrupt_at_any_moment_leaves_the_weights_clean(name):
    """Perturbed weights must not outlive the step: they would be saved as a checkpoint and trained on."""
    problem = Problem(**METHODS[name])
    for seed in range(3):
        problem.step(seed)
    kept = copy.deepcopy((problem.model.state_dict(), problem.optimizer.state_dict()))
    before = [p.detach().clone() for p in problem.model.parameters()]
    durations = []
    for _ in range(5):
        problem.model.load_state_dict(kept[0])
        problem.optimizer.load_state_dict(copy.deepcopy(kept[1]))
        start = time.perf_counter()
        problem.step(3)
        durations.append(time.perf_counter() - start)
    duration = min(durations)  # what a busy machine does not stretch, or most interrupts would come after the step
    after = [p.detach().clone() for p in problem.model.parameters()]
    assert not same(before, after)
    hits = 0

    def interrupt(*_):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    draws = torch.Generator().manual_seed(5)
    try:
        for _ in range(100):
            problem.model.load_state_dict(kept[0])
            problem.optimizer.load_state_dict(copy.deepcopy(kept[1]))
            try:
                signal.setitimer(signal.ITIMER_REAL, max(1e-5, 1.2 * duration * torch.rand((), generator=draws).item()))
                problem.step(3)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                hits += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            now = [p.detach() for p in problem.model.parameters()]
            # With foreach=True the base writes the weights in one call, which no signal cuts in two.
            assert same(now, before) or same(now, after)
            assert torch.is_grad_enabled()
    finally:
        signal.signal(signal.SIGALRM, previous)
        torch.set_grad_enabled(True)
    assert hits >= 20


@pytest.mark.parametrize("name", ["base", "sam", "fmsam"])
def test_a_keyboard_interrupt_right_after_grad_mode_changes(name, monkeypatch):
    """Where grad mode is on, weights cannot be copied back; and it must not stay off for the caller."""
    enable, k = torch._C._set_grad_enabled, 0
    while True:
        problem, calls = Problem(**METHODS[name]), []
        before = [p.detach().clone() for p in problem.model.parameters()]

        def interrupted(mode, calls=calls, k=k):
            enable(mode)
            calls.append(mode)
            if len(calls) == k + 1:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(torch._C, "_set_grad_enabled", interrupted)
            try:
                problem.step(0)
                break
            except KeyboardInterrupt:
                enabled = torch.is_grad_enabled()
        now = [p.detach() for p in problem.model.parameters()]
        enable(True)
        assert enabled and (same(now, before) or problem.optimizer.steps == 1 or problem.optimizer.base.state), k
        perturbed = problem.passes % 2 == 0 and not problem.optimizer.base.state
        assert not perturbed or same(now, before)
        k += 1
    assert k >= 4


# Parameters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_parameters_without_a_gradient_in_either_pass(name):
    """One is not used at all, one in the clean passes only, one in the perturbed passes only, one is frozen."""
    if name == "sam_on":
        pytest.skip("takes the parameters of layers")
    model = nn.ParameterList([nn.Parameter(torch.ones(3).double()) for _ in range(5)])
    used, idle, clean, perturbed, frozen = model
    frozen.requires_grad_(False)
    optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1), model, **METHODS[name])
    calls = []

    def closure(*batch):
        calls.append(1)
        extra = clean if len(calls) % 2 == 1 else perturbed
        loss = (used.square().sum() + extra.pow(3).sum()) + 0 * frozen.sum()
        loss.backward()
        return loss

    for _ in range(4):
        optimizer.step(closure, torch.zeros(6))
    assert torch.equal(idle, torch.ones(3)) and torch.equal(frozen, torch.ones(3))
    assert all(torch.isfinite(p).all() for p in model) and not torch.equal(used, torch.ones(3))
    if METHODS[name]["rho"]:
        assert torch.equal(clean, torch.ones(3)) and not torch.equal(perturbed, torch.ones(3))


@pytest.mark.parametrize("name", METHODS)
def test_gradients_that_are_all_zero(name):
    problem = Problem(**METHODS[name])

    def closure(inputs):
        loss = 0 * problem.model(inputs).sum()
        loss.backward()
        return loss

    before = problem.state()
    for _ in range(3):
        problem.optimizer.step(closure, torch.ones(6, 4).double())
    assert same(problem.state()[: len(before)], before)
    assert not any(t.isnan().any() for t in problem.state())


def test_tied_weights_are_perturbed_once():
    """One parameter used twice, also where the model lists it under two names."""
    tied, single = nn.Linear(3, 3, bias=False).double(), nn.Linear(3, 3, bias=False).double()
    single.load_state_dict(tied.state_dict())
    model = nn.Sequential(tied, nn.Tanh(), nn.Linear(3, 3, bias=False).double())
    model[2].weight = tied.weight
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()

    def closure_of(forward):
        def closure():
            loss = forward(inputs).square().mean()
            loss.backward()
            return loss

        return closure

    for module, forward in ((model, model), (single, lambda x: single(torch.tanh(single(x))))):
        optimizer = SharpnessAware(torch.optim.SGD(module.parameters(), lr=0.1), module, rho=0.2, sigma=0.5)
        for _ in range(5):
            optimizer.step(closure_of(forward))
    assert torch.equal(tied.weight, single.weight) and model[2].weight is tied.weight


@pytest.mark.parametrize("kind", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("name", ["sam", "asam", "fsam", "fsam_half", "gsam", "gsam_fsam", "fmsam"])
def test_complex_parameters_are_pairs_of_real_ones(name, kind):
    draws = torch.Generator().manual_seed(0)
    start = [torch.randn(3, 2, generator=draws, dtype=torch.float64) for _ in range(2)]
    real_kind = torch.float32 if kind == torch.complex64 else torch.float64
    targets = torch.randn(6, 3, 2, generator=draws).to(real_kind)

    def run(as_complex):
        pairs = [nn.Parameter(s.to(real_kind)) for s in start]
        weights = [nn.Parameter(torch.view_as_complex(p.detach().clone())) for p in pairs] if as_complex else pairs

        def closure(part):
            first, second = (torch.view_as_real(w) if as_complex else w for w in weights)
            loss = ((first * second.cos() - part) ** 2).mean()
            loss.backward()
            return loss

        # A real weight beside them, so that only some are complex.
        more = nn.Parameter(torch.ones((), dtype=real_kind))
        base = torch.optim.SGD([*weights, more], lr=0.3, momentum=0.9, foreach=True)
        optimizer = SharpnessAware(base, **METHODS[name])
        for _ in range(10):
            optimizer.step(closure, targets)
        return [torch.view_as_real(w.detach()) if as_complex else w.detach() for w in weights]

    tolerance = 1e-5 if kind == torch.complex64 else 1e-12
    for one, other in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["sam", "asam", "fsam_half", "gsam_fsam"])
def test_mixed_precisions_and_shapes_agree_with_float64(name):
    """float32 beside float64, a 0-dimensional tensor, an empty one, and one that is not contiguous."""
    shapes = [(3,), (), (0,), (2, 0, 3), (4, 2), (1, 1, 1)]

    def run(kinds):
        draws = torch.Generator().manual_seed(0)
        weights = [nn.Parameter(torch.randn(s, generator=draws).to(k)) for s, k in zip(shapes, kinds, strict=True)]
        weights[4] = nn.Parameter(weights[4].detach().t().contiguous().t())
        optimizer = SharpnessAware(torch.optim.SGD(weights, lr=0.01, momentum=0.9), **METHODS[name])
        for _ in range(10):
            optimizer.step(quadratic(*weights))
        assert [w.dtype for w in weights] == list(kinds)
        return torch.cat([w.detach().double().flatten() for w in weights])

    mixed = run([torch.float32, torch.float64, torch.float32, torch.float64, torch.float32, torch.float64])
    torch.testing.assert_close(mixed, run([torch.float64] * 6), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["sam", "asam", "fsam_half", "gsam_fsam", "msam"])
@pytest.mark.parametrize("fused", [None, True])
def test_channels_last_weights_agree_with_contiguous_ones(name, fused):
    def run(layout):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 2)).double().to(memory_format=layout)
        base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
        optimizer = SharpnessAware(base, model, **METHODS[name])
        inputs = torch.randn(6, 3, 6, 6, generator=torch.Generator().manual_seed(1)).double()

        def closure(part):
            loss = (model(part) - 1).square().mean()
            loss.backward()
            return loss

        for _ in range(8):
            optimizer.step(closure, inputs.to(memory_format=layout))
        assert model[0].weight.is_contiguous(memory_format=layout)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    torch.testing.assert_close(run(torch.channels_last), run(torch.contiguous_format), rtol=1e-10, atol=1e-10)


def test_an_optimizer_whose_only_group_is_empty_says_so():
    optimizer = SharpnessAware(torch.optim.SGD([{"params": []}], lr=0.1), rho=0.1)
    with pytest.raises(ValueError, match="the optimizer has no parameters"):
        optimizer.step(lambda: torch.zeros((), requires_grad=True))


def test_an_empty_group_beside_a_full_one():
    weight = nn.Parameter(torch.ones(3))
    optimizer = SharpnessAware(torch.optim.SGD([{"params": []}, {"params": [weight]}], lr=0.1), rho=0.1, sigma=1.0)
    for _ in range(3):
        optimizer.step(quadratic(weight))
    assert not torch.equal(weight, torch.ones(3))


def test_a_model_on_the_meta_device_names_the_remedy():
    model = nn.Linear(3, 2, device="meta")
    optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1), model, rho=0.1)
    with pytest.raises(RuntimeError, match="meta.*to_empty"):
        optimizer.step(lambda: model(torch.ones(1, 3, device="meta")).sum())


@pytest.mark.parametrize("settings", [{}, {"sigma": 1.0}, {"adaptive": True}], ids=str)
def test_sparse_gradients_are_refused_before_anything_changes(settings):
    table = nn.Embedding(5, 3, sparse=True)
    before = table.weight.detach().clone()
    optimizer = SharpnessAware(torch.optim.SGD(table.parameters(), lr=0.1), table, rho=0.1, **settings)

    def closure():
        loss = table(torch.tensor([1, 2])).sum()
        loss.backward()
        return loss

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((RuntimeError, TypeError, NotImplementedError), match="(?i)sparse"):
            optimizer.step(closure)
    assert torch.equal(table.weight, before)


@pytest.mark.parametrize("settings", [{"perturb": "normalization"}, {"metric": "absolute_eta"}, {"adaptive": True}])
def test_layers_that_are_added_later_are_perturbed_as_those_from_the_start(settings):
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3)).double()
    optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.0), model, rho=0.5, **settings)
    later = [nn.Linear(3, 8).double(), nn.LayerNorm(8).double(), nn.Linear(8, 3).double()]
    model.extend(later)
    optimizer.add_param_group({"params": [weight for layer in later for weight in layer.parameters()]})
    at_once = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.0), model, rho=0.5, **settings)
    inputs = torch.randn(6, 4, dtype=torch.float64)

    def perturbed(optimizer):
        seen = []

        def closure():
            seen.append([weight.detach().clone() for weight in model.parameters()])
            loss = model(inputs).exp().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        return seen[1]

    for one, other in zip(perturbed(optimizer), perturbed(at_once), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
