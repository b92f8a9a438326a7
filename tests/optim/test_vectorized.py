"""Shards in one program take the same step as shards one after another."""

import pytest
import torch
from torch import nn

from hpsearch.optim import METHODS, SharpnessAware
from hpsearch.optim.settings import PROGRAMS
from hpsearch.optim.vectorized import stack


def network(norm=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), norm or nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)).double()


def batch(seed, rows=12):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, generator=draws).double(), torch.randint(0, 3, (rows,), generator=draws)


def loss(model, inputs, targets):
    return nn.functional.cross_entropy(model(inputs), targets)


def closure_of(model):
    def closure(*batch):
        found = loss(model, *batch)
        found.backward()
        return found

    return closure


def optimizer_of(model, **settings):
    groups = [
        {"params": model[0].parameters()},
        {"params": [*model[1].parameters(), *model[3].parameters()], "lr": 0.2},
    ]
    return SharpnessAware(torch.optim.SGD(groups, lr=0.1, momentum=0.9), model, **settings)


@pytest.mark.parametrize("program", ["auto", "vmap"])  # auto: ghosts but where there is a metric
@pytest.mark.parametrize("weights", [None, (1.0, 0.0, 3.0, 2.0)])
@pytest.mark.parametrize("name", METHODS)
def test_the_same_steps_as_one_after_another(name, weights, program):
    """Uneven batches, which cannot be stacked, among them."""
    settings = {"rho": 0.1, **METHODS[name].settings, "num_shards": 4}
    ours, twin = network(), network()
    together, in_turn = optimizer_of(ours, **settings), optimizer_of(twin, **settings)
    for group in (together.param_groups[1], in_turn.param_groups[1]):
        group["rho"] *= 2
    for step in range(12):
        part = batch(step, rows=13 if step == 5 else 12)
        found = together.step_vectorized(loss, *part, weights=weights, program=program)
        expected = in_turn.step(closure_of(twin), *part, weights=weights)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(ours.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)
    assert together.steps == 12


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_evaluations_are_two_not_two_a_shard(program):
    model, calls = network(), []

    def counted(model, *batch):
        calls.append(1)
        return loss(model, *batch)

    optimizer = optimizer_of(model, rho=0.1, num_shards=4)
    optimizer.step_vectorized(counted, *batch(0), program=program)  # the first one compares programs
    calls.clear()
    optimizer.step_vectorized(counted, *batch(1), program=program)
    assert len(calls) == 2


def test_a_step_that_is_not_finite_is_skipped():
    model = network()
    optimizer = optimizer_of(model, rho=0.1, sigma=1.0, num_shards=4, nonfinite="skip")
    optimizer.step_vectorized(loss, *batch(0))
    before = [p.detach().clone() for p in model.parameters()]
    inputs, targets = batch(1)
    inputs[5, 0] = torch.nan
    optimizer.step_vectorized(loss, inputs, targets)
    assert optimizer.skipped == 1
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_what_cannot_be_vectorized_is_told():
    inputs, targets = batch(0)
    bare = SharpnessAware(torch.optim.SGD(network().parameters(), lr=0.1), rho=0.1, num_shards=4)
    with pytest.raises(ValueError, match="need model="):
        bare.step_vectorized(loss, inputs, targets)
    with pytest.raises(ValueError, match="BatchNorm's running statistics"):
        optimizer_of(network(nn.BatchNorm1d(8)), rho=0.1, num_shards=4).step_vectorized(loss, inputs, targets)
    hooked = network()
    hooked[0].weight.register_hook(lambda gradient: gradient * 0.5)
    with pytest.raises(ValueError, match=r"0\.weight has a hook"):
        optimizer_of(hooked, rho=0.1, num_shards=4).step_vectorized(loss, inputs, targets)
    other = SharpnessAware(torch.optim.SGD(network().parameters(), lr=0.1), network(), rho=0.1, num_shards=4)
    with pytest.raises(ValueError, match="parameter 0 of the optimizer is not one of the model's"):
        other.step_vectorized(loss, inputs, targets)


def test_measuring_changes_nothing():
    model = network()
    optimizer = optimizer_of(model, rho=0.1, sigma=1.0, num_shards=4)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.vectorized_pays(loss, *batch(0))
    assert not optimizer.vectorized_pays(loss, *batch(0, rows=13))  # it would be taken by step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert all(p.grad is None for p in model.parameters()) and optimizer.steps == 0 and not optimizer.state


@pytest.mark.parametrize("part", [(torch.zeros(4), "text"), (torch.zeros(4), torch.zeros(8)), (), (torch.zeros(0),)])
def test_batches_that_cannot_be_stacked(part):
    assert stack(part, 2) is None


def test_frozen_parameters_stay_without_a_gradient():
    model = network()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1), model, num_shards=4)
    optimizer.vectorized_pays(loss, *batch(0))  # does not raise
    optimizer.step_vectorized(loss, *batch(0))
    assert torch.equal(model[0].weight, before) and model[0].weight.grad is None


@pytest.mark.parametrize("settings", [{"adaptive": True}, {"sigma": 1.0}])
def test_a_parameter_that_the_loss_does_not_use_does_not_disturb(settings):
    ours, twin = network(), network()
    ours.unused = nn.Parameter(torch.ones(3).double())
    optimizer = SharpnessAware(torch.optim.SGD(ours.parameters(), lr=0.1), ours, rho=0.1, num_shards=4, **settings)
    in_turn = SharpnessAware(torch.optim.SGD(twin.parameters(), lr=0.1), twin, rho=0.1, num_shards=4, **settings)

    ours.forward = lambda inputs: ours[3](ours[2](ours[1](ours[0](inputs))))
    for step in range(3):
        optimizer.step_vectorized(loss, *batch(step))
        in_turn.step(closure_of(twin), *batch(step))
    for name, parameter in twin.named_parameters():
        torch.testing.assert_close(parameter, ours.get_parameter(name), rtol=1e-11, atol=1e-12)
    assert torch.equal(ours.unused, torch.ones(3).double())


def test_half_precision_has_its_norm_in_float32():
    """In float16 the norm would overflow above 65504, and 1e-12 is 0: a zero gradient would divide by it."""
    for factor in (0.0, 1000.0):
        weight = nn.Parameter(torch.ones(100, dtype=torch.float16))
        model = nn.Module()
        model.weight = weight
        optimizer = SharpnessAware(torch.optim.SGD([weight], lr=0.0), model, rho=0.1, num_shards=2)

        def of(model, x, factor=factor):
            return (factor * model.weight * x.mean()).sum()

        optimizer.step_vectorized(of, torch.ones(4, dtype=torch.float16))
        assert torch.isfinite(weight).all() and torch.isfinite(weight.grad).all()


def test_several_devices_and_complex_parameters_are_refused():
    weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    model = nn.Module()
    model.weight = weight
    optimizer = SharpnessAware(torch.optim.SGD([weight], lr=0.1), model, rho=0.1, num_shards=2)
    with pytest.raises(ValueError, match="real parameters on one device"):
        optimizer.step_vectorized(lambda model, x: (model.weight.abs() * x.mean()).sum(), torch.ones(4))
