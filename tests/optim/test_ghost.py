"""Ghost shards: the steps of shards one after another, whatever a model is made of; and what they are refused for."""

import copy
import dataclasses
import functools
import threading

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware
from hpsearch.optim import ghost as ghosts
from hpsearch.optim.ghost import Ghost
from hpsearch.optim.ghost_model import LOSSES

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


class Scale(nn.Module):
    """A layer that is not known."""

    def __init__(self, features):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))

    def forward(self, inputs):
        return inputs * self.scale


class Places(nn.Module):
    """Weights beside layers, a table that is called with what all samples share, and a buffer."""

    def __init__(self):
        super().__init__()
        self.learned, self.table = nn.Parameter(torch.randn(1, 4, 6)), nn.Embedding(4, 6)
        self.value, self.scale, self.last = nn.Linear(1, 6), Scale(6), nn.Linear(6, 3)
        self.register_buffer("mask", torch.ones(4, 4).tril())

    def forward(self, inputs):
        values = self.value(inputs.unsqueeze(2)) + self.learned + self.table(torch.arange(4))
        return self.last(self.scale(self.mask @ torch.tanh(values)).mean(1))


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
    "places": Places,
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


class Clipping(nn.Module):
    """Mixes large numbers only."""

    def forward(self, inputs):
        return inputs * (1e3 / inputs.norm()).clamp(max=1.0)


def sequential(first):
    return nn.Sequential(first, nn.Linear(4, 3)).double()


class Beside(Scale):
    def __init__(self):
        super().__init__(4)
        self.last = nn.Linear(4, 4)

    def forward(self, inputs):
        return self.last(super().forward(inputs))


class Locked(nn.Linear):
    """Cannot be copied."""

    def __init__(self):
        super().__init__(4, 4)
        self.lock = threading.Lock()


class InParts(nn.Module):
    """Of 8 samples, which only some shards have together."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, inputs):
        return torch.cat([self.layer(part) for part in inputs.split(8)])


class Keeping(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, inputs):
        self.seen = self.seen + 1
        return inputs


class Stepping(nn.Module):
    """Does something else from its 20th call on."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(4, 4), 0

    def forward(self, inputs):
        self.calls += 1
        return self.layer(inputs) * (2 if self.calls < 20 else 1)


def hooked():
    model = made("mlp")
    next(model.parameters()).register_hook(lambda gradient: gradient * 0.5)
    return model


def listed():
    model = made("mlp")
    model.weights = list(model.parameters())
    return model


REFUSED = {
    "a count": (lambda: sequential(Stepping()), {}, "a forward pass changes an attribute"),
    "a hook of a weight": (hooked, {}, "has a hook"),
    "weights in a list": (listed, {}, "weights holds weights"),
    "mixing": (lambda: sequential(Mixing()), {}, "treats a batch other than sample by sample"),
    "mixing what is large": (
        lambda: sequential(nn.Sequential(nn.Linear(4, 4), Clipping())),
        {},
        "treats a batch other than sample by sample",
    ),
    "weights beside layers": (lambda: sequential(Beside()), {}, "Beside has weights of its own beside layers"),
    "what cannot be copied": (lambda: sequential(Locked()), {}, "cannot pickle"),
    "in parts": (lambda: sequential(InParts()), {}, "not of all samples"),
    "a buffer that changes": (lambda: sequential(Keeping()), {}, "a forward pass changes a buffer"),
    "dropout": (lambda: sequential(nn.Dropout(0.5)), {}, "treats a batch other than sample by sample"),
    "half": (lambda: made("mlp").half(), {}, "not of torch.float32 or torch.float64"),
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
    assert "takes a part of it" in optimizer.ghosts_refused(peeking, *batch(0))


# What may change between steps, and what is next to nothing -----------------------------------------------------------


def follows(model, twin, change, losses=loss, program="auto", steps=6):
    """change(model, step) before each step, of both."""
    together, apart = optimizer_of(model), optimizer_of(twin)
    for step in range(steps):
        change(model, step)
        change(twin, step)
        together.step_vectorized(losses, *batch(step), program=program)

        def closure(*batch):
            found = losses(twin, *batch)
            found.backward()
            return found

        apart.step(closure, *batch(step))
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    return together


def test_a_loss_that_reads_the_weights_has_no_ghosts():
    def penalized(model, *batch):
        return loss(model, *batch) + 1e-4 * sum(p.square().sum() for p in model.parameters())

    optimizer = follows(made("mlp"), made("mlp"), lambda model, step: None, penalized)
    assert "it uses its parameters" in optimizer.ghosts_refused(penalized, *batch(0))


class Penalty:
    """Reads the weights from the third step on only."""

    strength = 0.0

    def __call__(self, model, *batch):
        found = loss(model, *batch)
        return found + self.strength * sum(p.square().sum() for p in model.parameters()) if self.strength else found


def test_a_loss_that_reads_the_weights_later_loses_its_ghosts(squares):
    penalty = Penalty()

    def change(model, step):
        penalty.strength = 0.1 if step > 2 else 0.0
        squares.clear()

    optimizer = follows(made("mlp"), made("mlp"), change, penalty)
    assert not squares and "it uses its parameters" in optimizer.ghosts_refused(penalty, *batch(0))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.scale, self._own = nn.Linear(4, 3), 1.0, 1.0

    def forward(self, inputs):
        return self.layer(inputs) * self.scale / self._own


@pytest.mark.parametrize("name", ["scale", "_own"])
def test_plain_attributes_of_modules_are_as_they_are_now(squares, name):
    model = Scaled().double()
    follows(model, copy.deepcopy(model), lambda model, step: setattr(model, name, 1.0 + step), program="ghost")
    assert squares


def test_modules_that_are_exchanged_or_hooked_are_seen():
    def exchange(model, step):
        if step == 2:
            model[1] = nn.Tanh()

    def hook(model, step):
        if step == 2:
            model.register_forward_hook(lambda module, inputs, outputs: 2 * outputs)

    def own_forward(model, step):
        if step == 2:
            forward = model[2].forward
            model[2].forward = lambda inputs: 2 * forward(inputs)

    assert follows(made("mlp"), made("mlp"), exchange).ghosts_refused(loss, *batch(0)) is None
    assert "hooks" in follows(made("mlp"), made("mlp"), hook).ghosts_refused(loss, *batch(0))
    assert "forward()" in follows(made("mlp"), made("mlp"), own_forward).ghosts_refused(loss, *batch(0))


def test_modes_of_modules_are_as_they_are_now():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double().eval()
    optimizer = follows(model, copy.deepcopy(model), lambda model, step: None, program="ghost")
    model.train()
    state = torch.get_rng_state()
    optimizer.step_vectorized(loss, *batch(1), program="ghost")
    assert not torch.equal(torch.get_rng_state(), state)  # dropout drew


class Partly(nn.Module):
    """A layer whose output is used in part, once without gradients, and once not at all."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.aside = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, inputs):
        with torch.no_grad():
            still = self.first(0.5 * inputs)
        hidden = torch.tanh(self.first(inputs)) + still + self.first(2 * inputs).detach()
        self.aside(hidden)
        return self.last(hidden)


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_outputs_that_have_no_gradient(squares, sigma):
    model = Partly().double()
    twin = copy.deepcopy(model)
    together, apart = optimizer_of(model, sigma=sigma), optimizer_of(twin, sigma=sigma)
    for step in range(STEPS):
        together.step_vectorized(loss, *batch(step), program="ghost")
        in_turn(apart, twin, *batch(step))
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):  # weight decay leaves `aside` alone
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    assert squares


def test_all_that_is_perturbed_is_frozen():
    model = made("mlp")
    optimizer = optimizer_of(model, perturb=[model[2].weight])
    optimizer.step_vectorized(loss, *batch(0), program="ghost")
    model[2].weight.requires_grad_(False)
    optimizer.step_vectorized(loss, *batch(1), program="ghost")
    assert optimizer.steps == 2


def linear_loss(model, inputs, targets, weights):
    return model(inputs).gather(1, targets.unsqueeze(1)).mean()


@pytest.mark.parametrize("apart", [1e-1, 1e-3, 1e-5])
def test_directions_that_are_next_to_nothing(squares, apart):
    """Shards all but alike, and the average of the step before: what is left of the gradient is mostly rounding."""
    inputs, targets, weights = (part[:4].repeat(4, *(1 for _ in part.shape[1:])) for part in batch(0))
    inputs = (inputs + apart * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(1))).float()
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, 3, bias=False))
    twin = copy.deepcopy(model).double()
    moved = []
    for each, kind in ((model, torch.float32), (twin, torch.float64)):
        base = torch.optim.SGD(each.parameters(), lr=1e-8)
        optimizer = SharpnessAware(base, each, rho=0.5, num_shards=4, sigma=1.0, ema_decay=0.0)
        for _ in range(2):
            optimizer.step_vectorized(linear_loss, inputs.to(kind), targets, weights.to(kind), program="ghost")
        moved.append(torch.cat([p.grad.flatten() for p in each.parameters()]).double())
    assert squares
    found, expected = moved
    assert torch.linalg.vector_norm(found - expected) < max(1e-4, 1e-5 / apart) * torch.linalg.vector_norm(expected)


def test_identical_shards_do_not_blow_up():
    inputs, targets, weights = (part[:4].repeat(4, *(1 for _ in part.shape[1:])) for part in batch(0))
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Tanh(), nn.Linear(8, 3, bias=False))
    base = torch.optim.SGD(model.parameters(), lr=1e-8)
    optimizer = SharpnessAware(base, model, rho=0.5, num_shards=4, sigma=1.0, ema_decay=0.0)
    for _ in range(4):
        optimizer.step_vectorized(loss, inputs.float(), targets, weights.float(), program="ghost")
        assert torch.cat([p.grad.flatten() for p in model.parameters()]).norm() < 10


def test_losses_of_any_kind_are_told_apart_and_few_are_remembered():
    @dataclasses.dataclass
    class Callable:
        factor: float

        def __call__(self, model, *batch):
            return self.factor * loss(model, *batch)

    def factory(peeks):
        def found(model, inputs, targets, weights):
            return loss(model[1] if peeks else model, inputs, targets, weights)

        return found

    optimizer = optimizer_of(made("mlp"))
    assert optimizer.ghosts_refused(Callable(2.0), *batch(0)) is None
    assert optimizer.ghosts_refused(functools.partial(loss, weights=torch.ones(3)), *batch(0)[:2]) is None
    assert optimizer.ghosts_refused(factory(False), *batch(0)) is None
    assert "takes a part of it" in optimizer.ghosts_refused(factory(True), *batch(0))
    for _ in range(20):
        optimizer.ghosts_refused(Callable(2.0), *batch(0))
    assert len(optimizer.programs._known) == LOSSES


def test_a_batch_that_raises_says_nothing_of_the_next():
    optimizer = optimizer_of(made("mlp"))
    inputs, targets, weights = batch(0)
    assert "out of bounds" in optimizer.ghosts_refused(loss, inputs, targets + 100, weights)
    assert optimizer.ghosts_refused(loss, inputs, targets, weights) is None


def test_nothing_of_a_step_is_held():
    model = made("mlp")
    optimizer = optimizer_of(model)
    optimizer.step_vectorized(loss, *batch(0), program="ghost")
    folded = optimizer.programs._model._folded
    assert not folded.call.weights and not folded.call.taps
