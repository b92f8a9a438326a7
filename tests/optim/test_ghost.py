"""Ghost shards: the steps of shards one after another, whatever a model is made of; and what they are refused for."""

import copy

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware
from hpsearch.optim import ghost as ghosts
from hpsearch.optim.ghost import Ghost

ROWS, STEPS = 12, 8


class Twice(nn.Module):
    """One layer that is called twice, and one without a bias."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3, bias=False)

    def forward(self, inputs):
        return self.last(self.again(torch.tanh(self.again(torch.relu_(self.first(inputs))))))


class Tied(nn.Module):
    """A matrix of two linear layers, and one of an embedding and a linear layer."""

    def __init__(self):
        super().__init__()
        self.table, self.first, self.second = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.second.weight, self.head.weight = self.first.weight, self.table.weight

    def forward(self, inputs):
        words = self.table((inputs * 10).long() % 5)  # (N, 4, 4)
        return self.head(self.second(torch.tanh(self.first(words)))).mean(1)[:, :3]


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.frozen, self.last = nn.Linear(4, 6), nn.Linear(6, 6).requires_grad_(False), nn.Linear(6, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, inputs):
        return self.last(torch.tanh(self.frozen(self.first(inputs))))


MODELS = {
    "mlp": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)),
    "norms": lambda: nn.Sequential(
        nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 8), nn.GroupNorm(2, 8), nn.GELU(), nn.Linear(8, 3)
    ),
    "convolutions": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 4, 2, padding=1), nn.Tanh(), nn.Conv2d(4, 4, 2, groups=2, bias=False),
        nn.Flatten(), nn.Linear(16, 3),
    ),
    "sequences": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 2)), nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 6), nn.Flatten(), nn.Linear(12, 3)
    ),
    "twice": Twice,
    "tied": Tied,
    "frozen": Frozen,
}  # fmt: skip


def made(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[name]().double()


def batch(seed, rows=ROWS):
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, 4, generator=draws).double()
    return inputs, torch.randint(0, 3, (rows,), generator=draws), torch.rand(rows, generator=draws).double()


def loss(model, inputs, targets, weights):
    """A weighted mean: that of a batch is not the mean of its shards'."""
    losses = nn.functional.cross_entropy(model(inputs), targets, reduction="none")
    return (weights * losses).sum() / weights.sum()


def in_turn(optimizer, model, *batch):
    def closure(*batch):
        found = loss(model, *batch)
        found.backward()
        return found

    return optimizer.step(closure, *batch)


def optimizer_of(model, **settings):
    first, *others = model.parameters()
    groups = [{"params": [first]}, {"params": others, "rho": 0.2, "lr": 0.2}]
    base = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.01)
    return SharpnessAware(base, model, **{"rho": 0.1, "num_shards": 4, **settings})


@pytest.fixture
def squares(monkeypatch):
    """Counts the layers that had ghosts."""
    seen, real = [], Ghost.square

    def square(self, *args):
        seen.append(self)
        return real(self, *args)

    monkeypatch.setattr(Ghost, "square", square)
    return seen


@pytest.mark.parametrize("settings", [{}, {"sigma": 1.0, "ema_decay": 0.6}, {"num_shards": ROWS}], ids=str)
@pytest.mark.parametrize("copies", ["ghosts", "copies"])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_steps_as_one_after_another(monkeypatch, squares, name, copies, settings):
    """copies: linear layers have ghosts, or each shard's own weights."""
    monkeypatch.setattr(ghosts, "COPY", 1e9 if copies == "ghosts" else 0)
    ours, twin = made(name), made(name)
    together, apart = optimizer_of(ours, **settings), optimizer_of(twin, **settings)
    for step in range(STEPS):
        found = together.step_vectorized(loss, *batch(step), program="ghost")
        torch.testing.assert_close(found, in_turn(apart, twin, *batch(step)), rtol=1e-11, atol=1e-12)
    for (label, one), other in zip(ours.named_parameters(), twin.parameters(), strict=True):
        if "unused" not in label:  # with weight decay, what has a gradient of zeros moves and what has none does not
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11, msg=label)
    assert bool(squares) == (copies == "ghosts")


def test_shards_that_count_for_nothing_and_those_that_count_for_more(squares):
    ours, twin = made("norms"), made("norms")
    together, apart = optimizer_of(ours, sigma=0.5), optimizer_of(twin, sigma=0.5)
    weights = (1.0, 0.0, 3.0, 2.0)
    for step in range(STEPS):
        together.step_vectorized(loss, *batch(step), weights=weights, program="ghost")

        def closure(*batch):
            found = loss(twin, *batch)
            found.backward()
            return found

        apart.step(closure, *batch(step), weights=weights)
    for one, other in zip(ours.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    assert squares


def test_few_rows_have_ghosts_and_many_have_copies(squares):
    """A rule of sizes: a layer's products of rows against a shard's copy of its weight."""
    for rows, expected in ((64, True), (4096, False)):
        squares.clear()
        model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3)).double()
        optimizer_of(model, num_shards=16).step_vectorized(loss, *batch(0, rows), program="ghost")
        assert bool(squares) is expected


def test_an_optimizer_that_is_copied_finds_out_anew():
    model = made("mlp")
    optimizer = optimizer_of(model)
    optimizer.step_vectorized(loss, *batch(0), program="ghost")
    other, theirs = copy.deepcopy((model, optimizer))
    for each in (optimizer, theirs):
        each.step_vectorized(loss, *batch(1), program="ghost")
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two) and one is not two


def test_parameters_that_are_frozen_later_stay():
    model = made("mlp")
    optimizer = optimizer_of(model)
    optimizer.step_vectorized(loss, *batch(0), program="ghost")
    model[2].weight.requires_grad_(False)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step_vectorized(loss, *batch(1), program="ghost")
    moved = [not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True)]
    assert moved == [True, True, False, True]


# What is refused ------------------------------------------------------------------------------------------------------


class Mixing(nn.Module):
    def forward(self, inputs):
        return inputs - inputs.mean(0)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4).double())

    def forward(self, inputs):
        return inputs * self.scale


def sequential(first):
    return nn.Sequential(first, nn.Linear(4, 3)).double()


REFUSED = {
    "mixing": (lambda: sequential(Mixing()), {}, "treats a batch other than sample by sample"),
    "weights of its own": (lambda: sequential(Own()), {}, "Own has weights or buffers of its own"),
    "dropout": (lambda: sequential(nn.Dropout(0.5)), {}, "treats a batch other than sample by sample"),
    "half": (lambda: sequential(Own()).half(), {}, "not of torch.float32 or torch.float64"),
    "metric": (lambda: made("mlp"), {"adaptive": True}, "with a metric"),
    "batch norm": (lambda: sequential(nn.BatchNorm1d(4)), {}, "running statistics"),
    "one shard": (lambda: made("mlp"), {"num_shards": 1}, "one shard only"),
    "uneven": (lambda: made("mlp"), {"num_shards": 5}, "does not divide"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why(case):
    make, settings, said = REFUSED[case]
    model = make()
    kind = next(model.parameters()).dtype
    inputs = [part.to(kind) if part.is_floating_point() else part for part in batch(0)]
    optimizer = optimizer_of(model, **settings)
    assert said in optimizer.ghosts_refused(loss, *inputs)
    if case not in ("one shard", "uneven"):  # which step() takes
        with pytest.raises(ValueError, match=said):
            optimizer.step_vectorized(loss, *inputs, program="ghost")
        assert optimizer.steps == 0


def test_autocast_is_refused():
    optimizer = optimizer_of(made("mlp"))
    with torch.autocast("cpu", torch.bfloat16):
        assert optimizer.ghosts_refused(loss, *batch(0)) == "autocast is on"


def test_asking_draws_nothing_and_changes_nothing():
    model = sequential(nn.Dropout(0.5))
    before, state = [p.detach().clone() for p in model.parameters()], torch.get_rng_state()
    optimizer = optimizer_of(model)
    optimizer.ghosts_refused(loss, *batch(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) and p.grad is None for p, q in zip(model.parameters(), before, strict=True))
    assert optimizer.steps == 0 and not optimizer.state


def test_numbers_that_are_not_finite_decide_nothing():
    optimizer = optimizer_of(made("mlp"), nonfinite="skip")
    inputs, *others = batch(0)
    inputs[3] = torch.inf
    assert optimizer.ghosts_refused(loss, inputs, *others) == "the gradients are not finite"
    optimizer.step_vectorized(loss, inputs, *others)
    assert optimizer.skipped == 1 and optimizer.ghosts_refused(loss, *batch(1)) is None


def test_another_loss_is_compared_too():
    def odd(model, inputs, targets, weights):
        return loss(lambda inputs: model(inputs - inputs.mean()), inputs, targets, weights)

    def peeking(model, inputs, targets, weights):
        return loss(lambda inputs: model[1](inputs), inputs, targets, weights)

    optimizer = optimizer_of(made("mlp"))
    assert optimizer.ghosts_refused(loss, *batch(0)) is None
    assert optimizer.ghosts_refused(odd, *batch(0)) is None  # of a shard's own samples: that is each shard's loss
    assert "not subscriptable" in optimizer.ghosts_refused(peeking, *batch(0))
