"""Under DistributedDataParallel: the single-process method on the ranks' batches together, the same bits on all ranks.

The file is also the program of the ranks, python test_ranks.py FOLDER: started once and forked, since importing what
DistributedDataParallel needs takes longer than all the steps.
"""

import itertools
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from hpsearch.optim import SharpnessAware

STEPS, COUNTED = 6, 3
BAD = 3  # the step in which rank 1 alone has a NaN in its batch, in the cases that have one
STUCK, PATIENCE = 300, 1200  # seconds until a collective that some rank never enters gives up; for all there is to run
CHOICES = ("global", "each")


@dataclass(frozen=True)
class Case:
    settings: dict[str, Any]
    parts: int = 1  # of one rank's batch: shards, or micro-batches
    micro_batches_are: str | None = None
    weights: tuple[float, ...] | None = None  # of the shards of one rank
    rows: int = 8  # of one rank
    batchnorm: bool = False
    views: bool = False  # gradient_as_bucket_view
    bad: bool = False
    fused: bool = False
    scale: float | None = None


FSAM = {"rho": 0.2, "sigma": 1.0, "ema_decay": 0.8}
PARTLY = {"rho": 0.2, "sigma": 0.6, "ema_decay": 0.8}  # sigma other than 0 and 1: directions are made gradients again
GSAM = {"rho": 0.2, "combine": "gsam"}

METHODS = {
    "base": Case({"rho": 0.0}),
    "sam": Case({"rho": 0.2}),
    "asam": Case({"rho": 0.5, "adaptive": True}),
    "fsam": Case(FSAM),
    "fsam, sigma 0.6": Case(PARTLY),
    "adaptive fsam": Case({**FSAM, "adaptive": True}),
    "gsam": Case(GSAM),
    "gsam with ema": Case({**PARTLY, **GSAM}),
    "interval 2": Case({**PARTLY, "interval": 2}),
    "msam": Case({"rho": 0.2}, parts=2),
    "masam": Case({"rho": 0.5, "adaptive": True}, parts=2),
    "fmsam": Case(PARTLY, parts=2),
    "gsam shards": Case({**PARTLY, **GSAM}, parts=2),
    "interval 2, shards": Case({**PARTLY, "interval": 2}, parts=2),
    "uneven shards": Case(PARTLY, parts=2, rows=5),
    "weighted shards": Case(PARTLY, parts=2, weights=(3.0, 1.0)),
    "micro-batches are shards": Case(PARTLY, parts=2, micro_batches_are="shards"),
    "micro-batches are parts": Case({**PARTLY, **GSAM}, parts=2, micro_batches_are="parts"),
    "uneven parts": Case(FSAM, parts=3, micro_batches_are="parts"),
    "micro-batches are parts, sam": Case({"rho": 0.2}, parts=2, micro_batches_are="parts"),
    "micro-batches, interval 2": Case({**PARTLY, "interval": 2}, parts=2, micro_batches_are="shards"),
    "scaled": Case(PARTLY, scale=1024.0),
    "scaled shards": Case(PARTLY, parts=2, scale=1024.0),
}
WITH_NORM = {
    "batchnorm": Case({"rho": 1.0}, batchnorm=True),
    "batchnorm, shards": Case(PARTLY, parts=2, batchnorm=True),
    "batchnorm, both passes": Case({"rho": 1.0, "batchnorm": "both"}, batchnorm=True),
}
VIEWS = {
    f"{name}, views": replace(METHODS[name], views=True)
    for name in ("sam", "fsam", "gsam", "gsam with ema", "msam", "gsam shards", "interval 2, shards")
    + ("micro-batches are shards", "micro-batches are parts")
}
SKIPPING = {
    f"{name}, skip": replace(METHODS[name], settings={**METHODS[name].settings, "nonfinite": "skip"}, bad=True)
    for name in ("sam", "fsam", "gsam with ema", "fmsam", "interval 2", "micro-batches are parts", "scaled")
}
SKIPPING |= {f"{name}, fused": replace(SKIPPING[f"{name}, skip"], fused=True) for name in ("fsam", "fmsam")}
RAISING = {
    f"{name}, raise": replace(METHODS[name], settings={**METHODS[name].settings, "nonfinite": "raise"}, bad=True)
    for name in ("fsam", "fmsam", "micro-batches are parts")
}
CASES = METHODS | WITH_NORM | VIEWS | SKIPPING | RAISING
FEW = ("sam", "adaptive fsam", "gsam with ema", "fmsam", "interval 2", "micro-batches are parts", "fmsam, skip")
OF_WORLD = {2: tuple(CASES), 4: FEW}  # names by number of ranks

# Gradient all-reduces of one step: (global, each).
ALL_REDUCES = {
    "base": (1, 1),
    "sam": (2, 1),
    "asam": (2, 1),
    "fsam": (2, 2),
    "gsam": (2, 2),
    "msam": (4, 1),
    "fmsam": (4, 2),
    "micro-batches are shards": (4, 2),
    "micro-batches are parts, sam": (2, 1),
    "uneven parts": (2, 2),
}

OVERFLOWS = [{"ranks": choice, **more} for choice in CHOICES for more in ({}, {"num_shards": 2}, {"fused": True})]


def network(batchnorm=False):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = [nn.BatchNorm1d(6)] if batchnorm else []
        return nn.Sequential(nn.Linear(4, 6), *norm, nn.Tanh(), nn.Linear(6, 3)).double()


def batch_of(case, rank, step):
    draws = torch.Generator().manual_seed(1000 * rank + step)
    inputs = torch.randn(case.rows, 4, generator=draws, dtype=torch.float64)
    if case.bad and (rank, step) == (1, BAD):
        inputs[-1, 2] = torch.nan
    return inputs, torch.randint(0, 3, (case.rows,), generator=draws)


def parts_of(case, batch):
    """Consecutive parts; of 5 rows 2 and 3, as num_shards cuts them."""
    bounds = [case.rows * index // case.parts for index in range(case.parts + 1)]
    return [tuple(part[a:b] for part in batch) for a, b in itertools.pairwise(bounds)]


def joined(batches):
    return tuple(torch.cat(column) for column in zip(*batches, strict=True))


@dataclass
class Run:
    weights: torch.Tensor  # (steps, parameters), after each step, as the next two
    ema: torch.Tensor  # (steps, 0) where there is none
    momentum: torch.Tensor
    losses: torch.Tensor  # (steps - len(raised),)
    skipped: list[int]
    raised: list[int]  # the steps that did
    scales: list[float]  # the GradScaler's
    statistics: list[list[torch.Tensor]]  # BatchNorm's running mean, variance and number of batches
    expected: list[list[torch.Tensor]] | None  # the mean and the variance if clean passes alone count


def trained(case, model, take, steps=STEPS, expected=None, **more):
    """take(optimizer, closure, step, scaler) takes a step."""
    base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2, fused=case.fused)
    optimizer = SharpnessAware(base, model, **{**case.settings, **more})
    scaler = torch.amp.GradScaler("cpu", init_scale=case.scale) if case.scale else None
    losses, states, skipped, raised, scales, statistics = [], [], [], [], [], []

    def closure(inputs, targets):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        (scaler.scale(loss) if scaler else loss).backward()
        return loss

    def flat(state, name):
        return torch.cat([torch.empty(0), *(state[p][name].flatten() for p in model.parameters() if name in state[p])])

    for step in range(steps):
        try:
            losses.append(take(optimizer, closure, step, scaler))
        except FloatingPointError:
            raised.append(step)
        if scaler:
            scaler.update()
            scales.append(scaler.get_scale())
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        states.append((weights, flat(optimizer.state, "ema"), flat(base.state, "momentum_buffer")))
        skipped.append(int(optimizer.skipped))
        statistics.append([buffer.clone() for buffer in model.buffers()])
    columns = (torch.stack(column) for column in zip(*states, strict=True))
    return Run(*columns, torch.stack(losses), skipped, raised, scales, statistics, expected)


# One rank -------------------------------------------------------------------------------------------------------------


def of_rank(case, choice, rank, model, steps=STEPS):
    inner = model.module
    moments = [torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)]
    expected = []

    def take(optimizer, closure, step, scaler):
        batch = batch_of(case, rank, step)
        if case.batchnorm:
            for inputs, _ in parts_of(case, batch):
                hidden = inner[0](inputs).detach()
                for moment, now in zip(moments, (hidden.mean(0), hidden.var(0)), strict=True):
                    moment.lerp_(now, inner[1].momentum)
            expected.append([moment.clone() for moment in moments])
        if case.micro_batches_are is None:
            return optimizer.step(closure, *batch, scaler=scaler, weights=case.weights)
        parts = parts_of(case, batch)
        return optimizer.step_accumulated(closure, parts, micro_batches_are=case.micro_batches_are, scaler=scaler)

    num_shards = 1 if case.micro_batches_are else case.parts
    return trained(case, model, take, steps, expected, num_shards=num_shards, ranks=choice)


def counted(case, choice, rank):
    """The gradient all-reduces of each step: DDP's of its buckets, and those that the optimizer calls."""
    calls, model = [], DistributedDataParallel(network())
    model.register_comm_hook(dist.group.WORLD, lambda group, bucket: allreduce_hook(group, bucket))
    plain = dist.all_reduce

    def all_reduce(*args, **kwargs):  # DDP's hook calls it as well
        calls.append(args[0].numel())
        return plain(*args, **kwargs)

    dist.all_reduce = all_reduce
    try:
        of_rank(case, choice, rank, model, COUNTED)
    finally:
        dist.all_reduce = plain
    assert set(calls) == {sum(p.numel() for p in model.parameters())}  # each of one whole gradient
    return len(calls) / COUNTED


class Shut(nn.Module):
    """Lets nothing through that is not positive: no NaN of the weights before it either."""

    def forward(self, x):
        return torch.where(x > 0, x, torch.zeros_like(x))


def overflow_in_a_clean_pass(rank, **settings):
    """Rank 1's clean gradient alone is infinite in the second step, no perturbed one: (skipped, the EMA's values)."""
    model = DistributedDataParallel(nn.Sequential(network()[0], Shut()))
    base = torch.optim.SGD(model.parameters(), lr=0.1, fused=settings.pop("fused", False))
    optimizer = SharpnessAware(base, model, **FSAM, nonfinite="skip", **settings)
    calls = []

    def closure(inputs, targets):
        calls.append(1)
        loss = model(inputs).square().mean()
        (loss * torch.inf if (rank, len(calls)) == (1, 2 * optimizer.num_shards + 1) else loss).backward()
        return loss

    for step in range(3):
        optimizer.step(closure, *batch_of(METHODS["fsam"], rank, step))
    return int(optimizer.skipped), torch.cat([optimizer.state[p]["ema"].flatten() for p in model.parameters()])


def refusal(unused=False, **settings):
    model = DistributedDataParallel(network(), find_unused_parameters=unused)
    try:
        SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1), model, **settings)
    except ValueError as error:
        return str(error)


def work(rank, world, folder):
    """Runs the cases as one rank and saves what came out."""
    timeout = timedelta(seconds=STUCK)
    dist.init_process_group("gloo", f"file://{folder}/{world}.store", timeout, world, rank)
    results = {}
    for name, choice in itertools.product(OF_WORLD[world], CHOICES):
        case = CASES[name]
        model = DistributedDataParallel(network(case.batchnorm), gradient_as_bucket_view=case.views)
        results[name, choice] = vars(of_rank(case, choice, rank, model))
    counts, refusals, overflows = {}, [], []
    if world == 2:
        counts = {(name, choice): counted(METHODS[name], choice, rank) for name in ALL_REDUCES for choice in CHOICES}
        refusals = [refusal(), refusal(ranks="all"), refusal(ranks="each", unused=True)]
        overflows = [overflow_in_a_clean_pass(rank, **settings) for settings in OVERFLOWS]
    torch.save((results, counts, refusals, overflows), f"{folder}/{world}.{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def main(folder):
    """All ranks of all worlds; exits with 1 as soon as one of them failed."""
    warnings.simplefilter("error")
    # Python 3.12 on warns of forking beside another thread: NumPy's BLAS has one, which is idle and survives a fork.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    torch.set_num_threads(1)
    forked = multiprocessing.get_context("fork")
    for world in OF_WORLD:
        ranks = [forked.Process(target=work, args=(rank, world, folder)) for rank in range(world)]
        for rank in ranks:
            rank.start()
        waiting = {rank.sentinel: rank for rank in ranks}
        while waiting:
            for sentinel in multiprocessing.connection.wait(list(waiting)):
                rank = waiting.pop(sentinel)
                rank.join()
                if rank.exitcode:
                    for other in waiting.values():
                        other.kill()
                    sys.exit(f"rank {ranks.index(rank)} of {world} failed")


# What the ranks did ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The folder in which the ranks have saved what came out."""
    folder = tmp_path_factory.mktemp("ranks")
    command, root = [sys.executable, __file__, str(folder)], Path(__file__).parents[2]
    with (folder / "log").open("w") as log:
        program = subprocess.Popen(command, stdout=log, stderr=log, cwd=root, start_new_session=True)
        try:
            failed = program.wait(PATIENCE)
        finally:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)  # its ranks are in its session
                program.wait()
    assert not failed, (folder / "log").read_text()[-4000:]
    return folder


@pytest.fixture(scope="module")
def saved(launched):
    """saved(world): what each rank saved."""
    every = {w: [torch.load(launched / f"{w}.{rank}.pt") for rank in range(w)] for w in OF_WORLD}
    return every.__getitem__


@pytest.fixture
def runs(saved):
    """runs(name, choice): that run, one for each rank."""
    return lambda name, choice, world=2: [Run(**results[name, choice]) for results, *_ in saved(world)]


def single(case, choice, world):
    """The run of one process: ranks="global" joins the ranks' j-th shards to one, "each" makes a shard of each."""
    if case.micro_batches_are == "parts":
        case = replace(case, parts=1)

    def take(optimizer, closure, step, scaler):
        ranks = [parts_of(case, batch_of(case, rank, step)) for rank in range(world)]
        shards = [joined(parts) for parts in zip(*ranks, strict=True)] if choice == "global" else sum(ranks, [])
        if case.rows % case.parts:
            return optimizer.step_accumulated(closure, shards, micro_batches_are="shards")
        weights = case.weights and case.weights * (len(shards) // case.parts)
        return optimizer.step(closure, *joined(shards), scaler=scaler, weights=weights)

    shards = case.parts if choice == "global" else case.parts * world
    return trained(case, network(case.batchnorm), take, num_shards=1 if case.rows % case.parts else shards)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def cases_of_all_worlds(names):
    return [pytest.param(w, name, id=f"{w} ranks-{name}") for w in OF_WORLD for name in OF_WORLD[w] if name in names]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(("world", "name"), cases_of_all_worlds(METHODS | SKIPPING | RAISING))
def test_it_is_the_single_process_method_on_all_ranks_batches(runs, world, name, choice):
    ranks, expected = runs(name, choice, world), single(CASES[name], choice, world)
    assert_close(ranks[0].weights, expected.weights)
    assert_close(ranks[0].ema, expected.ema)
    assert_close(ranks[0].momentum, expected.momentum)
    assert (ranks[0].skipped, ranks[0].raised, ranks[0].scales) == (expected.skipped, expected.raised, expected.scales)
    losses = torch.stack([rank.losses for rank in ranks]).mean(0)
    torch.testing.assert_close(losses, expected.losses, rtol=0, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(("world", "name"), cases_of_all_worlds(CASES))
def test_all_ranks_hold_the_same_bits_after_every_step(runs, world, name, choice):
    first, *others = runs(name, choice, world)
    assert len(others) == world - 1
    assert first.weights.shape == first.momentum.shape == (STEPS, first.weights.shape[1])
    assert first.ema.shape[1] == (first.weights.shape[1] if CASES[name].settings.get("sigma") else 0)
    for other in others:
        for kind in ("weights", "ema", "momentum"):
            assert torch.equal(getattr(other, kind), getattr(first, kind)), kind
        assert (other.skipped, other.raised, other.scales) == (first.skipped, first.raised, first.scales)


@pytest.mark.parametrize("name", ["sam", "asam", "fsam", "gsam", "msam", "fmsam", "gsam shards"])
def test_the_two_choices_are_two_methods(runs, name):
    """Else the equalities above would say little."""
    (one, *_), (other, *_) = runs(name, "global"), runs(name, "each")
    assert (one.weights[-1] - other.weights[-1]).abs().max() > 1e-4


def test_with_rho_0_both_choices_are_the_base_optimizer(runs):
    (one, _), (other, _) = runs("base", "global"), runs("base", "each")
    assert torch.equal(one.weights, other.weights)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", VIEWS)
def test_gradients_that_are_views_of_buckets_change_nothing(runs, name, choice):
    """The next backward pass writes into the buckets, so gradients that are needed longer must not lie in them."""
    views, plain = runs(name, choice)[0], runs(name.removesuffix(", views"), choice)[0]
    assert torch.equal(views.weights, plain.weights)
    assert torch.equal(views.ema, plain.ema)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", SKIPPING)
def test_a_nan_on_one_rank_makes_all_ranks_skip(runs, name, choice):
    for run in runs(name, choice):
        assert run.skipped == [0] * BAD + [1] * (STEPS - BAD)
        for kind in (run.weights, run.ema, run.momentum):
            assert torch.equal(kind[BAD], kind[BAD - 1])
        assert not torch.equal(run.weights[BAD + 1], run.weights[BAD]) and run.weights[-1].isfinite().all()
        if run.scales:
            assert run.scales[BAD - 1] == 2 * run.scales[BAD] == CASES[name].scale


@pytest.mark.parametrize("index", range(len(OVERFLOWS)), ids=lambda index: str(OVERFLOWS[index]))
def test_an_overflow_that_no_perturbed_pass_shows_stays_out_of_the_ema(saved, index):
    (skipped, ema), (skipped_there, ema_there) = (overflows[index] for *_, overflows in saved(2))
    assert skipped == skipped_there == 1
    assert ema.isfinite().all() and torch.equal(ema, ema_there)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", RAISING)
def test_a_nan_on_one_rank_raises_on_all(runs, name, choice):
    for run in runs(name, choice):
        assert run.raised == [BAD]
        for kind in (run.weights, run.ema, run.momentum):
            assert torch.equal(kind[BAD], kind[BAD - 1])
        assert not torch.equal(run.weights[BAD + 1], run.weights[BAD])


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", ["batchnorm", "batchnorm, shards"])
def test_perturbed_passes_leave_running_statistics_alone(runs, name, choice):
    """Rank 0's, which DDP hands to the others."""
    run = runs(name, choice)[0]
    for step, (mean, variance, batches) in enumerate(run.statistics):
        assert_close([mean, variance], run.expected[step])
        assert batches == (step + 1) * CASES[name].parts


@pytest.mark.parametrize("choice", CHOICES)
def test_running_statistics_of_both_passes_are_others(runs, choice):
    run = runs("batchnorm, both passes", choice)[0]
    assert run.statistics[-1][2] == 2 * STEPS
    assert (run.statistics[-1][0] - run.expected[-1][0]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["batchnorm", "batchnorm, shards"])
def test_with_batchnorm_each_is_msam_which_normalises_by_shard(runs, name):
    assert_close(runs(name, "each")[0].weights, single(CASES[name], "each", 2).weights)


@pytest.mark.parametrize("name", ALL_REDUCES)
def test_gradient_all_reduces_of_a_step(saved, name):
    for _, counts, *_ in saved(2):
        assert (counts[name, "global"], counts[name, "each"]) == ALL_REDUCES[name]


# Refusals -------------------------------------------------------------------------------------------------------------


def test_a_ddp_model_needs_a_choice_that_there_is(saved):
    for _, _, (without, unknown, unused), _ in saved(2):
        assert without == "a DistributedDataParallel model needs ranks='global' or ranks='each'"
        assert unknown == "ranks must be one of global, each, but got 'all'"
        assert "find_unused_parameters=True works with ranks='global' only" in unused


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_needs_a_ddp_model(choice):
    model = network()
    for given in (None, model):
        with pytest.raises(ValueError, match=f"ranks='{choice}' needs model=…, a DistributedDataParallel"):
            SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1), given, ranks=choice)


def test_an_unknown_choice_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="ranks must be one of global, each, but got 'all'"):
        SharpnessAware(torch.optim.SGD(network().parameters(), lr=0.1), ranks="all")


if __name__ == "__main__":
    import torch._dynamo  # noqa: F401  # which DistributedDataParallel imports, in seconds: here, for all ranks

    main(Path(sys.argv[1]))
