"""Batches of every kind, accumulation over micro-batches, and whose statistics BatchNorm keeps."""

import copy
from collections import UserDict

import numpy as np
import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware

METHODS = {
    "base": {"rho": 0.0},
    "sam": {"rho": 0.1},
    "asam": {"rho": 0.5, "adaptive": True},
    "fsam": {"rho": 0.1, "sigma": 0.5, "ema_decay": 0.5},
    "gsam": {"rho": 0.1, "combine": "gsam"},
    "gsam_fsam": {"rho": 0.1, "combine": "gsam", "sigma": 0.5},
}


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def batch(seed, rows=11):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, generator=draws).double(), torch.randint(0, 3, (rows,), generator=draws)


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def closure_of(model, unpack=lambda *arguments: arguments, calls=None):
    def closure(*arguments):
        inputs, targets = unpack(*arguments)
        if calls is not None:
            calls.append(len(targets))
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    return closure


def optimizer_of(model, lr=0.1, momentum=0.9, **settings):
    return SharpnessAware(torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum), model, **settings)


def train(pack, unpack, steps=4, **settings):
    model = network()
    optimizer = optimizer_of(model, **settings)
    for step in range(steps):
        optimizer.step(closure_of(model, unpack), *pack(*batch(step)))
    return weights_of(model)


# Kinds of batches ---------------------------------------------------------------------------------------------------


def from_texts(texts, targets):
    return torch.tensor([[float(v) for v in text.split()] for text in texts]).double(), targets


SHAPES = {
    "tuple": (lambda x, y: ((x, y),), lambda pair: pair),
    "list": (lambda x, y: ([x, y],), lambda pair: pair),
    "dict": (lambda x, y: ({"x": x, "y": y},), lambda part: (part["x"], part["y"])),
    "userdict": (lambda x, y: (UserDict(x=x, y=y),), lambda part: (part["x"], part["y"])),
    "nested": (lambda x, y: ({"in": {"x": x, "scale": 1.0}}, [y]), lambda part, y: (part["in"]["x"], y[0])),
    "numpy": (lambda x, y: (x.numpy(), y.numpy()), lambda x, y: (torch.as_tensor(x), torch.as_tensor(y))),
    "numbers": (lambda x, y: (x, y.tolist()), lambda x, y: (x, torch.tensor(y))),
    "texts": (
        lambda x, y: ([" ".join(repr(v) for v in row) for row in x.tolist()], y),
        lambda texts, y: from_texts(texts, y),
    ),
    "extras": (lambda x, y: (x, None, "mode", torch.tensor(2.0), y), lambda x, none, mode, two, y: (x * two / 2, y)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shards", [1, 3, 20])
def test_batches_of_any_kind_train_the_same(shape, shards):
    expected = train(lambda x, y: (x, y), lambda x, y: (x, y), rho=0.1, num_shards=shards)
    assert torch.equal(train(*SHAPES[shape], rho=0.1, num_shards=shards), expected)


@pytest.mark.parametrize("kind", [dict, UserDict])
def test_a_mapping_keeps_its_type_and_the_original_is_not_touched(kind):
    seen, model = [], network()
    inputs, targets = batch(0)
    part = kind(x=inputs, y=targets)

    def unpack(part):
        seen.append(type(part))
        return part["x"], part["y"]

    optimizer_of(model, rho=0.1, num_shards=2).step(closure_of(model, unpack), part)
    assert set(seen) == {kind} and part["x"] is inputs and part["y"] is targets


@pytest.mark.parametrize("rows", [11, 3, 1])
def test_uneven_shards_weigh_by_their_size(rows):
    """With a tiny rho the step's gradient is that of the mean over samples, however the batch is cut."""
    model, plain = network(), network()
    inputs, targets = batch(0, rows)
    optimizer_of(model, lr=1.0, momentum=0.0, rho=1e-9, num_shards=4).step(closure_of(model), inputs, targets)
    closure_of(plain)(inputs, targets)
    expected = torch.cat([p.grad.flatten() for p in plain.parameters()])
    torch.testing.assert_close(weights_of(network()) - weights_of(model), expected, rtol=1e-7, atol=1e-8)


def test_weights_hold_in_the_steps_that_do_not_perturb_too():
    """With interval=2 every other step is the base's own: on the same weighted mean over shards."""
    w, interval = (5.0, 0.0, 1.0), 2
    model, plain, calls = network(), network(), []
    optimizer = optimizer_of(model, rho=0.1, num_shards=3, interval=interval)
    optimizer.step(closure_of(model), *batch(0, 12), weights=w)
    plain.load_state_dict(model.state_dict())
    inputs, targets = batch(1, 12)
    loss = optimizer.step(closure_of(model, calls=calls), inputs, targets, weights=w)
    losses = [nn.functional.cross_entropy(plain(inputs[a : a + 4]), targets[a : a + 4]) for a in (0, 4, 8)]
    expected = sum(each * share / 6 for each, share in zip(losses, w, strict=True))
    torch.testing.assert_close(loss, expected.detach())
    gradients = torch.autograd.grad(expected, list(plain.parameters()))
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert sum(calls) == 12


# Accumulation -------------------------------------------------------------------------------------------------------


CUTS = [0, 3, 4, 9, 11]


def micro_batches(seed):
    inputs, targets = batch(seed)
    return [(inputs[a:b], targets[a:b]) for a, b in zip(CUTS, CUTS[1:], strict=False)]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("more", [{}, {"interval": 2}, {"nonfinite": "skip"}], ids=str)
def test_parts_are_one_step_on_the_whole_batch(name, more):
    whole, parts = network(), network()
    one, other = optimizer_of(whole, **METHODS[name], **more), optimizer_of(parts, **METHODS[name], **more)
    for step in range(10):
        loss = one.step(closure_of(whole), *batch(step))
        accumulated = other.step_accumulated(closure_of(parts), micro_batches(step), micro_batches_are="parts")
        torch.testing.assert_close(loss, accumulated, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(weights_of(whole), weights_of(parts), rtol=1e-10, atol=1e-11)


MORE = [{}, {"interval": 2}, {"nonfinite": "skip"}]
# Every method with every `more`, and each of the two with and without num_shards of its own in turn.
AS_SHARDS = [(name, (1, 4)[(i + j) % 2], more) for i, name in enumerate(METHODS) for j, more in enumerate(MORE)]


@pytest.mark.parametrize(("name", "num_shards", "more"), AS_SHARDS, ids=str)
def test_shards_are_num_shards_on_the_whole_batch(name, num_shards, more):
    """On micro-batches as step() would cut the batch itself."""
    whole, apart = network(), network()
    one = optimizer_of(whole, **METHODS[name], **more, num_shards=4)
    other = optimizer_of(apart, **METHODS[name], **more, num_shards=num_shards)
    cuts = [11 * i // 4 for i in range(5)]
    for step in range(10):
        inputs, targets = batch(step)
        several = [(inputs[a:b], targets[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
        loss = one.step(closure_of(whole), inputs, targets)
        accumulated = other.step_accumulated(closure_of(apart), several, micro_batches_are="shards")
        torch.testing.assert_close(loss, accumulated, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(weights_of(whole), weights_of(apart), rtol=1e-10, atol=1e-11)


def test_parts_and_shards_are_different_methods():
    def run(meaning):
        model = network()
        optimizer = optimizer_of(model, rho=0.5)
        for step in range(5):
            optimizer.step_accumulated(closure_of(model), micro_batches(step), micro_batches_are=meaning)
        return weights_of(model)

    assert not torch.allclose(run("parts"), run("shards"), atol=1e-4)


@pytest.mark.parametrize("meaning", ["parts", "shards"])
def test_micro_batches_weigh_by_weights_where_given(meaning):
    twice, weighed = network(), network()
    first, second, *_ = micro_batches(0)
    doubled = [first, second, second]
    optimizer_of(twice, rho=0.1).step_accumulated(
        closure_of(twice), doubled, micro_batches_are=meaning, weights=[1, 1, 1]
    )
    optimizer_of(weighed, rho=0.1).step_accumulated(
        closure_of(weighed), [first, second], micro_batches_are=meaning, weights=[1, 2]
    )
    torch.testing.assert_close(weights_of(twice), weights_of(weighed), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("meaning", ["parts", "shards"])
@pytest.mark.parametrize("call", range(1, 9))
def test_weights_come_back_when_a_micro_batch_raises(meaning, call):
    """A public branch leaves the weights perturbed between micro-batches."""
    model, calls = network(), []
    optimizer = optimizer_of(model, rho=0.5, sigma=0.5, nonfinite="skip")
    optimizer.step(closure_of(model), *batch(5))
    before, ema = weights_of(model), copy.deepcopy([s["ema"] for s in optimizer.state.values()])
    good = closure_of(model, calls=calls)

    def closure(*arguments):
        loss = good(*arguments)
        if len(calls) == call:
            raise InterruptedError
        return loss

    with pytest.raises(InterruptedError):
        optimizer.step_accumulated(closure, micro_batches(0), micro_batches_are=meaning)
    assert torch.equal(weights_of(model), before) and optimizer.steps == 1
    assert all(torch.equal(a, s["ema"]) for a, s in zip(ema, optimizer.state.values(), strict=True))


@pytest.mark.parametrize("meaning", ["parts", "shards"])
def test_one_argument_may_stand_for_itself(meaning):
    model, twin = network(), network()
    several = [dict(zip("xy", part, strict=True)) for part in micro_batches(0)]
    optimizer_of(model, rho=0.1).step_accumulated(
        closure_of(model, lambda part: (part["x"], part["y"])), several, micro_batches_are=meaning
    )
    optimizer_of(twin, rho=0.1).step_accumulated(closure_of(twin), micro_batches(0), micro_batches_are=meaning)
    assert torch.equal(weights_of(model), weights_of(twin))


def test_wrong_uses_are_told():
    model = network()
    optimizer, several = optimizer_of(model, rho=0.1), micro_batches(0)
    with pytest.raises(TypeError, match="micro_batches_are"):
        optimizer.step_accumulated(closure_of(model), several)
    with pytest.raises(ValueError, match="micro_batches_are must be one of shards, parts, but got 'whole'"):
        optimizer.step_accumulated(closure_of(model), several, micro_batches_are="whole")
    for meaning, shards in (("parts", 2), ("shards", 2)):
        with pytest.raises(ValueError, match=f"'{meaning}' needs num_shards=1.*but got 4 micro-batches and num_shards"):
            optimizer_of(model, rho=0.1, num_shards=shards).step_accumulated(
                closure_of(model), several, micro_batches_are=meaning
            )
    with pytest.raises(ValueError, match=r"a micro-batch must hold samples .*but got \[3, 5\]"):
        optimizer.step_accumulated(closure_of(model), [(several[0][0], several[2][1])], micro_batches_are="parts")
    with pytest.raises(ValueError, match=r"a micro-batch must hold samples .*but got \[\]"):
        optimizer.step_accumulated(closure_of(model), [(1.0,)], micro_batches_are="shards")
    with pytest.raises(ValueError, match="weights must hold one number a shard, 4, but got 2"):
        optimizer.step_accumulated(closure_of(model), several, micro_batches_are="parts", weights=[1, 2])
    with pytest.raises(ValueError):
        optimizer.step_accumulated(closure_of(model), [], micro_batches_are="parts")
    assert torch.equal(weights_of(model), weights_of(network())) and optimizer.steps == 0


# BatchNorm ----------------------------------------------------------------------------------------------------------


class Recorder(nn.Module):
    """Passes on what it is given and counts calls; before a BatchNorm, it knows what that sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return x


@pytest.mark.parametrize("policy", ["clean", "perturbed", "both", "none"])
@pytest.mark.parametrize("way", ["step", "shards", "parts"])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_come_from_the_passes_of_the_policy(policy, way, momentum):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        recorder, norm = Recorder(), nn.BatchNorm1d(5, momentum=momentum)
        model = nn.Sequential(nn.Linear(4, 5), recorder, norm, nn.Tanh(), nn.Linear(5, 3)).double()
    optimizer = optimizer_of(model, rho=2.0, batchnorm=policy, sigma=0.5)
    twin = nn.BatchNorm1d(5, momentum=momentum).double()
    inputs, targets = batch(0, 12)
    for step in range(3):
        recorder.seen.clear()
        if way == "step":
            optimizer.step(closure_of(model), inputs, targets)
            kinds = ["clean", "perturbed"]
        else:
            several = [(inputs[:4], targets[:4]), (inputs[4:], targets[4:])]
            optimizer.step_accumulated(closure_of(model), several, micro_batches_are=way)
            kinds = ["clean", "perturbed"] * 2 if way == "shards" else ["clean"] * 2 + ["perturbed"] * 2
        assert len(recorder.seen) == len(kinds)
        assert not torch.equal(recorder.seen[0], recorder.seen[kinds.index("perturbed")])
        for kind, seen in zip(kinds, recorder.seen, strict=True):
            if policy in (kind, "both"):
                twin(seen)
        assert norm.num_batches_tracked == twin.num_batches_tracked
        assert torch.equal(norm.running_mean, twin.running_mean)
        assert torch.equal(norm.running_var, twin.running_var), step
        assert norm.training and norm.track_running_stats and norm.momentum == momentum


@pytest.mark.parametrize("policy", ["clean", "perturbed", "both", "none"])
@pytest.mark.parametrize("fails", [0, 1, 2, None])
def test_modules_are_left_exactly_as_found(policy, fails):
    """Also where the closure raises, in a model with frozen, untracked and instance norms."""
    model = nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.BatchNorm1d(6).eval(), nn.BatchNorm1d(6, track_running_stats=False),
        nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten(), nn.Linear(6, 3),
    ).double()  # fmt: skip
    optimizer = optimizer_of(model, rho=0.5, batchnorm=policy)

    def found():
        return [
            {**{k: v for k, v in vars(m).items() if not k.startswith("_")}, "buffers": list(m._buffers.items())}
            for m in model
        ]

    before, frozen, calls = found(), copy.deepcopy(model[2].state_dict()), []
    good = closure_of(model, calls=calls)

    def closure(*arguments):
        if fails == len(calls):
            raise InterruptedError
        return good(*arguments)

    steps = 0
    while steps < 2 and len(calls) != fails:
        try:
            optimizer.step(closure, *batch(0))
            steps += 1
        except InterruptedError:
            assert fails is not None
            break
    for one, other in zip(before, found(), strict=True):
        assert one.keys() == other.keys() and all(one[k] == other[k] for k in one if k != "buffers")
        for (name, buffer), (other_name, other_buffer) in zip(one["buffers"], other["buffers"], strict=True):
            assert name == other_name and buffer is other_buffer
    assert all(torch.equal(frozen[k], v) for k, v in model[2].state_dict().items() if "running" in k)


def test_numpy_arrays_are_not_copied_for_one_shard():
    model, seen = network(), []
    inputs, targets = batch(0)
    array = np.ascontiguousarray(inputs.numpy())

    def unpack(x, y):
        seen.append(x)
        return torch.as_tensor(x), y

    optimizer_of(model, rho=0.1).step(closure_of(model, unpack), array, targets)
    assert all(each is array for each in seen) and len(seen) == 2
