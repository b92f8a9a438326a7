"""SharpnessAware against a slow, obvious twin: one parameter, one shard and one formula of the papers at a time.

The twin knows real numbers only (complex weights are pairs of them) and shares no code with hpsearch/optim.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from hpsearch.optim import SharpnessAware
from hpsearch.optim.asam import AbsoluteEta
from hpsearch.optim.gsam import GSAM
from hpsearch.optim.methods import METHODS, METRICS, Combiner, Metric

STEPS, ROWS = 100, 24

# The methods in the papers' words -----------------------------------------------------------------------------------


def identity(name, w):
    """SAM: T = 1."""
    return torch.ones_like(w)


def absolute(name, w):
    """ASAM, the common torch form: T = |w|."""
    return w.abs()


def absolute_eta(name, w):
    """ASAM, the authors' form: T = |w| + 0.01 for weights, T = 1 for biases."""
    return w.abs() + 0.01 if "weight" in name else torch.ones_like(w)


def everything(name):
    return True


def normalization_only(name):
    """SAM-ON."""
    return name.startswith("norm.")


def inner(a, b):
    return sum((a[i] * b[i]).sum() for i in range(len(a)))


def perturbed_only(g_p, g):
    return g_p


@dataclass(frozen=True)
class Gsam:
    """GSAM, algorithm 1 of arXiv 2203.08065. Over shards, g_p and g are the means over shards (our rule)."""

    alpha: float

    def __call__(self, g_p, g):
        along = inner(g, g_p) / inner(g_p, g_p)
        across = [g[i] - along * g_p[i] for i in range(len(g))]
        return [g_p[i] - self.alpha * across[i] for i in range(len(g))]


@dataclass(frozen=True)
class Rule:
    """A method, as the twin knows it."""

    rho: float | None = None  # None: the problem's
    sigma: float = 0.0
    ema_decay: float = 0.9
    num_shards: int = 1
    metric: Callable = identity
    moves: Callable = everything
    combine: Callable = perturbed_only


RULES = {
    "base": Rule(rho=0.0),
    "sam": Rule(),
    "asam": Rule(metric=absolute),
    "asam_eta": Rule(metric=absolute_eta),
    "msam": Rule(num_shards=4),
    "fsam": Rule(sigma=1.0, ema_decay=0.9),
    "fmsam": Rule(sigma=1.0, ema_decay=0.9, num_shards=4),
    "vasso": Rule(sigma=-0.5, ema_decay=0.9),
    "gsam": Rule(combine=Gsam(0.4)),
    "sam_on": Rule(moves=normalization_only),
}


def test_the_twin_has_every_method():
    assert set(RULES) == set(METHODS), "a new row of METHODS needs its formula in RULES"
    assert set(METRICS) == {"identity", "absolute", "absolute_eta"}, "a new metric needs its formula here"


# Random problems ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """The settings of one parameter group; None leaves the method's own."""

    rho: float
    sigma: float | None
    ema_decay: float | None
    lr: float


@dataclass(frozen=True)
class Problem:
    features: int
    hidden: int
    dtype: torch.dtype
    groups: tuple[Group, ...]
    member: tuple[int, ...]  # the group of each of the six parameters
    interval: int
    momentum: float
    weight_decay: float
    batch_size: int  # need not divide ROWS, nor be divided by the number of shards
    weights: tuple[float, ...] | None  # of shards


def problems(own_emas):
    """own_emas: groups have their own sigma and ema_decay."""
    group = st.builds(
        Group,
        rho=st.one_of(st.just(0.0), st.floats(0.01, 0.3), st.floats(0.01, 0.3)),
        sigma=st.one_of(st.just(0.0), st.just(1.0), st.floats(-1.5, 1.5)) if own_emas else st.none(),
        ema_decay=st.one_of(st.just(0.0), st.floats(0.0, 0.99)) if own_emas else st.none(),
        lr=st.floats(0.005, 0.05),
    )
    return st.builds(
        Problem,
        features=st.integers(1, 5),
        hidden=st.integers(2, 6),
        dtype=st.sampled_from([torch.float64, torch.float64, torch.complex128]),
        groups=st.tuples(group, group, group),
        member=st.tuples(*[st.integers(0, 2)] * 6),
        interval=st.one_of(st.just(1), st.integers(1, 4)),
        momentum=st.one_of(st.just(0.0), st.floats(0.0, 0.9)),
        weight_decay=st.one_of(st.just(0.0), st.floats(0.0, 0.05)),
        batch_size=st.integers(4, 11),
        weights=st.one_of(st.none(), st.none(), st.tuples(*[st.sampled_from([0.5, 1.0, 3.0])] * 8)),
    )


RULES_AT_RANDOM = st.builds(
    Rule,
    num_shards=st.integers(1, 5),
    metric=st.sampled_from([identity, absolute, absolute_eta]),
    moves=st.sampled_from([everything, everything, normalization_only]),
    combine=st.sampled_from([perturbed_only, perturbed_only, Gsam(0.05), Gsam(0.4), Gsam(1.5)]),
)


class ScaleNorm(nn.Module):
    """Divides by the root mean square; of real and of complex numbers."""

    def __init__(self, features, dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(features, dtype=dtype))

    def forward(self, x):
        return x / (x.abs() ** 2).mean(1, keepdim=True).add(1e-2).sqrt() * self.weight + self.bias


class Network(nn.Module):
    """Weights, biases, a normalisation and a 0-dimensional parameter."""

    def __init__(self, problem):
        super().__init__()
        draws = torch.Generator().manual_seed(2)
        self.weight = nn.Parameter(torch.zeros(problem.features, problem.hidden, dtype=problem.dtype))
        self.bias = nn.Parameter(torch.zeros(problem.hidden, dtype=problem.dtype))
        self.norm = ScaleNorm(problem.hidden, problem.dtype)
        self.out_weight = nn.Parameter(torch.zeros(problem.hidden, dtype=problem.dtype))
        self.shift = nn.Parameter(torch.zeros((), dtype=problem.dtype))
        for parameter in self.parameters():
            parameter.data += torch.randn(parameter.shape, generator=draws, dtype=problem.dtype) * 0.5

    def forward(self, x):
        return torch.tanh(self.norm(x @ self.weight + self.bias)) @ self.out_weight + self.shift


def loss_of(predicted, y):
    return ((predicted - y).abs() ** 2).mean()


def data(problem):
    draws = torch.Generator().manual_seed(1)
    shape = (ROWS, problem.features)
    return [torch.randn(size, generator=draws, dtype=problem.dtype) for size in (shape, (ROWS,))]


def batches(size, steps):
    """Uneven: the last of each round over the rows is what is left."""
    starts = list(range(0, ROWS, size))
    return [(starts[t % len(starts)], min(ROWS, starts[t % len(starts)] + size)) for t in range(steps)]


# The twin -----------------------------------------------------------------------------------------------------------


def real(p):
    return torch.view_as_real(p) if p.is_complex() else p


def as_weight(p, dtype):
    return torch.view_as_complex(p) if dtype.is_complex else p


def gradient(w, x, y):
    """(loss, [d loss / d w_i]) of the network at the real numbers w."""
    leaves = [p.clone().requires_grad_() for p in w]
    weight, bias, out_weight, shift, norm_weight, norm_bias = [as_weight(leaf, x.dtype) for leaf in leaves]
    h = x @ weight + bias
    h = h / ((h.abs() ** 2).mean(1, keepdim=True) + 1e-2).sqrt() * norm_weight + norm_bias
    loss = loss_of(torch.tanh(h) @ out_weight + shift, y)
    return loss.item(), torch.autograd.grad(loss, leaves)


def perturbed(rule, names, w, g, m, rho, sigma):
    """w + eps with eps = rho T^2 d / (||T d|| + 1e-12), d = g - sigma m, the norm over all that is perturbed."""
    square, eps = 0.0, []
    for i in range(len(w)):
        d = g[i] - sigma[i] * m[i] if m is not None else g[i]
        t = rule.metric(names[i], w[i])
        is_moved = rho[i] != 0 and rule.moves(names[i])
        if is_moved:
            square += ((t * d) ** 2).sum().item()
        eps.append(rho[i] * t * t * d if is_moved else torch.zeros_like(d))
    return [w[i] + eps[i] / (square**0.5 + 1e-12) for i in range(len(w))]


def shards_of(start, end, k):
    """k runs of rows as even as can be, without empty ones."""
    bounds = [start + (end - start) * j // k for j in range(k + 1)]
    return [(a, b) for a, b in zip(bounds, bounds[1:], strict=False) if b > a]


def shares_of(shards, weights):
    """What each shard counts for: its weight, else its size."""
    counts = [b - a for a, b in shards] if weights is None else weights[: len(shards)]
    return [count / sum(counts) for count in counts]


def twin(rule, problem, steps=STEPS):
    """The clean loss and the weights, as real numbers, after each step."""
    x, y = data(problem)
    network = Network(problem)
    names = [name for name, _ in network.named_parameters()]
    w = [real(p.detach()).clone() for p in network.parameters()]
    group = [problem.groups[k] for k in problem.member]
    rho = [g.rho if rule.rho is None else rule.rho for g in group]
    sigma = [rule.sigma if g.sigma is None else g.sigma for g in group]
    ema_decay = [rule.ema_decay if g.ema_decay is None else g.ema_decay for g in group]
    m, velocity = None, None
    for t, (start, end) in enumerate(batches(problem.batch_size, steps)):
        perturbs = t % problem.interval == 0 and any(r != 0 for r in rho)
        shards = shards_of(start, end, rule.num_shards if perturbs or problem.weights else 1)
        mean_loss, mean_g, mean_g_p = 0.0, [torch.zeros_like(p) for p in w], [torch.zeros_like(p) for p in w]
        for (a, b), share in zip(shards, shares_of(shards, problem.weights), strict=True):
            loss, g = gradient(w, x[a:b], y[a:b])
            g_p = g
            if perturbs:
                there = perturbed(rule, names, w, g, m, rho, sigma)
                _, g_p = gradient(there, x[a:b], y[a:b])
            mean_loss += share * loss
            for i in range(len(w)):
                mean_g[i] += share * g[i]
                mean_g_p[i] += share * g_p[i]
        m = [mean_g[i] if m is None else ema_decay[i] * m[i] + (1 - ema_decay[i]) * mean_g[i] for i in range(len(w))]
        step = rule.combine(mean_g_p, mean_g) if perturbs else mean_g_p
        step = [step[i] + problem.weight_decay * w[i] for i in range(len(w))]
        velocity = [
            step[i] if velocity is None else problem.momentum * velocity[i] + step[i] for i in range(len(w))
        ]  # SGD's
        w = [w[i] - group[i].lr * velocity[i] for i in range(len(w))]
        yield mean_loss, w


# What is tested -----------------------------------------------------------------------------------------------------


def ours(problem, method_settings, steps=STEPS):
    x, y = data(problem)
    network = Network(problem)
    groups = []
    for k, group in enumerate(problem.groups):
        members = [p for p, of in zip(network.parameters(), problem.member, strict=True) if of == k]
        known = {name: value for name, value in vars(group).items() if value is not None}
        if "rho" in method_settings:
            known.pop("rho")
        if members:
            groups.append({"params": members, **known})
    base = torch.optim.SGD(groups, lr=1.0, momentum=problem.momentum, weight_decay=problem.weight_decay, foreach=True)
    optimizer = SharpnessAware(base, network, **{"rho": 123.0, "interval": problem.interval, **method_settings})

    def closure(x, y):
        loss = loss_of(network(x), y)
        loss.backward()
        return loss

    for start, end in batches(problem.batch_size, steps):
        shards = min(optimizer.num_shards, end - start)
        weights = problem.weights and problem.weights[:shards]
        loss = optimizer.step(closure, x[start:end], y[start:end], weights=weights)
        yield loss.item(), [real(p.detach()) for p in network.parameters()]


def assert_same(rule, problem, method_settings):
    both = zip(ours(problem, method_settings), twin(rule, problem), strict=True)
    for step, ((loss, weights), (expected_loss, expected)) in enumerate(both):
        assert loss == pytest.approx(expected_loss, rel=1e-7, abs=1e-9), f"step {step}"
        for ours_p, twin_p in zip(weights, expected, strict=True):
            difference = (ours_p - twin_p).abs().max().item()
            assert difference <= 1e-7 * max(1.0, twin_p.abs().max().item()), f"step {step}: {difference}"


def settings_of(rule):
    """The same rule in our words."""
    return {
        "sigma": rule.sigma,
        "ema_decay": rule.ema_decay,
        "num_shards": rule.num_shards,
        "metric": rule.metric.__name__,
        "perturb": "normalization" if rule.moves is normalization_only else "all",
        "combine": GSAM(rule.combine.alpha) if isinstance(rule.combine, Gsam) else "perturbed",
    }


def bounded(examples):
    """Not shrunk: a smaller case would take minutes to find and say no more."""
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_over_100_steps(name):
    @bounded(2)
    @given(problems(own_emas=False))
    def agrees(problem):
        assert_same(RULES[name], problem, dict(METHODS[name].settings))

    agrees()


@bounded(6)
@given(RULES_AT_RANDOM, problems(own_emas=True))
def test_any_combination_over_100_steps(rule, problem):
    assert_same(rule, problem, settings_of(rule))


PLAIN = Problem(
    features=4,
    hidden=5,
    dtype=torch.float64,
    groups=(Group(0.1, None, None, 0.05),) * 3,
    member=(0, 0, 1, 1, 2, 0),
    interval=1,
    momentum=0.9,
    weight_decay=1e-3,
    batch_size=7,
    weights=None,
)
COMBINED = {
    "gsam + fsam": (Rule(combine=Gsam(0.2), sigma=1.0), {}),
    "gsam + shards + interval": (Rule(combine=Gsam(0.7), num_shards=3), {"interval": 2}),
    "gsam + fmsam + asam": (Rule(combine=Gsam(0.4), sigma=0.5, num_shards=2, metric=absolute), {}),
    "sam_on + asam": (Rule(moves=normalization_only, metric=absolute), {}),
    "sam_on + fsam": (Rule(moves=normalization_only, sigma=1.0), {}),
    "weights": (Rule(num_shards=3), {"weights": (1.0, 0.0, 3.0)}),
    "asam_eta, biases in their own group": (
        Rule(metric=absolute_eta),
        {"member": (0, 1, 0, 1, 0, 1), "groups": (Group(0.1, None, None, 0.05), Group(0.3, None, None, 0.05))},
    ),
}


@pytest.mark.parametrize("name", COMBINED)
def test_these_combinations_over_100_steps(name):
    rule, change = COMBINED[name]
    assert_same(rule, replace(PLAIN, **change), settings_of(rule))


def test_the_twin_tells_the_methods_apart():
    """Were two methods alike on this problem, agreement above would say little."""
    cases = {name: (rule, {}) for name, rule in RULES.items()} | COMBINED
    cases["fsam, decay 0.5"] = Rule(sigma=1.0, ema_decay=0.5), {}
    cases["interval"] = Rule(), {"interval": 2}
    cases["one group"] = Rule(), {"groups": (Group(0.1, None, None, 0.05), *[Group(0.0, None, None, 0.05)] * 2)}
    cases["gsam, alpha 0.1"] = Rule(combine=Gsam(0.1)), {}
    ends = {}
    for name, (rule, change) in cases.items():
        *_, (_, weights) = twin(rule, replace(PLAIN, **change), steps=40)
        ends[name] = torch.cat([p.flatten() for p in weights])
    names = list(ends)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            assert (ends[first] - ends[second]).abs().max() > 1e-4, (first, second)


# Exact identities ---------------------------------------------------------------------------------------------------


def last(problem=PLAIN, **method_settings):
    *_, (_, weights) = ours(problem, method_settings, steps=40)
    return torch.cat([p.flatten() for p in weights])


@pytest.mark.parametrize("more", [{}, {"sigma": 1.0}, {"num_shards": 3}, {"interval": 2, "adaptive": True}], ids=str)
def test_gsam_with_alpha_0_is_sam(more):
    torch.testing.assert_close(last(combine=GSAM(0.0), **more), last(**more), rtol=1e-12, atol=1e-12)


def test_asam_eta_with_eta_0_is_asam_where_all_parameters_are_weights():
    """The same problem, but for its parameters' names."""

    def run(metric):
        draws = torch.Generator().manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Tanh(), nn.Linear(5, 1, bias=False)).double()
        for parameter in model.parameters():
            parameter.data.normal_(generator=draws)
        optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.05), model, rho=0.2, metric=metric(model))
        x, y = data(PLAIN)

        def closure(x, y):
            loss = loss_of(model(x)[:, 0], y)
            loss.backward()
            return loss

        for start, end in batches(7, 40):
            optimizer.step(closure, x[start:end], y[start:end])
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    asam = run(METRICS["absolute"])
    torch.testing.assert_close(run(lambda model: AbsoluteEta(model, eta=0.0)), asam, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(run(METRICS["absolute_eta"]), asam, atol=1e-5)


@pytest.mark.parametrize("more", [{}, {"sigma": 1.0}, {"num_shards": 3}, {"adaptive": True}], ids=str)
def test_chosen_parameters_are_the_others_with_rho_0(more):
    def run(groups, perturb):
        network = Network(PLAIN)
        parameters = list(network.parameters())
        base = torch.optim.SGD(groups(parameters), lr=0.05, momentum=0.9)
        optimizer = SharpnessAware(base, network, rho=0.1, perturb=perturb(parameters), **more)
        x, y = data(PLAIN)

        def closure(x, y):
            loss = loss_of(network(x), y)
            loss.backward()
            return loss

        for start, end in batches(7, 40):
            optimizer.step(closure, x[start:end], y[start:end])
        return torch.cat([p.detach().flatten() for p in parameters])

    by_choice = run(lambda p: [{"params": p[:3]}, {"params": p[3:]}], lambda p: p[:3])
    by_group = run(lambda p: [{"params": p[:3]}, {"params": p[3:], "rho": 0.0}], lambda p: "all")
    torch.testing.assert_close(by_choice, by_group, rtol=1e-12, atol=1e-12)


# A new member is an object ------------------------------------------------------------------------------------------


class Fisher:
    """T = (F + 0.1)^-1/2, with a fixed diagonal F for each parameter (arXiv 2206.04920 has another estimate of it)."""

    def __init__(self, diagonals):
        self.diagonals = diagonals

    def __call__(self, directions, weights, parameters):
        for direction, parameter in zip(directions, parameters, strict=True):
            direction.mul_((self.diagonals[parameter] + 0.1).rsqrt())


class Weighted:
    """WSAM, coupled: (gamma g_p + (1 - 2 gamma) g) / (1 - gamma) (arXiv 2305.15817)."""

    def __init__(self, gamma):
        self.gamma = gamma

    def __call__(self, perturbed, clean):
        for g_p, g in zip(perturbed, clean, strict=True):
            g_p.mul_(self.gamma / (1 - self.gamma)).add_(g, alpha=(1 - 2 * self.gamma) / (1 - self.gamma))


def test_a_metric_and_a_combiner_of_ones_own():
    """loss = a . w^2 / 2 + b v^2 / 2: gradients are a w and b v, and all of the step can be written out."""
    metric: type[Metric] = Fisher
    combiner: type[Combiner] = Weighted
    w, v = (
        nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64)),
        nn.Parameter(torch.tensor([0.5], dtype=torch.float64)),
    )
    a, b = torch.tensor([3.0, 1.0], dtype=torch.float64), 4.0
    fisher = {w: torch.tensor([0.9, 2.4], dtype=torch.float64), v: torch.tensor([0.15], dtype=torch.float64)}

    def closure():
        loss = (a * w**2).sum() / 2 + (b * v**2).sum() / 2
        loss.backward()
        return loss

    optimizer = SharpnessAware(torch.optim.SGD([w, v], lr=0.1), rho=0.3, metric=metric(fisher), combine=combiner(0.8))
    optimizer.step(closure)
    # g = (3, -2, 2), T^2 = 1 / (F + 0.1) = (1, 0.4, 4), ||T g||^2 = 9 + 1.6 + 16 = 26.6
    scale = 0.3 / 26.6**0.5
    at = [1 + scale * 3, -2 + scale * 0.4 * -2, 0.5 + scale * 4 * 2]
    g, g_p = [3.0, -2.0, 2.0], [3 * at[0], 1 * at[1], 4 * at[2]]
    step = [(0.8 * g_p[i] + (1 - 1.6) * g[i]) / 0.2 for i in range(3)]
    expected = [1 - 0.1 * step[0], -2 - 0.1 * step[1], 0.5 - 0.1 * step[2]]
    assert [*w.tolist(), *v.tolist()] == pytest.approx(expected, rel=1e-12)
