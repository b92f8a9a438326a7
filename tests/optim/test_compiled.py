"""What is compiled gives what the function gives, up to rounding, from its first call on; or it says why not."""

import itertools
import subprocess
import sys

import pytest
import torch
from torch import nn

from hpsearch.optim import compiled
from hpsearch.optim.compiled import Compiled, NotCompiled, OtherNumbers
from hpsearch.optim.traced import Graphs, Traced

pytestmark = pytest.mark.filterwarnings("ignore")  # the compiler's own


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def compute(total, each, weight):
    leaf = weight.detach().requires_grad_()
    with torch.enable_grad():
        loss = torch.func.vmap(lambda w, x: (x @ w).tanh().square().mean())(leaf, each)
        (found,) = torch.autograd.grad(loss.sum(), [leaf])
    total += found.sum((1, 2))
    return loss.detach(), found


def given(seed):
    return drawn(3, seed=seed), drawn(3, 5, 4, seed=seed + 1), drawn(3, 4, 2, seed=seed + 2)


def test_numbers_and_arguments_are_the_functions_up_to_rounding():
    made = Compiled(Traced(compute, []))
    for seed in range(3):
        mine, theirs = given(seed), given(seed)
        for found, expected in zip(made(*mine), compute(*theirs), strict=True):
            torch.testing.assert_close(found, expected)
            assert not found.requires_grad
        for found, expected in zip(mine, theirs, strict=True):
            torch.testing.assert_close(found, expected)
    assert made.seconds > 0


def test_the_first_call_has_the_bits_of_later_ones():
    graphs = Graphs()
    first, second = (Compiled(Traced(compute, [], graphs, alike=True)) for _ in range(2))
    one, other = given(0), given(0)
    assert all(map(torch.equal, [*first(*one), *one], [*second(*other), *other]))
    again = given(0)
    assert all(map(torch.equal, [*second(*again), *again], [*second(*given(0)), *one]))
    assert second.seconds == 0  # what is alike is compiled once


def test_other_shapes_and_threads_are_compiled_on_their_own():
    """torch's own guards are off."""
    made, before, times = Compiled(Traced(compute, [])), torch.get_num_threads(), []
    cases = [(1, 3, 5), (1, 2, 5), (2, 3, 5), (1, 3, 7)]
    try:
        for threads, rows, samples in cases + cases:
            torch.set_num_threads(threads)
            mine = drawn(rows), drawn(rows, samples, 4, seed=1), drawn(rows, 4, 2, seed=2)
            theirs = [each.clone() for each in mine]
            for found, expected in zip([*made(*mine), *mine], [*compute(*theirs), *theirs], strict=True):
                torch.testing.assert_close(found, expected)
            times.append(made.seconds)
    finally:
        torch.set_num_threads(before)
    assert all(earlier < later for earlier, later in itertools.pairwise(times[:4]))
    assert len(set(times[3:])) == 1


def test_nan_of_one_row_stays_there():
    made = Compiled(Traced(compute, []))
    made(*given(0))
    total, each, weight = given(1)
    each[1, 0, 0] = torch.nan
    expected = [total.clone(), each, weight]
    losses, found = compute(*expected)
    for mine, theirs in zip([*made(total, each, weight), total], [losses, found, expected[0]], strict=True):
        torch.testing.assert_close(mine, theirs, equal_nan=True)
        assert mine.reshape(3, -1).isnan().any(1).tolist() == [False, True, False]


def test_draws_are_torchs_own():
    def dropped(x):
        return (nn.functional.dropout(x * 2, 0.5) + 1,)

    made, x = Compiled(Traced(dropped, [])), torch.ones(50)
    torch.manual_seed(1)
    expected = [dropped(x)[0] for _ in range(3)]
    torch.manual_seed(1)
    for each in expected:
        torch.testing.assert_close(made(x)[0], each)


def test_what_cannot_be_listed_cannot_be_compiled():
    with pytest.raises(NotCompiled, match="as a list"):
        Compiled(Traced(lambda x: (x if x.sum() > 0 else -x,), []))(drawn(3))


def test_a_compiler_that_fails_is_told_and_asked_again(monkeypatch):
    def fails(*_):
        raise RuntimeError("no working compiler\nand much more")

    made = Compiled(Traced(compute, []))
    with monkeypatch.context() as without:
        without.setattr(torch, "compile", lambda *_, **__: fails)
        for _ in range(2):  # no more than that it failed is known
            with pytest.raises(NotCompiled, match="cannot compile it: no working compiler$"):
                made(*given(0))
    torch.testing.assert_close(made(*given(0)), compute(*given(0)))


@pytest.mark.parametrize("memory", [torch.OutOfMemoryError("too much")])
def test_memory_that_runs_out_is_told_as_it_is(monkeypatch, memory):
    def fails(*_):
        raise memory

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fails)
    with pytest.raises(torch.OutOfMemoryError):
        Compiled(Traced(compute, []))(*given(0))


def test_numbers_that_are_nothing_but_rounding_may_differ():
    """As those that Adam makes of the gradient of a bias before a normalisation."""

    def rounded(x):
        return ((x - x.mean()).sum().sign() + x,)

    def otherwise(x):
        return (x - (x - x.mean()).sum().sign(),)

    x = drawn(1000)
    assert rounded(x)[0].ne(x).any()
    compiled._compare(rounded, otherwise, [x], 0.0)
    with pytest.raises(OtherNumbers):
        compiled._compare(rounded, lambda x: (x + 40,), [x], 0.0)


@pytest.mark.parametrize("dtype, rounding, at_most", [(torch.float32, 2**-8, 0.1), (torch.float64, 0.0, 1e-14)])
def test_rounding_hangs_on_the_kind_of_numbers(dtype, rounding, at_most):
    x = drawn(1000).to(dtype)
    moved = (compiled._nudge(x, rounding) - x).abs().max()
    assert at_most / 100 < moved < at_most
    assert torch.equal(compiled._nudge(torch.arange(3), rounding), torch.arange(3))


@pytest.mark.parametrize("wrong", ["number", "argument", "nan"])
def test_other_numbers_are_seen(monkeypatch, wrong):
    def other(total, each, weight):
        loss, found = compute(total, each, weight)
        if wrong == "number":
            loss = loss * 1.1
        if wrong == "argument":
            total += 0.1
        if wrong == "nan":
            found[0, 0, 0] = torch.nan
        return loss, found

    monkeypatch.setattr(torch, "compile", lambda *_, **__: other)
    mine = given(0)
    with pytest.raises(NotCompiled, match="other numbers"):
        Compiled(Traced(compute, []))(*mine)
    assert all(map(torch.equal, mine, given(0)))  # nothing was changed


ALONE = """
import multiprocessing, os, pathlib, torch
from hpsearch.optim.compiled import Compiled
from hpsearch.optim.traced import Traced
Compiled(Traced(lambda x: ((x.tanh() + 1).sum(1),), []))(torch.ones(7, 5))
print(pathlib.Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_process_is_left_behind():
    assert subprocess.run([sys.executable, "-c", ALONE], check=True, capture_output=True, text=True).stdout == "[]\n"
