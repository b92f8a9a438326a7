"""Gradients that are infinite or NaN, and the path on which the host reads no value: a fused base is told to skip."""

import copy

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware
from hpsearch.optim import functional as F
from hpsearch.optim.step import Step

STEPS = 25
METHODS = {
    "base": {"rho": 0.0},
    "sam": {"rho": 0.1},
    "fsam": {"rho": 0.1, "sigma": 1.0, "ema_decay": 0.5},
    "fsam_half": {"rho": 0.1, "sigma": 0.5, "ema_decay": 0.75},
    "fsam_along": {"rho": 0.1, "sigma": -0.5, "ema_decay": 0.75},
    "msam": {"rho": 0.1, "num_shards": 3},
    "fmsam": {"rho": 0.1, "num_shards": 3, "sigma": 0.5},
    "asam": {"rho": 0.5, "adaptive": True},
    "asam_eta": {"rho": 0.2, "metric": "absolute_eta", "sigma": 0.5},
    "gsam": {"rho": 0.1, "combine": "gsam"},
    "gsam_fsam": {"rho": 0.1, "combine": "gsam", "sigma": 0.5},
    "sam_on": {"rho": 0.5, "perturb": "normalization"},
    "interval": {"rho": 0.1, "sigma": 0.5, "interval": 3},
}
BASES = {
    "sgd": lambda p, **more: torch.optim.SGD(p, **{"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2, **more}),
    "adam": lambda p, **more: torch.optim.Adam(p, **{"lr": 0.01, **more}),
}
PATHS = [("sgd", False), ("sgd", True), ("adam", False), ("adam", True)]
FOUND_HERE = pytest.mark.parametrize(("base", "fused"), PATHS, ids=lambda v: {True: "fused", False: "plain"}.get(v, v))


class Problem:
    """A small training run in float64; `bad` are the passes, counted over the run, whose gradients are not finite."""

    def __init__(self, base="sgd", fused=False, bad=(), value=float("inf"), groups=False, base_settings=None, **more):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)).double()
        first, second = list(self.model.parameters())[:3], list(self.model.parameters())[3:]
        params = [{"params": first, "rho": 0.2}, {"params": second, "sigma": 0.25}] if groups else first + second
        base = BASES[base](params, **{"fused": fused or None, "foreach": not fused, **(base_settings or {})})
        self.optimizer = SharpnessAware(base, self.model, **more)
        self.bad, self.value, self.passes = bad, value, 0

    def closure(self, inputs, targets):
        loss = nn.functional.cross_entropy(self.model(inputs), targets)
        if self.passes in self.bad:
            loss = loss * self.value
        self.passes += 1
        loss.backward()
        return loss

    def step(self, seed):
        draws = torch.Generator().manual_seed(seed)
        inputs = torch.randn(12, 4, generator=draws).double()
        return self.optimizer.step(self.closure, inputs, torch.randint(0, 3, (12,), generator=draws))

    def weights(self):
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])

    def state(self):
        base = [v for state in self.optimizer.base.state.values() for v in state.values() if torch.is_tensor(v)]
        own = [v for state in self.optimizer.state.values() for v in state.values()]
        return copy.deepcopy([*(p.detach() for p in self.model.parameters()), *base, *own])


def same(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def close(one, other):
    torch.testing.assert_close(one.weights(), other.weights(), rtol=1e-12, atol=1e-12)


@pytest.fixture
def paths(monkeypatch):
    """Whether each step was deferred."""
    taken, finish = [], Step._finish

    def watched(self, *arguments):
        taken.append(self.deferred)
        return finish(self, *arguments)

    monkeypatch.setattr(Step, "_finish", watched)
    return taken


# Skip, raise, allow -------------------------------------------------------------------------------------------------


WHICH = [("clean", float("inf")), ("perturbed", float("nan"))]
# Every method with every path, and each of the two with a bad clean and a bad perturbed pass in turn.
SKIPPED = [
    (name, *path, *(WHICH[(i + j) % 2] if METHODS[name]["rho"] else WHICH[0]))
    for i, name in enumerate(METHODS)
    for j, path in enumerate(PATHS)
]


@pytest.mark.parametrize(("name", "base", "fused", "which", "value"), SKIPPED)
def test_a_skipped_step_never_was(name, which, value, base, fused):
    settings, steps = {**METHODS[name], "nonfinite": "skip"}, 3
    shards, perturbs = settings.get("num_shards", 1), settings["rho"] > 0
    hit, missed = Problem(base, fused, value=value, **settings), Problem(base, fused, **settings)
    for seed in range(steps):
        hit.step(seed), missed.step(seed)
    assert hit.optimizer._layout.fused == fused and hit.optimizer.flag_works
    before, counts = hit.state(), (hit.passes, hit.optimizer.steps)
    hit.bad = {hit.passes + (2 * shards - 1 if which == "perturbed" else 2 * shards - 2 if perturbs else 0)}
    hit.step(99)
    assert hit.passes > max(hit.bad)
    assert same(hit.state(), before)
    assert (int(hit.optimizer.skipped), hit.optimizer.steps) == (1, counts[1] + 1)
    missed.optimizer.steps += 1
    for seed in range(steps, 2 * steps):
        hit.step(seed), missed.step(seed)
    assert torch.equal(hit.weights(), missed.weights())
    assert int(hit.optimizer.skipped) == 1 and hit.optimizer.state_dict()["skipped"] == 1


@FOUND_HERE
@pytest.mark.parametrize("bad", [{0}, {1}], ids=["clean", "perturbed"])
@pytest.mark.parametrize("name", ["sam", "fsam", "gsam_fsam"])
def test_the_first_step_may_be_skipped(name, bad, base, fused):
    """A fused base has no state to leave alone then: torch's kernel would keep uninitialised memory as momentum."""
    hit = Problem(base, fused, bad=bad, nonfinite="skip", **METHODS[name])
    missed = Problem(base, fused, nonfinite="skip", **METHODS[name])
    start = hit.weights()
    hit.step(99)
    assert torch.equal(hit.weights(), start) and int(hit.optimizer.skipped) == 1
    assert not any(hit.optimizer.base.state.values()) and not any(hit.optimizer.state.values())
    hit.bad = ()
    for seed in range(4):
        hit.step(seed), missed.step(seed)
    assert torch.equal(hit.weights(), missed.weights())


@pytest.mark.parametrize("base", BASES)
def test_the_first_step_after_loading_or_a_new_group_may_be_skipped(base):
    problem = Problem(base, True, nonfinite="skip", rho=0.1, sigma=1.0)
    for seed in range(3):
        problem.step(seed)
    late = nn.Linear(3, 3).double()
    problem.model.append(late)
    problem.optimizer.add_param_group({"params": list(late.parameters())})
    before = problem.weights()
    problem.bad = {problem.passes}
    problem.step(3)
    assert torch.equal(problem.weights(), before) and not any(map(problem.optimizer.state.get, late.parameters()))
    assert not any(problem.optimizer.base.state.get(p) for p in late.parameters())
    problem.step(4)
    assert torch.isfinite(problem.weights()).all() and not torch.equal(problem.weights(), before)
    other = Problem(base, True, nonfinite="skip", rho=0.1, sigma=1.0)
    other.step(0)
    fresh = Problem(base, True, nonfinite="skip", rho=0.1, sigma=1.0)
    fresh.optimizer.load_state_dict(other.optimizer.state_dict())
    fresh.bad, before = {0}, fresh.state()
    fresh.step(1)
    assert same(fresh.state(), before) and int(fresh.optimizer.skipped) == 1


@FOUND_HERE
@pytest.mark.parametrize("which", ["clean", "perturbed"])
@pytest.mark.parametrize("name", ["sam", "fsam_half", "fmsam", "gsam", "asam"])
def test_raise_says_which_step_and_changes_nothing(name, which, base, fused):
    shards = METHODS[name].get("num_shards", 1)
    problem = Problem(base, fused, nonfinite="raise", **METHODS[name])
    twin = Problem(base, fused, nonfinite="raise", **METHODS[name])
    for seed in range(2):
        problem.step(seed), twin.step(seed)
    before = problem.state()
    problem.bad = {problem.passes + 2 * shards - (1 if which == "perturbed" else 2)}
    with pytest.raises(FloatingPointError, match="gradient of step 2 is infinite or NaN"):
        problem.step(2)
    assert same(problem.state(), before)
    assert (problem.optimizer.steps, problem.optimizer.skipped) == (2, 0)
    problem.bad = ()
    for seed in range(2, 5):
        problem.step(seed), twin.step(seed)
    assert torch.equal(problem.weights(), twin.weights())


@FOUND_HERE
def test_allow_goes_on_as_torch_does(base, fused):
    problem = Problem(base, fused, rho=0.1, bad={1}, value=float("nan"))
    problem.step(0)
    assert problem.weights().isnan().all() and problem.optimizer.skipped == 0


def test_a_norm_that_overflows_is_no_gradient_that_does():
    """Gradients of 1e200 are finite, though their squares are not: nothing may be skipped."""
    problem = Problem(rho=0.1, nonfinite="skip", bad={0}, value=1e200)
    start = problem.weights()
    problem.step(0)
    assert problem.optimizer.skipped == 0
    assert torch.isfinite(problem.weights()).all() and not torch.equal(problem.weights(), start)


# The deferred path --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*METHODS, "groups", "groups_shards"])
@pytest.mark.parametrize(("base", "nonfinite"), [("sgd", "skip"), ("adam", "allow")])
def test_the_deferred_path_agrees_with_the_hosts(name, nonfinite, base, paths):
    settings = METHODS.get(name) or {"rho": 0.1, "sigma": 0.5, "groups": True}
    settings = {**settings, "nonfinite": nonfinite, **({"num_shards": 3} if name == "groups_shards" else {})}
    host, deferred = Problem(base, **settings), Problem(base, True, **settings)
    for seed in range(STEPS):
        host.step(seed)
    assert paths == [False] * STEPS
    for seed in range(STEPS):
        deferred.step(seed)
    assert paths[STEPS + 1 :] == [True] * (STEPS - 1) and paths[STEPS] == (nonfinite == "allow")
    close(deferred, host)
    assert int(deferred.optimizer.skipped) == 0


def test_raise_is_never_deferred(paths):
    problem = Problem("sgd", True, rho=0.1, nonfinite="raise")
    for seed in range(3):
        problem.step(seed)
    assert paths == [False] * 3


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("name", ["sam", "fsam", "fsam_half", "fmsam", "asam", "gsam_fsam"])
@pytest.mark.parametrize(("base", "nonfinite"), [("sgd", "skip"), ("adam", "allow")])
def test_settings_may_be_tensors(name, fused, base, nonfinite):
    def tensor(value):
        return torch.tensor(value, dtype=torch.float64)

    lr, settings = 0.05, {"ema_decay": 0.9, **METHODS[name]}
    numbers = Problem(base, fused, base_settings={"lr": lr}, nonfinite=nonfinite, **settings)
    as_tensors = {k: tensor(v) if k in ("rho", "sigma", "ema_decay") else v for k, v in settings.items()}
    base_settings = {"lr": tensor(lr), "foreach": None}
    tensors = Problem(base, fused, base_settings=base_settings, nonfinite=nonfinite, **as_tensors)
    for seed in range(6):
        numbers.step(seed), tensors.step(seed)
    close(numbers, tensors)
    for problem, make in ((numbers, float), (tensors, tensor)):
        for group in problem.optimizer.param_groups:  # in place, as a scheduler or a user of CUDA graphs does
            group["rho"] = group["rho"].fill_(0.3) if make is tensor else 0.3
            group["lr"] = group["lr"].fill_(0.01) if make is tensor else 0.01
        for seed in range(6, 12):
            problem.step(seed)
    close(numbers, tensors)


def test_a_rho_switched_on_in_place_perturbs():
    """A tensor's value may change at any time, so one that is 0 counts as switched on."""
    rho = torch.zeros((), dtype=torch.float64)
    problem, twin = Problem(rho=rho), Problem(rho=0.0)
    problem.step(0), twin.step(0)
    close(problem, twin)
    rho.fill_(0.1)
    twin.optimizer.param_groups[0]["rho"] = 0.1
    problem.step(1), twin.step(1)
    assert twin.passes == 3
    close(problem, twin)


def test_a_loop_of_skips_waits_for_none_and_counts_all(paths):
    problem = Problem("adam", True, rho=0.1, sigma=1.0, nonfinite="skip")
    problem.step(0)
    before, problem.bad = problem.state(), range(2, 12)
    for seed in range(1, 6):
        problem.step(seed)
    assert same(problem.state(), before) and paths == [False] + [True] * 5
    assert torch.is_tensor(problem.optimizer.skipped) and problem.optimizer.skipped == 5


# functional ---------------------------------------------------------------------------------------------------------


def tensors(seed, channels_last=False):
    draws = torch.Generator().manual_seed(seed)
    made = [torch.randn(shape, generator=draws, dtype=torch.float64) for shape in [(2, 3, 4, 5), (7,), ()]]
    return [made[0].contiguous(memory_format=torch.channels_last) if channels_last else made[0], *made[1:]]


@pytest.mark.parametrize("as_tensors", [False, True])
@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0, -0.5])
@pytest.mark.parametrize(("ema_last", "last"), [(False, False), (True, True), (True, False), (False, True)])
def test_update_ema_unless(sigma, as_tensors, ema_last, last):
    """The EMA's and the gradient's memory may be laid out differently; torch's fused kernels do not look."""
    raw, ema = tensors(1), tensors(2)
    expected = [0.75 * m + 0.25 * g for m, g in zip(ema, raw, strict=True)]
    for found_inf in (None, torch.zeros(()), torch.ones(())):
        one, other = tensors(2, ema_last), tensors(2)
        directions = [g - sigma * m for g, m in zip(tensors(1, last), tensors(2), strict=True)]
        kept = copy.deepcopy(directions)
        if last:
            directions[0] = directions[0].contiguous(memory_format=torch.channels_last)
        F.update_ema_(other, copy.deepcopy(directions), 0.75, sigma)
        decay, taken = (torch.tensor(v).double() if as_tensors else v for v in (0.75, sigma))
        F.update_ema_unless_(one, directions, decay, taken, found_inf)
        skipped = found_inf is not None and found_inf.item() == 1
        torch.testing.assert_close(other, expected, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(one, tensors(2) if skipped else expected, rtol=1e-13, atol=1e-13)
        assert same(directions, kept)  # the base or a hook may look at them yet


@pytest.mark.parametrize("shapes", [[(3,), (2, 2)], [(0,), (3,)]], ids=str)
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1.0, 1e38], ids=str)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, "mixed"], ids=str)
def test_the_finite_check(shapes, value, kind):
    made = [torch.ones(shape, dtype=torch.float32 if kind == "mixed" else kind) for shape in shapes]
    made[1] = made[1].double() if kind == "mixed" else made[1]
    check = F.FiniteCheck()
    assert check(made).item() == 0
    made[1].view(-1)[-1] = value
    kept = copy.deepcopy(made)
    assert check(made).item() == (not abs(value) < float("inf"))
    assert all(torch.equal(a, b) or a.isnan().any() for a, b in zip(made, kept, strict=True))  # looked at only
    assert check([torch.ones(2)]).item() == 0


def test_a_first_gradient_that_comes_late_and_is_not_finite_leaves_no_trace_in_a_fused_base():
    """torch's fused SGD makes the momentum at the first gradient and leaves it unset when it is told to skip."""
    first, late = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(1000))
    base = torch.optim.SGD([{"params": [first]}, {"params": [late]}], lr=0.1, momentum=0.9, fused=True)
    optimizer = SharpnessAware(base, rho=0.1, nonfinite="skip")

    def closure(uses_late, factor):
        loss = factor * ((first**2).sum() + ((late**2).sum() if uses_late else 0))
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(lambda: closure(False, 1.0))
    optimizer.step(lambda: closure(True, float("inf")))
    assert optimizer.skipped == 1 and not optimizer.base.state[late]
    optimizer.step(lambda: closure(True, 1.0))
    assert (late < 1).all() and late.min() > 0.7


def test_the_loss_of_a_step_that_stops_at_a_shard_is_of_the_shards_so_far():
    weight = nn.Parameter(torch.ones(2))
    optimizer = SharpnessAware(torch.optim.SGD([weight], lr=0.1), rho=0.1, num_shards=4, nonfinite="skip")

    def closure(x):
        loss = (weight * x).sum() * 0 + x.mean()
        (loss + (weight * (torch.inf if x[0, 0] == 2 else 1)).sum()).backward()
        return loss

    assert optimizer.step(closure, torch.arange(1.0, 5.0).repeat(2, 1).T) == 1.5
    assert optimizer.skipped == 1


def test_a_fused_base_is_told_once_it_knows_each_parameter_whichever_has_a_gradient():
    """Two heads in turn: from the third step on the host reads nothing, and a step that is not finite is skipped."""
    heads = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))]
    base = torch.optim.SGD([{"params": [head]} for head in heads], lr=0.1, momentum=0.9, fused=True)
    optimizer = SharpnessAware(base, rho=0.1, nonfinite="skip")

    def closure(index, factor):
        loss = factor * (heads[index] ** 2).sum()
        loss.backward()
        return loss

    for step in range(6):
        optimizer.step(lambda step=step: closure(step % 2, 1.0))
    assert optimizer.flag_works == {0, 1}
    before = [head.detach().clone() for head in heads]
    optimizer.step(lambda: closure(0, float("inf")))
    assert optimizer.skipped == 1 and torch.equal(heads[0], before[0])


def test_one_group_that_is_not_fused_is_enough_for_the_host_to_read():
    first, second = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    groups = [{"params": [first]}, {"params": [second], "fused": False}]
    optimizer = SharpnessAware(torch.optim.SGD(groups, lr=0.1, momentum=0.9, fused=True), rho=0.1, nonfinite="skip")

    def closure(factor):
        loss = factor * ((first**2).sum() + (second**2).sum())
        loss.backward()
        return loss

    for factor in (1.0, 1.0, float("inf"), 1.0):
        optimizer.step(lambda factor=factor: closure(factor))
    assert optimizer.skipped == 1 and torch.isfinite(torch.cat([first, second])).all()
