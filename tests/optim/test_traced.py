"""A list of operations gives what the function gives, and is not used where it would not."""

import random
from collections import Counter

import numpy
import pytest
import torch
from torch import nn

from hpsearch.optim.known import structure
from hpsearch.optim.traced import KEPT, Graphs, Traced


class Counted:
    """Counts the calls of a function."""

    def __init__(self, compute):
        self.compute, self.calls = compute, 0

    def __call__(self, *tensors):
        self.calls += 1
        return self.compute(*tensors)


def gradient(weights, batch):
    leaf = weights.detach().requires_grad_()
    with torch.enable_grad():
        loss = torch.func.vmap(lambda w, x: (x @ w).relu().square().mean())(leaf, batch)
        (found,) = torch.autograd.grad(loss.sum(), [leaf])
    return loss.detach(), found


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


NEVER = 2  # calls of a function whose list is used: one to note it down, one to compare
STEPS = 6


def test_later_calls_run_the_operations_alone():
    compute = Counted(gradient)
    traced = Traced(compute, [])
    for seed in range(STEPS):
        given = drawn(3, 4, 2, seed=seed), drawn(3, 5, 4, seed=100 + seed)
        for found, expected in zip(traced(*given), gradient(*given), strict=True):
            assert torch.equal(found, expected) and not found.requires_grad
    assert compute.calls == NEVER


def test_arguments_are_changed_in_place():
    def compute(total, each):
        total += each
        each.mul_(2)
        return (total.sum(),)

    counted = Counted(compute)
    traced, total, mine = Traced(counted, []), torch.zeros(3), torch.zeros(3)
    for seed in range(STEPS):
        each, other = drawn(3, seed=seed), drawn(3, seed=seed)
        assert torch.equal(traced(total, each)[0], compute(mine, other)[0])
        assert torch.equal(total, mine) and torch.equal(each, other)
    assert counted.calls == NEVER


def test_torchs_draws_are_the_functions_own():
    def compute(x):
        return nn.functional.dropout(x, 0.5), torch.rand(())

    counted, x = Counted(compute), torch.ones(50)
    torch.manual_seed(1)
    expected = [compute(x) for _ in range(STEPS)]
    torch.manual_seed(1)
    traced = Traced(counted, [])
    for mine in expected:
        assert all(map(torch.equal, traced(x), mine))
    assert counted.calls == NEVER


def test_nan_is_like_itself():
    counted = Counted(lambda x: (x / x, x.log()))
    traced = Traced(counted, [])
    for _ in range(STEPS):
        assert traced(torch.zeros(2))[0].isnan().all()
    assert counted.calls == NEVER


CONSTANT = torch.ones(())


def by_sign(x):
    return (x if x.sum() > 0 else -2 * x,)


def by_item(x):
    return (x * x[0].item(),)


def by_shape(x):
    return (x.expand(len((x > 0).nonzero()), 4).sum(0),)


def by_mask(x):
    return (x[x > 0].sum(),)


def by_numpy(x):
    return (x * float(x.detach().numpy().max()),)


def by_list(x):
    return (x * max(x.tolist()),)


@pytest.mark.parametrize("compute", [by_sign, by_item, by_shape, by_mask, by_numpy, by_list])
def test_what_depends_on_numbers_does_so_in_every_call(compute):
    traced = Traced(compute, [])
    for seed in range(STEPS):
        x = drawn(4, seed=seed)
        assert torch.equal(traced(x)[0], compute(x)[0])


def test_a_tensor_that_is_no_argument_may_be_another_one_later():
    held = {"scale": torch.ones(())}
    traced = Traced(lambda x: (x * held["scale"],), [])
    for step in range(STEPS):
        held["scale"] = torch.tensor(float(step))
        assert torch.equal(traced(torch.ones(2))[0], torch.full((2,), float(step)))


class Layer(nn.Module):
    """A network that counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * (1.0 if self.calls < 4 else 0.5)


def test_a_network_that_changes_itself_is_called():
    network = nn.Sequential(Layer())
    traced = Traced(lambda x: (network(x),), [network])
    found = [float(traced(torch.ones(1))[0]) for _ in range(STEPS)]
    assert found[0] in (1, 0.5) and found[-1] == 0.5 and network[0].calls >= STEPS


@pytest.mark.parametrize("draw", [random.random, numpy.random.random], ids=["random", "numpy"])
def test_what_draws_elsewhere_is_called(draw):
    counted = Counted(lambda x: (x * (1.0 if draw() < 0.9 else 0.0),))
    traced = Traced(counted, [])
    for _ in range(STEPS):
        traced(torch.ones(2))
    assert counted.calls >= STEPS


def test_shapes_strides_and_kinds_have_lists_of_their_own():
    traced, x = Traced(lambda x: (x.reshape(-1) * 2, x.sum(0)), []), drawn(4, 6)
    for given in (x, x[:2], x.T, x.double(), x.T.contiguous(), x.view(2, 2, 6), x):
        for _ in range(3):
            for found, expected in zip(traced(given), (given.reshape(-1) * 2, given.sum(0)), strict=True):
                assert torch.equal(found, expected) and found.dtype == given.dtype


def test_few_lists_are_kept():
    graphs = Graphs()
    traced = Traced(lambda x: (x + 1,), [], graphs)
    for size in range(1, 2 * KEPT):
        traced(torch.zeros(size))
    assert len(graphs._kept) == KEPT


def test_functions_that_are_alike_share_a_list_and_others_do_not_get_it():
    graphs, first, second, other = Graphs(), *(Counted(lambda x, by=by: (x * by,)) for by in (2, 2, 3))
    for compute, by in ((first, 2), (second, 2), (other, 3)):
        traced = Traced(compute, [], graphs)
        for _ in range(STEPS):
            assert traced(torch.ones(1))[0] == by
    assert (first.calls, second.calls, other.calls) == (NEVER, 1, STEPS)


def test_what_a_function_raises_comes_as_it_is():
    def compute(x):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Traced(compute, [])(torch.ones(1))


def test_without_memory_for_both_ways_it_is_called(monkeypatch):
    counted = Counted(lambda x: (x + 1,))
    traced = Traced(counted, [])

    def clone(*_):
        raise torch.OutOfMemoryError("full")

    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "clone", clone)
        assert traced(torch.ones(1))[0] == 2
    assert traced(torch.ones(1))[0] == 2 and counted.calls == 3


# What networks are made of -------------------------------------------------------------------------------------------


class Scaled(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by


def layers():
    yield nn.Linear(4, 4)
    yield nn.Linear(4, 4, bias=False)
    yield nn.Linear(4, 4).double()
    yield nn.Linear(4, 4).requires_grad_(False)
    yield nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    yield nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    yield nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(0.1))
    yield nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(0.2))
    yield nn.Sequential(nn.Tanh(), nn.Linear(4, 4))
    yield nn.LayerNorm(4)
    yield nn.LayerNorm(4, eps=0.1)
    yield nn.Conv2d(4, 4, 3)
    yield nn.Conv2d(4, 4, 3, padding=1)
    yield nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
    for activation in (nn.functional.relu, nn.functional.gelu):
        yield nn.TransformerEncoderLayer(4, 1, 4, activation=activation)
    shared = nn.Linear(4, 4)
    yield nn.Sequential(shared, shared)
    yield nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


def tied(to):
    """Three layers, of which the last one has the weight of another one."""
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    if to is not None:
        network[4].weight = network[to].weight
    return network


def test_whose_weight_is_shared_counts_too():
    found = [structure(tied(to)) for to in (None, 0, 2)]
    assert len(set(found)) == 3 and found == [structure(tied(to)) for to in (None, 0, 2)]


def test_of_a_class_that_was_made_for_one_object_the_structure_is_not_known():
    assert structure(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))) is None


def test_networks_that_may_compute_otherwise_are_of_another_structure():
    ones, others = list(map(structure, layers())), list(map(structure, layers()))
    assert None not in ones and ones == others  # whatever their weights
    assert len(set(ones)) == len(ones)
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    before = structure(network)
    assert structure(network.eval()) == before  # a mode is set by who calls


@pytest.mark.parametrize("by", [object(), [1], {"a": 1}, lambda x: x, Counter()])
def test_of_what_holds_anything_else_the_structure_is_not_known(by):
    assert structure(Scaled(by)) is None
    assert structure(Scaled(2.0)) != structure(Scaled(3.0))
