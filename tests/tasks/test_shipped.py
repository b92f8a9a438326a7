"""The shipped tasks: splits, label noise, chance values."""

import math

import numpy
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

from hpsearch.streams import generator
from hpsearch.tasks.breast_cancer import BreastCancer
from hpsearch.tasks.digits import Digits
from hpsearch.tasks.noise import symmetric_noise
from hpsearch.tasks.protocol import Data, OptionError, Task

TASKS = {"digits": (Digits, (1000, 350, 447), 64, 10), "breast_cancer": (BreastCancer, (300, 120, 149), 30, 2)}


def rows_of(split):
    """Each sample as one comparable thing."""
    return [row.numpy().tobytes() for row in split[0]]


@pytest.mark.parametrize("name", TASKS)
def test_splits_are_disjoint_and_hold_the_whole_data_set(name):
    task, sizes, features, classes = TASKS[name]
    data = task().data(0)
    for split, size in zip((data.train, data.val, data.test), sizes, strict=True):
        assert split[0].shape == (size, features) and split[0].dtype == torch.float32
        assert split[1].shape == (size,) and split[1].dtype == torch.int64
        assert set(split[1].tolist()) == set(range(classes))
    rows = [row for split in (data.train, data.val, data.test) for row in rows_of(split)]
    assert len(set(rows)) == sum(sizes)


def test_digits_are_scikit_learns_with_their_own_labels():
    found, data = load_digits(), Digits().data(0)
    label_of = {
        (row / 16).astype(numpy.float32).tobytes(): label for row, label in zip(found.data, found.target, strict=True)
    }
    for split in (data.train, data.val, data.test):
        assert [label_of[row] for row in rows_of(split)] == split[1].tolist()
        assert 0 <= split[0].min() and split[0].max() == 1


def test_breast_cancer_is_standardised_by_its_training_rows_alone():
    data = BreastCancer().data(0)
    torch.testing.assert_close(data.train[0].mean(0), torch.zeros(30), atol=1e-5, rtol=0)
    torch.testing.assert_close(data.train[0].std(0), torch.ones(30), atol=1e-5, rtol=0)
    assert data.test[0].mean(0).abs().max() > 0.01
    found = load_breast_cancer()
    labels = torch.cat([data.train[1], data.val[1], data.test[1]])
    assert labels.sum() == found.target.sum()
    # malignant tumours (class 0) have the larger mean radius, in the table and here
    assert found.data[found.target == 0, 0].mean() > found.data[found.target == 1, 0].mean()
    assert data.train[0][data.train[1] == 0, 0].mean() > 0 > data.train[0][data.train[1] == 1, 0].mean()


@pytest.mark.parametrize("name", TASKS)
def test_splits_are_the_same_for_every_seed_and_time(name):
    task = TASKS[name][0]
    torch.manual_seed(1)
    first = task().data(0)
    torch.manual_seed(2)
    second = task(label_noise=0.3).data(7)
    assert rows_of(first.train) == rows_of(second.train)
    for mine, other in ((first.val, second.val), (first.test, second.test)):
        assert torch.equal(mine[0], other[0]) and torch.equal(mine[1], other[1])


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.555])
def test_label_noise_has_its_exact_share_and_is_drawn_for_each_seed(name, share):
    task, (size, *_), _, _ = TASKS[name]
    clean = task().data(0).train[1]
    noisy = task(label_noise=share)
    wrong = [noisy.data(seed).train[1] != clean for seed in (0, 1)]
    assert [int(mask.sum()) for mask in wrong] == [round(share * size)] * 2
    assert not torch.equal(*wrong)
    assert torch.equal(noisy.data(0).train[1], noisy.data(0).train[1])
    assert torch.equal(task().data(0).train[1], clean)  # what is cached stays clean


def test_noise_never_gives_the_true_class_and_reaches_every_other_evenly():
    labels = torch.arange(5).repeat(2000)
    noisy = symmetric_noise(labels, 0.8, 5, generator(0, "test"))
    changed = noisy != labels
    assert int(changed.sum()) == 8000
    table = torch.zeros(5, 5).index_put((labels[changed], noisy[changed]), torch.ones(8000), accumulate=True)
    assert (table.diagonal() == 0).all()
    off = table[~torch.eye(5, dtype=torch.bool)]
    assert 330 < off.min() and off.max() < 470  # 400 expected, a standard deviation of 18


def test_half_of_the_noise_is_spread_over_all_samples():
    wrong = symmetric_noise(torch.zeros(1000, dtype=torch.int64), 0.5, 2, generator(0, "test"))
    assert 200 < int(wrong[:500].sum()) < 300


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_chance_is_what_the_training_shares_reach(name, share):
    """Directly: cross-entropy of the constant logits, and the share of the most frequent training class."""
    task, _, _, classes = TASKS[name]
    data = task(label_noise=share).data(0)
    shares = [float((data.train[1] == c).double().mean()) for c in range(classes)]
    chance = task(label_noise=share).chance(data)
    assert set(chance) == {"train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy"}
    for key, split in (("train", data.train), ("val", data.val), ("test", data.test)):
        expected = sum(-math.log(shares[label]) for label in split[1].tolist()) / len(split[1])
        assert chance[f"{key}_loss"] == pytest.approx(expected, rel=1e-9)
        if key != "train":
            best = max(range(classes), key=shares.__getitem__)
            assert chance[f"{key}_accuracy"] == pytest.approx(split[1].tolist().count(best) / len(split[1]))


def test_chance_is_finite_for_a_class_that_training_lacks():
    def split(labels):
        return torch.zeros(len(labels), 1), torch.tensor(labels)

    chance = Digits().chance(Data(split([0, 0, 1]), split([0, 3]), split([1, 2])))
    assert all(math.isfinite(value) for value in chance.values())
    assert chance["val_accuracy"] == 0.5 and chance["test_accuracy"] == 0.0


@pytest.mark.parametrize(
    ("task", "options"),
    [
        (Digits, {"label_noise": 1.0}),
        (Digits, {"label_noise": -0.1}),
        (Digits, {"label_noise": math.nan}),
        (BreastCancer, {"label_noise": 1.5}),
        (BreastCancer, {"width": 0}),
    ],
)
def test_wrong_options_are_refused_by_name(task, options):
    with pytest.raises(OptionError) as caught:
        task(**options)
    assert {caught.value.option} == set(options)


@pytest.mark.parametrize("options", [{"model": "mlp"}, {"model": "convnet"}])
def test_digits_networks_and_measures(options):
    task = Digits(**options)
    assert isinstance(task, Task)
    torch.manual_seed(0)
    model = task.model()
    inputs, targets = (tensor[:50] for tensor in task.data(0).val)
    logits = model(inputs)
    assert logits.shape == (50, 10)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    model.eval()
    measured = task.measure(model, inputs, targets)
    assert set(measured) == set(task.metrics)
    by_hand = -torch.log_softmax(logits, 1)[torch.arange(50), targets].mean()
    torch.testing.assert_close(measured["loss"], by_hand)
    assert measured["accuracy"] == (logits.argmax(1) == targets).float().mean()
    model.train()
    torch.testing.assert_close(task.measure(model, inputs, targets)["loss"], by_hand)


def test_breast_cancers_width_is_its_networks():
    shapes = [tuple(p.shape) for p in BreastCancer(width=7).model().parameters()]
    assert shapes == [(7, 30), (7,), (7, 7), (7,), (2, 7), (2,)]
