"""What SharpnessAware promises beside the formulas: identities, calls, restored weights, checkpoints, refusals."""

import copy
import io
import math
from collections import namedtuple

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware

ROWS = 12
METHODS = {
    "base": {"rho": 0.0},
    "sam": {"rho": 0.1},
    "asam": {"rho": 0.5, "adaptive": True},
    "msam": {"rho": 0.1, "num_shards": 3},
    "fsam": {"rho": 0.1, "sigma": 1.0, "ema_decay": 0.8},
    "fmsam": {"rho": 0.1, "sigma": 0.7, "num_shards": 4, "interval": 2},
}


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def batch(seed, rows=ROWS):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, generator=draws), torch.randint(0, 3, (rows,), generator=draws)


def closure_of(model, calls=None):
    def closure(inputs, targets):
        if calls is not None:
            calls.append(len(inputs))
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    return closure


def sgd(model, **more):
    return torch.optim.SGD(model.parameters(), **{"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2, **more})


def train(steps=20, batches=batch, start=0, **settings):
    model = network()
    optimizer = SharpnessAware(sgd(model), model, **settings)
    for step in range(start, start + steps):
        optimizer.step(closure_of(model), *batches(step))
    return weights_of(model)


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# Identities ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: torch.optim.AdamW(p, lr=0.01),
        lambda p: torch.optim.Adagrad(p, lr=0.01),
    ],
    ids=["sgd", "adamw", "adagrad"],
)
def test_rho_0_is_the_base_optimizer_bit_for_bit(base):
    plain, wrapped = network(), network()
    plain_optimizer = base(plain.parameters())
    optimizer = SharpnessAware(base(wrapped.parameters()), rho=0.0, sigma=1.0, num_shards=3)
    calls = []
    for step in range(20):
        plain_optimizer.zero_grad()
        expected = closure_of(plain)(*batch(step))
        plain_optimizer.step()
        assert optimizer.step(closure_of(wrapped, calls), *batch(step)) == expected
    assert calls == [ROWS] * 20
    assert torch.equal(weights_of(plain), weights_of(wrapped))


def test_sigma_0_is_sam_whatever_the_decay():
    assert torch.equal(train(rho=0.1, sigma=0.0, ema_decay=0.5), train(rho=0.1))


def test_one_shard_is_sam_and_several_are_not():
    assert torch.equal(train(rho=0.1, num_shards=1), train(rho=0.1))
    assert not torch.allclose(train(rho=0.1, num_shards=3), train(rho=0.1), atol=1e-4)


def test_shards_of_equal_copies_are_sam():
    def copies(step):
        inputs, targets = batch(step, rows=4)
        return inputs.repeat(3, 1), targets.repeat(3)

    sharded, whole = train(rho=0.1, num_shards=3, batches=copies), train(rho=0.1, batches=copies)
    torch.testing.assert_close(sharded, whole, rtol=1e-4, atol=1e-5)


def test_ema_decay_0_removes_the_previous_gradient():
    """With a loss that is linear in w the gradient at step t is x_t: the second step perturbs along x_1 - x_0."""
    weight = nn.Parameter(torch.zeros(2))
    seen = []

    def closure(x):
        seen.append(weight.detach().clone())
        loss = (weight * x).sum()
        loss.backward()
        return loss

    optimizer = SharpnessAware(torch.optim.SGD([weight], lr=1.0), rho=1.0, sigma=1.0, ema_decay=0.0)
    optimizer.step(closure, torch.tensor([2.0, 0.0]))
    optimizer.step(closure, torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(seen[1] - seen[0], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(seen[3] - seen[2], torch.tensor([0.0, 1.0]))


def test_the_ema_is_fed_the_raw_gradient_at_every_step_also_between_perturbations():
    weight = nn.Parameter(torch.zeros(1))

    def closure(x):
        loss = (weight * x).sum()
        loss.backward()
        return loss

    optimizer = SharpnessAware(torch.optim.SGD([weight], lr=0.0), rho=0.1, sigma=1.0, ema_decay=0.5, interval=3)
    for x, expected in [(8.0, 8.0), (4.0, 6.0), (2.0, 4.0), (0.0, 2.0)]:
        optimizer.step(closure, torch.tensor([x]))
        assert optimizer.state[weight]["ema"].item() == expected


def test_maximize_ascends_and_perturbs_downhill():
    """Maximizing -f is minimizing f, bit for bit, perturbations included."""

    def run(maximize):
        model = network()
        optimizer = SharpnessAware(sgd(model, maximize=maximize), rho=0.2, sigma=0.5)
        sign = -1.0 if maximize else 1.0

        def closure(inputs, targets):
            loss = sign * nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            return loss

        for step in range(20):
            optimizer.step(closure, *batch(step))
        return weights_of(model)

    assert torch.equal(run(maximize=True), run(maximize=False))


def test_groups_with_rho_0_neither_move_nor_enter_the_norm():
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    seen = []

    def closure():
        seen.append((first.item(), second.item()))
        loss = 3 * first.sum() + 4 * second.sum()
        loss.backward()
        return loss

    groups = [{"params": [first], "rho": 1.0}, {"params": [second], "rho": 0.0}]
    SharpnessAware(torch.optim.SGD(groups, lr=0.1)).step(closure)
    assert seen[1] == pytest.approx((1.0, 0.0))
    seen.clear()
    groups = [{"params": [first], "rho": 1.0}, {"params": [second], "rho": 2.0}]
    SharpnessAware(torch.optim.SGD(groups, lr=0.0)).step(closure)
    assert seen[1][0] - seen[0][0] == pytest.approx(1.0 * 3 / 5)
    assert seen[1][1] - seen[0][1] == pytest.approx(2.0 * 4 / 5)


# Calls of the closure and the loss ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"rho": 0.0, "num_shards": 4}, [[12]] * 4),
        ({"rho": 0.1}, [[12, 12]] * 4),
        ({"rho": 0.1, "num_shards": 4}, [[3] * 8] * 4),
        ({"rho": 0.1, "num_shards": 5}, [[2, 2, 2, 2, 3, 3, 2, 2, 3, 3]] * 4),
        ({"rho": 0.1, "interval": 3}, [[12, 12], [12], [12], [12, 12]]),
        ({"rho": 0.1, "interval": 2, "num_shards": 2}, [[6] * 4, [12], [6] * 4, [12]]),
        ({"rho": 0.1, "num_shards": 99}, [[1] * 24] * 4),
    ],
)
def test_the_closure_is_called_once_per_shard_and_pass(settings, expected):
    model, calls, seen = network(), [], []
    optimizer = SharpnessAware(sgd(model), **settings)
    for step in range(4):
        optimizer.step(closure_of(model, calls), *batch(step))
        seen.append(list(calls))
        calls.clear()
    assert seen == expected


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_returned_is_the_mean_clean_loss_of_the_batch(name):
    model = network()
    optimizer = SharpnessAware(sgd(model), **METHODS[name])
    for step in range(3):
        inputs, targets = batch(step, rows=11)
        with torch.no_grad():
            expected = nn.functional.cross_entropy(model(inputs), targets)
        loss = optimizer.step(closure_of(model), inputs, targets)
        torch.testing.assert_close(loss, expected)
        assert not loss.requires_grad


def test_weights_replace_the_shards_sizes():
    model = network()
    (inputs, targets), w = batch(0), (3.0, 0.0, 1.0)
    shards = [(inputs[a : a + 4], targets[a : a + 4]) for a in (0, 4, 8)]
    losses, gradients = [], []
    for part in shards:
        twin = network()
        losses.append(SharpnessAware(torch.optim.SGD(twin.parameters(), lr=1.0), rho=0.1).step(closure_of(twin), *part))
        gradients.append(weights_of(network()) - weights_of(twin))
    optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=1.0), rho=0.1, num_shards=3)
    loss = optimizer.step(closure_of(model), inputs, targets, weights=w)
    torch.testing.assert_close(loss, (3 * losses[0] + losses[2]) / 4)
    step = weights_of(network()) - weights_of(model)
    torch.testing.assert_close(step, (3 * gradients[0] + gradients[2]) / 4, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "weights", [(1.0, 2.0), (1.0, -1.0, 1.0), (0.0, 0.0, 0.0), (1.0, math.nan, 1.0), (1, math.inf, 1)]
)
def test_wrong_weights_are_refused(weights):
    model = network()
    optimizer = SharpnessAware(sgd(model), rho=0.1, num_shards=3)
    with pytest.raises(ValueError, match="weights must"):
        optimizer.step(closure_of(model), *batch(0), weights=weights)


def test_a_closure_without_batch_works_with_one_shard_only():
    model = network()
    optimizer = SharpnessAware(sgd(model), rho=0.1)
    for step in range(20):
        part = batch(step)
        optimizer.step(lambda part=part: closure_of(model)(*part))
    assert torch.equal(weights_of(model), train(rho=0.1))
    with pytest.raises(ValueError, match="num_shards=2 needs"):
        SharpnessAware(sgd(model), rho=0.1, num_shards=2).step(lambda: closure_of(model)(*batch(0)))


Pair = namedtuple("Pair", ["inputs", "targets"])


@pytest.mark.parametrize("shape", [dict, tuple, Pair])
def test_dict_and_tuple_batches_are_split_like_tensors(shape):
    def packed(step):
        inputs, targets = batch(step)
        return (
            {"inputs": inputs, "targets": targets}
            if shape is dict
            else shape.__new__(shape, (inputs, targets))
            if shape is tuple
            else Pair(inputs, targets),
        )

    model = network()
    optimizer = SharpnessAware(sgd(model), rho=0.1, num_shards=5)

    def closure(part):
        assert type(part) is shape
        return closure_of(model)(*(part.values() if shape is dict else part))

    for step in range(20):
        optimizer.step(closure, *packed(step))
    assert torch.equal(weights_of(model), train(rho=0.1, num_shards=5))


# Weights come back --------------------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "call"), [("sam", 2), ("asam", 2), ("fsam", 2), ("msam", 2), ("msam", 4), ("msam", 3)]
)
def test_weights_are_as_before_when_the_closure_raises(name, call):
    model = network()
    optimizer = SharpnessAware(sgd(model), model, **METHODS[name])
    optimizer.step(closure_of(model), *batch(0))
    before, calls = weights_of(model).clone(), []

    def closure(inputs, targets):
        loss = closure_of(model, calls)(inputs, targets)
        if len(calls) == call:
            assert torch.equal(weights_of(model), before) == (call % 2 == 1)
            raise Stopped
        return loss

    with pytest.raises(Stopped):
        optimizer.step(closure, *batch(1))
    assert torch.equal(weights_of(model), before)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_that_raised_can_be_taken_again(name):
    """Out of memory in the second pass, say: the retried run is the run that never failed."""
    model, calls = network(), []
    optimizer = SharpnessAware(sgd(model), model, nonfinite="skip", **METHODS[name])

    def closure(inputs, targets):
        loss = closure_of(model, calls)(inputs, targets)
        if len(calls) == 8:  # a second pass, of every method but the base
            raise Stopped
        return loss

    for step in range(20):
        try:
            optimizer.step(closure, *batch(step))
        except Stopped:
            optimizer.step(closure, *batch(step))
    assert len(calls) > 8
    assert torch.equal(weights_of(model), train(**METHODS[name]))


def test_weights_are_restored_exactly_where_subtracting_would_drift():
    """lr = 0 leaves the restored weights: after 50 steps they must be the first ones to the last bit."""
    model = network()
    before = weights_of(model).clone()
    optimizer = SharpnessAware(sgd(model, lr=0.0), rho=7.7, num_shards=2)
    for step in range(50):
        optimizer.step(closure_of(model), *batch(step))
    assert torch.equal(weights_of(model), before)


def test_weights_keep_their_precision_when_the_model_changes_its_own():
    model = network()
    optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.0), rho=0.1)
    optimizer.step(closure_of(model), *batch(0))
    model.double()
    for parameter in model.parameters():
        parameter.data += 1e-12  # lost in float32
    before = weights_of(model).clone()
    inputs, targets = batch(1)
    optimizer.step(closure_of(model), inputs.double(), targets)
    assert torch.equal(weights_of(model), before)


@pytest.mark.parametrize("settings", [{"sigma": 1.0}, {"sigma": 0.5}, {"sigma": 1.0, "num_shards": 2}])
def test_an_average_of_gradients_goes_on_when_the_model_changes_its_precision(settings):
    runs = []
    for double in (False, True):
        model = network()
        optimizer = SharpnessAware(sgd(model), rho=0.1, **settings)
        for step in range(4):
            inputs, targets = batch(step)
            if double and step == 2:
                model.double()
            optimizer.step(closure_of(model), inputs.to(model[0].weight.dtype), targets)
        runs.append(weights_of(model).double())
    torch.testing.assert_close(*runs, rtol=1e-4, atol=1e-5)


# Parameters without gradient ----------------------------------------------------------------------------------------


def test_frozen_parameters_stay_and_do_not_count():
    def run(freeze_in_model):
        model = network()
        model[0].requires_grad_(False)
        kept = model.parameters() if freeze_in_model else model[2].parameters()
        optimizer = SharpnessAware(torch.optim.SGD(kept, lr=0.1), model, rho=0.1, sigma=1.0)
        for step in range(10):
            optimizer.step(closure_of(model), *batch(step))
        return weights_of(model)

    assert torch.equal(run(True), run(False))
    assert torch.equal(run(True)[:40], weights_of(network())[:40])


def test_a_parameter_whose_gradient_comes_late_joins_without_disturbing_the_others():
    """F-SAM's direction of `first` at the second step is its gradient less its EMA, though `second` has no EMA yet."""
    first, second = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    seen = []

    def closure(x, use_second):
        seen.append(torch.cat([first, second]).detach().clone())
        loss = (first * x).sum() + (second.sum() if use_second else 0)
        loss.backward()
        return loss

    optimizer = SharpnessAware(torch.optim.SGD([first, second], lr=0.1), rho=1.0, sigma=1.0, ema_decay=0.9)
    optimizer.step(closure, torch.tensor([2.0, 0.0]), False)
    assert second.item() == 0
    optimizer.step(closure, torch.tensor([2.0, 1.0]), True)
    torch.testing.assert_close(seen[3] - seen[2], torch.tensor([0.0, 1.0, 1.0]) / math.sqrt(2))


def test_a_parameter_without_gradient_in_the_second_pass_is_restored():
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    calls = []

    def closure():
        calls.append(1)
        loss = (first**2).sum() + (0 if len(calls) == 2 else (second**2).sum())
        loss.backward()
        return loss

    SharpnessAware(torch.optim.SGD([first, second], lr=0.1), rho=0.5).step(closure)
    assert torch.equal(second.detach(), torch.ones(2))
    assert not torch.equal(first.detach(), torch.ones(2))


def test_shards_without_a_gradient_count_as_zero():
    """A parameter that only one of two equal shards uses gets half of that shard's gradient, whichever it is."""
    for used in (0.0, 1.0):
        weight, other = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

        def closure(x, weight=weight, other=other, used=used):
            loss = other.sum() + (weight.sum() if x[0] == used else 0)
            loss.backward()
            return loss

        optimizer = SharpnessAware(torch.optim.SGD([weight, other], lr=1.0), rho=0.1, num_shards=2)
        optimizer.step(closure, torch.tensor([0.0, 1.0]))
        assert (weight.item(), other.item()) == (-0.5, -1.0)


@pytest.mark.parametrize(
    ("closure", "error", "message"),
    [
        (lambda: torch.tensor(1.0), RuntimeError, "must call backward"),
        (lambda: None, TypeError, "must return the loss as a tensor, but returned NoneType"),
        (lambda: 1.0, TypeError, "returned float"),
    ],
)
def test_a_closure_that_forgets_something_is_told_and_changes_nothing(closure, error, message):
    weight = nn.Parameter(torch.ones(2))
    optimizer = SharpnessAware(torch.optim.SGD([weight], lr=0.1), rho=0.1)
    with pytest.raises(error, match=message):
        optimizer.step(closure)
    assert torch.equal(weight, torch.ones(2)) and optimizer.steps == 0


# Schedulers, groups, checkpoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize("through_wrapper", [True, False])
def test_schedulers_reach_the_base_optimizer_through_either(through_wrapper):
    def run(scheduled):
        model = network()
        base = sgd(model)
        optimizer = SharpnessAware(base, rho=0.1)
        scheduler = (
            torch.optim.lr_scheduler.StepLR(optimizer if through_wrapper else base, 5, 0.1) if scheduled else None
        )
        for step in range(20):
            optimizer.step(closure_of(model), *batch(step))
            if scheduler:
                scheduler.step()
            else:
                for group in base.param_groups:
                    group["lr"] = 0.1 * 0.1 ** ((step + 1) // 5)
        return weights_of(model)

    torch.testing.assert_close(run(scheduled=True), run(scheduled=False), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(run(scheduled=True), train(rho=0.1), atol=1e-3)


@pytest.mark.parametrize("through_wrapper", [True, False])
def test_a_group_added_later_is_trained_and_perturbed(through_wrapper):
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    base = torch.optim.SGD([first], lr=0.1, momentum=0.9)
    optimizer = SharpnessAware(base, rho=1.0)
    (optimizer if through_wrapper else base).add_param_group({"params": [second]})
    seen = []

    def closure():
        seen.append(second.item())
        loss = first.sum() + second.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert seen[1] == pytest.approx(math.sqrt(0.5))
    assert second.item() == pytest.approx(-0.1)


def test_a_group_added_later_is_checked():
    optimizer = SharpnessAware(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1))
    with pytest.raises(ValueError, match="rho must be"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "rho": -1.0})


def through_memory(state):
    return copy.deepcopy(state)


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("travel", [through_memory, through_file])
def test_a_loaded_state_dict_continues_bit_for_bit(name, travel):
    model = network()
    optimizer = SharpnessAware(sgd(model), model, **METHODS[name])
    for step in range(7):
        optimizer.step(closure_of(model), *batch(step))
    saved = travel({"model": model.state_dict(), "optimizer": optimizer.state_dict()})

    resumed = network(seed=5)
    other = SharpnessAware(sgd(resumed, lr=123.0), resumed, **METHODS[name])
    other.step(closure_of(resumed), *batch(99))  # its own state must go
    resumed.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    scheduler = torch.optim.lr_scheduler.ConstantLR(other, factor=1.0)
    for step in range(7, 20):
        other.step(closure_of(resumed), *batch(step))
        scheduler.step()
    assert torch.equal(weights_of(resumed), train(**METHODS[name]))
    assert other.param_groups is other.base.param_groups


# Refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"rho": -0.1},
        {"rho": math.nan},
        {"rho": math.inf},
        {"sigma": math.nan},
        {"sigma": math.inf},
        {"ema_decay": 1.0},
        {"ema_decay": -0.1},
        {"ema_decay": math.nan},
        {"num_shards": 0},
        {"num_shards": 2.5},
        {"num_shards": True},
        {"num_shards": math.inf},
        {"num_shards": math.nan},
        {"interval": 0},
        {"interval": -1},
        {"interval": math.inf},
    ],
    ids=str,
)
def test_bad_settings_are_refused_with_the_rule_and_the_value(settings):
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=rf"{name} must .*but got {value!r}"):
        SharpnessAware(sgd(network()), **settings)


def test_a_bad_setting_of_one_group_is_refused():
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "sigma": math.nan}]
    with pytest.raises(ValueError, match="sigma must be"):
        SharpnessAware(torch.optim.SGD(groups, lr=0.1))


def test_bases_that_cannot_work_are_refused():
    model = network()
    for base in (
        torch.optim.LBFGS(model.parameters()),
        torch.optim.SparseAdam(model.parameters()),
        SharpnessAware(sgd(model)),
    ):
        with pytest.raises(TypeError, match=type(base).__name__):
            SharpnessAware(base)


def test_shards_that_cannot_be_cut_are_refused():
    model = network()
    optimizer = SharpnessAware(sgd(model), rho=0.1, num_shards=2)
    inputs, targets = batch(0)
    with pytest.raises(ValueError, match=r"tensors of \[11, 12\] samples"):
        optimizer.step(closure_of(model), inputs, targets[:11])
    with pytest.raises(ValueError):
        optimizer.step(closure_of(model), inputs[:0], targets[:0])


def test_it_learns():
    model = network()
    optimizer = SharpnessAware(sgd(model), rho=0.05, sigma=1.0, num_shards=2)
    losses = [optimizer.step(closure_of(model), *batch(0)).item() for _ in range(200)]
    assert losses[-1] < 0.1 < losses[0]


def test_a_deep_copy_goes_on_as_the_original():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), model, rho=0.1, sigma=1.0)
    inputs = torch.randn(8, 3)

    def step(model, optimizer):
        def closure(batch):
            loss = model(batch).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure, inputs)

    step(model, optimizer)
    model_copy, optimizer_copy = copy.deepcopy((model, optimizer))
    step(model, optimizer)
    step(model_copy, optimizer_copy)
    for one, other in zip(model.parameters(), model_copy.parameters(), strict=True):
        assert torch.equal(one, other)
    step(model_copy, optimizer_copy)
    assert not torch.equal(model.weight, model_copy.weight)  # nothing is shared
