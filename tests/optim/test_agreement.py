"""Whether two trials of one program are told apart, by what is made of their weights."""

import pytest
import torch

from hpsearch.optim.agreement import agree, keeps_apart

WEIGHTS = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)


def own(weights):
    return [weights.square().sum(1)]


def clipped(weights):
    """By what both have, where that is large."""
    return [weights.sum(1) * (100 / weights.norm()).clamp(max=1.0)]


def small_alone(weights):
    """Takes no large numbers."""
    if not weights.abs().max() < 100:
        raise ValueError("too large")
    return own(weights)


def usual_alone(weights):
    """Takes none but the usual ones."""
    if not torch.equal(weights, WEIGHTS):
        raise RuntimeError("not the usual ones")
    return own(weights)


@pytest.mark.parametrize(
    ("compute", "expected"), [(own, True), (clipped, False), (small_alone, True), (usual_alone, False)]
)
def test_trials_that_hang_on_each_other_are_found(compute, expected):
    assert keeps_apart(compute, [WEIGHTS], strict=True) is expected


def test_memory_that_runs_out_says_nothing():
    def full(weights):
        if torch.equal(weights, WEIGHTS):
            return own(weights)
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        keeps_apart(full, [WEIGHTS], strict=True)


def test_nan_is_like_nan_alone():
    one, other = torch.tensor([1.0, torch.nan]), torch.tensor([1.0, 2.0])
    assert agree([one], [one.clone()], strict=True)
    assert not agree([one], [other], strict=True) and not agree([other], [one], strict=True)
