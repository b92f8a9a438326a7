"""SharpnessAware against a slow, obvious twin: one parameter, one shard and one formula of the papers at a time."""

from dataclasses import dataclass

import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from hpsearch.optim import SharpnessAware

STEPS, ROWS, FEATURES, HIDDEN = 100, 24, 5, 6


@dataclass(frozen=True)
class Case:
    rhos: tuple[float, float]  # one a parameter group; either may be 0
    sigma: float
    ema_decay: float
    num_shards: int
    interval: int
    adaptive: bool
    lr: float
    momentum: float
    weight_decay: float
    batch_size: int  # need not divide ROWS, nor be divided by num_shards


RHO = st.one_of(st.just(0.0), st.floats(0.01, 0.5))
CASES = st.builds(
    Case,
    rhos=st.tuples(RHO, RHO),
    sigma=st.one_of(st.just(0.0), st.just(1.0), st.floats(-1.5, 1.5)),
    ema_decay=st.one_of(st.just(0.0), st.floats(0.0, 0.99)),
    num_shards=st.integers(1, 9),
    interval=st.integers(1, 4),
    adaptive=st.booleans(),
    lr=st.floats(0.005, 0.05),
    momentum=st.one_of(st.just(0.0), st.floats(0.0, 0.9)),
    weight_decay=st.one_of(st.just(0.0), st.floats(0.0, 0.05)),
    batch_size=st.integers(4, 11),
)


def data():
    draws = torch.Generator().manual_seed(1)
    return torch.randn(ROWS, FEATURES, generator=draws).double(), torch.randn(ROWS, generator=draws).double()


def initial():
    draws = torch.Generator().manual_seed(2)
    shapes = [(FEATURES, HIDDEN), (HIDDEN,), (HIDDEN,), ()]
    return [torch.randn(shape, generator=draws).double() * 0.5 for shape in shapes]


def loss_at(w, x, y):
    """A small regression network; w is a list of four tensors."""
    return ((torch.tanh(x @ w[0] + w[1]) @ w[2] + w[3] - y) ** 2).mean()


def batches(size):
    """Uneven: the last of each round over the rows is what is left."""
    starts = list(range(0, ROWS, size))
    return [(starts[t % len(starts)], min(ROWS, starts[t % len(starts)] + size)) for t in range(STEPS)]


def gradient(w, x, y):
    leaves = [p.clone().requires_grad_() for p in w]
    loss = loss_at(leaves, x, y)
    return loss.item(), torch.autograd.grad(loss, leaves)


def perturbed(w, g, m, rho, case):
    """w + eps with eps = rho T^2 d / (||T d|| + 1e-12), d = g - sigma m, the norm over parameters with rho != 0."""
    square, moves = 0.0, []
    for i in range(len(w)):
        d = g[i] if m is None else g[i] - case.sigma * m[i]
        t = w[i].abs() if case.adaptive else torch.ones_like(w[i])
        moves.append(t * t * d)
        if rho[i] != 0:
            square += ((t * d) ** 2).sum().item()
    return [w[i] + rho[i] * moves[i] / (square**0.5 + 1e-12) for i in range(len(w))]


def shards_of(start, end, k):
    """k runs of rows as even as can be, without empty ones."""
    bounds = [start + (end - start) * j // k for j in range(k + 1)]
    return [(a, b) for a, b in zip(bounds, bounds[1:], strict=False) if b > a]


def twin(case):
    """The weights and the clean loss after each step."""
    x, y = data()
    w, m = initial(), None
    rho = [case.rhos[0], case.rhos[0], case.rhos[1], case.rhos[1]]
    velocity = None
    seen = []
    for t, (start, end) in enumerate(batches(case.batch_size)):
        perturb = t % case.interval == 0 and any(r != 0 for r in rho)
        clean_loss, clean, step = 0.0, [torch.zeros_like(p) for p in w], [torch.zeros_like(p) for p in w]
        for a, b in shards_of(start, end, case.num_shards if perturb else 1):
            share = (b - a) / (end - start)
            loss, g = gradient(w, x[a:b], y[a:b])
            h = gradient(perturbed(w, g, m, rho, case), x[a:b], y[a:b])[1] if perturb else g
            clean_loss += share * loss
            for i in range(len(w)):
                clean[i] += share * g[i]
                step[i] += share * h[i]
        if m is None:
            m = clean
        else:
            m = [case.ema_decay * m[i] + (1 - case.ema_decay) * clean[i] for i in range(len(w))]
        step = [step[i] + case.weight_decay * w[i] for i in range(len(w))]
        if velocity is None:
            velocity = step
        else:
            velocity = [case.momentum * velocity[i] + step[i] for i in range(len(w))]
        w = [w[i] - case.lr * velocity[i] for i in range(len(w))]
        seen.append((clean_loss, w))
    return seen


def ours(case):
    x, y = data()
    w = [nn.Parameter(p) for p in initial()]
    groups = [{"params": w[:2], "rho": case.rhos[0]}, {"params": w[2:], "rho": case.rhos[1]}]
    base = torch.optim.SGD(groups, lr=case.lr, momentum=case.momentum, weight_decay=case.weight_decay, foreach=True)
    optimizer = SharpnessAware(
        base,
        num_shards=case.num_shards,
        ema_decay=case.ema_decay,
        sigma=case.sigma,
        adaptive=case.adaptive,
        interval=case.interval,
    )

    def closure(x, y):
        loss = loss_at(w, x, y)
        loss.backward()
        return loss

    for start, end in batches(case.batch_size):
        loss = optimizer.step(closure, x[start:end], y[start:end])
        yield loss.item(), w


# Not shrunk: a smaller case would take minutes to find and say no more.
@settings(max_examples=12, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(CASES)
def test_the_same_weights_over_100_steps(case):
    for step, ((loss, weights), (expected_loss, expected)) in enumerate(zip(ours(case), twin(case), strict=True)):
        torch.testing.assert_close(torch.tensor(loss), torch.tensor(expected_loss), rtol=1e-7, atol=1e-9)
        for ours_p, twin_p in zip(weights, expected, strict=True):
            difference = (ours_p.detach() - twin_p).abs().max().item()
            assert difference <= 1e-7 * max(1.0, twin_p.abs().max().item()), f"step {step}: {difference}"


def test_the_twin_tells_the_methods_apart():
    """Were two methods alike on this problem, agreement above would say little."""
    plain = Case((0.1, 0.1), 0.0, 0.9, 1, 1, False, 0.05, 0.9, 1e-3, 8)
    changes = {
        "sam": {},
        "sgd": {"rhos": (0.0, 0.0)},
        "one group": {"rhos": (0.1, 0.0)},
        "asam": {"adaptive": True},
        "msam": {"num_shards": 4},
        "fsam": {"sigma": 1.0},
        "fsam 0.5": {"sigma": 1.0, "ema_decay": 0.5},
        "fmsam": {"sigma": 1.0, "num_shards": 4},
        "interval": {"interval": 2},
        "vasso": {"sigma": -0.5},
    }
    ends = {
        name: torch.cat([p.flatten() for p in twin(Case(**{**vars(plain), **change}))[-1][1]])
        for name, change in changes.items()
    }
    names = list(ends)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            assert (ends[first] - ends[second]).abs().max() > 1e-4, (first, second)
