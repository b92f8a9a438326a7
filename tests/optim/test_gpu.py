"""On a CUDA device: the CPU's trajectories, no waiting for the device, CUDA graphs, and few launches."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

METHODS = {
    "sam": {"rho": 0.1},
    "asam": {"rho": 0.5, "adaptive": True},
    "fsam": {"rho": 0.1, "sigma": 1.0, "ema_decay": 0.5},
    "fsam_half": {"rho": 0.1, "sigma": 0.5},
    "msam": {"rho": 0.1, "num_shards": 3},
    "fmsam": {"rho": 0.1, "sigma": 0.5, "num_shards": 3},
    "gsam": {"rho": 0.1, "combine": "gsam"},
}
BASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, foreach=True),
    "fused_sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
    "fused_adam": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
}


def network(layers=2, kind=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden = [nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(layers - 2)]
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), *hidden, nn.Linear(8, 3)).to(kind)


def batch(seed, device="cuda", kind=torch.float32):
    draws = torch.Generator().manual_seed(seed)
    inputs, targets = torch.randn(12, 4, generator=draws), torch.randint(0, 3, (12,), generator=draws)
    return inputs.to(device, kind), targets.to(device)


def closure_of(model):
    def closure(inputs, targets):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    return closure


def weights_of(model):
    return torch.cat([p.detach().flatten().cpu() for p in model.parameters()])


@contextlib.contextmanager
def waiting_is_an_error():
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("nonfinite", ["allow", "skip", "raise"])
def test_trajectories_agree_with_the_cpus(name, base, nonfinite):
    def run(device):
        model = network(kind=torch.float64).to(device)
        optimizer = SharpnessAware(BASES[base](model.parameters()), model, nonfinite=nonfinite, **METHODS[name])
        for step in range(20):
            optimizer.step(closure_of(model), *batch(step, device, torch.float64))
        return weights_of(model)

    torch.testing.assert_close(run("cuda"), run("cpu"), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("base", "nonfinite"), [("sgd", "allow"), ("fused_sgd", "skip"), ("fused_adam", "skip")])
def test_a_step_never_waits_for_the_device(name, base, nonfinite):
    model = network().cuda()
    optimizer = SharpnessAware(BASES[base](model.parameters()), model, nonfinite=nonfinite, **METHODS[name])
    batches = [batch(step) for step in range(5)]
    for part in batches[:2]:  # a base that can be told to skip is, once its state exists
        optimizer.step(closure_of(model), *part)
    with waiting_is_an_error():
        for part in batches[2:]:
            optimizer.step(closure_of(model), *part)
    assert int(optimizer.skipped) == 0


def test_the_check_above_finds_a_step_that_waits():
    model = network().cuda()
    optimizer = SharpnessAware(BASES["sgd"](model.parameters()), model, rho=0.1, nonfinite="raise")
    part = batch(0)
    optimizer.step(closure_of(model), *part)
    with pytest.raises(RuntimeError, match="(?i)synchroniz"), waiting_is_an_error():
        optimizer.step(closure_of(model), *part)


@pytest.mark.parametrize("name", ["sam", "fsam_half", "fmsam"])
@pytest.mark.parametrize("base", ["fused_sgd", "fused_adam"])
@pytest.mark.parametrize("which", ["clean", "perturbed"])
def test_a_step_that_is_skipped_on_the_device_changes_nothing(name, base, which):
    model = network().cuda()
    optimizer = SharpnessAware(BASES[base](model.parameters()), model, nonfinite="skip", **METHODS[name])
    for step in range(2):
        optimizer.step(closure_of(model), *batch(step))

    def state():
        kept = [v for s in optimizer.base.state.values() for v in s.values() if torch.is_tensor(v)]
        kept += [v for s in optimizer.state.values() for v in s.values()]
        return copy.deepcopy([*(p.detach() for p in model.parameters()), *kept])

    before, calls = state(), []
    part = batch(2)

    def closure(inputs, targets):
        calls.append(1)
        loss = nn.functional.cross_entropy(model(inputs), targets)
        bad = len(calls) % 2 == (1 if which == "clean" else 0)
        (loss * float("inf") if bad else loss).backward()
        return loss

    with waiting_is_an_error():
        optimizer.step(closure, *part)
    after = state()
    assert len(after) == len(before) and all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert int(optimizer.skipped) == 1
    optimizer.step(closure_of(model), *part)
    assert int(optimizer.skipped) == 1 and torch.isfinite(weights_of(model)).all()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("base", ["sgd", "adam"])
def test_replays_of_a_cuda_graph_are_steps(name, base):
    """lr and rho are tensors on the device; filled in place between replays, they take effect."""

    def build():
        model = network().cuda()
        lr, rho = torch.tensor(0.05, device="cuda"), torch.tensor(METHODS[name]["rho"], device="cuda")
        if base == "sgd":
            inner = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, fused=True)
        else:
            inner = torch.optim.Adam(model.parameters(), lr=lr, fused=True, capturable=True)
        return model, SharpnessAware(inner, model, **{**METHODS[name], "rho": rho}), lr, rho

    eager, captured = build(), build()
    inputs, targets = batch(0)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for step in range(3):
            part = batch(step)
            inputs.copy_(part[0]), targets.copy_(part[1])
            captured[1].step(closure_of(captured[0]), inputs, targets)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured[1].step(closure_of(captured[0]), inputs, targets)
    for step in range(3):
        eager[1].step(closure_of(eager[0]), *batch(step))
    for step in range(3, 13):
        if step == 8:
            for _, _, lr, rho in (eager, captured):
                lr.fill_(0.02), rho.fill_(0.7)
        part = batch(step)
        inputs.copy_(part[0]), targets.copy_(part[1])
        graph.replay()
        eager[1].step(closure_of(eager[0]), *part)
        torch.testing.assert_close(weights_of(captured[0]), weights_of(eager[0]), rtol=1e-4, atol=1e-5)
    unchanged = build()
    for step in range(13):
        if step == 8:
            unchanged[2].fill_(0.02)
        unchanged[1].step(closure_of(unchanged[0]), *batch(step))
    assert not torch.allclose(weights_of(captured[0]), weights_of(unchanged[0]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("nonfinite", ["allow", "skip"])
@pytest.mark.parametrize("devices", [("cpu", "cuda"), ("cuda", "cpu")], ids="-".join)
def test_parameters_on_two_devices(devices, name, nonfinite):
    def run(first_on, second):
        first, last = network(kind=torch.float64)[0].to(first_on), network(kind=torch.float64)[2].to(second)
        model = nn.ModuleList([first, last])
        base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        optimizer = SharpnessAware(base, model, nonfinite=nonfinite, **METHODS[name])

        def closure(inputs, targets):
            outputs = last(torch.tanh(first(inputs.to(first_on))).to(second))
            loss = nn.functional.cross_entropy(outputs, targets.to(second))
            loss.backward()
            return loss

        for step in range(10):
            optimizer.step(closure, *batch(step, "cpu", torch.float64))
        return weights_of(model)

    torch.testing.assert_close(run(*devices), run("cpu", "cpu"), rtol=1e-9, atol=1e-9)


def launches(run):
    """Kernels and device copies of the third call."""
    run(), run()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
        torch.cuda.synchronize()
    device = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    return sum(not event.name.startswith("Optimizer.") for event in device)  # annotations lie on the device's line, too


@pytest.mark.parametrize("name", ["sam", "asam", "fsam"])
@pytest.mark.parametrize("layers", [5, 30], ids=["10 parameters", "60 parameters"])
def test_a_step_launches_few_kernels_whatever_the_number_of_parameters(name, layers):
    model, part = network(layers).cuda(), batch(0)
    base = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=True)
    optimizer, closure = SharpnessAware(base, model, **METHODS[name]), closure_of(model)

    def evaluation():
        for parameter in model.parameters():
            parameter.grad = None
        closure(*part)

    def plain():
        evaluation()
        base.step()

    two_evaluations_and_a_step = launches(plain) + launches(evaluation)
    more = launches(lambda: optimizer.step(closure, *part)) - two_evaluations_and_a_step
    assert len(list(model.parameters())) == 2 * layers
    assert 0 < more < 20


def test_the_memory_of_a_step_does_not_grow():
    model, part = network().cuda(), batch(0)
    optimizer = SharpnessAware(BASES["sgd"](model.parameters()), model, rho=0.1, sigma=1.0)
    for _ in range(3):
        optimizer.step(closure_of(model), *part)
    before = torch.cuda.memory_allocated()
    for _ in range(10):
        optimizer.step(closure_of(model), *part)
    assert torch.cuda.memory_allocated() == before
