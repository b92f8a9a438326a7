"""Label noise between lookalikes. Symmetric noise is tested with the tasks that have it."""

import pytest
import torch

from hpsearch.streams import generator
from hpsearch.tasks.noise import CIFAR10_SWAPS, asymmetric_noise, symmetric_noise

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def test_the_lookalikes_are_those_of_the_paper():
    by_name = {NAMES[true]: NAMES[wrong] for true, wrong in CIFAR10_SWAPS.items()}
    assert by_name == {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.55])
def test_each_class_has_its_exact_share_of_its_lookalike(share):
    counts = torch.tensor([90, 80, 70, 60, 50, 41, 30, 20, 10, 33])
    labels = torch.arange(10).repeat_interleave(counts)[torch.randperm(484, generator=generator(0, "order"))]
    before = labels.clone()
    noisy = asymmetric_noise(labels, share, CIFAR10_SWAPS, generator(0, "label noise"))
    assert torch.equal(labels, before)
    for true in range(10):
        found = torch.bincount(noisy[labels == true], minlength=10).tolist()
        expected = [0] * 10
        wrong = round(share * int(counts[true])) if true in CIFAR10_SWAPS else 0
        expected[true] = int(counts[true]) - wrong
        if wrong:
            expected[CIFAR10_SWAPS[true]] = wrong
        assert found == expected


def test_another_generator_draws_others():
    labels = torch.arange(10).repeat(100)
    first, same, other = (asymmetric_noise(labels, 0.4, CIFAR10_SWAPS, generator(s, "label noise")) for s in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_the_order_in_which_swaps_are_written_does_not_matter():
    labels = torch.arange(10).repeat(50)
    backwards = dict(reversed(CIFAR10_SWAPS.items()))
    first = asymmetric_noise(labels, 0.4, CIFAR10_SWAPS, generator(0, "label noise"))
    assert torch.equal(asymmetric_noise(labels, 0.4, backwards, generator(0, "label noise")), first)


def test_a_class_that_is_absent_is_no_trouble():
    labels = torch.zeros(20, dtype=torch.int64)
    assert torch.equal(asymmetric_noise(labels, 0.5, CIFAR10_SWAPS, generator(0, "label noise")), labels)


def test_noise_is_not_only_at_the_front():
    labels = torch.full((1000,), 3)
    for noisy in (
        asymmetric_noise(labels, 0.5, CIFAR10_SWAPS, generator(0, "label noise")),
        symmetric_noise(labels, 0.5, 10, generator(0, "label noise")),
    ):
        assert int((noisy != 3).sum()) == 500 and 200 < int((noisy[:500] != 3).sum()) < 300


def test_symmetric_noise_reaches_every_class_of_a_hundred():
    labels = torch.arange(100).repeat(200)
    noisy = symmetric_noise(labels, 0.4, 100, generator(0, "label noise"))
    wrong = noisy != labels
    assert int(wrong.sum()) == 8000
    assert torch.bincount(noisy[wrong], minlength=100).min() > 40  # 80 expected
    assert torch.bincount(labels[wrong], minlength=100).min() > 40
