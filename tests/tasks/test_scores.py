"""Scores from summed counts against scikit-learn and scipy, in one batch and in many."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import f1_score, matthews_corrcoef

from hpsearch.streams import generator
from hpsearch.tasks.scores import confusion, f1, matthews, moments, pearson

PAIRS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60)


def means_of(measured, predicted, targets, size):
    """The means over a split as the training loop takes them: batch by batch, in Python floats."""
    totals, samples = {}, len(targets)
    for first in range(0, samples, size):
        part = slice(first, first + size)
        for name, value in measured(predicted[part], targets[part]).items():
            totals[name] = totals.get(name, 0.0) + float(value) * len(targets[part]) / samples
    return totals


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.integers(1, 60))
def test_f1_and_matthews_are_scikit_learns(pairs, size):
    predicted, targets = (torch.tensor(column) for column in zip(*pairs, strict=True))
    means = means_of(confusion, predicted, targets, size)
    assert f1(means) == pytest.approx(f1_score(targets, predicted, zero_division=0.0), abs=1e-12)
    # scikit-learn divides by zero where both have the same single class, and says 0
    both_one_class = len(set(predicted.tolist())) == 1 or len(set(targets.tolist())) == 1
    expected = 0.0 if both_one_class else matthews_corrcoef(targets, predicted)
    assert matthews(means) == pytest.approx(expected, abs=1e-12)


def test_a_large_split_in_batches_is_the_whole():
    draws = generator(0, "test")
    targets = (torch.rand(40_430, generator=draws) < 0.37).long()  # the size of QQP's
    predicted = torch.where(torch.rand(40_430, generator=draws) < 0.8, targets, 1 - targets)
    for size in (4096, 40_430):
        means = means_of(confusion, predicted, targets, size)
        assert f1(means) == pytest.approx(f1_score(targets, predicted), rel=1e-12)
        assert matthews(means) == pytest.approx(matthews_corrcoef(targets, predicted), rel=1e-12)


@pytest.mark.parametrize("predicted", [0, 1])
@pytest.mark.parametrize("target", [0, 1, None])
def test_one_class_has_no_correlation(predicted, target):
    targets = torch.tensor([0, 1] * 50) if target is None else torch.full((100,), target)
    means = means_of(confusion, torch.full((100,), predicted), targets, 7)
    assert matthews(means) == 0.0
    expected = {(1, 1): 1.0, (1, None): 2 / 3}.get((predicted, target), 0.0)
    assert f1(means) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [37, 1500])
@pytest.mark.parametrize("noise", [0.0, 1e-3, 1.0, 30.0])
@pytest.mark.parametrize("offset", [0.0, 3.0, -400.0])
def test_pearson_is_scipys(size, noise, offset):
    draws = generator(0, "test", noise)
    targets = 5 * torch.rand(1500, generator=draws)
    predicted = offset + targets + noise * torch.randn(1500, generator=draws)
    expected = pearsonr(predicted.double().numpy(), targets.double().numpy()).statistic
    assert pearson(means_of(moments, predicted, targets, size)) == pytest.approx(expected, abs=1e-8)
    assert pearson(means_of(moments, -predicted, targets, size)) == pytest.approx(-expected, abs=1e-8)


@pytest.mark.parametrize("constant", [0.0, 2.5, 2.6, -1e-3, 1e6])
@pytest.mark.parametrize("size", [7, 1000])
def test_constant_predictions_have_no_correlation(constant, size):
    targets = 5 * torch.rand(1000, generator=generator(0, "test"))
    assert pearson(means_of(moments, torch.full((1000,), constant), targets, size)) == 0.0
    assert pearson(means_of(moments, targets, torch.full((1000,), constant), size)) == 0.0
    rounding = constant * (1 + 1e-7 * torch.randn(1000, generator=generator(1, "test")).double())
    assert pearson(means_of(moments, rounding, targets, size)) == 0.0


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_pearson_of_what_is_not_finite_is_not_known(wrong):
    predicted = torch.tensor([1.0, wrong, 2.0])
    assert math.isnan(pearson(means_of(moments, predicted, torch.tensor([0.0, 1.0, 2.0]), 2)))
