import pytest
import torch

from hpsearch.streams import generator
from hpsearch.training import batches
from hpsearch.training.batches import Batches


class Shifted:
    """Augments by adding a draw to every sample; crops sequences."""

    def augment(self, batch, generator):
        values, rows = batch
        return values + torch.randint(1000, (len(values), 1), generator=generator), rows

    def crop(self, batch, length):
        values, rows = batch
        return values[:, :length], rows


ORDER = torch.randperm(103, generator=generator(0, "order"))


def make(task=None, lengths=None, samples=103):
    split = (torch.arange(samples)[:, None].repeat(1, 6) * 1000, torch.arange(samples))
    return Batches(task, split, lengths, 10, seed=4)


@pytest.mark.parametrize("chunk", [1, 250, 2**28])
def test_an_epoch_has_every_sample_of_the_order_once_and_drops_the_rest(monkeypatch, chunk):
    monkeypatch.setattr(batches, "CHUNK_BYTES", chunk)
    found = list(make().of(0, ORDER))
    assert len(found) == make().count == 10
    assert torch.cat([rows for _, rows in found]).tolist() == ORDER[:100].tolist()


@pytest.mark.parametrize("chunk", [1, 1200, 2**28])
@pytest.mark.parametrize("start", [0, 1, 4, 9, 10])
def test_from_the_middle_of_an_epoch_the_batches_are_the_same(monkeypatch, chunk, start):
    monkeypatch.setattr(batches, "CHUNK_BYTES", chunk)
    whole, rest = (list(make(Shifted()).of(3, ORDER, first)) for first in (0, start))
    assert len(rest) == 10 - start
    for (a, _), (b, _) in zip(whole[start:], rest, strict=True):
        assert torch.equal(a, b)


def test_augmentation_differs_between_epochs_seeds_and_samples():
    def draws(epoch, seed):
        made = Batches(Shifted(), make().split, None, 10, seed)
        return torch.cat([values[:, 0] - 1000 * rows for values, rows in made.of(epoch, ORDER)])

    first = draws(0, 4)
    assert len(first.unique()) > 80
    assert torch.equal(first, draws(0, 4))
    assert not torch.equal(first, draws(1, 4)) and not torch.equal(first, draws(0, 5))


def test_batches_are_cropped_to_their_own_longest():
    lengths = torch.arange(103) % 6 + 1
    for values, rows in make(Shifted(), lengths).of(0, ORDER):
        assert values.shape[1] == int(lengths[rows].max())


def test_an_option_with_a_hooks_name_is_no_hook():
    class Task:
        augment = None
        crop = "no"

    assert len(list(make(Task()).of(0, ORDER))) == 10
